"""The images in which each unit is most active."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from conceptlab.numerics.parallel import ordered_map

if TYPE_CHECKING:
    from conceptlab.activations.store import Activations

BLOCK = 64


def top_images(
    activations: "Activations", units: NDArray[np.int64], count: int
) -> NDArray[np.int64]:
    """The images with the highest maximum of each unit, highest first, in bounded memory.

    Args:
        activations: a layer's cached outputs.
        units: (U,) which.
        count: images per unit; all of them if there are fewer.

    Returns:
        (U, count) rows of the activations; of equals, the first.
    """
    total = activations.shape[0]

    def maxima(start: int) -> NDArray[np.float32]:
        block = activations.read(start, min(start + BLOCK, total))[:, units]
        peaks: NDArray[np.float32] = block.max(axis=(2, 3)).astype(np.float32).T
        return peaks

    values = np.empty((len(units), 0), dtype=np.float32)
    rows = np.empty((len(units), 0), dtype=np.int64)
    start = 0
    for peaks in ordered_map(maxima, range(0, total, BLOCK)):
        own = np.broadcast_to(np.arange(start, start + peaks.shape[1]), peaks.shape)
        values, rows = np.hstack([values, peaks]), np.hstack([rows, own])
        order = np.argsort(-values, axis=1, kind="stable")[:, :count]
        values, rows = np.take_along_axis(values, order, 1), np.take_along_axis(rows, order, 1)
        start += peaks.shape[1]
    return rows
