"""Label maps brought to a layer's grid: how much of each cell a concept covers."""

import numpy as np
from numba import njit
from numpy.typing import NDArray


def cell_of(pixels: int, cells: int) -> NDArray[np.int64]:
    """(pixels,) the cell of a grid that each pixel of one axis lies in.

    >>> cell_of(4, 2).tolist()
    [0, 0, 1, 1]
    """
    found: NDArray[np.int64] = ((np.arange(pixels) + 0.5) * cells / pixels).astype(np.int64)
    return found


@njit(cache=True, nogil=True)
def covered(plane_offsets, planes, rows, columns, column_of, width, out):
    """Add up the share of each cell that shows each concept.

    Args:
        plane_offsets: (n + 1,) into planes.
        planes: (P, h, w) concept ids, -1 for none.
        rows: (h,) the row of cells that each row of pixels lies in.
        columns: (w,) likewise.
        column_of: (C,) the concept's place in `out`, or -1.
        width: cells in a row.
        out: (n, cells, c) zeros; filled in place. At most 1 where planes repeat a concept.
    """
    share = np.zeros(out.shape[1])
    for y in range(len(rows)):
        for x in range(len(columns)):
            share[rows[y] * width + columns[x]] += 1.0
    for image in range(len(plane_offsets) - 1):
        for plane in range(plane_offsets[image], plane_offsets[image + 1]):
            for y in range(len(rows)):
                for x in range(len(columns)):
                    concept = planes[plane, y, x]
                    if concept >= 0 and column_of[concept] >= 0:
                        cell = rows[y] * width + columns[x]
                        out[image, cell, column_of[concept]] += 1.0 / share[cell]
        for cell in range(out.shape[1]):
            for c in range(out.shape[2]):
                out[image, cell, c] = min(out[image, cell, c], 1.0)
