"""What position and colour alone tell of where a concept is: controls that need no network."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from conceptlab.activations.inputs import KEPT, RawMaps
from conceptlab.activations.labels import label_store
from conceptlab.activations.plainmaps import colour_maps, plain_maps
from conceptlab.activations.stream import Stream
from conceptlab.probes.basis import Basis
from conceptlab.probes.segmentation.problem import (
    PairCounts,
    PixelProblem,
    training_problem,
)
from conceptlab.probes.segmentation.ridge import Ridge
from conceptlab.vectors import qualified_names

if TYPE_CHECKING:
    from conceptlab.activations.store import Activations
    from conceptlab.data.base import ProbeDataset

CONTROLS = ("position", "colour", "control")
PENALTY = 1e-4  # a few features of thousands of cells need no choice of one


def plain_controls(
    activations: "Activations",
    data: "ProbeDataset",
    split: str = "val",
    *,
    label_size: int | None = None,
    align_corners: bool = False,
    min_examples: int = 10,
) -> pd.DataFrame:
    """IoU_set of segmentation probes over position and colour, in the cells of a layer.

    Each is the probe of `conceptlab.SegmentationProbe` with other inputs: the terms x^i y^j up to
    order 4 of a cell's place; its mean red, green and blue, with their squares and products; and
    both together. A concept that they find as well as a layer does says nothing of the network.

    Args:
        activations: of the layer.
        data: the probe data set.
        split: on which to score; learned on train.
        label_size: see `conceptlab.SegmentationProbe`; so are align_corners and min_examples.
        align_corners: see there.
        min_examples: see there.

    Returns:
        Columns concept, category, position, colour, control (of both together); NaN where too few
        images show the concept.
    """
    labels = label_store(activations, data, label_size)
    train, judged = (activations.rows(s) for s in ("train", split))
    colours = colour_maps(activations, data)
    names = labels.concepts.assign(concept=qualified_names(labels.concepts))
    table = names[["concept", "category"]].reset_index(drop=True)
    for name, position, colour in zip(CONTROLS, (True, False, True), (None, colours, colours),
                                      strict=True):  # fmt: skip
        maps = plain_maps(activations, position, colour)
        problem = training_problem(
            Stream(RawMaps(maps, KEPT), labels, train, align_corners=align_corners)
        )
        enough = problem.trains.sum(axis=0) >= min_examples
        basis = Basis.of_raw(maps, train, rotate=True)
        allowed = enough[:, None] & basis.varying
        ridge = Ridge(problem, allowed, True, basis)
        found = ridge.solve(np.full(len(enough), PENALTY), ridge.origin)
        stream = Stream(RawMaps(maps), labels, judged, align_corners=align_corners)
        shows = labels.shown()
        scored = PixelProblem(stream, shows & enough, problem.alpha)
        shown = shows[judged].sum(axis=0)
        score = PairCounts(table, shown, *scored.counts(*found)).table()["iou_set"]
        table[name] = np.where(found[0].any(axis=1), score, np.nan)
    return table
