"""Settings that a caller gives: whole numbers, seeds, names; what they are not is said by name.

In a script a float, a text or nothing at all may stand where a count or a list of names belongs.
"""

import functools
import inspect
import math
import types
from collections.abc import Callable, Collection, Mapping, Sequence
from numbers import Integral, Real
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar, get_args, get_origin

from conceptlab.errors import InputError

SEEDS = 2**32  # what every generator takes
MOST = 2**31 - 1  # of what is counted: what every library takes
#: Types that many functions take first, and where a user has one from.
MADE_BY = {
    "Activations": "conceptlab.extract",
    "Atlas": "conceptlab.atlas",
    "ClassificationProbe": "conceptlab",
    "ConceptVectors": "a probe's `vectors`",
    "Exemplars": "conceptlab.exemplars",
    "Layout": "conceptlab",
    "Module": "torch.nn",
    "Packing": "conceptlab.pack_units",
    "ProbeDataset": "conceptlab.load_data",
    "ProbedModel": "conceptlab.load_model",
    "SegmentationProbe": "conceptlab",
    "Space": "conceptlab",
    "Study": "conceptlab.read_study",
    "Synthesis": "conceptlab",
}

P = ParamSpec("P")
R = TypeVar("R")


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function refuse arguments of another type than it says that it takes.

    What is looked at are whole numbers, numbers, texts, lists of these, paths, switches, tables,
    dictionaries (or None, where that is allowed) and the types of `MADE_BY`; numpy's numbers are
    numbers. A parameter called `seed` is a seed. Ranges and choices are the function's own affair.

    Raises:
        InputError: at a call, naming the argument and what it may be.

    >>> @checked
    ... def halves(count: int, label: str | None = None) -> int:
    ...     return count // 2
    >>> halves("8")
    Traceback (most recent call last):
    conceptlab.errors.InputError: count is a whole number; got '8'
    """
    signature = inspect.signature(function)
    hints = [(name, kinds_of(p.annotation)) for name, p in signature.parameters.items()]
    looked_at = [(name, kinds) for name, kinds in hints if kinds]

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        given = signature.bind(*args, **kwargs).arguments
        for name, kinds in looked_at:
            if name in given:
                require_kind(given[name], name, kinds)
        return function(*args, **kwargs)

    return call


def require_fields(settings: Any) -> None:
    """Refuse fields of a dataclass of another type than it says; see `checked`.

    Raises:
        InputError: naming the field and what it may be.
    """
    for name, field in type(settings).__dataclass_fields__.items():
        require_kind(getattr(settings, name), name, kinds_of(field.type))


def require_kind(value: Any, name: str, kinds: tuple[str, ...]) -> None:
    """Refuse what is of none of the kinds that are allowed.

    Args:
        value: what a caller gave.
        name: of the argument.
        kinds: of `KINDS` or `MADE_BY`, and 'None'; nothing at all allows anything.

    Raises:
        InputError: saying what it may be.
    """
    if not kinds or (value is None and "None" in kinds):
        return
    wanted = [kind for kind in kinds if kind != "None"]
    if name == "seed":
        require_seed(value)
    elif not any(_is(value, kind) for kind in wanted):
        known = " or ".join(_called(kind) for kind in wanted)
        raise InputError(f"{name} is {known}; got {_short(value)}")
    elif wanted == ["int"] and value > MOST:
        raise InputError(f"{name} is at most {MOST}; got {_short(value)}")


def require_number(value: Any, name: str, least: int) -> None:
    """Refuse what is no whole number, or too small or large a one.

    Raises:
        InputError: naming the argument and what it may be.

    >>> require_number(2.5, "draws", 0)
    Traceback (most recent call last):
    conceptlab.errors.InputError: draws is a whole number of at least 0; got 2.5
    """
    if not _whole(value) or value < least:
        raise InputError(f"{name} is a whole number of at least {least}; got {_short(value)}")
    if value > MOST:
        raise InputError(f"{name} is at most {MOST}; got {_short(value)}")


def require_within(value: Any, name: str, low: float, high: float) -> None:
    """Refuse what is no number between two others, which are allowed themselves.

    Raises:
        InputError: naming the argument and what it may be.
    """
    if not _number(value) or not low <= value <= high:
        raise InputError(f"{name} is a number from {low:g} to {high:g}; got {_short(value)}")


def require_seed(seed: Any) -> None:
    """Refuse what is no seed.

    Raises:
        InputError: saying what it may be.
    """
    if not _whole(seed) or seed < 0:
        raise InputError(f"seed is a whole number of at least 0; got {_short(seed)}")
    if seed >= SEEDS:
        raise InputError(f"seed is below 2**32; got {_short(seed)}")


def require_names(value: Any, name: str) -> None:
    """Refuse what is no list of texts, such as a single one.

    Raises:
        InputError: naming the argument.

    >>> require_names("sky", "plus")
    Traceback (most recent call last):
    conceptlab.errors.InputError: plus is a list of names; got 'sky'
    """
    if not _several(_text)(value):
        raise InputError(f"{name} is a list of names; got {_short(value)}")


def _whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _number(value: Any) -> bool:
    """Whether something is a finite number that a float can hold."""
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _path(value: Any) -> bool:
    if not isinstance(value, str | PathLike):
        return False
    return isinstance(text := fspath(value), str) and "\0" not in text


def _several(kind: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Whether something is a list, a tuple or an array of a kind, and no text."""

    def fits(value: Any) -> bool:
        listed = isinstance(value, Collection) or hasattr(value, "__array__")
        if not listed or isinstance(value, str | bytes):
            return False
        return getattr(value, "ndim", 1) == 1 and all(map(kind, value))

    return fits


