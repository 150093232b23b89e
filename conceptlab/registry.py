"""The one registry: named implementations of a kind, filled by a decorator."""

import difflib
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from conceptlab.errors import InputError

T = TypeVar("T")


def near_matches(name: str, known: Iterable[str]) -> str:
    """A half-sentence that suggests the names nearest to one that is unknown, or lists all.

    >>> near_matches("feature.3", ["features.3", "features.5", "classifier"])
    'nearest: features.3, features.5'
    """
    names = list(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        return "nearest: " + ", ".join(near)
    shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    return "known: " + (shown or "none")


class Registry(Generic[T]):
    """Implementations by name; an unknown name is an `InputError` with the nearest names.

    Args:
        kind: what is registered, for messages ("data source", "probe").
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._items: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """A decorator that files what it decorates under `name`."""

        def add(item: T) -> T:
            if name in self._items:
                raise ValueError(f"{self.kind} {name!r} is registered twice")
            self._items[name] = item
            return item

        return add

    def __getitem__(self, name: str) -> T:
        """The implementation called `name`."""
        if name not in self._items:
            raise InputError(f"unknown {self.kind} {name!r}; {near_matches(name, self._items)}")
        return self._items[name]

    def __iter__(self) -> Iterator[str]:
        """The registered names, in order of registration."""
        return iter(self._items)
