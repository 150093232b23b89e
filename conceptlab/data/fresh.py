"""Digests of files, remembered for as long as the files are the same.

What a file's metadata say is read anew each time, which costs microseconds where reading the file
costs milliseconds. Times have a grain (a file system may give two writes the same), so a digest is
only trusted if the file had settled when it was taken.
"""

import os
import time
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

SETTLED = 2_000_000_000  # nanoseconds since the last change; FAT keeps time to two seconds
State = tuple[tuple[int, ...], ...]
T = TypeVar("T")


class Remembered(Generic[T]):
    """What was derived from files, by a key."""

    def __init__(self) -> None:
        self._known: dict[Hashable, tuple[State, T]] = {}

    def known(self, key: Hashable, state: State | None) -> T | None:
        """What is remembered under a key, or None if a file has changed, or may have.

        Args:
            key: what it is about.
            state: of the files that it derives from; None where it is not known, which cannot be
                trusted.
        """
        found = self._known.get(key)
        return None if found is None or state is None or state != found[0] else found[1]

    def derive(self, key: Hashable, state: State | None, make: Callable[[], T]) -> T:
        """The same; derived anew, and remembered, where it is not known."""
        found = self.known(key, state)
        if found is not None:
            return found
        now = time.time_ns()
        made = make()
        if state is not None and all(max(one[3:]) + SETTLED < now for one in state):
            self._known[key] = state, made
        return made


def state_of(files: Sequence[Path] | None) -> State | None:
    """What tells whether files have changed: device, inode, size and times; None of a missing one.

    None also where the files are not known. The time of the inode's own change cannot be set back,
    as that of the content can.
    """
    if files is None:
        return None
    try:
        found = [os.stat(file) for file in files]
    except (OSError, ValueError):
        return None
    return tuple((s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for s in found)
