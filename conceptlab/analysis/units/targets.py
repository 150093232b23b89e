"""What is looked at in a layer: units, concept vectors or directions, each with a map an image."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from conceptlab.errors import InputError, SpaceError
from conceptlab.numerics.parallel import ordered_map
from conceptlab.numerics.peaks import map_maxima
from conceptlab.numerics.running import upper_order_statistic
from conceptlab.vectors import ConceptVectors

if TYPE_CHECKING:
    from conceptlab.activations.store import Activations

Floats = NDArray[np.float32]
By = str | tuple[int, int]  # 'max', 'mean', or a row and a column of the map
BLOCK = 16 << 20  # bytes of maps, as float32, that a thread works on


@dataclass(frozen=True)
class Targets:
    """Units, vectors or directions of a layer.

    Args:
        activations: of the layer.
        names: (T,) for people.
        units: (T,) the unit of each; -1 for a vector.
        weights: (T, K) float32 of vectors; None for units.
        bias: (T,) that is added to a vector's weighted sum.
        thresholds: (K,) where the vectors weigh 1[a > T_k] and not a.
    """

    activations: "Activations"
    names: tuple[str, ...]
    units: NDArray[np.int64]
    weights: Floats | None = None
    bias: Floats | None = None
    thresholds: Floats | None = None

    def __len__(self) -> int:
        """T, how many."""
        return len(self.names)

    @cached_property
    def _everything(self) -> bool:
        return np.array_equal(self.units, np.arange(self.activations.shape[1]))

    def maps(self, grid: NDArray[Any]) -> NDArray[Any]:
        """What each target gives at every position: a_k, or w.a + b.

        Args:
            grid: (n, K, H, W) outputs of the layer.

        Returns:
            (n, T, H, W); of units in the type of the grid, else float32.
        """
        if self.weights is None or self.bias is None:
            return grid if self._everything else grid[:, self.units]
        inputs = grid.reshape(*grid.shape[:2], -1).astype(np.float32)
        if self.thresholds is not None:
            above = inputs > self.thresholds[:, None]
            inputs = np.where(np.isnan(inputs), inputs, above)
        # an image a product: results do not depend on which images are read together
        found: Floats = np.matmul(self.weights, inputs) + self.bias[:, None]
        return found.reshape(len(grid), len(self), *grid.shape[2:])

    def maps_of(self, row: int, which: NDArray[np.int64]) -> NDArray[Any]:
        """(m, H, W) the maps of some targets for one image.

        Args:
            row: of the activations.
            which: (m,) numbers of targets.
        """
        grid = self.activations.read(row, row + 1)
        found: NDArray[Any] = self.maps(grid)[0, which]
        return found

    def blocks(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Rows start..stop in pieces that bound the memory."""
        _, units, height, width = self.activations.shape
        images = max(BLOCK // (4 * max(units, len(self)) * height * width), 1)
        for first in range(start, stop, images):
            yield first, min(first + images, stop)

    def values(self, start: int, stop: int, by: By) -> Floats:
        """(n, T) the value of each target for images start..stop; NaN where a map holds NaN."""
        pooled = by == "mean" and self.thresholds is None
        if pooled:
            grid = self.activations.read_pooled(np.arange(start, stop))[:, :, None, None]
        else:
            grid = self.activations.read(start, stop)
        if not isinstance(by, str):
            row, column = by
            grid = grid[:, :, row : row + 1, column : column + 1]
        maps = self.maps(grid)
        if by == "mean" and not pooled:
            means: Floats = maps.mean(axis=(2, 3))
            return means
        return map_maxima(maps)

    def levels(self, tau: float) -> Floats:
        """(T,) the value above which a target counts as active at a position.

        Of a unit T_k; of a vector with a bias 0, where its sigmoid passes one half; of one without
        the value that a share tau of the positions of all images exceeds, as T_k is of a unit.

        Args:
            tau: the share, 0..1.
        """
        if self.bias is None or self.weights is None:
            levels: Floats = self.activations.thresholds(tau)[self.units]
            return levels
        levels = np.zeros(len(self), dtype=np.float32)
        free = np.flatnonzero(self.bias == 0)
        if len(free):
            images, _, height, width = self.activations.shape
            levels[free] = upper_order_statistic(
                lambda: self._free_maps(free), (images, len(free), height, width),
                np.dtype(np.float32), tau,
            )  # fmt: skip
        return levels

    def _free_maps(self, free: NDArray[np.int64]) -> Iterator[Floats]:
        def read(piece: tuple[int, int]) -> Floats:
            return self.maps(self.activations.read(*piece))[:, free]

        yield from ordered_map(read, self.blocks(0, len(self.activations)))


def targets_of(activations: "Activations", of: Any = None) -> Targets:
    """What to look at in a layer.

    Args:
        activations: of the layer.
        of: None for all units; unit numbers; `ConceptVectors`; or directions (T, K).

    Raises:
        InputError: no such unit, directions of another length or with NaN, or none at all.
        SpaceError: vectors of another network or layer.
    """
    if isinstance(of, ConceptVectors):
        return _vectors(activations, of)
    given = np.arange(activations.shape[1]) if of is None else np.asarray(of)
    if given.size == 0:
        raise InputError("name at least one unit, vector or direction")
    if given.ndim == 2:
        return _directions(activations, given)
    if given.ndim > 2 or given.dtype.kind not in "iu":
        raise InputError(
            "units are whole numbers, and directions the rows of an array (T, K); got "
            f"{given.dtype} of shape {given.shape}"
        )
    units = np.atleast_1d(given).astype(np.int64)
    wrong = units[(units < 0) | (units >= activations.shape[1])]
    if len(wrong):
        raise InputError(
            f"layer {activations.layer} has units 0 to {activations.shape[1] - 1}; got {wrong[0]}"
        )
    return Targets(activations, tuple(f"unit {u}" for u in units), units)


def _vectors(activations: "Activations", vectors: ConceptVectors) -> Targets:
    space = activations.space()
    vectors.space.require_layer(space)
    if vectors.space.units != space.units:
        raise SpaceError(
            f"these vectors are of {vectors.space.units} units, and {space.layer} has {space.units}"
        )
    if not len(vectors) or not vectors.usable.all():
        missing = [n for n, ok in zip(vectors.names, vectors.usable, strict=True) if not ok]
        raise InputError(
            f"no vector of {', '.join(missing[:8]) or 'any concept'} (too few examples to fit "
            "one); select those that have one, with vectors.select(...)"
        )
    binary = vectors.space.inputs.startswith("binary")
    thresholds = np.asarray(vectors.thresholds, dtype=np.float32) if binary else None
    return Targets(
        activations, tuple(vectors.names), np.full(len(vectors), -1),
        vectors.weights.astype(np.float32), vectors.bias.astype(np.float32), thresholds,
    )  # fmt: skip


def _directions(activations: "Activations", rows: NDArray[Any]) -> Targets:
    units = activations.shape[1]
    if rows.dtype.kind not in "fiu" or rows.shape[1] != units:
        raise InputError(
            f"a direction in layer {activations.layer} has {units} numbers, one for each unit; "
            f"got an array {rows.shape} of {rows.dtype}"
        )
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1) | ~rows.any(axis=1))
    if len(bad):
        raise InputError(
            f"direction {bad[0]} is no direction (NaN, infinite or all zero); leave it out"
        )
    return Targets(
        activations, tuple(f"direction {i}" for i in range(len(rows))), np.full(len(rows), -1),
        rows.astype(np.float32), np.zeros(len(rows), dtype=np.float32),
    )  # fmt: skip
