"""A way for the gradient to units that a ReLU silences.

Where a unit is 0 for the whole picture, so is the gradient, and the picture never changes. Within
`redirecting`, a rectifier that would stop a picture's whole gradient lets through what would raise
a negative input (tensorflow/lucid, `misc/redirected_relu_grad.py`).
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

RELUS = (functional.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_)


class _Redirected(torch.autograd.Function):
    """A rectifier between 0 and `top` whose gradient some pictures get another way."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, pictures: Tensor, top: float) -> Tensor:
        """Clamp."""
        ctx.save_for_backward((inputs > 0) & (inputs < top), inputs <= 0, pictures)
        return inputs.clamp(0, top)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """The plain gradient, and where nothing of it is left, what raises negative inputs."""
        passes, below, pictures = ctx.saved_tensors
        gradient = gradients[0]
        plain = gradient * passes
        stopped = pictures & ~plain.flatten(1).any(1)
        stopped = stopped.view(-1, *[1] * (gradient.ndim - 1))
        return torch.where(stopped & below, gradient.clamp_min(0), plain), None, None


class redirecting(TorchFunctionMode):
    """Within it, rectifiers redirect the gradient of some pictures, of what is to be raised.

    Args:
        pictures: (n,) which.
    """

    def __init__(self, pictures: Tensor) -> None:
        super().__init__()
        self._pictures = pictures

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Rectify another way; all else as it is."""
        named = dict(kwargs or {})
        top = _top(func, args, named)
        inputs = args[0] if args else named.get("input")
        if top is None or not isinstance(inputs, Tensor) or len(inputs) != len(self._pictures):
            return func(*args, **named)
        found = _Redirected.apply(inputs, self._pictures, top)
        inplace = func in (torch.relu_, Tensor.relu_) or named.get("inplace", False)
        return inputs.copy_(found) if inplace else found


def _top(func: Any, args: tuple[Any, ...], named: dict[str, Any]) -> float | None:
    """Where a rectifier ends; None of what is none."""
    if func in RELUS:
        return float("inf")
    if func is functional.relu6:
        return 6.0
    if func is functional.hardtanh:
        low, top = (*args[1:3], named.get("min_val"), named.get("max_val"))[:2]
        return float(top) if low == 0 and top is not None else None
    return None
