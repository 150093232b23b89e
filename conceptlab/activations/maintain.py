"""What lies in a cache folder: listed, verified, and cleared of what is no use."""

import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from conceptlab.activations.blockfile import BlockFile, writing
from conceptlab.activations.cache import derived_damage, derived_path
from conceptlab.activations.lock import held_if_free
from conceptlab.errors import CacheError, InputError
from conceptlab.seal import DamagedError

log = logging.getLogger(__name__)

DERIVED = ".derived.h5"
TEMPORARY = re.compile(r"\.(?P<name>.+\.h5)\.[^.]+\.tmp$")
ASIDE = re.compile(r"(?P<name>.+\.h5)\.damaged-\d+$")
LOCK = re.compile(r"\.(?P<name>.+\.h5)\.lock$")
OURS = re.compile(r".+-[0-9a-f]{8}")
TABLE = ["kind", "model", "data", "layer", "images", "shape", "dtype", "complete", "bytes", "path"]


def cache_table(root: str | Path) -> pd.DataFrame:
    """What a cache folder holds.

    Returns:
        A row for each file: kind ('activations' or what else is kept), model, data, layer, images,
        shape of an image's values, dtype, complete (the share of blocks, 0..1), bytes, path.
        Files that are not whole or cannot be read are left out; `verify` names them.

    Raises:
        InputError: no such folder.
    """
    rows = []
    for path in _files(_folder(root), []):
        try:
            with BlockFile(path) as file:
                rows.append(_row(file))
        except (CacheError, OSError) as error:
            log.warning("%s", error)
    return pd.DataFrame(rows, columns=TABLE)


def verify(root: str | Path) -> pd.DataFrame:
    """Every damaged block of every file in a cache folder; all that is marked is read.

    Returns:
        Columns path, block, first_image, last_image, reason. Block is -1 where the file as a whole
        cannot be used, a file or folder cannot be read, or the results that derive from it are
        damaged. No row: all could be read, and there is no damage.

    Raises:
        InputError: no such folder.
    """
    rows: list[tuple[str, int, str, str, str]] = []
    unread: list[OSError] = []
    for path in _files(_folder(root), unread):
        try:
            with BlockFile(path) as file:
                for block, reason in file.damage().items():
                    rows.append((str(path), block, *file.ends(block), reason))
            reason = derived_damage(path)
            if reason:
                rows.append((str(derived_path(path)), -1, "", "", reason))
        except (CacheError, OSError) as error:
            rows.append((str(path), -1, "", "", str(error)))
    rows += [(str(e.filename), -1, "", "", f"cannot be read ({e.strerror})") for e in unread]
    return pd.DataFrame(rows, columns=["path", "block", "first_image", "last_image", "reason"])


def prune(root: str | Path, incomplete: bool = False, dry_run: bool = False) -> pd.DataFrame:
    """Remove what is no use from a cache folder; files that somebody writes are left alone.

    That is: what killed processes left behind, files set aside as damaged or that cannot be used,
    and derived results of another state of their file. Damaged blocks are repaired by the next
    extraction and are no reason to remove a file. Only names that the cache itself gives are
    touched.

    Args:
        root: the cache folder.
        incomplete: also remove files that an extraction has begun and would go on with.
        dry_run: remove nothing.

    Returns:
        Columns path, reason, bytes. What cannot be read or removed is left, with a warning.

    Raises:
        InputError: no such folder.
    """
    rows = []
    for path, owner in _candidates(_folder(root)):
        try:
            with held_if_free(owner) as free:
                reason = _useless(path, owner, incomplete) if free else ""
                if not reason:
                    continue
                rows.append((str(path), reason, path.stat().st_size))
                if not dry_run:
                    _remove(path, reason)
        except (CacheError, OSError) as error:  # of one file; the others are none the worse
            log.warning("%s", error)
    return pd.DataFrame(rows, columns=["path", "reason", "bytes"])


def _remove(path: Path, reason: str) -> None:
    with writing(path):
        path.unlink()
        if reason == "incomplete":
            derived_path(path).unlink(missing_ok=True)


def _folder(root: str | Path) -> Path:
    if not Path(root).is_dir():
        raise InputError(f"there is no cache folder {root}")
    return Path(root)


def _files(root: Path, unread: list[OSError]) -> Iterator[Path]:
    """Files of arrays by image; folders that cannot be read are added to `unread`."""
    for path in _walk(root, unread):
        if path.suffix == ".h5" and not path.name.endswith(DERIVED) and path.name[0] != ".":
            yield path


def _walk(root: Path, unread: list[OSError]) -> Iterator[Path]:
    """All files below a folder, in order."""
    for folder, names, files in os.walk(root, onerror=unread.append):
        names.sort()
        yield from (Path(folder, name) for name in sorted(files))


def _row(file: BlockFile) -> dict[str, Any]:
    first = file.arrays[file.filled[0]]
    return {
        "kind": str(file.attrs.get("kind", "")),
        "model": str(file.attrs.get("model", "")),
        "data": str(file.attrs.get("data", file.path.parent.name)),
        "layer": str(file.spec.get("layer", "")),
        "images": file.images,
        "shape": first.shape[1:],
        "dtype": str(first.dtype),
        "complete": float(file.done().mean()),
        "bytes": file.path.stat().st_size,
        "path": str(file.path),
    }


def _candidates(root: Path) -> Iterator[tuple[Path, Path]]:
    """Files that the cache itself may have made, and the file whose lock covers each."""
    for path in _walk(root, []):
        folders = path.relative_to(root).parts[:-1]
        if not path.is_file() or not any(OURS.fullmatch(folder) for folder in folders):
            continue
        for pattern in (TEMPORARY, ASIDE, LOCK):
            found = pattern.fullmatch(path.name)
            if found:
                yield path, path.with_name(found["name"])
                break
        else:
            if path.suffix == ".h5":
                yield path, path


def _useless(path: Path, owner: Path, incomplete: bool) -> str:
    """Why a file may go, or ''."""
    if TEMPORARY.fullmatch(path.name):
        return "left by a killed process"
    if ASIDE.fullmatch(path.name):
        return "set aside as damaged"
    if path.name.endswith(DERIVED):
        source = path.with_name(path.name.removesuffix(DERIVED) + ".h5")
        return derived_damage(source)
    if path != owner:
        return ""  # a lock goes by itself once it has been held
    try:
        with BlockFile(path) as file:
            return "incomplete" if incomplete and not file.complete else ""
    except DamagedError:
        return "cannot be used"
