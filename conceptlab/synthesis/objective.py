"""What an objective is: a weighted sum of terms, each of which reads one layer's output."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from conceptlab.models.probed import ProbedModel
from conceptlab.space import Space

SCORES = ""  # stands for the network's scores where a layer is named

#: From a layer's output (K, H, W), or from scores (classes,), to a number.
Value = Callable[[Tensor], Tensor]


class Objective:
    """Anything that an image can be optimised for; `a + b`, `a - b`, `2 * a` and `-a` are too."""

    @property
    def terms(self) -> "tuple[tuple[float, Term], ...]":
        """Weights and what they weigh."""
        raise NotImplementedError

    @property
    def text(self) -> str:
        """The objective as text, as tables have it."""
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
        return Sum(self.terms + other.terms) if isinstance(other, Objective) else NotImplemented

    def __sub__(self, other: "Objective") -> "Sum":
        return self + -1.0 * other if isinstance(other, Objective) else NotImplemented

    def __rmul__(self, weight: float) -> "Sum":
        if not isinstance(weight, Real):
            return NotImplemented
        return Sum(tuple((float(weight) * own, term) for own, term in self.terms))

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

    @property
    def home(self) -> Space | None:
        """The space that it was learned in, which has to be one of the network's; None if any."""
        return None

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
        """The objective as text, as tables have it: `a + 2 * b - c`."""
        said = ""
        for place, (weight, term) in enumerate(self.parts):
            sign = "-" if weight < 0 else "+"
            size = "" if abs(weight) == 1 else f"{abs(weight):g} * "
            lead = f" {sign} " if place else sign.strip("+")
            said += f"{lead}{size}{term.text}"
        return said


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
