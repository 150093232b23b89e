"""Overlap counts of all units with all concepts over a stream of images."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conceptlab.activations.active import ActiveSet
from conceptlab.activations.stream import Chunk, Stream
from conceptlab.numerics.metrics import iou
from conceptlab.numerics.resample import Taps, taps
from conceptlab.numerics.tally import tally_binary, tally_values

Counts = NDArray[np.int64]
Reader = Callable[[int, int], NDArray[Any]]


def tally(
    stream: Stream, active: ActiveSet, shows: NDArray[np.bool_], values: Reader | None = None
) -> tuple[Counts, Counts]:
    """Pixels in each unit's mask and of each concept, and in each unit's mask.

    Args:
        stream: the images and their labels.
        active: which units exceed their threshold where.
        shows: (N, C) over the rows of the labels: which images count for a concept.
        values: reads activations (n, K, H, W) from one row to another, to upsample them before they
            are thresholded; else they are thresholded first.

    Returns:
        (K, C) and (K, C).
    """
    labels = stream.labels
    height, width = active.shape[2:]
    xs = _axis(taps(width, labels.size[1], stream.align_corners))
    ys = _axis(taps(height, labels.size[0], stream.align_corners))

    def count(chunk: Chunk) -> tuple[Counts, Counts]:
        block = chunk.labels
        common = (
            block.plane_offsets, block.planes, block.pattern, block.labelled, labels.groups,
            shows[chunk.label_images],
        )  # fmt: skip
        if values is None:
            fires = active.of(chunk.images)
            found: tuple[Counts, Counts] = tally_binary(
                fires.offsets, fires.index, *common, active.shape[1], xs, ys
            )
            return found
        first, last = int(chunk.images.min()), int(chunk.images.max()) + 1
        maps = values(first, last)[chunk.images - first].astype(np.float32)
        found = tally_values(maps, active.thresholds, *common, xs, ys)
        return found

    shape = (active.shape[1], len(labels.concepts))
    both, area = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for part_both, part_area in stream.map(count):
        both += part_both
        area += part_area
    return both, area


def unit_iou(stream: Stream, active: ActiveSet, shows: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(K, C) IoU_set of every unit with every concept over a stream (eq. 1).

    Args:
        stream: the images and their labels.
        active: see `tally`; so is shows.
        shows: see there.
    """
    both, area = tally(stream, active, shows)
    return iou(both, area, np.where(shows, stream.labels.areas(), 0)[stream.label_rows].sum(axis=0))


def _axis(axis: Taps) -> tuple[NDArray[Any], ...]:
    return axis.low, axis.high, axis.t, axis.start
