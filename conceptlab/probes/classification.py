"""Combinations of units that tell whether an image shows a concept: the classification probe.

Fong & Vedaldi 2018, section 3.2, eq. 5: sigma(b + sum_k w_k mean_ij A_ijk), images with and without
the concept weighing equally in training, accuracy measured on as many of one as of the other.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conceptlab.activations.labels import label_store
from conceptlab.given import checked, require_number, require_seed
from conceptlab.numerics.borders import best_border
from conceptlab.numerics.intervals import balanced_bounds
from conceptlab.numerics.logistic import (
    Whitening,
    balanced_weights,
    fit_logistic,
    logits_of,
    spread_of,
)
from conceptlab.numerics.serial import effective_number
from conceptlab.probes.base import CONSTANT, FOLDS, PROBES, TOO_FEW, BaseProbe
from conceptlab.probes.heldout import held_out, middle
from conceptlab.vectors import ConceptVectors

if TYPE_CHECKING:
    from conceptlab.activations.store import Activations
    from conceptlab.data.base import ProbeDataset

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
PENALTIES = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003)
LOSS_SHARE = 0.2  # of the held-out log-loss beside the errors, in choosing a penalty
UNITS = 64  # units sorted at once
DRAW = 1e-4  # tolerance of a draw's fit
NUMBERS = 4_000_000  # of images and concepts, or units, held at once


@dataclass(frozen=True)
class _Training:
    """The training images: pooled units x (n, K), and (C, n) what they show and what is known."""

    concepts: pd.DataFrame
    x: NDArray[np.float32]
    shown: Flags
    known: Flags
    enough: Flags


@PROBES.register("classify")
class ClassificationProbe(BaseProbe):
    """Tell images that show a concept from those that do not, by their pooled units (eq. 5).

    The balanced log-loss is solved to its optimum on standardised inputs; the L2 penalty is chosen
    for each concept by cross-validation over runs of neighbouring training images, in the data
    set's order. The bias is then
    moved to where held-out images of both kinds are told apart best: where units are many and
    images few, the decisions on images learned from are further from the border than on others,
    and not by the same amount on both sides. Weights are over the raw activations, as in eq. 5, and
    over all units that vary.

    Args:
        min_examples: concepts that fewer training images show, or fewer do not show, are not
            fitted, and say so.
        label_size: side of the label maps, which decides no score here but which store is read.
        shuffle: control: the labels of the training images are permuted among them.
        seed: of the permutation.

    Attributes:
        vectors: the fitted `ConceptVectors`, kind 'classification'; `concepts` has columns name,
            category, n_train, train_score (balanced accuracy on train), penalty, note.
    """

    @checked
    def __init__(
        self,
        *,
        min_examples: int = 10,
        label_size: int | None = None,
        shuffle: bool = False,
        seed: int = 0,
    ) -> None:
        require_seed(seed)
        require_number(min_examples, "min_examples", 1)
        self.min_examples = min_examples
        self.label_size = label_size
        self.shuffle = shuffle
        self.seed = seed

    def fit(self, activations: "Activations", data: "ProbeDataset") -> Self:
        """Learn all concepts from the training images.

        Args:
            activations: a layer's cached outputs.
            data: the probe data set that they were made from.
        """
        train = self._training(activations, data)
        weights, bias = np.zeros((len(train.shown), train.x.shape[1])), np.zeros(len(train.shown))
        penalty = np.full(len(bias), np.nan)
        rows = np.flatnonzero(train.enough)
        if len(rows):
            white = Whitening.of(train.x)
            z = white.rotate(train.x)
            for own in _parts(len(rows), len(PENALTIES) * len(z)):
                part = rows[own]
                found, penalty[part] = _cross_validated(
                    z, train.shown[part], train.known[part], white.values
                )
                weights[part], bias[part] = white.back(found[:, :-1], found[:, -1])
        return self._finish(activations, train, weights, bias, penalty)

    def refit(
        self, activations: "Activations", data: "ProbeDataset", units: NDArray[np.bool_]
    ) -> "ClassificationProbe":
        """A new probe over some units only, learned anew with this one's penalties (3.2.2).

        Args:
            activations: that this probe was fitted on.
            data: likewise.
            units: (C, K) which units each concept may use, the same number for all.
        """
        chosen = self.vectors.concepts["penalty"].to_numpy(dtype=np.float64)
        penalty = np.where(np.isfinite(chosen), chosen, PENALTIES[0])
        probe = ClassificationProbe(**self.get_params())
        train = probe._training(activations, data)
        weights, bias = np.zeros(units.shape), np.zeros(len(units))
        rows = np.flatnonzero(train.enough)
        each = len(train.x) * (FOLDS + int(units[:1].sum()))
        for some in _parts(len(rows), each):
            part = rows[some]
            own = np.nonzero(units[part])[1].reshape(len(part), -1)
            found = _refitted(train.x[:, own], train.shown[part], train.known[part], penalty[part])
            weights[part[:, None], own], bias[part] = found[:, :-1], found[:, -1]
        return probe._finish(activations, train, weights, bias, penalty)

    def redrawing(
        self, activations: "Activations", data: "ProbeDataset"
    ) -> Callable[[NDArray[np.int64]], Floats]:
        """A function from training images, drawn with repeats, to the weights learned from them.

        Penalties and the scale of the units are this probe's own.

        Args:
            activations: that this probe was fitted on.
            data: likewise.

        Returns:
            Takes rows of the activations, gives weights (C, K): zero for concepts without a
            vector, NaN for those of which the images are all of one kind.
        """
        train = self._training(activations, data)
        images = activations.rows("train")
        vectors, usable = self.vectors, self.vectors.usable
        chosen = vectors.concepts["penalty"].to_numpy(dtype=np.float64)[usable]
        white = Whitening.of(train.x)
        z = white.rotate(train.x)
        start = np.column_stack(
            [(vectors.weights * white.spread) @ white.axes,
             vectors.bias + vectors.weights @ white.mean]
        )[usable]  # fmt: skip

        def weights_of(rows: NDArray[np.int64]) -> Floats:
            times = np.bincount(np.searchsorted(images, rows), minlength=len(images))
            counts = train.known * times
            found = np.zeros(vectors.weights.shape)
            if usable.any():
                weights = balanced_weights(train.shown[usable], counts[usable])
                fitted = fit_logistic(
                    z, train.shown[usable], weights, chosen, white.values, DRAW, start
                )
                found[usable] = white.back(fitted[:, :-1], fitted[:, -1])[0]
            both = (train.shown * counts).any(axis=1) & (~train.shown * counts).any(axis=1)
            return np.where((both | ~usable)[:, None], found, np.nan)

        return weights_of

    def best_units(self, activations: "Activations", data: "ProbeDataset") -> ConceptVectors:
        """The best single unit of each concept: of all units and borders, what train tells best.

        A unit and a border between two of its training values classify; the pair of highest
        balanced accuracy on the training images is taken, as the best unit of a segmentation is
        (section 3.1.1), and given as a one-hot row with the border as its bias.
        """
        train = self._training(activations, data)
        weights, bias = _single_units(train.x, train.shown, train.known, train.enough)
        penalty = np.full(len(bias), np.nan)
        return (
            ClassificationProbe(**self.get_params())
            ._finish(activations, train, weights, bias, penalty)
            .vectors
        )

    def _training(self, activations: "Activations", data: "ProbeDataset") -> "_Training":
        store = label_store(activations, data, self.label_size)
        rows = activations.rows("train")
        shown, known = store.shown_native[rows].T, store.image_label_known()[rows].T
        if self.shuffle:
            mixed = np.random.default_rng(self.seed).permutation(len(rows))
            shown, known = shown[:, mixed], known[:, mixed]
        smaller = np.minimum((shown & known).sum(axis=1), (~shown & known).sum(axis=1))
        enough = smaller >= self.min_examples
        return _Training(store.concepts, activations.read_pooled(rows), shown, known, enough)

    def _finish(
        self,
        activations: "Activations",
        train: "_Training",
        weights: Floats,
        bias: Floats,
        penalty: Floats,
    ) -> Self:
        correct = (logits_of(train.x, weights, bias).T > 0) == train.shown
        score = (balanced_weights(train.shown, train.known) * correct).sum(axis=1)
        self.vectors_ = ConceptVectors(
            weights=weights,
            bias=bias,
            concepts=train.concepts[["name", "category"]].assign(
                n_train=(train.shown & train.known).sum(axis=1),
                train_score=np.where(weights.any(axis=1), score, np.nan),
                penalty=np.where(weights.any(axis=1), penalty, np.nan),
                note=np.select(
                    [~train.enough, ~weights.any(axis=1)], [TOO_FEW, CONSTANT], default=""
                ),
            ),
            kind="classification",
            space=activations.space("raw"),
            provenance=self.described(),
        )
        return self

    @checked
    def score(
        self, activations: "Activations", data: "ProbeDataset", split: str = "val",
        intervals: bool = False,
    ) -> pd.DataFrame:  # fmt: skip
        """Balanced accuracy per concept on a split.

        Args:
            activations: of the layer.
            data: the probe data set.
            split: 'train', 'val' or 'test'.
            intervals: whether to give 95 % intervals, columns low and high.

        Returns:
            Columns concept, category, n (images that show it), accuracy.
        """
        return accuracies(self.vectors, activations, data, split, self.label_size, intervals)


def accuracies(
    vectors: ConceptVectors,
    activations: "Activations",
    data: "ProbeDataset",
    split: str = "val",
    label_size: int | None = None,
    intervals: bool = False,
) -> pd.DataFrame:
    """Accuracy of vectors over pooled activations, balanced (section 3.2.1).

    The images that show a concept and those that do not weigh one half each; those of which it is
    not known (all of the category unlabelled) count on neither side. That is the mean over
    all balanced sets, of which the paper draws one: where a concept is rare, or nearly everywhere,
    one such set leaves most images out, and a single image decides.

    Intervals are over images, those that show a concept and those that do not apart: Jeffreys' for
    each (see `conceptlab.numerics.intervals.balanced_bounds`), of as many independent images as
    neighbouring ones are worth (`conceptlab.numerics.serial.effective_number`). Where neighbouring
    frames are alike, 10 or 20 of them tell little, and 95 % intervals hold the truth in 98 to 100 %
    of cases; in 93 to 94 % of 50 or 200.

    Args:
        vectors: one per concept of the data set.
        activations: of the layer that they belong to.
        data: the probe data set.
        split: 'train', 'val' or 'test'.
        label_size: which label store to read.
        intervals: whether to give 95 % intervals, columns low and high.

    Returns:
        Columns concept, category, n (images of the split that show it), accuracy (NaN for a concept
        without a vector, or without images of either kind).
    """
    vectors.space.require_equal(activations.space("raw"))
    store = label_store(activations, data, label_size)
    rows = activations.rows(split)
    logits = logits_of(activations.read_pooled(rows), vectors.weights, vectors.bias)
    known, present = store.image_label_known()[rows], store.shown_native[rows]
    right = (logits > 0) == present
    sides = np.stack([known & present, known & ~present], axis=-1)
    count = sides.sum(axis=0)  # (C, 2)
    correct = (sides & right[:, :, None]).sum(axis=0)
    judged = vectors.usable & count.all(axis=1)
    share = np.divide(correct, count, out=np.full(count.shape, np.nan), where=count > 0)
    table = vectors.concepts.assign(concept=vectors.names)[["concept", "category"]]
    table = table.reset_index(drop=True).assign(
        n=count[:, 0], accuracy=np.where(judged, share.mean(axis=1), np.nan)
    )
    if intervals:
        low, high = balanced_bounds(correct, count, _worth(right, sides))
        table["low"], table["high"] = (np.where(judged, bound, np.nan) for bound in (low, high))
    return table


def _worth(right: Flags, sides: Flags) -> Floats:
    """(C, 2) how many independent images each side is worth.

    Of very many images and concepts some concepts at a time, for memory: then their own
    correlations, not those of all together, decide.
    """
    worth = np.zeros(sides.shape[1:])
    for part in _parts(len(worth), len(sides)):
        places, concepts, side = np.nonzero(sides[:, part])
        found = effective_number(right[:, part][places, concepts], 2 * concepts + side, places)
        worth[part].flat[: len(found)] = found
    return worth


def _parts(count: int, each: int) -> Iterator[slice]:
    """Concepts in groups, for memory, each concept having so many numbers."""
    size = max(1, NUMBERS // max(each, 1))
    for start in range(0, count, size):
        yield slice(start, start + size)


def _cross_validated(
    z: NDArray[np.float32], shown: Flags, known: Flags, scale: Floats
) -> tuple[Floats, Floats]:
    """Weights and bias (C, R + 1), and the penalty (C,) that is best in cross-validation.

    A penalty is judged by its balanced accuracy and its balanced log-loss on held-out images
    together: of few images, many penalties have equally many right, and the loss tells them apart.

    Args:
        z: (n, R) whitened units.
        shown: (C, n).
        known: (C, n).
        scale: (R,) the variance of each.
    """
    penalties = np.repeat(np.array(PENALTIES)[:, None], len(shown), axis=1)
    logits = held_out(z, shown, known, penalties, scale)
    every = balanced_weights(shown, known)
    against = np.where(shown, -logits, logits)
    risk = (against >= 0) + LOSS_SHARE * np.logaddexp(0.0, against)
    place = (every * risk).sum(axis=2).argmin(axis=0)
    chosen = np.array(PENALTIES)[place]
    found = fit_logistic(z, shown, every, chosen, scale, 1e-7)
    found[:, -1] += middle(logits[place, np.arange(len(place))], shown, every)
    return found, chosen


def _refitted(x: NDArray[np.float32], shown: Flags, known: Flags, penalty: Floats) -> Floats:
    """(C, F + 1) weights and bias over each concept's own units.

    Args:
        x: (n, C, F) pooled units.
        shown: (C, n).
        known: (C, n).
        penalty: (C,) on the weights of standardised units.
    """
    own = x.transpose(1, 0, 2).astype(np.float64)
    mean = own.mean(axis=1, keepdims=True)
    spread = spread_of(mean, own.var(axis=1, keepdims=True))
    spread = np.where(spread > 0, spread, np.inf)  # a constant unit has no weight
    z, scale = ((own - mean) / spread).astype(np.float32), np.ones(own.shape[2])
    images = balanced_weights(shown, known)
    found = fit_logistic(z, shown, images, penalty, scale, 1e-6)
    found[:, -1] += middle(held_out(z, shown, known, penalty[None], scale)[0], shown, images)
    found[:, :-1] /= spread[:, 0]
    found[:, -1] -= np.einsum("cf,cf->c", found[:, :-1], mean[:, 0])
    return found


def _single_units(
    x: NDArray[np.float32], shown: Flags, known: NDArray[Any], which: Flags
) -> tuple[Floats, Floats]:
    """The best unit of some concepts as one-hot rows (C, K), and their borders as biases (C,)."""
    weights, bias = np.zeros((len(shown), x.shape[1])), np.zeros(len(shown))
    images = balanced_weights(shown, known)
    best = np.full(len(shown), -1.0)
    for first in range(0, x.shape[1], UNITS):
        part = np.ascontiguousarray(x[:, first : first + UNITS])
        order = np.argsort(part, axis=0, kind="stable")
        for c in np.flatnonzero(which):
            signed = np.where(shown[c], -images[c], images[c])
            unit, border, direction, gain = best_border(part, order, signed)
            if gain > best[c]:
                best[c] = gain
                weights[c], bias[c] = 0.0, -direction * border
                weights[c, first + unit] = direction
    return weights, bias
