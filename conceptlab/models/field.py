"""Stride and receptive field of every tensor of a forward pass, by following the operations.

Araujo, Norris & Sim 2019 ("Computing receptive fields of convolutional neural networks"): along a
path the field grows by (k - 1) d times the stride so far; where paths meet, the largest counts.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

Field = tuple[float, float]  # receptive field and stride in pixels of the input
UNKNOWN: Field = (math.nan, math.nan)

#: Operations after which a value depends on the whole picture.
GLOBAL = {
    "mm", "bmm", "addmm", "baddbmm", "mean", "sum", "_adaptive_avg_pool2d", "_softmax", "roll",
    "_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_attention_math", "adaptive_max_pool2d", "var_mean",
}  # fmt: skip


class FieldTracker(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While active, remembers the field of every tensor that follows from `source`.

    Args:
        source: (n, 3, S, S) the input.
    """

    def __init__(self, source: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._fields: dict[int, Field] = {id(source): (1.0, 1.0)}
        self._alive: list[Any] = [source]

    def of(self, tensor: Tensor) -> Field:
        """The receptive field and stride of a tensor; NaN where they are not defined."""
        return self._fields.get(id(tensor), UNKNOWN)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run an operation and note the field of its outputs."""
        outputs = func(*args, **(kwargs or {}))
        fields = [self._fields[id(t)] for t in _tensors(args) if id(t) in self._fields]
        if fields:
            name = func.overloadpacket.__name__
            field = _after(name, args, _widest(fields))
            for tensor in _tensors((outputs,)):
                self._fields[id(tensor)] = field
                self._alive.append(tensor)  # ids are only unique among the living
        return outputs


def _tensors(values: tuple[Any, ...]) -> list[Tensor]:
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, tuple | list):
            found += _tensors(tuple(value))
    return found


def _widest(fields: list[Field]) -> Field:
    if any(math.isnan(f) for f, _ in fields):
        return UNKNOWN
    return max(f for f, _ in fields), max(s for _, s in fields)


def _after(name: str, args: tuple[Any, ...], field: Field) -> Field:
    reader = READERS.get(name)
    if reader is not None:
        kernel, step, dilation = reader(args)
        return field[0] + (kernel - 1) * dilation * field[1], field[1] * step
    if name in GLOBAL:
        return UNKNOWN
    return field


def _most(value: Any) -> int:
    return max(value) if isinstance(value, tuple | list) and value else int(value or 1)


def _convolution(args: tuple[Any, ...]) -> tuple[int, int, int]:
    if args[6]:  # transposed: the field of its output is not a multiple of pixels
        return 1, 1, 1
    return max(args[1].shape[2:]), _most(args[3]), _most(args[5])


def _max_pool(args: tuple[Any, ...]) -> tuple[int, int, int]:
    step = args[2] if len(args) > 2 and args[2] else args[1]
    return _most(args[1]), _most(step), _most(args[4]) if len(args) > 4 else 1


def _avg_pool(args: tuple[Any, ...]) -> tuple[int, int, int]:
    step = args[2] if len(args) > 2 and args[2] else args[1]
    return _most(args[1]), _most(step), 1


READERS: dict[str, Callable[[tuple[Any, ...]], tuple[int, int, int]]] = {
    "convolution": _convolution,
    "mkldnn_convolution": lambda a: (max(a[1].shape[2:]), _most(a[4]), _most(a[5])),
    "max_pool2d_with_indices": _max_pool,
    "max_pool2d": _max_pool,
    "avg_pool2d": _avg_pool,
}


def parameters_of(module: torch.nn.Module) -> int:
    """Numbers that a module holds in its parameters."""
    return sum(p.numel() for p in module.parameters())
