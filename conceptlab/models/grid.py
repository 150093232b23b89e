"""A layer's output as a grid of units, by its measured layout (`conceptlab.models.layout`)."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from conceptlab.errors import LayerError

#: After a layer's name: its class token alone, as a vector.
CLASS = "[cls]"


@dataclass(frozen=True)
class Form:
    """How a layer's outputs are laid out.

    Args:
        order: the output's axes in the order pictures, units, and then none (a vector), tokens, or
            rows and columns.
        first: the token with which the map begins, where there are tokens.
        others: how many tokens are no part of the map (class token, registers).
        token: the one that is meant, where it is a single token and not the map.
    """

    order: tuple[int, ...]
    first: int = 0
    others: int = 0
    token: int | None = None

    @property
    def is_map(self) -> bool:
        """Whether the output is (n, K, H, W) as it stands."""
        return self.order == (0, 1, 2, 3)


def part_of(layer: str) -> str:
    """The name in `named_modules()` of a layer or of one's class token."""
    return layer.removesuffix(CLASS)


def first_tensor(output: object, layer: str) -> Tensor:
    """The tensor of an output, or of the first of a tuple, list or dict.

    Raises:
        LayerError: an output without one.
    """
    while not isinstance(output, Tensor):
        if isinstance(output, dict) and output:
            output = next(iter(output.values()))
        elif isinstance(output, tuple | list) and output:
            output = output[0]
        else:
            raise LayerError(f"layer {layer} gives a {type(output).__name__}, and no tensor")
    return output


def floating_tensor(output: object) -> Tensor | None:
    """The first tensor of an output if it holds floating-point numbers."""
    try:
        tensor = first_tensor(output, "")
    except LayerError:
        return None
    return tensor if torch.is_floating_point(tensor) else None


def to_grid(output: Tensor, form: Form) -> Tensor:
    """(n, K, H, W) view of an output of a known layout.

    Raises:
        LayerError: an output that cannot be of that layout.
    """
    if output.ndim != len(form.order):
        raise LayerError(f"{tuple(output.shape)} has other axes than those that were measured")
    ordered = output.permute(form.order)
    if ordered.ndim == 4:
        return ordered
    if ordered.ndim == 2:
        return ordered[:, :, None, None]
    side = _side(ordered.shape[2], form)
    return _tokens(ordered, form).reshape(*ordered.shape[:2], side, side)


def place(raw: Tensor, form: Form, grid: Tensor) -> None:
    """Write a grid (n, K, H, W) into a raw output of a known layout."""
    ordered = raw.permute(form.order)
    if ordered.ndim == 3:
        _tokens(ordered, form).copy_(grid.flatten(2))
    else:
        ordered.copy_(grid.reshape(ordered.shape))


def _tokens(ordered: Tensor, form: Form) -> Tensor:
    """(n, K, tokens) those that the grid is made of."""
    if form.token is not None:
        return ordered[:, :, form.token : form.token + 1]
    return ordered[:, :, form.first : form.first + ordered.shape[2] - form.others]


def _side(tokens: int, form: Form) -> int:
    count = 1 if form.token is not None else tokens - form.others
    side = math.isqrt(max(count, 0))
    if side == 0 or side * side != count:
        raise LayerError(f"{tokens} tokens with {form.others} beside the map form no square")
    return side
