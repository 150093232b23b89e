"""A layer's output as a grid of units, whatever the architecture calls it."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from conceptlab.errors import LayerError

MOST_PREFIX = 16  # tokens before the picture's, where only their number can tell


@dataclass(frozen=True)
class Form:
    """How a layer's outputs are laid out.

    Args:
        kind: 'map' (n, K, H, W), 'last' (n, H, W, K), 'tokens' (n, T, K) or 'vector' (n, K).
        prefix: tokens before those of the picture (class token, registers).
    """

    kind: str
    prefix: int = 0


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


def prefix_tokens(module: nn.Module) -> int | None:
    """How many tokens stand before the picture's, where the model itself says so."""
    said = getattr(module, "num_prefix_tokens", None)
    if isinstance(said, int):
        return said
    return 1 if isinstance(getattr(module, "class_token", None), Tensor) else None


def form_of(output: Tensor, module: nn.Module, layer: str) -> Form:
    """The layout of a layer's output, found from its shape and from what the model says.

    A 4-D output is channels-last where its second and third sizes agree and its last does not
    (Swin's blocks, ConvNeXt's permuted ones: inputs are square, and so are maps), or where the
    layer itself works on the last axis.

    Args:
        output: the layer's.
        module: the whole network.
        layer: its name there.

    Raises:
        LayerError: an output of another number of axes, or tokens that form no square.
    """
    if output.ndim == 2:
        return Form("vector")
    if output.ndim == 3:
        return _tokens(output, module, layer)
    if output.ndim != 4:
        shape = tuple(output.shape)
        raise LayerError(f"layer {layer} gives {shape}; a grid of units needs 2 to 4 axes")
    _, a, b, c = output.shape
    last = (a == b and c != b) or _on_last_axis(module.get_submodule(layer))
    return Form("last" if last else "map")


def to_grid(output: Tensor, form: Form) -> Tensor:
    """(n, K, H, W) view of an output of a known layout."""
    if form.kind == "map":
        return output
    if form.kind == "last":
        return output.permute(0, 3, 1, 2)
    if form.kind == "vector":
        return output[:, :, None, None]
    tokens = output[:, form.prefix :]
    side = math.isqrt(tokens.shape[1])
    units = tokens.transpose(1, 2)
    return units.reshape(*units.shape[:2], side, side)


def _tokens(output: Tensor, module: nn.Module, layer: str) -> Form:
    count = output.shape[1]
    said = prefix_tokens(module)
    guess = count - math.isqrt(count) ** 2
    for prefix in (guess,) if said is None else (said, 0):  # 0: where the picture's alone pass
        if prefix <= MOST_PREFIX and _is_square(count - prefix):
            return Form("tokens", prefix)
    raise LayerError(f"layer {layer} gives {count} tokens, which form no square grid")


def _on_last_axis(layer: nn.Module) -> bool:
    if type(layer) is nn.LayerNorm:  # its subclasses may permute
        return len(layer.normalized_shape) == 1
    return type(layer) is nn.Linear


def _is_square(count: int) -> bool:
    return count > 0 and math.isqrt(count) ** 2 == count


def grid_of(output: object, module: nn.Module, layer: str) -> Tensor:
    """A layer's output as (n, K, H, W)."""
    tensor = first_tensor(output, layer)
    return to_grid(tensor, form_of(tensor, module, layer))


def is_floating(output: object) -> bool:
    """Whether there is a floating-point tensor in an output."""
    try:
        return torch.is_floating_point(first_tensor(output, ""))
    except LayerError:
        return False
