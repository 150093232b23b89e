"""The inverse map: a unit predicted from concept maps, and how many concepts are packed into it.

The thesis, section 7.2.2, asks for the inverse of Net2Vec: "how to combine segmentation maps of
concepts to be highly correlated to a single filter". Here that is a sparse non-negative regression
(Tibshirani 1996), and its choice of concepts is checked by stability selection over complementary
halves of the images (Meinshausen & Buhlmann 2010; Shah & Samworth 2013).
"""

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm.auto import tqdm

from conceptlab.activations.labels import LabelStore, label_store
from conceptlab.errors import InputError
from conceptlab.given import checked, require_number, require_seed
from conceptlab.numerics.lasso import nonnegative_lasso
from conceptlab.probes.units.moments import Moments, moments, total
from conceptlab.vectors import qualified_names

if TYPE_CHECKING:
    from conceptlab.activations.store import Activations
    from conceptlab.data.base import ProbeDataset

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
BLOCKS = 20  # runs of neighbouring images that are kept together
FOLDS = 5
PENALTIES = np.geomspace(1.0, 0.01, 20)  # shares of the penalty that leaves no concept
PAIRS = 25  # of complementary halves
NEVER = -1e9  # a product that keeps a weight at 0
SURE = 0.8  # share of the halves that choose a concept
LISTED = 0.5
SLOW = 2.0  # seconds after which a bar is worth showing


@dataclass(frozen=True)
class Packing:
    """Concepts that are packed into the units of a layer.

    Args:
        units: a row per unit: unit, packed (number of concepts), names (theirs), r2 (share
            of the unit's variance over positions that they explain, on the images learned from),
            r2_val (on those of the split), chance (concepts packed into it when the labels belong
            to other images; NaN without the control).
        table: a row per unit and concept that at least half of the halves choose: unit, concept,
            category, stability (share of the halves), weight (of standardised maps), share (of the
            unit's variance; these add up to r2 over the packed ones), packed.
    """

    units: pd.DataFrame
    table: pd.DataFrame

    def _repr_html_(self) -> str:
        mean = self.units["packed"].mean()
        title = (
            f"{mean:.2f} concepts packed into a unit, {self.units['chance'].mean():.2f} by chance"
        )
        return f"<p>{html.escape(title)}</p>{self.units.to_html(max_rows=20, escape=True)}"


@checked
def pack_units(
    activations: "Activations",
    data: "ProbeDataset",
    *,
    split: str = "val",
    label_size: int | None = None,
    min_examples: int = 10,
    least: float = 0.01,
    shuffle_control: bool = True,
    seed: int = 0,
) -> Packing:
    """How many concepts are packed into each unit.

    A unit's activation at every position of its map is predicted by a non-negative combination of
    concept maps, each the share of the position's area that shows the concept. The penalty is the
    largest within a standard error of the best by cross-validation over runs of images. A concept
    counts as packed if at least 80 % of the halves of the images choose it at that penalty, and if
    it then explains `least` of the unit's variance. Of concepts that go together (sky, blue) the
    regression may choose one for all: few packed concepts do not say that others leave the unit
    cold. Pixels that nobody labelled count as not showing a concept.

    Args:
        activations: a layer's cached outputs.
        data: the probe data set.
        split: on which r2_val is measured.
        label_size: side of the label maps; half the network's input size if not given.
        min_examples: training images that a concept needs.
        least: share of a unit's variance.
        shuffle_control: do the same with the labels of other images.
        seed: of halves and shuffling.

    Raises:
        InputError: data without pixel-level concepts, fewer than 20 training images, activations of
            another data set.
    """
    require_seed(seed)
    require_number(min_examples, "min_examples", 1)
    if not 0 <= least < 1:
        raise InputError(f"least is a share from 0 to below 1; got {least}")
    labels = label_store(activations, data, label_size)
    train = activations.rows("train")
    if len(train) < BLOCKS:
        raise InputError(f"packing needs at least {BLOCKS} training images; there are {len(train)}")
    enough = labels.shown()[train].sum(axis=0) >= min_examples
    concepts = np.flatnonzero(enough & (labels.concepts["level"] == "pixel").to_numpy())
    if not len(concepts):
        raise InputError(
            f"no concept has pixels in {min_examples} training images: packing needs label maps"
        )
    rng = np.random.default_rng(seed)
    parts = _blocks(activations, labels, concepts, train, None, "packing")
    found = _Regression(parts).packed(least, rng)
    chance = np.full(activations.shape[1], np.nan)
    if shuffle_control:
        mixed = rng.permutation(train)
        parts = _blocks(activations, labels, concepts, train, mixed, "packing, shuffled")
        chance = _Regression(parts).packed(least, rng).chosen.sum(axis=0).astype(float)
    judge = moments(activations, labels, concepts, activations.rows(split))
    return _tables(found, judge, data.catalogue.iloc[concepts], data, chance)


@dataclass(frozen=True)
class _Found:
    """What a regression chose.

    Args:
        learned: the moments that it learned from.
        chosen: (C, K) packed.
        stability: (C, K).
        weights: (C, K) of standardised maps, of the packed ones alone.
        shares: (C, K) of the unit's variance.
    """

    learned: Moments
    chosen: Flags
    stability: Floats
    weights: Floats
    shares: Floats


