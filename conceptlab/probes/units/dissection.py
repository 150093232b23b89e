"""Single units as concept detectors: overlap of every unit's mask with every concept.

Fong & Vedaldi 2018 (Net2Vec), section 3.1.1, eq. 1; Bau et al. 2017 (Network Dissection) by option:
`order`, `scope` and `image_level` name the points in which the two differ.
"""

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conceptlab.activations.active import active_set
from conceptlab.activations.labels import label_store
from conceptlab.activations.stream import Stream
from conceptlab.errors import InputError
from conceptlab.given import checked, require_number, require_seed
from conceptlab.numerics.metrics import iou
from conceptlab.probes.base import require_map
from conceptlab.probes.tally import Counts, tally, unit_iou
from conceptlab.probes.units.detectors import detector_counts, unit_labels
from conceptlab.space import Space
from conceptlab.vectors import ConceptVectors, qualified_names

if TYPE_CHECKING:
    from conceptlab.activations.store import Activations
    from conceptlab.data.base import ProbeDataset

log = logging.getLogger(__name__)

SPLITS = ("train", "val", "test")
ORDERS = ("threshold-first", "upsample-first")
SCOPES = ("present", "labelled")
WHOLE = (
    "take probe classify, a layer with a map, or ask for concepts of whole pictures alone "
    "(image_level=True, --image-level)"
)


@dataclass(frozen=True)
class Dissection:
    """Overlap counts of every unit with every concept, and what follows from them.

    Args:
        concepts: (C,) rows name, category, level, in the order of the counts.
        splits: the splits that have images.
        both: {split: (K, C)} pixels in the unit's mask and of the concept.
        area: {split: (K, C)} pixels in the unit's mask, over the images that count.
        labelled: {split: (C,)} pixels of the concept.
        images: {split: (C,)} images that show the concept.
        thresholds: (K,) T_k.
        settings: tau, order, scope and the rest.
        space: of the one-hot vectors.
    """

    concepts: pd.DataFrame
    splits: tuple[str, ...]
    both: dict[str, Counts]
    area: dict[str, Counts]
    labelled: dict[str, Counts]
    images: dict[str, Counts]
    thresholds: NDArray[np.float32]
    settings: dict[str, Any]
    space: Space

    @checked
    def iou(self, split: str) -> NDArray[np.float64]:
        """(K, C) IoU_set of a split (eq. 1); NaN where no image of it counts."""
        if split not in self.splits:
            raise InputError(f"no {split!r} images here; splits: {', '.join(self.splits)}")
        return iou(self.both[split], self.area[split], self.labelled[split])

    @property
    def table(self) -> pd.DataFrame:
        """A row per unit and concept: unit, concept, category, iou_train/val/test, threshold."""
        units, count = len(self.thresholds), len(self.concepts)
        columns: dict[str, Any] = {
            "unit": np.repeat(np.arange(units), count),
            "concept": np.tile(np.array(qualified_names(self.concepts), dtype=object), units),
            "category": np.tile(self.concepts["category"].to_numpy(dtype=object), units),
        }
        for split in self.splits:
            columns[f"iou_{split}"] = self.iou(split).ravel()
        columns["threshold"] = np.repeat(self.thresholds, count)
        return pd.DataFrame(columns)

    @checked
    def best(self, on: str = "train") -> pd.DataFrame:
        """The best unit of each concept, chosen on one split: k*(c) of section 3.1.1.

        Returns:
            A row per concept: concept, category, unit (-1 where no image shows the concept), then
            iou_ and n_ (images that show it) of every split.
        """
        scores = self.iou(on)
        known = np.isfinite(scores).any(axis=0)
        unit = np.where(known, np.nan_to_num(scores, nan=-1.0).argmax(axis=0), -1)
        columns: dict[str, Any] = {
            "concept": qualified_names(self.concepts),
            "category": self.concepts["category"].to_numpy(dtype=object),
            "unit": unit,
        }
        each = np.arange(len(unit))
        for split in self.splits:
            columns[f"iou_{split}"] = np.where(known, self.iou(split)[unit, each], np.nan)
        for split in self.splits:
            columns[f"n_{split}"] = self.images[split]
        return pd.DataFrame(columns)

    @property
    def vectors(self) -> ConceptVectors:
        """The best units as one-hot vectors; a unit's mask is where its map exceeds one half."""
        return unit_vectors(
            self.space, self.thresholds, self.best(), self.concepts["name"], self.settings
        )

    @checked
    def labels(self, split: str = "val") -> pd.DataFrame:
        """What each unit is best at: unit, concept, category, iou."""
        return unit_labels(self._scored(split))

    @checked
    def detectors(
        self, threshold: float = 0.04, rule: str = "every-category", split: str = "val"
    ) -> pd.DataFrame:
        """Detectors and unique detectors per category (Network Dissection's summary).

        Args:
            threshold: a unit detects a concept where its IoU exceeds this.
            rule: 'every-category' (a unit counts in every category where it passes) or
                'best-label' (only for its best concept of all).
            split: whose IoU.

        Returns:
            Columns category, detectors, unique_detectors.
        """
        return detector_counts(self._scored(split), threshold, rule)

    def _scored(self, split: str) -> pd.DataFrame:
        """The table with the IoU of a split as column iou."""
        self.iou(split)  # raises where there is none
        return self.table.rename(columns={f"iou_{split}": "iou"})


