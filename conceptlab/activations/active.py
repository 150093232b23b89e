"""Thresholds of units, and the sparse set of activations above them.

Fong & Vedaldi 2018, section 3.1.1. Only a share tau of all activations lies above its unit's
threshold; those (unit, cell) pairs are all that dissection and segmentation probes need.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conceptlab.activations.cache import derived_read, derived_write
from conceptlab.activations.inputs import ActiveChunk
from conceptlab.activations.layer_file import LayerFile
from conceptlab.numerics.parallel import ordered_map
from conceptlab.numerics.running import active_pairs, upper_order_statistic

BLOCK = 32


@dataclass(frozen=True)
class ActiveSet:
    """Which units exceed their threshold where, for every image.

    Args:
        tau: the share of activations above, 0..1.
        thresholds: (K,) T_k.
        offsets: (N + 1,) into index.
        index: unit * H * W + cell of each pair, ascending within an image.
        shape: (N, K, H, W).
    """

    tau: float
    thresholds: NDArray[np.float32]
    offsets: NDArray[np.int64]
    index: NDArray[np.uint32]
    shape: tuple[int, int, int, int]

    def of(self, images: NDArray[np.int64]) -> ActiveChunk:
        """The pairs of some images, in their order."""
        offsets, index = self._pairs(images)
        return ActiveChunk(offsets, index, self.shape[1], self.shape[2] * self.shape[3])

    def _pairs(self, images: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
        counts = self.offsets[images + 1] - self.offsets[images]
        if len(images) and (np.diff(images) == 1).all():
            index = self.index[self.offsets[images[0]] : self.offsets[images[-1] + 1]]
            return self.offsets[images[0] : images[-1] + 2] - self.offsets[images[0]], index
        parts = [self.index[self.offsets[i] : self.offsets[i + 1]] for i in images]
        index = np.concatenate(parts) if parts else np.empty(0, dtype=np.uint32)
        return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), index

    def masks(self, image: int) -> NDArray[np.bool_]:
        """(K, H, W) the pairs of one image as an array."""
        dense = np.zeros(int(np.prod(self.shape[1:])), dtype=bool)
        dense[self.index[self.offsets[image] : self.offsets[image + 1]]] = True
        return dense.reshape(self.shape[1:])


def blocks(activations: LayerFile) -> Iterator[NDArray[Any]]:
    """The activations in order, (n, K, H, W) at a time."""
    total = activations.shape[0]
    yield from ordered_map(
        lambda start: activations.read(start, min(start + BLOCK, total)), range(0, total, BLOCK)
    )


def thresholds(activations: LayerFile, tau: float) -> NDArray[np.float32]:
    """(K,) T_k of each unit, computed once and kept beside the activations."""
    key = repr(float(tau))
    known = derived_read(activations.path, "thresholds", key)
    if known is not None and _is_whole(known, thresholds=activations.shape[1]):
        return np.asarray(known["thresholds"], dtype=np.float32)
    result = upper_order_statistic(
        lambda: blocks(activations), activations.shape, activations.dtype, tau
    )
    derived_write(activations.path, "thresholds", key, {"thresholds": result})
    return result


def active_set(activations: LayerFile, tau: float) -> ActiveSet:
    """The pairs above the thresholds, computed once and kept beside the activations."""
    key = repr(float(tau))
    levels = thresholds(activations, tau)
    known = derived_read(activations.path, "active", key)
    if known is None or not _is_whole(known, offsets=len(activations) + 1, index=None):
        known = _find(activations, levels)
        derived_write(activations.path, "active", key, known)
    return ActiveSet(tau, levels, known["offsets"], known["index"], activations.shape)


def _is_whole(found: dict[str, NDArray[Any]], **lengths: int | None) -> bool:
    """Whether a result has just these arrays, each of its length (None: of any)."""
    return found.keys() == lengths.keys() and all(
        found[name].ndim == 1 and length in (None, len(found[name]))
        for name, length in lengths.items()
    )


def _find(activations: LayerFile, levels: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    total = activations.shape[0]

    def find(start: int) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        return active_pairs(activations.read(start, min(start + BLOCK, total)), levels)

    counts = []
    with tempfile.TemporaryFile() as file:  # bounded memory: the pairs grow with the images
        for index, count in ordered_map(find, range(0, total, BLOCK)):
            file.write(index.tobytes())
            counts.append(count)
        file.flush()
        offsets = np.concatenate([[0], np.cumsum(np.concatenate(counts))]).astype(np.int64)
        empty = np.empty(0, dtype=np.uint32)
        index = np.memmap(file, dtype=np.uint32, mode="r") if offsets[-1] else empty
    return {"offsets": offsets, "index": index}
