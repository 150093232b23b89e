"""The cache's files: creating one, and keeping results that derive from it beside it.

A file of arrays by image (`BlockFile`) gets its name when its metadata are complete and its space
is reserved. Results derived from it live in a second file that is replaced as a whole, and to which
the first one links, so that a kill can never damage what was expensive; any HDF5 tool sees both as
one.
"""

import errno
import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from conceptlab.activations.blockfile import (
    MARKS,
    SCHEMA,
    BlockFile,
    crc32,
    extent_of,
    writing,
)
from conceptlab.activations.lock import held
from conceptlab.errors import CacheError
from conceptlab.files import atomic_path
from conceptlab.hdf5 import FormatError, attribute, dataset, new_file, node, reading
from conceptlab.keys import canonical, digest
from conceptlab.seal import DamagedError, check_seal, guard_page

if TYPE_CHECKING:
    import h5py

log = logging.getLogger(__name__)

LARGE = 1 << 16
LINKS = ("thresholds", "active")  # groups of derived results that the main file links to


def create_file(
    path: Path,
    arrays: Mapping[str, tuple[Sequence[int], DTypeLike]],
    spec: Mapping[str, Any],
    *,
    block: int,
    constants: Mapping[str, NDArray[Any]] | None = None,
    attrs: Mapping[str, Any] | None = None,
) -> None:
    """Create a file of empty arrays with their space reserved on the disk, whole or not at all.

    Args:
        path: of the file; what is there is replaced.
        arrays: name to shape (N, ...) and dtype; to be filled block by block.
        spec: everything that the values depend on, as JSON values.
        block: images per block.
        constants: arrays that are known already.
        attrs: what else to record; strings and numbers.

    Raises:
        CacheError: the folder cannot be written, or the disk is full.
    """
    images = next(iter(arrays.values()))[0][0]
    blocks = -(-images // block)
    fixed = constants or {}
    records = {"schema": SCHEMA, "spec": canonical(spec), "spec_sha256": digest(spec)}
    records |= {"block": block, "filled": json.dumps(list(arrays)), **(attrs or {})}
    records |= {"constants": json.dumps(list(fixed))}
    with writing(path):
        remove_temporary(path)
        derived_path(path).unlink(missing_ok=True)
        with atomic_path(path) as temporary:
            with new_file(temporary) as file:
                for name, (shape, dtype) in arrays.items():
                    _preallocate(file, name, tuple(shape), np.dtype(dtype))
                for name, values in fixed.items():
                    _write_constant(file, name, values)
                for name, dtype in zip(MARKS, ("uint8", "uint32"), strict=True):
                    file.create_dataset(name, data=np.zeros(blocks, dtype=dtype))
                for name in LINKS:
                    file[name] = _external_link(path, name)
                file.attrs.update(records)
                extents = [extent_of(file[name]) for name in (*arrays, *MARKS)]
            guard_page(temporary, [(extent.offset, extent.end) for extent in extents])
            _reserve(temporary)


def remove_temporary(path: Path) -> None:
    """Remove what a killed process left of creating this file; its lock has to be held."""
    for left in temporary_files(path):
        left.unlink(missing_ok=True)


def temporary_files(path: Path) -> list[Path]:
    """Unnamed beginnings of a file."""
    start = f".{path.name}."
    if not path.parent.is_dir():
        return []
    return sorted(
        p for p in path.parent.iterdir() if p.name.startswith(start) and p.suffix == ".tmp"
    )


def set_aside(path: Path) -> Path:
    """Give a file that cannot be used another name, and return it; its lock has to be held.

    Raises:
        CacheError: the folder cannot be written.
    """
    number = 1
    while (place := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    with writing(path):
        path.rename(place)
    return place


def derived_path(path: Path) -> Path:
    """Where the results derived from a file lie.

    >>> derived_path(Path("features.12.h5")).name
    'features.12.derived.h5'
    """
    return path.with_name(path.name.removesuffix(".h5") + ".derived.h5")


def derived_read(path: Path, group: str, key: str) -> dict[str, NDArray[Any]] | None:
    """A result derived from a file, if it was kept and the file has not changed since.

    Args:
        path: of the main file.
        group: 'thresholds' or 'active'.
        key: the result's settings, as text.

    Returns:
        The arrays under their names, or None.
    """
    place = derived_path(path)
    try:
        check_seal(place)
        with reading(place) as file:
            if attribute(file, "source") != _source(path) or f"{group}/{key}" not in file:
                return None
            return _read_node(file, f"{group}/{key}")
    except FileNotFoundError:
        return None
    except (DamagedError, FormatError, OSError) as error:
        log.warning("%s is damaged (%s); computing it again", place, error)
        return None


def derived_write(path: Path, group: str, key: str, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Keep a result beside the file that it derives from, whole or not at all.

    One array becomes the data set `/group/key`, several a group of that name. A cache that cannot
    be written only costs a warning: the result is not lost, but computed again next time.

    Args:
        path: of the main file.
        group: 'thresholds' or 'active'.
        key: the result's settings, as text.
        arrays: the result.
    """
    place = derived_path(path)
    try:
        with held(place), writing(place):
            source = _source(path)
            remove_temporary(place)
            with atomic_path(place) as temporary:
                with new_file(temporary) as file:
                    file.attrs["schema"], file.attrs["source"] = SCHEMA, source
                    for name in LINKS:
                        file.create_group(name)
                    _copy_others(place, file, source, f"{group}/{key}")
                    for name, values in arrays.items():
                        node = f"{group}/{key}" + (f"/{name}" if len(arrays) > 1 else "")
                        data = file.create_dataset(node, data=values)
                        data.attrs["name"], data.attrs["crc32"] = name, crc32([values])
                    large = _large(file)
                guard_page(temporary, large)
    except CacheError as error:
        log.warning("%s; %s/%s is not kept", error, group, key)


def derived_damage(path: Path) -> str:
    """What is wrong with the results kept beside a file; '' if nothing is, or there are none.

    Raises:
        CacheError, OSError: they cannot be read, which says nothing about them.
    """
    place = derived_path(path)
    if not place.exists():
        return ""
    if not path.exists():
        return "derived from a file that is gone"
    try:
        check_seal(place)
        with reading(place) as file:
            if attribute(file, "source") != _source(path):
                return "derived from another state of its file"
            for group in file:
                for key in node(file, group):
                    _read_node(file, f"{group}/{key}")
    except (DamagedError, FormatError) as error:
        return str(error)
    return ""


def _read_node(file: "h5py.File", name: str) -> dict[str, NDArray[Any]]:
    """The arrays of a result, each checked.

    Raises:
        DamagedError: one does not match its checksum.
        FormatError: something else is there.
    """
    place = node(file, name)
    names = [name] if hasattr(place, "shape") else [f"{name}/{part}" for part in place]
    found: dict[str, NDArray[Any]] = {}
    for part in names:
        data = dataset(file, part, kinds="biuf")
        values = data[()]
        if crc32([values]) != attribute(data, "crc32"):
            raise DamagedError(f"{part} does not match its checksum")
        found[str(attribute(data, "name"))] = values
    return found


def _large(file: "h5py.File") -> list[tuple[int, int]]:
    """Where arrays are that are too large for the seal, and have a checksum of their own."""
    found: list[tuple[int, int]] = []

    def visit(_: str, node: "h5py.Dataset | h5py.Group") -> None:
        if hasattr(node, "nbytes") and node.nbytes >= LARGE:
            extent = extent_of(node)
            found.append((extent.offset, extent.end))

    file.visititems(visit)
    return found


def _copy_others(place: Path, new: "h5py.File", source: str, replaced: str) -> None:
    """Copy what is valid and not about to be replaced."""
    try:
        check_seal(place)
        with reading(place) as old:
            if attribute(old, "source") != source:
                return
            for group in old:
                for key in node(old, group):
                    if f"{group}/{key}" != replaced:
                        _read_node(old, f"{group}/{key}")
                        old.copy(old[group][key], new.require_group(group), key)
    except FileNotFoundError:
        return
    except (DamagedError, FormatError) as error:
        log.warning("%s is damaged (%s); it is replaced", place, error)


def _source(path: Path) -> str:
    """What a derived result belongs to: the specification and the state of all blocks."""
    with BlockFile(path) as file:
        state = crc32([file.read("done"), file.read("checksum")])
        return f"{digest(file.spec)}:{state:08x}"


def _preallocate(
    file: "h5py.File", name: str, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> None:
    """A contiguous data set whose place in the file is fixed now and whose bytes are not."""
    from h5py import h5d, h5p, h5s, h5t

    settings = h5p.create(h5p.DATASET_CREATE)
    settings.set_layout(h5d.CONTIGUOUS)
    settings.set_alloc_time(h5d.ALLOC_TIME_EARLY)
    settings.set_fill_time(h5d.FILL_TIME_NEVER)
    settings.set_obj_track_times(False)  # equal content, equal bytes
    kind = h5t.py_create(dtype.newbyteorder("<"), logical=True)
    h5d.create(file.id, name.encode(), kind, h5s.create_simple(shape), settings)


def _write_constant(file: "h5py.File", name: str, values: NDArray[Any]) -> None:
    import h5py

    text = values.dtype.kind == "S"
    kind = h5py.string_dtype("utf-8", values.dtype.itemsize) if text else values.dtype
    file.create_dataset(name, data=values.astype(kind))


def _external_link(path: Path, name: str) -> "h5py.ExternalLink":
    import h5py

    return h5py.ExternalLink(derived_path(path).name, f"/{name}")


def _reserve(path: Path) -> None:
    """Have the disk set the file's whole size aside, so that a full one says so now."""
    if not hasattr(os, "posix_fallocate"):
        return
    with path.open("r+b") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                raise
