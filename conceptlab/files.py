"""Writing files whole or not at all, and refusing what is no file."""

import errno
import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from conceptlab.errors import InputError


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path in the same folder, renamed to `path` if the block succeeds.

    The file is flushed to the disk before it is renamed, so that a crash leaves the old file, the
    new one, or none, and never a part of one. What killed processes left in the folder goes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _swept(path.parent)
    handle, temporary = _temporary(path)
    umask = os.umask(0)
    os.umask(umask)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
        os.close(handle)


def sweep(folder: Path) -> None:
    """Remove what killed processes left of writing below a folder.

    Whoever writes a temporary file holds its lock, which goes with the process.
    """
    for place, names, _ in os.walk(folder):
        names[:] = [name for name in names if not name.startswith(".")]
        _sweep(Path(place))


def _sweep(folder: Path) -> None:
    for left in folder.glob(".*.tmp"):
        try:
            handle = os.open(left, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            continue  # another process was quicker, or it is a folder
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            left.unlink(missing_ok=True)
        except OSError:
            pass  # somebody writes it, or this file system has no locks
        finally:
            os.close(handle)


@cache
def _swept(folder: Path) -> None:
    """Sweep a folder once: looking through it for every file would take long where there are many.

    Args:
        folder: not those in it.
    """
    _sweep(folder)


def _temporary(path: Path) -> tuple[int, Path]:
    """A new file beside a path, its lock held where there are locks."""
    while True:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError:
            return handle, Path(name)
        if os.fstat(handle).st_nlink:
            return handle, Path(name)
        os.close(handle)  # swept before it was locked


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def user_path(text: str) -> Path:
    """A path as somebody wrote it, with ~ resolved where that is possible.

    Raises:
        InputError: it is no UTF-8, and so cannot be told to others.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        shown = text.encode("utf-8", "backslashreplace").decode()
        raise InputError(f"{shown}: the name is no UTF-8; rename") from None
    return Path(os.path.expanduser(text))


def is_file(path: Path) -> bool:
    """Whether a file is there; a name that no file can have is none."""
    return os.path.isfile(path)


def is_folder(path: Path) -> bool:
    """Whether a folder is there; a name that no folder can have is none."""
    return os.path.isdir(path)


def require_regular(path: Path) -> None:
    """Raise unless a path is a regular file: a pipe waits forever, and a device has no end.

    Raises:
        FileNotFoundError: nothing is there.
        OSError: it is something else, or a link that leads nowhere.
    """
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is no regular file", str(path))


def set_aside(path: Path) -> Path:
    """Rename a file that cannot be used to `NAME.damaged-1` or the next free number."""
    number = 1
    while (place := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    path.rename(place)
    return place
