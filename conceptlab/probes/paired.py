"""Whether a probe is better than the best unit, concept by concept, on the same images."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from conceptlab.activations.labels import label_store
from conceptlab.numerics.logistic import logits_of
from conceptlab.numerics.metrics import iou
from conceptlab.numerics.paired import swap_test
from conceptlab.numerics.serial import effective_number
from conceptlab.probes.segmentation.problem import PairCounts
from conceptlab.vectors import ConceptVectors

if TYPE_CHECKING:
    from conceptlab.activations.store import Activations
    from conceptlab.data.base import ProbeDataset

Floats = NDArray[np.float64]


def mask_differences(first: PairCounts, second: PairCounts, seed: int = 0) -> Floats:
    """(C,) p-values for a difference in IoU_set of two sets of masks; NaN where one has none."""
    found = np.full(len(first.concepts), np.nan)
    for c in range(len(found)):
        a, b = (counts.of(c).astype(np.float64) for counts in (first, second))
        if len(a) and len(a) == len(b):
            gain = iou(*a.T) - iou(*b.T)
            images = first.images[first.concept == c]
            found[c] = swap_test(a, b, lambda sums: iou(*sums.T), _worth(gain, images), seed)
    return found


def accuracy_differences(
    first: ConceptVectors,
    second: ConceptVectors,
    activations: "Activations",
    data: "ProbeDataset",
    split: str,
    label_size: int | None = None,
    seed: int = 0,
) -> Floats:
    """(C,) p-values for a difference in balanced accuracy; NaN where one has no vector.

    Args:
        first: vectors over pooled activations.
        second: others, of the same concepts.
        activations: of their layer.
        data: the probe data set.
        split: whose images.
        label_size: which label store to read.
        seed: of the test.
    """
    store = label_store(activations, data, label_size)
    rows = activations.rows(split)
    known, shown = store.image_label_known()[rows], store.shown_native[rows]
    pooled = activations.read_pooled(rows)
    right = [(logits_of(pooled, v.weights, v.bias) > 0) == shown for v in (first, second)]
    found = np.full(len(first), np.nan)
    for c in np.flatnonzero(first.usable & second.usable):
        own, yes = np.flatnonzero(known[:, c]), shown[known[:, c], c]
        if yes.any() and not yes.all():
            weight = np.where(yes, 0.5 / yes.sum(), 0.5 / (~yes).sum())
            a, b = (weight * side[own, c] for side in right)
            worth = _worth(a - b, own)
            found[c] = swap_test(a[:, None], b[:, None], lambda sums: sums[:, 0], worth, seed)
    return found


def _worth(gain: Floats, images: NDArray[np.int64]) -> float:
    """How many independent images a concept's differences are worth."""
    series = np.zeros(len(gain), dtype=np.int64)
    return float(effective_number(np.nan_to_num(gain), series, images)[0])