def _text(value: Any) -> bool:
    return isinstance(value, str)


#: What an annotation asks for: its check, and what a message calls it.
KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "int": (_whole, "a whole number"),
    "float": (_number, "a finite number"),
    "str": (_text, "a text"),
    "Path": (_path, "a path"),
    "bool": (
        lambda value: type(value).__name__ in ("bool", "bool_"),  # numpy's has either name
        "True or False",
    ),
    "DataFrame": (lambda value: _of(value, "DataFrame"), "a table (pandas.DataFrame)"),
    "mapping": (lambda value: isinstance(value, Mapping), "a dictionary"),
    "several int": (_several(_whole), "a list of whole numbers"),
    "several float": (_several(_number), "a list of finite numbers"),
    "several str": (_several(_text), "a list of names"),
}


def kinds_of(annotation: Any) -> tuple[str, ...]:
    """The kinds that an annotation allows; () where it allows anything else besides."""
    if isinstance(annotation, str):
        parts = [_written(part.strip()) for part in annotation.split("|")]
    elif isinstance(annotation, types.UnionType):
        parts = [_name(part) for part in get_args(annotation)]
    else:
        parts = [_name(annotation)]
    known = {*KINDS, *MADE_BY, "None"}
    if "Path" in parts:
        parts = [part for part in parts if part != "str"]
    return tuple(parts) if known.issuperset(parts) and set(parts) != {"None"} else ()


def _name(annotation: Any) -> str:
    """What an annotation is called; a choice of texts is a text."""
    parts, whole = get_args(annotation), get_origin(annotation)
    if whole is Literal:
        return "str" if all(isinstance(one, str) for one in parts) else ""
    if whole is not None and issubclass(whole, Mapping):
        return "mapping"
    if whole is not None:
        alike = whole in (list, tuple, Sequence) and len({*parts} - {...}) == 1
        return f"several {_name(parts[0])}" if alike else ""
    if annotation in (None, type(None)):
        return "None"
    return "Path" if annotation is Path else getattr(annotation, "__name__", "")


def _written(annotation: str) -> str:
    """The name of an annotation that is a text, since it is no type yet."""
    return "mapping" if annotation.startswith("Mapping[") else annotation


def _is(value: Any, kind: str) -> bool:
    return KINDS[kind][0](value) if kind in KINDS else _of(value, kind)


def _of(value: Any, kind: str) -> bool:
    return any(base.__name__ == kind for base in type(value).__mro__)


def _called(kind: str) -> str:
    if kind in KINDS:
        return KINDS[kind][1]
    return f"of the type {kind}, which {MADE_BY[kind]} gives"


def _short(value: Any) -> str:
    """A value as a message shows it: what is long, or no plain value, by its type."""
    plain = isinstance(value, str | bytes | Real | list | tuple | set | dict | None)
    try:
        text = repr(value) if plain else f"a {type(value).__name__}"
    except ValueError:  # an integer of thousands of digits
        return "a very large number"
    if "\n" in text:
        return f"a {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:80]}..."
