"""One writer per file: an advisory lock beside it, held while it is written."""

import errno
import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from conceptlab.errors import CacheError

log = logging.getLogger(__name__)

PATIENCE = 1.0  # seconds before the log says that this process waits
UNSUPPORTED = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS}


def lock_path(path: Path) -> Path:
    """Where the lock of a file lies.

    >>> lock_path(Path("a/features.12.h5")).name
    '.features.12.h5.lock'
    """
    return path.with_name(f".{path.name}.lock")


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock of a file, waiting for another process or thread that does.

    The lock goes with the process, so a killed one leaves none. Locks of several files have to be
    taken in one order (sorted by path), or two processes wait for each other forever.

    Raises:
        CacheError: the folder cannot be written.
    """
    place = lock_path(path)
    handle = _acquire(place, path)
    try:
        yield
    finally:
        place.unlink(missing_ok=True)  # still ours: nobody else can hold this very file
        os.close(handle)


@contextmanager
def held_if_free(path: Path) -> Iterator[bool]:
    """Hold the lock of a file unless somebody else does; whether it is held now."""
    place = lock_path(path)
    handle = _open(place)
    free = _try(handle) and _is_current(handle, place)
    try:
        yield free
    finally:
        if free:
            place.unlink(missing_ok=True)
        os.close(handle)


def _acquire(place: Path, path: Path) -> int:
    started, said = time.monotonic(), False
    while True:
        handle = _open(place)
        if _try(handle) and _is_current(handle, place):
            return handle
        os.close(handle)
        if not said and time.monotonic() - started > PATIENCE:
            log.warning("another process writes %s; waiting until it is done", path)
            said = True
        time.sleep(0.02 if not said else 0.2)


def _open(place: Path) -> int:
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        return os.open(place, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise CacheError(
            f"cannot write in the cache folder {place.parent} ({error.strerror}); "
            "choose another with --cache or CONCEPTLAB_CACHE"
        ) from error


def _try(handle: int) -> bool:
    """Take the lock if it is free; a file system without locks counts as free."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        log.warning("this file system has no locks: run one process at a time on it")
    return True


def _is_current(handle: int, place: Path) -> bool:
    """Whether the file that was locked still is the one of that name."""
    try:
        return os.path.samestat(os.fstat(handle), place.stat())
    except FileNotFoundError:
        return False
