"""HDF5 files: opened without locks, read as if a stranger had written them, written whole.

HDF5 can take an array from elsewhere (links to other files, external storage, virtual data sets)
and can declare far more than it stores. Readers here take only what lies in the file itself, plain
and in full, and look at its type and shape before they read it.
"""

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from conceptlab.files import atomic_path, require_regular
from conceptlab.seal import PAGE, guard_page

if TYPE_CHECKING:
    import h5py

LARGEST_TEXT = 1 << 28  # bytes
MOST_ATTRIBUTES = 1000
#: What HDF5, h5py and the parsers raise on content that they cannot read.
FAULTS = (
    OSError, KeyError, RuntimeError, TypeError, ValueError, OverflowError, MemoryError,
    AttributeError,
)  # fmt: skip
Dimensions = Sequence[int | None]


class FormatError(ValueError):
    """A file does not hold what its reader expects; the message is part of a sentence."""


@contextmanager
def reading(path: Path) -> Iterator["h5py.File"]:
    """An HDF5 file of anybody, open for reading.

    Raises:
        FileNotFoundError: no such file.
        FormatError: it is no regular file, no HDF5, or damaged.
    """
    try:
        require_regular(path)
        with _open(path) as file:
            yield file
    except (FileNotFoundError, FormatError):
        raise
    except FAULTS as error:
        raise FormatError(_brief(error)) from error


@contextmanager
def sealed(path: Path) -> Iterator["h5py.File"]:
    """A new HDF5 file to write into, whole or not at all, with a seal over all of it.

    Raises:
        OSError: it cannot be written; what the system says, not what HDF5 makes of it.
    """
    with atomic_path(path) as temporary:
        with speaking(path), new_file(temporary) as file:
            yield file
        guard_page(temporary, [])


def new_file(path: Path) -> "h5py.File":
    """A file with room for its seal, and every array at a multiple of 64 bytes."""
    import h5py

    return h5py.File(
        *(path, "w"),
        locking=False,
        userblock_size=PAGE,
        alignment_threshold=1,
        alignment_interval=64,
    )


