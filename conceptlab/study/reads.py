"""A study of which a step sees only the settings that its key holds.

A setting that a step reads and its key forgets would let the step serve old numbers when the
setting changes. So both come from one list: what is not in it cannot be read.
"""

from collections.abc import Sequence
from dataclasses import asdict, fields, is_dataclass
from types import MethodType
from typing import Any, cast

from conceptlab.study.settings import Study


def only(study: Study, reads: Sequence[str]) -> Study:
    """A study of which some settings can be read, and reading any other is an error.

    Args:
        study: the settings.
        reads: names: 'seed', 'segment' (all of a table), 'segment.split' (one of its fields).
    """
    return cast(Study, _Part(study, tuple(reads)))


def values(study: Study, reads: Sequence[str]) -> dict[str, Any]:
    """The settings of some names as JSON values, for a key."""
    found = {}
    for name in reads:
        value: Any = study
        for part in name.split("."):
            value = getattr(value, part)
        table = is_dataclass(value) and not isinstance(value, type)
        found[name] = asdict(value) if table else value
    return found


class _Part:
    """Some fields of a dataclass; its methods see the same fields."""

    def __init__(self, whole: Any, reads: tuple[str, ...], path: str = "") -> None:
        self._whole, self._reads, self._path = whole, reads, path

    def __getattr__(self, name: str) -> Any:
        if name not in {field.name for field in fields(self._whole)}:
            found = getattr(type(self._whole), name)
            return MethodType(found, self) if callable(found) else found.fget(self)
        if name in self._reads:
            return getattr(self._whole, name)
        inner = tuple(r.removeprefix(f"{name}.") for r in self._reads if r.startswith(f"{name}."))
        if not inner:
            raise AttributeError(
                f"a step reads the setting {self._path}{name} and its key does not hold it: name "
                "it among what the step reads"
            )
        return _Part(getattr(self._whole, name), inner, f"{self._path}{name}.")
