"""What an image is optimised for: units, classes, directions, other images, and sums of these.

Every objective is a number that is made as large as can be; of an inversion, the distance with a
minus. It reads one layer's output of its own image alone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from conceptlab.errors import InputError, SpaceError
from conceptlab.given import checked, require_fields
from conceptlab.models.outputs import class_columns
from conceptlab.models.probed import ProbedModel
from conceptlab.space import Space
from conceptlab.synthesis.objective import SCORES, Term, Value
from conceptlab.synthesis.objective import Objective as Objective  # for who writes its type
from conceptlab.vectors import ConceptVectors

TINY = 1e-12  # keeps the gradient of a norm finite at zero
LEAST_COSINE = 0.1  # so that a picture which starts on the wrong side has a way back

Position = tuple[int, int]


@dataclass(frozen=True)
class Neuron(Term):
    """A unit at one position (program 3.1's h at n, x, y, z).

    Args:
        layer: name in `named_modules()`.
        unit: from 0.
        position: (row, column) in the layer's map; its centre if not given.
    """

    layer: str
    unit: int
    position: Position | None = None

    def __post_init__(self) -> None:
        """Hold plain whole numbers."""
        require_fields(self)
        object.__setattr__(self, "unit", whole(self.unit, "a unit"))
        object.__setattr__(self, "position", _position(self.position))

    @property
    def text(self) -> str:
        """The objective as text, as tables have it."""
        return f"{self.layer} unit {self.unit} at {_where(self.position)}"

    def bound(self, model: ProbedModel, shape: Sequence[int], device: torch.device) -> Value:
        """See `Term.bound`."""
        _require_unit(self.layer, self.unit, shape)
        row, column = _place(self.layer, self.position, shape)
        return lambda output: output[self.unit, row, column]


@dataclass(frozen=True)
class Unit(Term):
    """A unit's mean over the map.

    Args:
        layer: name in `named_modules()`.
        unit: from 0.
    """

    layer: str
    unit: int

    def __post_init__(self) -> None:
        """Hold a plain whole number."""
        require_fields(self)
        object.__setattr__(self, "unit", whole(self.unit, "a unit"))

    @property
    def text(self) -> str:
        """The objective as text, as tables have it."""
        return f"{self.layer} unit {self.unit}"

    def bound(self, model: ProbedModel, shape: Sequence[int], device: torch.device) -> Value:
        """See `Term.bound`."""
        _require_unit(self.layer, self.unit, shape)
        return lambda output: output[self.unit].mean()


@dataclass(frozen=True)
class Dream(Term):
    """A whole layer: the mean of its squares (000, program 3.4; deep dream).

    Args:
        layer: name in `named_modules()`.
    """

    layer: str

    def __post_init__(self) -> None:
        """Check the name."""
        require_fields(self)

    @property
    def text(self) -> str:
        """The objective as text, as tables have it."""
        return f"{self.layer} as a whole"

    def bound(self, model: ProbedModel, shape: Sequence[int], device: torch.device) -> Value:
        """See `Term.bound`."""
        return lambda output: output.square().mean()


@dataclass(frozen=True)
class Logit(Term):
    """The score of a class (002, eq. 2.9).

    Args:
        which: the class's name, or its column from 0.
    """

    which: str | int
    layer: str = field(default=SCORES, init=False)

    def __post_init__(self) -> None:
        """Hold a name or a plain whole number."""
        require_fields(self)
        if not isinstance(self.which, str):
            object.__setattr__(self, "which", whole(self.which, "a class's column"))

    @property
    def text(self) -> str:
        """The objective as text, as tables have it."""
        return f"class {self.which}"

    def bound(self, model: ProbedModel, shape: Sequence[int], device: torch.device) -> Value:
        """See `Term.bound`."""
        column = int(class_columns(model, [self.which], shape[0])[0])
        return lambda scores: scores[column]


@dataclass(frozen=True, eq=False)
class Direction(Term):
    """The product with a vector over a layer's units (002, eq. 2.10).

    With `cosine`, the product times the cosine to that power, which keeps the picture from growing
    in other directions too (Carter et al. 2019, "Activation Atlas"; of a cosine below 0.1, 0.1).

    Args:
        layer: name in `named_modules()`.
        vector: (K,).
        position: (row, column) in the layer's map; the mean over all if not given.
        cosine: the power.
        name: for tables.
        space: that the vector lives in; checked against the network where given.

    Raises:
        InputError: a vector that is no finite row, or all zero; a power or position that is none.
    """

    layer: str
    vector: NDArray[np.float64]
    position: Position | None = None
    cosine: float = 0.0
    name: str = field(default="", compare=False)
    space: Space | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        """Check the vector, and hold it read-only."""
        require_fields(self)
        object.__setattr__(self, "position", _position(self.position))
        object.__setattr__(self, "cosine", float(self.cosine))
        if not (math.isfinite(self.cosine) and self.cosine >= 0):
            raise InputError(f"cosine is a power from 0 on; got {self.cosine}")
        vector = _numbers(self.vector, "a direction's vector").astype(np.float64)
        if vector.ndim != 1 or not np.isfinite(vector).all() or not vector.any():
            raise InputError(
                f"a direction is one row of finite numbers, not all zero; {self.text} is not"
            )
        vector.setflags(write=False)
        object.__setattr__(self, "vector", vector)

    @property
    def text(self) -> str:
        """The objective as text, as tables have it."""
        where = "" if self.position is None else f" at {_where(self.position)}"
        return f"{self.layer} {self.name or 'direction'}{where}"

    @property
    def home(self) -> Space | None:
        """The space that is checked against the network."""
        return self.space

    def bound(self, model: ProbedModel, shape: Sequence[int], device: torch.device) -> Value:
        """See `Term.bound`.

        Raises:
            SpaceError: a vector of another length.
        """
        if len(self.vector) != shape[0]:
            raise SpaceError(
                f"direction {self.text} has {len(self.vector)} numbers, but layer {self.layer} of "
                f"{model.name} has {shape[0]} units: take a vector that was learned there"
            )
        vector = torch.tensor(self.vector, dtype=torch.float32, device=device)
        place = None if self.position is None else _place(self.layer, self.position, shape)

        def value(output: Tensor) -> Tensor:
            at = output.flatten(1) if place is None else output[:, place[0], place[1], None]
            product = vector @ at
            if self.cosine:
                lengths = (at.square().sum(0) + TINY).sqrt() * vector.norm()
                product = product * (product / lengths).clamp_min(LEAST_COSINE) ** self.cosine
            return product.mean()

        return value


@dataclass(frozen=True, eq=False)
class _Target(Term):
    """Another image's output of a layer.

    Args:
        layer: name in `named_modules()`.
        target: (K, H, W).
        name: for tables.
    """

    layer: str
    target: NDArray[np.float32]
    name: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        """Hold the target read-only."""
        require_fields(self)
        target = _numbers(self.target, "a target").astype(np.float32)
        target.setflags(write=False)
        object.__setattr__(self, "target", target)

    @property
    def text(self) -> str:
        """The objective as text, as tables have it."""
        name = f" of {self.name}" if self.name else ""
        return f"{self.layer} {type(self).__name__.lower()}{name}"

    def on(self, shape: Sequence[int], device: torch.device) -> Tensor:
        """The target as a tensor, if it fits."""
        if tuple(self.target.shape) != tuple(shape):
            raise InputError(
                f"the target of {self.text} has shape {self.target.shape}, but the layer gives "
                f"{tuple(shape)} at this size: take both at the same size, with octaves=1"
            )
        return torch.tensor(self.target, device=device)


@dataclass(frozen=True, eq=False)
class Inversion(_Target):
    """Minus the distance to another image's output over its length (002, eq. 2.11, footnote 35).

    Args:
        layer: name in `named_modules()`.
        target: (K, H, W) the other image's output.
        name: for tables.
    """

    def bound(self, model: ProbedModel, shape: Sequence[int], device: torch.device) -> Value:
        """See `Term.bound`."""
        target = self.on(shape, device)
        length = float(target.norm())
        if length == 0:
            raise InputError(f"the target of {self.text} is all zero: nothing to come near to")
        return lambda output: -((output - target).square().sum() + TINY).sqrt() / length


@dataclass(frozen=True, eq=False)
class Caricature(_Target):
    """The product with another image's output (002, eq. 2.12).

    Args:
        layer: name in `named_modules()`.
        target: (K, H, W) the other image's output.
        name: for tables.
    """

    def bound(self, model: ProbedModel, shape: Sequence[int], device: torch.device) -> Value:
        """See `Term.bound`."""
        target = self.on(shape, device)
        return lambda output: (output * target).sum()


@checked
def directions(
    vectors: ConceptVectors, names: Sequence[str] | None = None, cosine: float = 0.0
) -> list[Direction]:
    """Concept vectors as objectives, at unit length.

    Args:
        vectors: over one layer.
        names: of the concepts; all that have a vector if not given.
        cosine: see `Direction`.

    Raises:
        InputError: an unknown concept, or one without a vector.
    """
    rows = (
        np.flatnonzero(vectors.usable).tolist()
        if names is None
        else [vectors.index(name) for name in names]
    )
    silent = [vectors.names[row] for row in rows if not vectors.usable[row]]
    if silent:
        raise InputError(f"concept {silent[0]!r} has no vector (too few examples to fit one)")
    unit, called, layer = vectors.normalized.weights, vectors.names, vectors.space.layer
    return [Direction(layer, unit[row], None, cosine, called[row], vectors.space) for row in rows]


def whole(value: object, what: str, least: int | None = None) -> int:
    """A whole number as Python has it, so that equal objectives are equal to the last byte.

    Args:
        value: of any kind of integer.
        what: for the error.
        least: the least that it may be; any if not given.

    Raises:
        InputError: no whole number, or one below the least.
    """
    fits = isinstance(value, int | np.integer) and (least is None or value >= least)
    if not fits:
        bound = "" if least is None else f" of at least {least}"
        raise InputError(f"{what} is a whole number{bound}; got {value!r}")
    return int(value)  # type: ignore[call-overload,no-any-return]


def _numbers(values: Any, what: str) -> NDArray[Any]:
    """An array of its own of what was given."""
    array = np.array(values)
    if array.dtype.kind not in "fiu":
        raise InputError(f"{what} is an array of numbers; got a {type(values).__name__}")
    return array


def _position(position: object) -> Position | None:
    """(row, column) in plain whole numbers."""
    if position is None:
        return None
    place = np.asarray(position)
    if place.shape != (2,) or place.dtype.kind not in "iu":
        raise InputError(f"a position is (row, column) in the layer's map; got {position!r}")
    return int(place[0]), int(place[1])


def _where(position: Position | None) -> str:
    return "the centre" if position is None else f"({position[0]}, {position[1]})"


def _require_unit(layer: str, unit: int, shape: Sequence[int]) -> None:
    if not 0 <= unit < shape[0]:
        raise InputError(f"layer {layer} has no unit {unit}; its units are 0 to {shape[0] - 1}")


def _place(layer: str, position: Position | None, shape: Sequence[int]) -> Position:
    height, width = shape[1:]
    row, column = (height // 2, width // 2) if position is None else position
    if not (0 <= row < height and 0 <= column < width):
        raise InputError(
            f"layer {layer} has no position ({row}, {column}); at this size its map is "
            f"{height} x {width}"
        )
    return row, column
