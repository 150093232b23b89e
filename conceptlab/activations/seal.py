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

from conceptlab.errors import CacheError
from conceptlab.keys import canonical

PAGE = 4096
MAGIC = b"conceptlab cache\n"
Ranges = list[tuple[int, int]]


class DamagedError(CacheError):
    """A file in the cache is not one of ours, or no longer whole."""


def seal(path: Path, arrays: Iterable[tuple[int, int]]) -> None:
    """Write the page of a finished file that was created with room for it.

    Args:
        path: of the file.
        arrays: first byte and the one after the last, of what may change or is checked elsewhere.
    """
    ranges = sorted(arrays)
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
        DamagedError: a foreign, truncated or damaged file.
    """
    with path.open("rb") as file:
        page = file.read(PAGE)
    if not page.startswith(MAGIC):
        raise DamagedError(f"{path} is not a file of the cache")
    crc, _, text = page[len(MAGIC) :].rstrip(b"\n").partition(b"\n")
    if crc != b"%08x" % zlib.crc32(text):
        raise DamagedError(f"{path} is damaged at its start")
    wanted = json.loads(text)
    size = path.stat().st_size
    if size != wanted["bytes"]:
        raise DamagedError(f"{path} is truncated ({size} of {wanted['bytes']} bytes)")
    if _checksum(path, [(a, b) for a, b in wanted["arrays"]], size) != wanted["crc32"]:
        raise DamagedError(f"{path} is damaged around its arrays")


def _checksum(path: Path, arrays: Ranges, size: int) -> int:
    """CRC-32 of all bytes after the page that are not an array's."""
    value, position = 0, PAGE
    with path.open("rb") as file:
        for start, stop in [*arrays, (size, size)]:
            file.seek(position)
            value = zlib.crc32(file.read(max(0, start - position)), value)
            position = max(position, stop)
    return value
