"""How pictures are prepared, as a factory says it in attributes of its network."""

import logging
import numbers
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn

from conceptlab.errors import ModelError

log = logging.getLogger(__name__)

LARGEST_SIDE = 16_384  # pixels; a picture of more fits no memory

#: What others call the same; told, since a setting that is not read is a wrong number.
ALIKE = {
    "input_size": "size", "image_size": "size", "img_size": "size", "resolution": "size",
    "image_mean": "mean", "pixel_mean": "mean", "image_std": "std", "pixel_std": "std",
    "classes": "class_names", "labels": "class_names", "categories": "class_names",
    "names": "class_names", "id2label": "class_names",
}  # fmt: skip


def settings_of(module: nn.Module, origin: str) -> dict[str, Any]:
    """The preprocessing that a network's attributes ask for.

    Args:
        module: as its factory made it; `size` is a whole number or two equal ones, `mean` and `std`
            one number for R, G and B alike, or one per channel in any sequence, array or tensor (of
            one for a network of grey pictures, of four for RGBA), `class_names` a sequence, or a
            dictionary of names by column.
        origin: where it comes from, for messages.

    Returns:
        Those of size, mean, std and class_names that are set.

    Raises:
        ModelError: an attribute of these names that cannot be read as such.
    """
    found: dict[str, Any] = {}
    for name, read in READERS.items():
        value = getattr(module, name, None)
        if value is None or isinstance(value, nn.Module) or callable(value):
            continue
        if name in module._buffers or name in module._parameters:
            log.warning(
                "%s: %s is a tensor that the network itself works with, and is not taken for its "
                "preprocessing; give --%s if pictures have to be prepared otherwise than usual",
                *(origin, name, name),
            )
            continue
        try:
            found[name] = read(value)
        except (TypeError, ValueError, OverflowError, RuntimeError) as error:
            raise ModelError(f"{origin} sets {name} = {_short(value)}: {error}") from error
    for name in vars(module).keys() & ALIKE.keys():
        if ALIKE[name] not in found:
            log.warning(
                "%s: the attribute %s is not read; if it is meant for conceptlab, call it %s",
                *(origin, name, ALIKE[name]),
            )
    return found


def _size(value: Any) -> int:
    sides = set(_numbers(value))
    side = sides.pop() if len(sides) == 1 else 0.0
    if not 1 <= side <= LARGEST_SIDE or side % 1:
        raise ValueError(f"size is the pixels on a side of a square input, 1 to {LARGEST_SIDE}")
    return int(side)


def _colours(value: Any) -> tuple[float, ...]:
    values = _numbers(value)
    one = isinstance(value, numbers.Real) or getattr(value, "ndim", 1) == 0
    return tuple(values * 3 if one else values)


def _numbers(value: Any) -> list[float]:
    items = _items(value)
    if not items or any(isinstance(v, bool) or not isinstance(v, numbers.Real) for v in items):
        raise ValueError("one number is wanted, or several")
    return [float(v) for v in items]


def _names(value: Any) -> list[str]:
    if isinstance(value, str | bytes):
        raise ValueError("class_names is a list of names, not one text")
    if isinstance(value, Mapping):
        columns = {int(key): name for key, name in value.items()}
        if sorted(columns) != list(range(len(columns))):
            raise ValueError("class_names as a dictionary has the columns 0, 1, 2, ... as keys")
        value = [columns[i] for i in range(len(columns))]
    return [str(name) for name in _items(value)]


def _items(value: Any) -> list[Any]:
    """The numbers or texts of a scalar, sequence, array or tensor, in one flat list."""
    if isinstance(value, Tensor):
        value = value.detach().cpu().double().numpy()
    if isinstance(value, np.ndarray | np.generic):
        value = np.asarray(value).reshape(-1).tolist()
    if isinstance(value, numbers.Real):
        return [value]
    return list(value)


def _short(value: object) -> str:
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # an integer of thousands of digits
        text = f"a {type(value).__name__} that cannot be written out"
    return text if len(text) <= 60 else f"{text[:57]}..."


READERS: dict[str, Callable[[Any], Any]] = {
    "size": _size, "mean": _colours, "std": _colours, "class_names": _names,
}  # fmt: skip
