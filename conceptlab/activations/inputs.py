"""What a probe over maps takes in: thresholded units, or units as they are.

Either gives, of a few images, the concept maps that weights make of them, and brings a gradient of
those maps back to the weights.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from conceptlab.numerics.pixelwise import active_gradient, active_maps

Maps = NDArray[np.float32]
KEPT = 256 << 20  # bytes of activations that a fit holds
Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]  # offsets (n + 1,) and concepts (J,)


class ChunkInputs(Protocol):
    """The inputs of a few images."""

    def maps(self, weights: Maps, bias: Maps, pairs: Pairs) -> Maps:
        """(J, H * W) logits at the cells of (image, concept) pairs, from (C, K) and (C,)."""
        ...

    def gradient(self, d_maps: Maps, pairs: Pairs, concepts: int) -> NDArray[np.float64]:
        """(C, K) gradient of the weights from that of the maps."""
        ...


class MapSource(Protocol):
    """A layer's activations, or what stands in their place."""

    shape: tuple[int, int, int, int]

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """(stop - start, K, H, W) of the images from one row to another."""
        ...


class Inputs(Protocol):
    """The inputs of all images of a layer."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, K, H, W)."""
        ...

    def of(self, images: NDArray[np.int64]) -> ChunkInputs:
        """Those of some images, in their order."""
        ...


@dataclass(frozen=True)
class ActiveChunk:
    """The active (unit, cell) pairs of n images.

    Args:
        offsets: (n + 1,) into index.
        index: unit * cells + cell, ascending in each image.
        units: K.
        cells: H * W.
    """

    offsets: NDArray[np.int64]
    index: NDArray[np.uint32]
    units: int
    cells: int

    def maps(self, weights: Maps, bias: Maps, pairs: Pairs) -> Maps:
        """See `ChunkInputs`."""
        found: Maps = active_maps(self.offsets, self.index, *pairs, weights, bias, self.cells)
        return found

    def gradient(self, d_maps: Maps, pairs: Pairs, concepts: int) -> NDArray[np.float64]:
        """See `ChunkInputs`."""
        shape = (concepts, self.units)
        found: NDArray[np.float64] = active_gradient(
            self.offsets, self.index, *pairs, d_maps, shape
        )
        return found


class RawChunk:
    """The activations of n images, read when they are first asked for.

    Args:
        read: gives them, (n, K, H * W) float32.
    """

    def __init__(self, read: Callable[[], Maps]) -> None:
        self._read = read

    @cached_property
    def _values(self) -> Maps:
        return self._read()

    def maps(self, weights: Maps, bias: Maps, pairs: Pairs) -> Maps:
        """See `ChunkInputs`."""
        offsets, concepts = pairs
        found = np.empty((len(concepts), self._values.shape[2]), dtype=np.float32)
        for image, values in enumerate(self._values):
            own = slice(offsets[image], offsets[image + 1])
            np.matmul(weights[concepts[own]], values, out=found[own])
        return found + bias[concepts, None]

    def gradient(self, d_maps: Maps, pairs: Pairs, concepts: int) -> NDArray[np.float64]:
        """See `ChunkInputs`."""
        offsets, which = pairs
        found = np.zeros((concepts, self._values.shape[1]))
        for image, values in enumerate(self._values):
            own = slice(offsets[image], offsets[image + 1])
            found[which[own]] += d_maps[own] @ values.T
        return found


class RawMaps:
    """A layer's activations as they are, read again on every pass but for what fits in memory.

    Args:
        source: what gives them.
        kept: bytes to hold of them from one pass to the next, the first that are read.
    """

    def __init__(self, source: MapSource, kept: int = 0) -> None:
        self.source = source
        self._left = kept
        self._kept: dict[bytes, Maps] = {}

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, K, H, W)."""
        return self.source.shape

    def of(self, images: NDArray[np.int64]) -> RawChunk:
        """Those of some images, in their order."""
        return RawChunk(lambda: self._values(images))

    def _values(self, images: NDArray[np.int64]) -> Maps:
        key = images.tobytes()
        values = self._kept.get(key)
        if values is None:
            values = self._read(images)
            if values.nbytes <= self._left:
                self._left -= values.nbytes
                self._kept[key] = values
        return values

    def _read(self, images: NDArray[np.int64]) -> Maps:
        cells = self.shape[2] * self.shape[3]
        first, last = int(images.min()), int(images.max()) + 1
        if last - first <= 2 * len(images):
            values = self.source.read(first, last)
            if last - first > len(images) or (np.diff(images) != 1).any():
                values = values[images - first]
        else:
            values = np.concatenate([self.source.read(int(i), int(i) + 1) for i in images])
        return values.reshape(len(images), -1, cells).astype(np.float32)
