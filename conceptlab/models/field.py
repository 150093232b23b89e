"""Stride and receptive field of every tensor of a forward pass, by following the operations.

Araujo, Norris & Sim 2019 ("Computing Receptive Fields of Convolutional Neural Networks", Distill),
section "Computing the receptive field": along a path the field grows by (k - 1) d times the stride
so far; where paths meet, the largest counts. Each axis is followed for itself, since Inception's
1 x 7 and 7 x 1 together see 7 x 7 and not 13 x 13.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class Axis(NamedTuple):
    """Along one axis: field and stride in pixels of the input, and how many places there are."""

    field: float
    stride: float
    places: float = math.nan


class Step(NamedTuple):
    """What an operation does along one axis."""

    kernel: int
    stride: int
    dilation: int = 1


Field = tuple[Axis, Axis]  # height, width
UNKNOWN: Field = (Axis(math.nan, math.nan), Axis(math.nan, math.nan))

#: Operations after which a value may depend on the whole picture, or its place is no longer clear.
GLOBAL = {
    "bmm", "baddbmm", "mean", "sum", "amax", "amin", "max", "min", "var", "std",
    "var_mean", "std_mean", "_softmax", "_log_softmax", "cumsum", "sort", "topk", "roll", "flip",
    "_adaptive_avg_pool2d", "adaptive_max_pool2d", "native_group_norm", "grid_sampler_2d",
    "_native_multi_head_attention", "linalg_vector_norm", "col2im", "im2col",
}  # fmt: skip
#: The same, unless they act on each place for itself, as a linear layer on the units does.
PRODUCTS = ("mm", "addmm")
#: The same, where several operations share the beginning of their names.
GLOBAL_BEGINNINGS = ("_scaled_dot_product", "upsample_", "_upsample_", "_fft_")


class FieldTracker(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While active, remembers the field of every tensor that follows from `source`.

    Args:
        source: (n, 3, S, S) the input.
    """

    def __init__(self, source: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        height, width = (Axis(1.0, 1.0, places) for places in source.shape[2:])
        self._fields: dict[int, Field] = {id(source): (height, width)}
        self._alive: list[Any] = [source]

    def of(self, tensor: Tensor) -> tuple[float, float]:
        """The receptive field and stride of a tensor along its larger axis; NaN if undefined."""
        height, width = self._fields.get(id(tensor), UNKNOWN)
        return max(height.field, width.field), max(height.stride, width.stride)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run an operation and note the field of its outputs."""
        outputs = func(*args, **(kwargs or {}))
        fields = [self._fields[id(t)] for t in _tensors(args) if id(t) in self._fields]
        if fields:
            name, field = func.overloadpacket.__name__, _widest(fields)
            if name in PRODUCTS and not self._by_place(args, field):
                field = UNKNOWN
            field = _after(name, args, outputs, field)
            for tensor in _tensors((outputs,)):
                self._fields[id(tensor)] = field
                self._alive.append(tensor)  # ids are only unique among the living
        return outputs

    def _by_place(self, args: tuple[Any, ...], field: Field) -> bool:
        """Whether a product takes weights times the units of each place.

        Places are then the rows. Where there are as many units, they might be the rows as well.
        """
        inputs, weights = args[-2:]
        rows, columns = inputs.shape
        places = field[0].places * field[1].places
        return id(weights) not in self._fields and rows == places and rows != columns


def _tensors(values: Sequence[Any]) -> list[Tensor]:
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, tuple | list):
            found += _tensors(value)
    return found


def _widest(fields: list[Field]) -> Field:
    if UNKNOWN in fields:
        return UNKNOWN
    height, width = (
        Axis(*(max(values) for values in zip(*axis, strict=True)))
        for axis in zip(*fields, strict=True)
    )
    return height, width


def _after(name: str, args: tuple[Any, ...], outputs: Any, field: Field) -> Field:
    if name in GLOBAL or name.startswith(GLOBAL_BEGINNINGS):
        return UNKNOWN
    reader = READERS.get(name)
    if reader is None:
        return field
    steps = reader(args)
    if steps is None or field is UNKNOWN:
        return UNKNOWN
    if steps == UNCHANGED:
        return field
    height, width = (
        Axis(
            axis.field + (step.kernel - 1) * step.dilation * axis.stride,
            axis.stride * step.stride,
            places,
        )
        for axis, step, places in zip(field, steps, _tensors((outputs,))[0].shape[2:], strict=True)
    )
    return height, width


Steps = tuple[Step, Step] | None  # None: undefined from here on
UNCHANGED = (Step(1, 1), Step(1, 1))


def _both(value: Any) -> tuple[int, int]:
    several = list(value) if isinstance(value, tuple | list) else [value]
    return int(several[0]), int(several[-1])


def _convolution(args: tuple[Any, ...]) -> Steps:
    weight, strides, dilations, transposed = args[1], args[3], args[5], args[6]
    if transposed or weight.ndim != 4:
        return None
    height, width = map(Step, weight.shape[2:], _both(strides), _both(dilations))
    return height, width


def _pool(args: tuple[Any, ...]) -> Steps:
    strides = args[2] if len(args) > 2 and args[2] else args[1]
    height, width = map(Step, _both(args[1]), _both(strides))
    return height, width


def _max_pool(args: tuple[Any, ...]) -> Steps:
    strides = args[2] if len(args) > 2 and args[2] else args[1]
    dilations = args[4] if len(args) > 4 else 1
    height, width = map(Step, _both(args[1]), _both(strides), _both(dilations))
    return height, width


def _slice(args: tuple[Any, ...]) -> Steps:
    """Every second row, say: `slice(x, dim, start, end, step)` of (n, K, H, W)."""
    tensor, axis, step = args[0], args[1] if len(args) > 1 else 0, args[4] if len(args) > 4 else 1
    if step == 1 or tensor.ndim != 4:
        return UNCHANGED
    return Step(1, step if axis % 4 == 2 else 1), Step(1, step if axis % 4 == 3 else 1)


def _layer_norm(args: tuple[Any, ...]) -> Steps:
    return UNCHANGED if len(args[1]) == 1 else None  # over the channels, or over the map too


def _batch_norm(args: tuple[Any, ...]) -> Steps:
    return None if args[5] else UNCHANGED  # with statistics of the picture, as instance norm has


READERS: dict[str, Callable[[tuple[Any, ...]], Steps]] = {
    "convolution": _convolution,
    "max_pool2d_with_indices": _max_pool,
    "max_pool2d": _max_pool,
    "avg_pool2d": _pool,
    "slice": _slice,
    "native_layer_norm": _layer_norm,
    "native_batch_norm": _batch_norm,
    "cudnn_batch_norm": _batch_norm,
}


def parameters_of(module: torch.nn.Module) -> int:
    """Numbers that a module holds in its parameters."""
    return sum(p.numel() for p in module.parameters())
