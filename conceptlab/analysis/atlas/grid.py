"""The cells of a plane of activation vectors, and what they average."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conceptlab.activations.sample import Sample
from conceptlab.errors import InputError
from conceptlab.space import Space
from conceptlab.vectors import ConceptVectors

Floats = NDArray[np.float64]
CHUNK = 8192  # vectors at once
RIDGE = 1e-3  # of the mean second moment of a unit: what whitening adds for units that never vary


@dataclass(frozen=True)
class Grid:
    """The cells of one resolution that hold enough vectors, by row and column.

    Args:
        resolution: cells on a side.
        rows: (m,) from 0 at the top (small y).
        columns: (m,) from 0 at the left (small x).
        counts: (m,) vectors in each.
        means: (m, K) average of the cell's vectors, or its whitened form.
        attributions: (m, C) mean over the cell of activation times gradient of each class's logit;
            None without a network.
        scores: (m, Q) of each concept, in standard deviations over all vectors; None without
            concept vectors. NaN where a concept says the same of all vectors.
        nearest: (m, p) indices into the sample: the cell's vectors nearest to its average, of
            different images, nearest first; -1 where the cell has fewer images.
    """

    resolution: int
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    counts: NDArray[np.int64]
    means: NDArray[np.float32]
    attributions: NDArray[np.float32] | None
    scores: NDArray[np.float32] | None
    nearest: NDArray[np.int64]

    def __len__(self) -> int:
        """m, the number of cells."""
        return len(self.rows)

    @property
    def names(self) -> list[str]:
        """(m,) such as 'r3c4'."""
        return [f"r{row}c{column}" for row, column in zip(self.rows, self.columns, strict=True)]

    def vectors(self, space: Space) -> ConceptVectors:
        """The cells' means as vectors of kind 'cell', to visualise or to compare.

        Args:
            space: of the atlas's sample.
        """
        concepts = pd.DataFrame({"name": self.names, "category": "cell", "n": self.counts})
        return ConceptVectors(
            self.means.astype(np.float64), np.zeros(len(self)), concepts, "cell", space
        )


@dataclass(frozen=True)
class Cells:
    """Which vectors lie in which cell of one resolution.

    Args:
        resolution: cells on a side.
        numbers: (m,) row * resolution + column of the cells that hold enough vectors, ascending.
        counts: (m,) vectors in each.
        of: (n,) place of each vector's cell in `numbers`; -1 where it holds too few.
    """

    resolution: int
    numbers: NDArray[np.int64]
    counts: NDArray[np.int64]
    of: NDArray[np.int64]

    def add(self, total: Floats, values: NDArray[np.floating], start: int) -> None:
        """Add some of the vectors to the sum of their cell.

        Args:
            total: (m, D) sums, changed in place.
            values: (b, D) of vectors start, start + 1, ...
            start: see there.
        """
        from scipy.sparse import csr_array

        of = self.of[start : start + len(values)]
        rows = np.flatnonzero(of >= 0)
        touched, place = np.unique(of[rows], return_inverse=True)
        member = csr_array((np.ones(len(rows)), (place, rows)), shape=(len(touched), len(values)))
        total[touched] += member @ values.astype(np.float64)


def cells_of(points: Floats, resolution: int, least: int) -> Cells:
    """Lay a grid over the unit square.

    Args:
        points: (n, 2) x and y, 0..1.
        resolution: cells on a side.
        least: vectors that a cell has to hold.

    Raises:
        InputError: no cell holds so many.
    """
    columns, rows = np.minimum((points * resolution).astype(np.int64), resolution - 1).T
    number = rows * resolution + columns
    counts = np.bincount(number, minlength=resolution**2)
    numbers = np.flatnonzero(counts >= least)
    if not len(numbers):
        raise InputError(
            f"no cell of the {resolution} x {resolution} grid holds {least} vectors (the fullest "
            f"holds {counts.max()}): sample more, take a coarser grid, or a smaller least"
        )
    place = np.full(resolution**2, -1)
    place[numbers] = np.arange(len(numbers))
    return Cells(resolution, numbers, counts[numbers], place[number])


def cell_means(values: NDArray[np.float32], grids: list[Cells]) -> list[Floats]:
    """(m, K) average vector of each cell, for each grid.

    Args:
        values: (n, K).
        grids: over them.
    """
    sums = [np.zeros((len(cells.numbers), values.shape[1])) for cells in grids]
    for start, part in _chunks(values):
        for total, cells in zip(sums, grids, strict=True):
            cells.add(total, part, start)
    return [total / cells.counts[:, None] for total, cells in zip(sums, grids, strict=True)]


def whitened(means: list[Floats], values: NDArray[np.float32]) -> list[Floats]:
    """M^-1 h of each mean h, with M = mean of h h^T over all vectors, regularised.

    The direction in which a linear detector best tells h from the others, as Carter et al. 2019
    visualise it. To M's diagonal a thousandth of its mean is added.

    Args:
        means: (m, K) each.
        values: (n, K) all vectors.
    """
    units = values.shape[1]
    moment = np.zeros((units, units))
    for _, part in _chunks(values):
        wide = part.astype(np.float64)
        moment += wide.T @ wide
    moment /= len(values)
    smallest = np.finfo(np.float64).tiny  # where all is zero
    moment += max(RIDGE * np.trace(moment) / units, smallest) * np.eye(units)
    return [np.asarray(np.linalg.solve(moment, mean.T).T, dtype=np.float64) for mean in means]


def concept_scores(sample: Sample, vectors: ConceptVectors, grids: list[Cells]) -> list[Floats]:
    """(m, Q) mean logit of each concept in each cell, standardised over all vectors.

    Args:
        sample: n vectors.
        vectors: of the same layer; over raw activations or thresholded ones.
        grids: over the sample.
    """
    levels = vectors.thresholds if vectors.space.inputs.startswith("binary") else None
    sums = [np.zeros((len(cells.numbers), len(vectors))) for cells in grids]
    first, second, shift = np.zeros(len(vectors)), np.zeros(len(vectors)), np.zeros(0)
    for start, part in _chunks(sample.values):
        inputs = part if levels is None else part > levels
        logits = inputs.astype(np.float64) @ vectors.weights.T
        shift = logits.mean(axis=0) if not start else shift  # sums of squares lose less
        logits -= shift
        first += logits.sum(axis=0)
        second += (logits**2).sum(axis=0)
        for total, cells in zip(sums, grids, strict=True):
            cells.add(total, logits, start)
    mean = first / len(sample)
    spread = np.sqrt(np.maximum(second / len(sample) - mean**2, 0.0))
    varies = spread > 1e-9 * (np.abs(shift) + np.abs(mean))
    spread = np.where(varies, spread, np.nan)
    return [
        (total / cells.counts[:, None] - mean) / spread
        for total, cells in zip(sums, grids, strict=True)
    ]


def nearest_vectors(sample: Sample, cells: Cells, means: Floats, count: int) -> NDArray[np.int64]:
    """(m, count) the vectors of each cell nearest to its mean by cosine, of different images.

    Args:
        sample: n vectors.
        cells: over them.
        means: (m, K) of the cells, not whitened.
        count: how many; -1 stands where a cell has fewer images.
    """
    cosines = np.empty(len(sample))
    lengths = np.linalg.norm(means, axis=1, keepdims=True)
    units = np.divide(means, lengths, out=np.zeros_like(means), where=lengths > 0)
    units = units.astype(np.float32)
    for start, part in _chunks(sample.values):
        of = cells.of[start : start + len(part)]
        norms = np.sqrt(np.einsum("nk,nk->n", part, part))
        along = np.einsum("nk,nk->n", part, units[of])
        cosines[start : start + len(part)] = along / np.where(norms > 0, norms, 1.0)
    inside = np.flatnonzero(cells.of >= 0)
    order = inside[np.lexsort((-cosines[inside], cells.of[inside]))]
    pairs = cells.of[order] * (sample.images.max() + 1) + sample.images[order]
    order = order[np.sort(np.unique(pairs, return_index=True)[1])]  # the first of each image
    of = cells.of[order]
    rank = np.arange(len(order)) - np.searchsorted(of, of)
    found = np.full((len(cells.numbers), count), -1)
    found[of[rank < count], rank[rank < count]] = order[rank < count]
    return found


def _chunks(values: NDArray[np.float32]) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Vectors in order, some at a time, and where each part begins."""
    for start in range(0, len(values), CHUNK):
        yield start, values[start : start + CHUNK]
