"""Sums over map positions of concept maps and activations: all that a regression needs."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from conceptlab.activations.labels import LabelStore
from conceptlab.numerics.cells import cell_of, covered
from conceptlab.numerics.parallel import ordered_map

if TYPE_CHECKING:
    from conceptlab.activations.store import Activations

Floats = NDArray[np.float64]
CHUNK = 16  # images read at once


@dataclass(frozen=True)
class Moments:
    """Sums over n positions of concept maps m (C,) and activations a (K,).

    Args:
        count: n.
        m: (C,) sums of m.
        a: (K,) sums of a.
        mm: (C, C) sums of products.
        ma: (C, K).
        aa: (K,) sums of squares.
    """

    count: float
    m: Floats
    a: Floats
    mm: Floats
    ma: Floats
    aa: Floats

    def __add__(self, other: "Moments") -> "Moments":
        """Of the positions of both."""
        return self._with(other, 1.0)

    def __sub__(self, other: "Moments") -> "Moments":
        """Of the positions that the other, a part of this, lacks."""
        return self._with(other, -1.0)

    def _with(self, other: "Moments", sign: float) -> "Moments":
        return Moments(
            self.count + sign * other.count, self.m + sign * other.m, self.a + sign * other.a,
            self.mm + sign * other.mm, self.ma + sign * other.ma, self.aa + sign * other.aa,
        )  # fmt: skip

    def about(self, m: Floats, a: Floats) -> tuple[Floats, Floats, Floats]:
        """Mean products (C, C), (C, K) and squares (K,) of what is away from given means."""
        mean_m, mean_a = self.m / self.count, self.a / self.count
        off_m, off_a = mean_m - m, mean_a - a
        mm = self.mm / self.count - np.outer(mean_m, mean_m) + np.outer(off_m, off_m)
        ma = self.ma / self.count - np.outer(mean_m, mean_a) + np.outer(off_m, off_a)
        return mm, ma, self.aa / self.count - mean_a**2 + off_a**2

    @property
    def means(self) -> tuple[Floats, Floats]:
        """(C,) and (K,)."""
        return self.m / self.count, self.a / self.count


def total(parts: Sequence[Moments]) -> Moments:
    """The moments of all positions."""
    return reduce(Moments.__add__, parts)


def moments(
    activations: "Activations",
    labels: LabelStore,
    concepts: NDArray[np.int64],
    images: NDArray[np.int64],
    label_images: NDArray[np.int64] | None = None,
) -> Moments:
    """The moments of some images, read in chunks.

    Args:
        activations: of the layer.
        labels: the label maps.
        concepts: (C,) which, rows of the labels' concepts.
        images: (n,) rows of the activations, ascending.
        label_images: (n,) rows of the labels to set beside them; the same if not given.
    """
    rows = images if label_images is None else label_images
    starts = range(0, len(images), CHUNK)

    def one(start: int) -> Moments:
        some = slice(start, start + CHUNK)
        return _chunk(activations, labels, concepts, images[some], rows[some])

    found = ordered_map(one, starts)
    return reduce(Moments.__add__, found)


def _chunk(
    activations: "Activations",
    labels: LabelStore,
    concepts: NDArray[np.int64],
    images: NDArray[np.int64],
    label_images: NDArray[np.int64],
) -> Moments:
    _, units, height, width = activations.shape
    first, last = int(images[0]), int(images[-1]) + 1
    values = activations.read(first, last)
    if len(values) > len(images):
        values = values[images - first]
    maps = values.astype(np.float32).reshape(len(images), units, -1)
    block = labels.read(label_images)
    here = np.flatnonzero(labels.shown()[label_images][:, concepts].any(axis=0))
    column_of = np.full(len(labels.concepts), -1, dtype=np.int64)
    column_of[concepts[here]] = np.arange(len(here))
    shares = np.zeros((len(images), height * width, len(here)), dtype=np.float32)
    covered(
        block.plane_offsets, block.planes, cell_of(labels.size[0], height),
        cell_of(labels.size[1], width), column_of, width, shares,
    )  # fmt: skip
    flat = shares.reshape(-1, len(here))
    count = len(concepts)
    m, mm, ma = np.zeros(count), np.zeros((count, count)), np.zeros((count, units))
    m[here] = flat.sum(axis=0, dtype=np.float64)
    mm[np.ix_(here, here)] = flat.T @ flat
    ma[here] = (maps @ shares).sum(axis=0, dtype=np.float64).T
    return Moments(
        float(flat.shape[0]), m, maps.sum(axis=(0, 2), dtype=np.float64), mm, ma,
        np.einsum("nkp,nkp->k", maps, maps, dtype=np.float64),
    )  # fmt: skip
