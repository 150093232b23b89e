"""What an image is optimised for: units, classes, directions, other images, and sums of these.

Every objective is a number that is made as large as can be; of an inversion, the distance with a
minus. It reads one layer's output of its own image alone.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from conceptlab.errors import InputError, SpaceError
from conceptlab.models.outputs import class_columns
from conceptlab.models.probed import ProbedModel
from conceptlab.vectors import ConceptVectors, Space

SCORES = ""  # stands for the network's scores where a layer is named
TINY = 1e-12  # keeps the gradient of a norm finite at zero
LEAST_COSINE = 0.1  # so that a picture which starts on the wrong side has a way back

#: From a layer's output (K, H, W), or from scores (classes,), to a number.
Value = Callable[[Tensor], Tensor]
Position = tuple[int, int]


class Objective:
    """Anything that an image can be optimised for; `a + b`, `a - b`, `2 * a` and `-a` are too."""

    @property
    def terms(self) -> "tuple[tuple[float, Term], ...]":
        """Weights and what they weigh."""
        raise NotImplementedError

    @property
    def text(self) -> str:
        """As tables write it."""
        raise NotImplementedError

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that are read, each once; a class reads none."""
        names = (term.layer for _, term in self.terms if term.layer != SCORES)
        return tuple(dict.fromkeys(names))

    def digest(self, targets: bool = True) -> bytes:
        """Tells objectives apart, whatever they are called.

        Args:
            targets: False leaves out what another image gave, whose last bits depend on the batch
                that it was in.
        """
        state = hashlib.sha256()
        for weight, term in self.terms:
            state.update(repr((weight, type(term).__name__)).encode())
            for entry in fields(term):  # type: ignore[arg-type]
                value = getattr(term, entry.name)
                if isinstance(value, np.ndarray):
                    state.update(repr(value.shape).encode())
                    state.update(value.tobytes() if targets or entry.name != "target" else b"")
                elif entry.compare:
                    state.update(repr(value).encode())
        return state.digest()

    def __add__(self, other: "Objective") -> "Sum":
        return Sum(self.terms + other.terms)

    def __sub__(self, other: "Objective") -> "Sum":
        return self + -1.0 * other

    def __rmul__(self, weight: float) -> "Sum":
        return Sum(tuple((weight * own, term) for own, term in self.terms))

    __mul__ = __rmul__

    def __neg__(self) -> "Sum":
        return -1.0 * self


class Term(Objective):
    """One of a sum: reads one layer."""

    layer: str

    @property
    def terms(self) -> "tuple[tuple[float, Term], ...]":
        """Itself."""
        return ((1.0, self),)

    def bound(self, model: ProbedModel, shape: Sequence[int], device: torch.device) -> Value:
        """The function of a layer's output, ready to run.

        Args:
            model: the network.
            shape: (K, H, W) of the layer's output, or (classes,).
            device: where outputs are.

        Raises:
            InputError: an objective that does not fit the output.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Sum(Objective):
    """A weighted sum.

    Args:
        parts: weights and terms.
    """

    parts: tuple[tuple[float, Term], ...]

    @property
    def terms(self) -> tuple[tuple[float, Term], ...]:
        """Weights and terms."""
        return self.parts

    @property
    def text(self) -> str:
        """As tables write it: `a + 2 * b - c`."""
        said = ""
        for place, (weight, term) in enumerate(self.parts):
            sign = "-" if weight < 0 else "+"
            size = "" if abs(weight) == 1 else f"{abs(weight):g} * "
            lead = f" {sign} " if place else sign.strip("+")
            said += f"{lead}{size}{term.text}"
        return said


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

    @property
    def text(self) -> str:
        """As tables write it."""
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

    @property
    def text(self) -> str:
        """As tables write it."""
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

    @property
    def text(self) -> str:
        """As tables write it."""
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

    @property
    def text(self) -> str:
        """As tables write it."""
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
        InputError: a vector that is no finite row, or all zero.
    """

    layer: str
    vector: NDArray[np.float64]
    position: Position | None = None
    cosine: float = 0.0
    name: str = field(default="", compare=False)
    space: Space | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        """Check the vector, and hold it read-only."""
        vector = np.array(self.vector, dtype=np.float64)
        if vector.ndim != 1 or not np.isfinite(vector).all() or not vector.any():
            raise InputError(
                f"a direction is one row of finite numbers, not all zero; {self.text} is not"
            )
        vector.setflags(write=False)
        object.__setattr__(self, "vector", vector)

    @property
    def text(self) -> str:
        """As tables write it."""
        where = "" if self.position is None else f" at {_where(self.position)}"
        return f"{self.layer} {self.name or 'direction'}{where}"

    def bound(self, model: ProbedModel, shape: Sequence[int], device: torch.device) -> Value:
        """See `Term.bound`.

        Raises:
            SpaceError: a vector of another length, network or layer.
        """
        if self.space is not None:
            self.space.require_model(model.fingerprint, self.layer)
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
        target = np.array(self.target, dtype=np.float32)
        target.setflags(write=False)
        object.__setattr__(self, "target", target)

    @property
    def text(self) -> str:
        """As tables write it."""
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
    rows = np.flatnonzero(vectors.usable).tolist() if names is None else map(vectors.index, names)
    unit, called, layer = vectors.normalized.weights, vectors.names, vectors.space.layer
    return [Direction(layer, unit[row], None, cosine, called[row], vectors.space) for row in rows]


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


Parts = list[tuple[str, float, Value]]


def bind(
    objective: Objective, model: ProbedModel, shapes: dict[str, tuple[int, ...]],
    device: torch.device,
) -> Callable[[dict[str, Tensor]], Tensor]:  # fmt: skip
    """An objective as a function of one image's outputs, layer by layer.

    Args:
        objective: which.
        model: the network.
        shapes: of the outputs for one image.
        device: where they are.

    Raises:
        InputError: an objective that does not fit them.
    """
    parts: Parts = [
        (term.layer, weight, term.bound(model, shapes[term.layer], device))
        for weight, term in objective.terms
    ]

    def value(outputs: dict[str, Any]) -> Tensor:
        total = torch.zeros((), device=device)
        for layer, weight, function in parts:
            total = total + weight * function(outputs[layer])
        return total

    return value
