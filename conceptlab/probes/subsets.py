"""Probes over the F units of largest weight, learned anew: how many units a concept needs.

Fong & Vedaldi 2018, section 3.2.2, after Agrawal et al. 2014.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conceptlab.errors import InputError
from conceptlab.given import checked, require_number
from conceptlab.probes.basis import Basis
from conceptlab.probes.classification import ClassificationProbe
from conceptlab.probes.segmentation.probe import SegmentationProbe
from conceptlab.vectors import ConceptVectors

if TYPE_CHECKING:
    from conceptlab.activations.store import Activations
    from conceptlab.data.base import ProbeDataset

BOUNDS = ("low", "high")
AnyProbe = SegmentationProbe | ClassificationProbe


def unit_ranking(vectors: ConceptVectors, activations: "Activations") -> NDArray[np.int64]:
    """(C, K) the units of each concept, by falling absolute weight.

    Weights of raw activations are taken per standard deviation of the unit on the training images,
    over images or over positions, as the vectors were learned, or a unit that hardly varies would
    come first; thresholded units all fire equally often.
    """
    weights = np.abs(vectors.weights)
    if vectors.space.inputs == "raw":
        rows = activations.rows("train")
        if vectors.kind == "segmentation":
            basis = Basis.of_raw(activations, rows, rotate=False)
            weights = weights * np.where(basis.varying, basis.spread, 0.0)
        else:
            weights = weights * activations.read_pooled(rows).std(axis=0)
    return np.argsort(-weights, axis=1, kind="stable")


def largest(ranking: NDArray[np.int64], size: int) -> NDArray[np.bool_]:
    """(C, K) whether a unit is among the first `size` of a concept's ranking."""
    chosen = np.zeros(ranking.shape, dtype=bool)
    np.put_along_axis(chosen, ranking[:, :size], True, axis=1)
    return chosen


@checked
def subset_scores(
    probe: AnyProbe,
    activations: "Activations",
    data: "ProbeDataset",
    sizes: Sequence[int],
    split: str = "val",
    intervals: bool = False,
) -> pd.DataFrame:
    """Scores of probes restricted to the F units of largest weight, and of the whole probe.

    Which weight is largest, see `unit_ranking`: of raw units, per standard deviation.

    Args:
        probe: fitted on all units.
        activations: a layer's cached outputs.
        data: the probe data set.
        sizes: the F to try, each below K.
        split: on which to score.
        intervals: whether to give 95 % intervals of the scores over images, columns low and high.
            They take the probes as they are.

    Returns:
        Columns concept, category, units (F, K for the whole probe), score (IoU_set or accuracy).

    Raises:
        InputError: an F outside 1..K - 1.
    """
    units = activations.shape[1]
    for size in sizes:
        require_number(size, "a number of units", 1)
    wrong = [f for f in sizes if f >= units]
    if wrong:
        raise InputError(f"{wrong[0]} is no number of units below the layer's {units}")
    ranking = unit_ranking(probe.vectors, activations)
    parts = []
    for size in (*sizes, units):
        small = size < units
        fitted = probe.refit(activations, data, largest(ranking, size)) if small else probe
        table = fitted.score(activations, data, split, intervals)
        table = table.rename(columns={table.columns[3]: "score"}).assign(units=size)
        bounds = BOUNDS if intervals else ()
        parts.append(table[["concept", "category", "units", "score", *bounds]])
    return pd.concat(parts, ignore_index=True)