class _Regression:
    """Sparse regression of all units on concept maps, from moments of blocks of images."""

    def __init__(self, blocks: list[Moments]) -> None:
        self.blocks = blocks
        self.whole = total(blocks)
        self.gram, self.products, *_ = standardised(self.whole)

    def packed(self, least: float, rng: np.random.Generator) -> _Found:
        """Concepts that are stable, and explain enough."""
        penalty = self._penalty()
        weights = nonnegative_lasso(self.gram, self.products, penalty, np.zeros_like(self.products))
        stability = np.zeros_like(self.products)
        for _ in range(PAIRS):
            order = rng.permutation(len(self.blocks))
            for half in (order[: len(order) // 2], order[len(order) // 2 :]):
                gram, products, *_ = standardised(total([self.blocks[b] for b in half]))
                stability += nonnegative_lasso(gram, products, penalty, weights) > 0
        stability /= 2 * PAIRS
        chosen = stability >= SURE
        while True:  # what explains too little goes, and the rest is fitted again
            weights = self._refit(chosen)
            shares = weights * self.products
            small = chosen & (shares < least)
            if not small.any():
                return _Found(self.whole, chosen, stability, weights, shares)
            smallest = np.where(small, shares, np.inf)
            chosen = chosen & ~(small & (smallest == smallest.min(axis=0)))

    def _refit(self, chosen: Flags) -> Floats:
        """(C, K) weights without a penalty, over the chosen concepts alone."""
        products = np.where(chosen, self.products, NEVER)
        free = np.zeros(products.shape[1])
        return nonnegative_lasso(self.gram, products, free, np.zeros(products.shape))

    def _penalty(self) -> Floats:
        """(K,) the largest within a standard error of the best, by cross-validation."""
        top = np.maximum(self.products.max(axis=0), 1e-12)
        errors = np.empty((FOLDS, len(PENALTIES), len(top)))
        for fold in range(FOLDS):
            left = total(self.blocks[fold::FOLDS])
            learn = self.whole - left
            gram, products, scale_m, scale_a = standardised(learn)
            weights = np.zeros_like(products)
            for place, share in enumerate(PENALTIES):
                weights = nonnegative_lasso(gram, products, share * top, weights)
                errors[fold, place] = error_of(weights, scale_m, scale_a, learn, left)
        mean, spread = errors.mean(axis=0), errors.std(axis=0, ddof=1) / np.sqrt(FOLDS)
        best = mean.argmin(axis=0)
        units = np.arange(len(top))
        bound = mean[best, units] + spread[best, units]
        return np.asarray(PENALTIES[(mean <= bound).argmax(axis=0)] * top)


def standardised(of: Moments) -> tuple[Floats, Floats, Floats, Floats]:
    """Correlations (C, C) and (C, K) of maps and activations, and their deviations.

    What is constant has correlations of 0.
    """
    mm, ma, aa = of.about(*of.means)
    scale_m = np.sqrt(np.maximum(np.diagonal(mm), 0.0))
    scale_a = np.sqrt(np.maximum(aa, 0.0))
    over_m = np.divide(1.0, scale_m, out=np.zeros_like(scale_m), where=scale_m > 1e-9)
    over_a = np.divide(1.0, scale_a, out=np.zeros_like(scale_a), where=scale_a > 1e-9)
    return mm * np.outer(over_m, over_m), ma * np.outer(over_m, over_a), scale_m, scale_a


def error_of(
    weights: Floats, scale_m: Floats, scale_a: Floats, learned: Moments, judged: Moments
) -> Floats:
    """(K,) mean squared error on other positions, as a share of the units' variance there.

    Args:
        weights: (C, K) of maps and activations standardised as they were learned from.
        scale_m: (C,) deviations of the maps there.
        scale_a: (K,) of the activations.
        learned: the moments there.
        judged: those of the positions to predict.
    """
    over_m = np.divide(1.0, scale_m, out=np.zeros_like(scale_m), where=scale_m > 1e-9)
    raw = weights * np.outer(over_m, scale_a)
    mm, ma, aa = judged.about(*learned.means)
    error = aa - 2 * (raw * ma).sum(axis=0) + (raw * (mm @ raw)).sum(axis=0)
    variance = judged.about(*judged.means)[2]
    share: Floats = np.divide(error, variance, out=np.ones_like(error), where=variance > 1e-12)
    return share


def _blocks(
    activations: "Activations",
    labels: LabelStore,
    concepts: NDArray[np.int64],
    images: NDArray[np.int64],
    label_images: NDArray[np.int64] | None,
    title: str,
) -> list[Moments]:
    """Moments of runs of neighbouring images."""
    runs = np.array_split(np.arange(len(images)), BLOCKS)
    bar = tqdm(runs, desc=title, delay=SLOW, leave=False, disable=None)
    return [
        moments(activations, labels, concepts, images[run],
                None if label_images is None else label_images[run])
        for run in bar
    ]  # fmt: skip


def _tables(
    found: _Found, judge: Moments, catalogue: pd.DataFrame, data: "ProbeDataset", chance: Floats
) -> Packing:
    names = np.array(qualified_names(data.catalogue), dtype=object)[catalogue.index]
    _, _, scale_m, scale_a = standardised(found.learned)
    packed = [", ".join(names[column]) for column in found.chosen.T]
    units = pd.DataFrame(
        {
            "unit": np.arange(len(packed)), "packed": found.chosen.sum(axis=0),
            "names": packed, "r2": found.shares.sum(axis=0),
            "r2_val": 1 - error_of(found.weights, scale_m, scale_a, found.learned, judge),
            "chance": chance,
        }
    )  # fmt: skip
    unit, concept = np.nonzero((found.stability >= LISTED).T)
    table = pd.DataFrame(
        {
            "unit": unit, "concept": names[concept],
            "category": catalogue["category"].to_numpy()[concept],
            "stability": found.stability[concept, unit], "weight": found.weights[concept, unit],
            "share": found.shares[concept, unit], "packed": found.chosen[concept, unit],
        }
    )  # fmt: skip
    order = ["unit", "share", "stability"]
    table = table.sort_values(order, ascending=[True, False, False], kind="stable")
    return Packing(units, table.reset_index(drop=True))
