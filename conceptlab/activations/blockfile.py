"""A file of arrays by image: read, filled block by block, checked.

The arrays are contiguous and preallocated, so HDF5 is never opened for writing after creation:
data go to known offsets by plain writes, and readers map them or read rows. Images form blocks. A
block's data are flushed to the disk before its checksum and its mark are set, so whatever is marked
is there after a kill; whatever does not match its checksum is known.
"""

import errno
import math
import os
import weakref
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from conceptlab.activations.verified import verified
from conceptlab.errors import CacheError
from conceptlab.files import require_regular
from conceptlab.hdf5 import FormatError, attributes, dataset, parsed, reading
from conceptlab.numerics.parallel import ordered_map
from conceptlab.seal import DamagedError as DamagedError
from conceptlab.seal import check_seal

if TYPE_CHECKING:
    import h5py

SCHEMA = 2
MARKS = ("done", "checksum")


@dataclass(frozen=True)
class Extent:
    """Where one array lies in its file.

    Args:
        shape: (rows, ...).
        dtype: of a value.
        offset: of its first byte.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int

    @cached_property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    @property
    def end(self) -> int:
        """The offset after its last byte."""
        return self.offset + self.shape[0] * self.row_bytes


class BlockFile:
    """An open file of arrays by image.

    Args:
        path: of a file that `create_file` made.
        write: open it for filling; the caller holds its lock.

    Attributes:
        arrays: name to `Extent`.
        spec: what the values depend on.
        attrs: what else was recorded.
        images: N.
        block: images per block.
        blocks: B.
        filled: names of the arrays that are filled block by block.

    Raises:
        FileNotFoundError: no such file.
        DamagedError: a foreign, truncated or damaged file.
        CacheError: it may not be read, or written.
    """

    def __init__(self, path: Path, write: bool = False) -> None:
        self.path = Path(path)
        try:
            require_regular(self.path)
            handle = os.open(self.path, os.O_RDWR if write else os.O_RDONLY)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise CacheError(
                f"cannot {'write' if write else 'read'} {path} ({error.strerror}); "
                "check the folder, or choose another with --cache"
            ) from error
        self._handle, self._write = handle, write
        self._finish = weakref.finalize(self, os.close, handle)
        try:
            self._load()
        except BaseException:
            self.close()
            raise

    def _load(self) -> None:
        check_seal(self.path)
        try:
            with reading(self.path) as file:
                self.attrs: dict[str, Any] = attributes(file)
                found = self.attrs.get("schema")
                if found != SCHEMA:
                    raise FormatError(f"schema {found}, and this version reads {SCHEMA}")
                self.spec: dict[str, Any] = self._json("spec", dict)
                self.filled: list[str] = self._json("filled", list)
                constants: list[str] = self._json("constants", list)
                self.block = int(self.attrs["block"])
                self._find(file, constants)
        except (FormatError, KeyError) as error:
            raise DamagedError(f"{self.path} is no file of the cache ({error})") from error

    def _json(self, name: str, kind: type) -> Any:
        found: Any = parsed(self.attrs[name], name)
        whole = isinstance(found, kind)
        if not whole or not all(isinstance(part, str) for part in found):
            raise FormatError(f"its {name} is something else")
        return found

    def _find(self, file: "h5py.File", constants: list[str]) -> None:
        """Where the arrays lie; each holds a row for every image, the marks one for each block."""
        if not self.filled or self.block < 1:
            raise FormatError("it names no arrays")
        arrays = {name: dataset(file, name, kinds="iufS") for name in self.filled + constants}
        if not all(data.shape for data in arrays.values()):
            raise FormatError("an array of it has no rows")
        self.images = int(arrays[self.filled[0]].shape[0])
        self.blocks = -(-self.images // self.block)
        if any(arrays[name].shape[:1] != (self.images,) for name in self.filled):
            raise FormatError("its arrays are of different lengths")
        marks = {name: dataset(file, name, kinds="u", shape=(self.blocks,)) for name in MARKS}
        self.arrays = {name: extent_of(data) for name, data in (arrays | marks).items()}

    def __enter__(self) -> Self:
        """The open file."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Close the file; closing twice is allowed."""
        self._finish()

    def rows(self, block: int) -> tuple[int, int]:
        """First image of a block, and the one after its last."""
        return block * self.block, min((block + 1) * self.block, self.images)

    def read(self, name: str, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Rows start..stop of an array in a buffer of their own.

        Of a file that is not being filled, a block is verified when this process first reads of it.

        Raises:
            IndexError: rows that the array does not have.
            DamagedError: they lie in a block that is not what was written.
            CacheError: the disk does not give them.
        """
        stop = self.arrays[name].shape[0] if stop is None else stop
        result = self._rows(name, start, stop)
        if stop > start:
            self._verify_read(name, range(start // self.block, (stop - 1) // self.block + 1))
        return result

    def take(self, name: str, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Rows of an array in any order, as `read` gives them; neighbours in one piece.

        Raises:
            IndexError: rows that the array does not have.
            DamagedError: see `read`.
            CacheError: the disk does not give them.
        """
        if len(rows) and (np.diff(rows) == 1).all():
            return self.read(name, int(rows[0]), int(rows[-1]) + 1)
        extent = self.arrays[name]
        if len(rows) and not 0 <= rows.min() <= rows.max() < extent.shape[0]:
            raise IndexError(f"a row beyond {extent.shape[0]} in {self.path}")
        result = np.empty((len(rows), *extent.shape[1:]), dtype=extent.dtype)
        view, size = as_bytes(result), extent.row_bytes
        for place, row in enumerate(rows.tolist()):
            self._fill(view[place * size : (place + 1) * size], extent.offset + row * size)
        self._verify_read(name, np.unique(rows // self.block).tolist())
        return result

    def _rows(self, name: str, start: int, stop: int) -> NDArray[Any]:
        extent = self.arrays[name]
        if not 0 <= start <= stop <= extent.shape[0]:
            raise IndexError(f"rows {start}..{stop} of {extent.shape[0]} in {self.path}")
        result = np.empty((stop - start, *extent.shape[1:]), dtype=extent.dtype)
        self._fill(as_bytes(result), extent.offset + start * extent.row_bytes)
        return result

    def _fill(self, view: memoryview, at: int) -> None:
        """Read into a buffer what lies from a byte on."""
        position = 0
        while position < view.nbytes:
            got = os.preadv(self._handle, [view[position:]], at + position)
            if got == 0:
                raise DamagedError(f"{self.path} is truncated")
            position += got

    def _verify_read(self, name: str, blocks: Iterable[int]) -> None:
        """Verify blocks that an array was read from, unless the file is being filled."""
        if name in self.filled and not self._write:
            self._verify(blocks)

    def map(self, name: str) -> NDArray[Any]:
        """A whole array as a read-only memory map, its blocks verified.

        Raises:
            DamagedError: a block is not what was written.
        """
        self._verify_read(name, range(self.blocks))
        extent = self.arrays[name]
        return np.memmap(self.path, extent.dtype, "r", extent.offset, extent.shape)

    def done(self) -> NDArray[np.bool_]:
        """(B,) which blocks are marked as filled."""
        marks: NDArray[np.bool_] = self.read("done") == 1
        return marks

    @property
    def complete(self) -> bool:
        """Whether all blocks are marked as filled."""
        return bool(self.done().all())

    def damage(self) -> dict[int, str]:
        """Blocks that are not what was written, each with the reason; reads all that is marked."""
        return self._damage(range(self.blocks))

    def _damage(self, blocks: Iterable[int]) -> dict[int, str]:
        marks, sums = self.read("done"), self.read("checksum")

        def check(block: int) -> tuple[int, str]:
            if marks[block] > 1:
                return block, f"its mark is {marks[block]}"
            same = not marks[block] or self.checksum(block) == sums[block]
            return block, "" if same else "its checksum does not match"

        return {block: why for block, why in ordered_map(check, blocks) if why}

    def _verify(self, blocks: Iterable[int]) -> None:
        """Check blocks that this process has not checked since the file last changed."""
        known = verified(self._handle, self.blocks)
        new = [block for block in blocks if not known[block]]
        if not new:
            return
        for block, reason in self._damage(new).items():
            first, last = self.ends(block)
            raise DamagedError(
                f"{self.path}: block {block} ({first} to {last}) is damaged: {reason}; run the "
                "extraction again to repair it"
            )
        known[new] = True

    def trust(self) -> None:
        """Take all blocks as verified, since this process has just written or checked them."""
        verified(self._handle, self.blocks)[:] = True

    def ends(self, block: int) -> tuple[str, str]:
        """Names of a block's first and last image; their numbers where it has no names."""
        start, stop = self.rows(block)
        if "image" not in self.arrays or self.arrays["image"].dtype.kind != "S":
            return str(start), str(stop - 1)
        names = [self._rows("image", row, row + 1)[0] for row in (start, stop - 1)]
        first, last = (name.decode("utf-8", "replace") for name in names)
        return first, last

    def checksum(self, block: int) -> int:
        """CRC-32 of a block's bytes as they are on the disk, array after array."""
        return crc32(self._rows(name, *self.rows(block)) for name in self.filled)

    def fill(self, start: int, rows: Mapping[str, NDArray[Any]]) -> None:
        """Write rows of each array from image `start` on, without marking anything."""
        for name, values in rows.items():
            extent = self.arrays[name]
            count = extent.shape[0] - start
            if values.shape[1:] != extent.shape[1:] or not len(values) <= count:
                raise ValueError(f"{values.shape} from row {start} on into {extent.shape}")
            self._pwrite(np.asarray(values, extent.dtype), extent.offset + start * extent.row_bytes)

    def commit(self, block: int, checksum: int | None = None) -> None:
        """Flush a block that has been filled, then set its checksum, then its mark.

        Args:
            block: its number.
            checksum: CRC-32 of its bytes, where known; else they are read back.

        Raises:
            CacheError: the disk is full or cannot be written, or the file has been removed; the
                block stays unmarked.
        """
        if not self.path.exists():
            raise CacheError(f"{self.path} was removed while it was written; run the command again")
        with writing(self.path):
            _flush(self._handle)
        value = self.checksum(block) if checksum is None else checksum
        self._set("checksum", block, value)
        self._set("done", block, 1)

    def write_block(self, block: int, rows: Mapping[str, NDArray[Any]]) -> None:
        """Fill a whole block from memory and commit it.

        Args:
            block: its number.
            rows: one entry for each array that was created empty; all images of the block.
        """
        start, stop = self.rows(block)
        stored = {
            name: np.ascontiguousarray(rows[name], dtype=self.arrays[name].dtype)
            for name in self.filled
        }
        if any(len(values) != stop - start for values in stored.values()):
            raise ValueError(f"block {block} has {stop - start} images")
        self.fill(start, stored)
        self.commit(block, crc32(stored.values()))

    def unmark(self, blocks: Iterable[int]) -> None:
        """Take the marks of some blocks away, so that they are computed again."""
        for block in blocks:
            self._set("done", block, 0)
        with writing(self.path):
            _flush(self._handle)

    def _set(self, name: str, block: int, value: int) -> None:
        extent = self.arrays[name]
        at = extent.offset + block * extent.row_bytes
        self._pwrite(np.array([value], dtype=extent.dtype), at)

    def _pwrite(self, values: NDArray[Any], offset: int) -> None:
        view = as_bytes(np.ascontiguousarray(values))
        position = 0
        with writing(self.path):
            while position < view.nbytes:
                position += os.pwrite(self._handle, view[position:], offset + position)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say failures to write in one sentence.

    Raises:
        CacheError: instead of the system's or HDF5's own errors.
    """
    try:
        yield
    except CacheError:
        raise
    except (OSError, RuntimeError) as error:
        full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        reason = getattr(error, "strerror", None) or str(error)
        remedy = "free some space" if full else "check the folder, or choose another with --cache"
        raise CacheError(
            f"cannot write {path} ({reason}); {remedy}, then run the same command again: "
            "what is complete is kept"
        ) from error


def extent_of(data: "h5py.Dataset") -> Extent:
    """Where HDF5 has put a contiguous data set.

    Raises:
        FormatError: it is laid out otherwise.
    """
    offset = data.id.get_offset()
    if offset is None:
        raise FormatError(f"its {data.name!r} is not contiguous")
    return Extent(tuple(data.shape), np.dtype(data.dtype.str), int(offset))


def _flush(handle: int) -> None:
    getattr(os, "fdatasync", os.fsync)(handle)


def crc32(arrays: Iterable[NDArray[Any]]) -> int:
    """CRC-32 of the bytes of several arrays, one after another."""
    value = 0
    for array in arrays:
        value = zlib.crc32(as_bytes(np.ascontiguousarray(array)), value)
    return value


def as_bytes(values: NDArray[Any]) -> memoryview:
    """The memory of a contiguous array."""
    return values.reshape(-1).view(np.uint8).data