@checked
def dissect(
    activations: "Activations",
    data: "ProbeDataset",
    tau: float = 0.005,
    *,
    label_size: int | None = None,
    order: str = "threshold-first",
    align_corners: bool = False,
    scope: str = "present",
    image_level: bool = False,
) -> Dissection:
    """IoU_set of every unit of a layer with every concept, on every split.

    Args:
        activations: a layer's cached outputs.
        data: the probe data set that they were made from.
        tau: the share of activations above a unit's threshold, over all images and positions.
        label_size: side of the label maps in pixels; half the network's input size if not given.
        order: 'threshold-first' (Net2Vec) or 'upsample-first' (Network Dissection).
        align_corners: how maps are interpolated; the code of 2018 behaved as True.
        scope: 'present' sums over images that contain the concept (eq. 1), 'labelled' over all
            images where its category is labelled (Network Dissection).
        image_level: also concepts that hold for whole images (scenes, textures), as masks of the
            whole image, the way Network Dissection scores them. Of a layer of one vector a picture
            (a class token) only these have an IoU.

    Raises:
        InputError: an unknown option, a data set that is not the activations', or a layer of one
            vector a picture without `image_level`.
    """
    _check(order, ORDERS, "order")
    _check(scope, SCOPES, "scope")
    if not image_level:
        require_map(activations, WHOLE)
    labels = label_store(activations, data, label_size)
    active = active_set(activations, tau)
    splits = tuple(s for s in SPLITS if (activations.splits == s).any())
    counting = (
        labels.category_labelled(image_level) if scope == "labelled" else labels.shown(image_level)
    )
    # a mask of all or nothing is none of a part of the picture
    counted = (labels.concepts["level"] == "image").to_numpy() | activations.has_map
    counting = counting & counted
    values = activations.read if order == "upsample-first" else None
    both, area, labelled, images = {}, {}, {}, {}
    for split in splits:
        rows = activations.rows(split)
        stream = Stream(active, labels, rows, None, align_corners, image_level)
        found, area[split] = tally(stream, active, counting, values)
        both[split] = found * counted
        shows = labels.shown(image_level)[rows]
        labelled[split] = labels.areas(image_level)[rows].sum(axis=0) * counted
        images[split] = shows.sum(axis=0)
    settings = {
        "tau": tau, "label_size": labels.size[0], "order": order, "scope": scope,
        "align_corners": align_corners, "image_level": image_level,
    }  # fmt: skip

    return Dissection(
        labels.concepts, splits, both, area, labelled, images, active.thresholds, settings,
        activations.space(f"binary@{active.tau}"),
    )  # fmt: skip


def unit_vectors(
    space: Space,
    thresholds: NDArray[np.float32],
    best: pd.DataFrame,
    names: "pd.Series[str]",
    settings: dict[str, Any],
) -> ConceptVectors:
    """One-hot rows: weight 1 on each concept's unit and bias -1/2 (section 3.1.2's remark)."""
    weights = np.zeros((len(best), space.units))
    found = np.flatnonzero(best["unit"] >= 0)
    weights[found, best["unit"].to_numpy()[found]] = 1.0
    return ConceptVectors(
        weights=weights,
        bias=np.full(len(best), -0.5),
        concepts=best.drop(columns="concept").assign(name=names),
        kind="unit",
        space=space,
        thresholds=thresholds,
        provenance=settings,
    )


@checked
def chance_of_best(
    activations: "Activations",
    data: "ProbeDataset",
    tau: float = 0.005,
    *,
    label_size: int | None = None,
    permutations: int = 5,
    seed: int = 0,
    split: str = "val",
) -> pd.DataFrame:
    """What the best of K units reaches when the label maps belong to other images.

    The best of many units is good by chance alone, and better still where a concept stands at the
    same place in every picture. So the label maps are permuted among the images of a split, the
    best unit is chosen on train, and its IoU_set on the split is what a unit must exceed.

    Args:
        activations: as in `dissect`; so are data, tau and label_size.
        data: see there.
        tau: see there.
        label_size: see there.
        permutations: R, how often.
        seed: of the permutations.
        split: on which the chosen unit is scored.

    Returns:
        A row per concept: concept, category, chance (mean over permutations), chance_high (their
        largest); NaN where no image of train shows it, so that no unit can be chosen.

    Raises:
        InputError: a layer of one vector a picture.
    """
    require_number(permutations, "permutations", 1)
    require_seed(seed)
    require_map(activations, WHOLE)
    labels = label_store(activations, data, label_size)
    active = active_set(activations, tau)
    generator = np.random.default_rng(seed)
    shown, rows = labels.shown(), {part: activations.rows(part) for part in ("train", split)}
    in_train = shown[rows["train"]].any(axis=0)
    reached = []
    for _ in range(permutations):
        score = {}
        for part, own in rows.items():
            stream = Stream(active, labels, own, generator.permutation(own))
            score[part] = unit_iou(stream, active, shown)
        best = np.nan_to_num(score["train"], nan=-1.0).argmax(axis=0)
        found = score[split][best, np.arange(len(best))]
        reached.append(np.where(in_train, found, np.nan))
    values = np.array(reached)
    return pd.DataFrame(
        {
            "concept": qualified_names(labels.concepts),
            "category": labels.concepts["category"].to_numpy(dtype=object),
            "chance": values.mean(axis=0),
            "chance_high": values.max(axis=0),
        }
    )


def _check(value: str, allowed: tuple[str, ...], name: str) -> None:
    if value not in allowed:
        raise InputError(f"{name} is one of {', '.join(allowed)}; got {value!r}")
