"""Maps that need no network: where a cell lies, and what colour the picture has there.

They stand in place of a layer's activations, so that a probe over them is a control for one over a
network: what position and colour alone tell of a concept.
"""

import tempfile
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from conceptlab.models.picture import network_view
from conceptlab.numerics.cells import cell_of
from conceptlab.numerics.parallel import ordered_map

if TYPE_CHECKING:
    from conceptlab.activations.store import Activations
    from conceptlab.data.base import ProbeDataset

Floats = NDArray[np.float32]
DEGREE = 4  # of the terms x^i y^j, i + j from 1 to this
PAIRS = [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)]  # of colours multiplied


class PlainMaps:
    """Features of every cell of every image, read as activations are.

    Args:
        shape: (N, F, H, W).
        position: (P, H, W) the same for all images; P may be 0.
        colours: (N, 3, H, W) mean red, green and blue of a cell, 0..1, or None.
    """

    def __init__(
        self, shape: tuple[int, int, int, int], position: Floats, colours: Floats | None
    ) -> None:
        self.shape, self._position, self._colours = shape, position, colours

    def read(self, start: int, stop: int) -> Floats:
        """(stop - start, F, H, W) of the images from one row to another."""
        count = stop - start
        parts = [np.broadcast_to(self._position, (count, *self._position.shape))]
        if self._colours is not None:
            own = np.asarray(self._colours[start:stop])
            squares = np.stack([own[:, a] * own[:, b] for a, b in PAIRS], axis=1)
            parts += [own, squares]
        return np.concatenate(parts, axis=1)


def position_maps(height: int, width: int) -> Floats:
    """(P, H, W) the terms x^i y^j of low order, x and y from -1 to 1 at the cells' centres."""
    y = (2 * np.arange(height) + 1) / height - 1
    x = (2 * np.arange(width) + 1) / width - 1
    terms = [(i, d - i) for d in range(1, DEGREE + 1) for i in range(d + 1)]
    return np.stack([np.outer(y**j, x**i) for i, j in terms]).astype(np.float32)


def colour_maps(activations: "Activations", data: "ProbeDataset") -> Floats:
    """(N, 3, H, W) mean red, green and blue, 0..1, of what a network sees in each cell.

    Kept in a temporary file, so that memory does not grow with the images.

    Args:
        activations: whose geometry and cells.
        data: the pictures.
    """
    count, _, height, width = activations.shape
    geometry = activations.geometry
    rows, columns = cell_of(geometry.size, height), cell_of(geometry.size, width)
    first_row, first_column = (np.flatnonzero(np.diff(a, prepend=-1)) for a in (rows, columns))
    area = np.outer(np.bincount(rows), np.bincount(columns)).astype(np.float32)

    def one(image: int) -> Floats:
        seen = network_view(data.image(image), geometry).astype(np.float32) / 255
        sums = np.add.reduceat(np.add.reduceat(seen, first_row, axis=0), first_column, axis=1)
        mean = (sums / area[:, :, None]).transpose(2, 0, 1)
        return mean.astype(np.float32)

    with tempfile.TemporaryFile() as file:
        for mean in ordered_map(one, range(count)):
            file.write(np.ascontiguousarray(mean).tobytes())
        file.flush()
        return np.memmap(file, dtype=np.float32, mode="r", shape=(count, 3, height, width))


def plain_maps(activations: "Activations", position: bool, colours: Floats | None) -> PlainMaps:
    """The maps of position, of colour, or of both, in the cells of a layer.

    Args:
        activations: whose cells.
        position: whether to hold the terms of position.
        colours: of `colour_maps`, or None.
    """
    count, _, height, width = activations.shape
    where = position_maps(height, width)[: None if position else 0]
    features = len(where) + (0 if colours is None else 3 + len(PAIRS))
    return PlainMaps((count, features, height, width), where, colours)