@contextmanager
def speaking(path: Path) -> Iterator[None]:
    """Turn HDF5's account of a failed write into the system's own error, about this path."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        code = re.search(r"errno = (\d+)", str(error))
        if code is None:
            raise
        number = int(code[1])
        raise OSError(number, os.strerror(number), str(path)) from error


def node(file: "h5py.File | h5py.Group", name: str) -> "h5py.Group | h5py.Dataset":
    """A group or data set of the file itself; each step to it is a hard link.

    Raises:
        FormatError: there is none, or the way leads over a link.
    """
    import h5py

    found: Any = file
    for part in name.split("/"):
        link = found.get(part, getlink=True) if isinstance(found, h5py.Group) else None
        if link is None:
            raise FormatError(f"it has no {name!r}")
        if not isinstance(link, h5py.HardLink):
            raise FormatError(f"its {name!r} is a link")
        found = found[part]
    if not isinstance(found, h5py.Group | h5py.Dataset):
        raise FormatError(f"its {name!r} is no array")
    return found


def dataset(
    file: "h5py.File | h5py.Group", name: str, *, kinds: str, shape: Dimensions | None = None
) -> "h5py.Dataset":
    """An array of the file itself, of a type and shape that are wanted, before its data are read.

    Args:
        file: or a group of it.
        name: of the data set.
        kinds: letters of numpy's kinds that will do: 'f', 'iu'.
        shape: lengths, None where any will do; any shape at all if not given.

    Raises:
        FormatError: it is something else, or its values do not lie in this file in full.
    """
    import h5py

    found = node(file, name)
    if not isinstance(found, h5py.Dataset) or found.shape is None:
        raise FormatError(f"its {name!r} is no array")
    if found.external is not None or found.is_virtual:
        raise FormatError(f"its {name!r} takes its values from another file")
    if found.dtype.kind not in kinds or found.dtype.subdtype is not None:
        raise FormatError(f"its {name!r} is of type {found.dtype}")
    if shape is not None and not _fits(found.shape, shape):
        wanted = " x ".join("any" if n is None else str(n) for n in shape) or "one value"
        raise FormatError(f"its {name!r} has the shape {found.shape}, not {wanted}")
    settings = found.id.get_create_plist()
    stored = os.fstat(_handle(found)).st_size
    size = _bytes(found.shape, found.dtype.itemsize)
    if settings.get_nfilters() or size > min(found.id.get_storage_size(), stored):
        raise FormatError(f"its {name!r} is compressed, or declares more than the file holds")
    return found


def array(
    file: "h5py.File | h5py.Group", name: str, *, kinds: str, shape: Dimensions | None = None
) -> NDArray[Any]:
    """The values of an array, see `dataset`."""
    values: NDArray[Any] = dataset(file, name, kinds=kinds, shape=shape)[()]
    return values


def text(file: "h5py.File | h5py.Group", name: str) -> str:
    """A data set that is one text.

    Raises:
        FormatError: it is something else, or no UTF-8.
    """
    import h5py

    found = node(file, name)
    if not isinstance(found, h5py.Dataset) or found.shape != () or found.external is not None:
        raise FormatError(f"its {name!r} is no text")
    if h5py.check_string_dtype(found.dtype) is None or found.is_virtual:
        raise FormatError(f"its {name!r} is no text")
    return _decoded(found[()], name)


def attributes(place: "h5py.File | h5py.Group | h5py.Dataset") -> dict[str, str | int | float]:
    """The attributes of a file, a group or a data set; each is one text or number.

    Raises:
        FormatError: they are something else.
    """
    if len(place.attrs) > MOST_ATTRIBUTES:
        raise FormatError(f"it has {len(place.attrs)} attributes")
    return {str(name): attribute(place, name) for name in place.attrs}


def attribute(place: "h5py.File | h5py.Group | h5py.Dataset", name: str) -> str | int | float:
    """One attribute, see `attributes`.

    Raises:
        FormatError: there is none, or it is no single text or number.
    """
    import h5py

    if name not in place.attrs:
        raise FormatError(f"it has no attribute {name!r}")
    found = place.attrs.get_id(name)
    texts = h5py.check_string_dtype(found.dtype) is not None
    if found.shape != () or not (texts or found.dtype.kind in "biuf"):
        raise FormatError(f"its attribute {name!r} is no single text or number")
    value = place.attrs[name]
    if texts:
        return _decoded(value, name)
    number: int | float = value.item()
    return number


def parsed(content: str | int | float, what: str) -> Any:
    """The value of a JSON text.

    Raises:
        FormatError: it is no JSON, or nested too deep.
    """
    try:
        if not isinstance(content, str):
            raise TypeError("a number")
        return json.loads(content)
    except RecursionError as error:
        raise FormatError(f"its {what} is nested too deep") from error
    except (TypeError, ValueError) as error:
        raise FormatError(f"its {what} is no JSON ({error})") from error


def _open(path: Path) -> "h5py.File":
    import h5py

    return h5py.File(path, "r", locking=False)  # some clusters lack locks


def _handle(found: "h5py.Dataset") -> int:
    handle: int = found.file.id.get_vfd_handle()
    return handle


def _bytes(shape: Sequence[int], each: int) -> int:
    size = each
    for length in shape:
        size *= int(length)
    return size


def _fits(shape: Sequence[int], wanted: Dimensions) -> bool:
    return len(shape) == len(wanted) and all(
        want is None or have == want for have, want in zip(shape, wanted, strict=True)
    )


def _decoded(value: Any, name: str) -> str:
    raw = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else bytes(value)
    if len(raw) > LARGEST_TEXT:
        raise FormatError(f"its {name!r} is too long")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise FormatError(f"its {name!r} is no UTF-8") from error


def _brief(error: BaseException) -> str:
    """What went wrong, without the insides of HDF5."""
    told = getattr(error, "strerror", None)
    return str(told) if told else " ".join(str(error).split())[:200]
