"""Inputs and labels of images, chunk by chunk: the one way in which probes see the data."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from conceptlab.activations.inputs import ChunkInputs, Inputs
from conceptlab.activations.labels import LabelBlock, LabelStore
from conceptlab.numerics.parallel import one_blas_thread, ordered_map
from conceptlab.numerics.resample import taps

R = TypeVar("R")
CHUNK = 16

Axis = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]


@dataclass(frozen=True)
class Chunk:
    """A few images: what a layer gives of them, and what they show.

    Args:
        images: (n,) rows of the activations.
        label_images: (n,) rows of the labels; the same, unless labels are permuted as a control.
        inputs: their maps, thresholded or not.
        labels: planes and labelled categories at the label size.
    """

    images: NDArray[np.int64]
    label_images: NDArray[np.int64]
    inputs: ChunkInputs
    labels: LabelBlock

    def pairs(self, trains: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Which concepts each image trains, as offsets (n + 1,) and concept ids (J,).

        Args:
            trains: (N, C) over the rows of the labels.
        """
        rows, concepts = np.nonzero(trains[self.label_images])
        counts = np.bincount(rows, minlength=len(self.images))
        return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), concepts


@dataclass(frozen=True)
class Stream:
    """Some images of a layer with their labels, in chunks of a fixed size.

    Args:
        inputs: the layer's.
        labels: the label maps.
        images: (n,) which rows, in which order.
        label_images: (n,) rows of the labels to set beside them; the same rows if not given.
        align_corners: how maps are interpolated, see `conceptlab.numerics.resample.taps`.
        image_level: also the concepts that hold for a whole image, as masks of the whole image.
    """

    inputs: Inputs
    labels: LabelStore
    images: NDArray[np.int64]
    label_images: NDArray[np.int64] | None = None
    align_corners: bool = False
    image_level: bool = False

    @property
    def label_rows(self) -> NDArray[np.int64]:
        """(n,) rows of the labels, in the order of the images."""
        return self.images if self.label_images is None else self.label_images

    def axes(self) -> tuple[Axis, Axis]:
        """(low, high, t) of the columns and of the rows, as the pixel-wise kernels take them."""
        height, width = self.inputs.shape[2:]
        h, w = self.labels.size
        pair = taps(width, w, self.align_corners), taps(height, h, self.align_corners)
        xs, ys = ((axis.low, axis.high, axis.t.astype(np.float32)) for axis in pair)
        return xs, ys

    def map(self, function: Callable[[Chunk], R]) -> Iterator[R]:
        """Function of every chunk, in threads, results in order.

        The chunks do not depend on the number of threads, so neither do sums over them.
        """
        starts = range(0, len(self.images), CHUNK)
        with one_blas_thread():
            yield from ordered_map(lambda start: function(self._chunk(start)), starts)

    def _chunk(self, start: int) -> Chunk:
        images = self.images[start : start + CHUNK]
        rows = self.label_rows[start : start + CHUNK]
        labels = self.labels.read(rows, image_level=self.image_level)
        return Chunk(images, rows, self.inputs.of(images), labels)
