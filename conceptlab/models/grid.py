"""A layer's output as a grid of units, whatever the architecture calls it."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from conceptlab.errors import LayerError

MAPS = (nn.modules.conv._ConvNd, nn.modules.batchnorm._BatchNorm, nn.GroupNorm)
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

    Inputs are square, and so are maps: of a 4-D output's three sizes, the one that differs from two
    equal ones is that of the units. Where none or all differ (Swin's first blocks have 96 x 96 maps
    of 96 units at 384 px), the parts of the layer tell what axis they work on.

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
    if (a == b) != (b == c):
        return Form("last" if a == b else "map")
    return Form("last" if _units_last(module, layer) else "map")


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


def _units_last(module: nn.Module, layer: str) -> bool:
    """Whether the units of a layer's 4-D output are on the last axis, as its parts have them.

    The last part that says something decides, be it a part of the layer or before it; but what
    begins on maps and ends in a linear layer is a ConvNeXt block, which permutes back by itself.
    """
    own, before = [], []
    for name, part in module.named_modules():
        said = _part_units_last(part)
        if said is None:
            continue
        if name == layer or not layer or name.startswith(f"{layer}."):
            own.append((part, said))
        elif not own:
            before.append((part, said))
        else:
            break
    told = own or before[-1:]
    if not told:
        return False
    if not told[0][1] and isinstance(told[-1][0], nn.Linear):
        return False
    return told[-1][1]


def _part_units_last(part: nn.Module) -> bool | None:
    """Whether a part works on units on the last axis, or on the second; None if on any."""
    dims = getattr(part, "dims", None)  # torchvision's Permute
    if isinstance(dims, tuple | list) and len(dims) == 4:
        return list(dims) == [0, 2, 3, 1]
    if isinstance(part, MAPS) or type(part).__name__.endswith("2d"):  # timm's LayerNorm2d
        return False
    if isinstance(part, nn.LayerNorm):
        return len(part.normalized_shape) == 1
    return True if isinstance(part, nn.Linear) else None


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
