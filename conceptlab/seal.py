"""A page before an HDF5 file's own start that tells whether everything around its arrays is intact.

In its default format HDF5 does not check its own bookkeeping: a flipped bit can lead it to a wrong
place in the file, or into an endless loop. The page, which HDF5 calls a user block and every tool
of its steps over, holds the size of the file, where its arrays are, and a checksum of all the rest.
It is written last and checked before HDF5 sees the file.
"""

import json
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

from conceptlab.errors import CacheError
from conceptlab.files import require_regular
from conceptlab.keys import canonical

PAGE = 4096
MAGIC = b"conceptlab seal\n"
READ = 1 << 20  # bytes at a time
Ranges = list[tuple[int, int]]


class DamagedError(CacheError):
    """A file of ours is no longer what was written, or is somebody else's."""


class UnsealedError(DamagedError):
    """A file has no seal."""


def guard_page(path: Path, arrays: Iterable[tuple[int, int]]) -> None:
    """Write the page of a finished file that was created with room for it.

    Args:
        path: of the file.
        arrays: first byte and the one after the last, of what may change or is checked elsewhere.
    """
    ranges = sorted((start, stop) for start, stop in arrays if stop > start)  # some are empty
    size = path.stat().st_size
    around = _checksum(path, ranges, size)
    text = canonical({"arrays": ranges, "bytes": size, "crc32": around}).encode()
    page = MAGIC + b"%08x\n" % zlib.crc32(text) + text
    if len(page) >= PAGE:
        raise ValueError(f"{len(ranges)} arrays are too many for one page")
    with path.open("r+b") as file:
        file.write(page.ljust(PAGE, b"\n"))


def check_seal(path: Path) -> None:
    """Raise unless everything around the arrays of a file is as it was sealed.

    Raises:
        FileNotFoundError: no such file.
        UnsealedError: a foreign file.
        DamagedError: a truncated or damaged one.
    """
    require_regular(path)
    with path.open("rb") as file:
        page = file.read(PAGE)
    if not page.startswith(MAGIC):
        raise UnsealedError(f"{path} is not a file of the cache, nor of vectors, of this version")
    crc, _, text = page[len(MAGIC) :].rstrip(b"\n").partition(b"\n")
    if crc != b"%08x" % zlib.crc32(text):
        raise DamagedError(f"{path} is damaged at its start")
    ranges, wanted, around = _content(path, text)
    size = path.stat().st_size
    if size != wanted:
        what = "is truncated" if size < wanted else "has grown since it was sealed"
        raise DamagedError(f"{path} {what} ({size} of {wanted} bytes)")
    if _checksum(path, ranges, size) != around:
        where = " around its arrays" if ranges else ""
        raise DamagedError(f"{path} is damaged{where}")


def _content(path: Path, text: bytes) -> tuple[Ranges, int, int]:
    """The page's ranges, size and checksum."""
    try:
        found: dict[str, Any] = json.loads(text)
        ranges = [(int(start), int(stop)) for start, stop in found["arrays"]]
        size, around = int(found["bytes"]), int(found["crc32"])
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise DamagedError(f"{path} is damaged at its start") from error
    if any(not PAGE <= start <= stop <= size for start, stop in ranges):
        raise DamagedError(f"{path} is damaged at its start")
    return ranges, size, around


def _checksum(path: Path, arrays: Ranges, size: int) -> int:
    """CRC-32 of all bytes after the page that are not an array's."""
    value, position = 0, PAGE
    with path.open("rb") as file:
        for start, stop in [*arrays, (size, size)]:
            file.seek(position)
            value = _crc32(file, max(0, start - position), value)
            position = max(position, stop)
    return value


def _crc32(file: IO[bytes], count: int, value: int) -> int:
    while count > 0 and (part := file.read(min(count, READ))):
        value = zlib.crc32(part, value)
        count -= len(part)
    return value
