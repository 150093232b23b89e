"""The record of a step, `step.json`: its key, and the hash of every file that the step wrote.

Asked whether a step is done, its files are hashed again. A file that differs, or is gone, makes it
a step to make again; so does a record that cannot be read, or that is not as it was written.
"""

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from conceptlab.csvtable import write_table
from conceptlab.errors import CacheError, UnfinishedError
from conceptlab.files import write_text
from conceptlab.keys import canonical, digest
from conceptlab.probes.resampled import VectorDistribution
from conceptlab.vectors import ConceptVectors

Names = tuple[str, str, str]  # model, layer (or a word for what concerns all), step
RECORD = "step.json"
HASHES, FIGURES = "hashes.json", "figures.json"  # of a run's tables, and of a study's figures
WANTED = {"key", "model", "layer", "step", "study", "holds", "settings", "files", "order"}
#: Path to (what `stat` says, hash) of what this process has hashed already.
_KNOWN: dict[str, tuple[tuple[int, ...], str]] = {}


@dataclass(frozen=True)
class Outputs:
    """What a step made.

    Args:
        tables: name to rows.
        vectors: task to vectors, or to a distribution of them.
        pictures: file name to bytes.
    """

    tables: Mapping[str, pd.DataFrame]
    vectors: Mapping[str, ConceptVectors | VectorDistribution]
    pictures: Mapping[str, bytes]


def read_record(place: Path) -> dict[str, Any]:
    """What is known of a step; nothing where it is missing or its record is damaged."""
    try:
        record = json.loads((place / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(record, dict) or not record.keys() >= WANTED:
        return {}
    seal = record.pop("seal", None)
    return record if seal == digest(record) else {}


def damage(place: Path, record: Mapping[str, Any]) -> str:
    """What is wrong with a step's files, in a few words; nothing where all are as written."""
    for name, wanted in record["files"].items():
        path = place / name
        try:
            if hash_of(path) != wanted:
                return f"{name} is not as it was written"
        except OSError as error:
            return f"{name} cannot be read ({error.strerror})"
    return ""


def hash_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal; of one that has not changed, read but once.

    Raises:
        OSError: it cannot be read.
    """
    stat = path.stat()
    signature = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
    known = _KNOWN.get(str(path))
    if known is None or known[0] != signature:
        with path.open("rb") as file:
            known = signature, hashlib.file_digest(file, "sha256").hexdigest()
        _KNOWN[str(path)] = known
    return known[1]


def publish(place: Path, outputs: Outputs, record: Mapping[str, Any]) -> None:
    """Write a step's outputs beside their place, then put them there by one rename.

    Raises:
        CacheError: they cannot be written.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{place.name}.", suffix=".tmp", dir=place.parent))
    try:
        _write(folder, outputs)
        files = {path.name: hash_of(path) for path in sorted(folder.iterdir())}
        whole = {**record, "files": files, "order": time.time_ns()}
        write_text(folder / RECORD, canonical({**whole, "seal": digest(whole)}))
        folder.chmod(0o755)
        move(folder, place)
    except OSError as error:
        raise CacheError(
            f"cannot write {place} ({os.strerror(error.errno or 0)}); free some space or choose "
            "another run folder, then run the same command again: what is complete is kept"
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write(folder: Path, outputs: Outputs) -> None:
    for name, table in outputs.tables.items():
        if len(table.columns):  # a CSV without any cannot be read
            write_table(folder / f"{name}.csv", table)
    for task, vectors in outputs.vectors.items():
        vectors.save(folder / f"{task}.h5")
    for name, picture in outputs.pictures.items():
        (folder / name).write_bytes(picture)


def move(folder: Path, place: Path) -> None:
    """Put a step's folder at a place by a rename, instead of what is there."""
    place.parent.mkdir(parents=True, exist_ok=True)
    old = folder.with_name(f".{folder.name.removeprefix('.')}.old.tmp")
    if place.exists():
        place.rename(old)
    folder.rename(place)
    shutil.rmtree(old, ignore_errors=True)


def read_hashes(folder: Path, kind: str = HASHES) -> dict[str, str]:
    """Name of a table, or a figure, to its hash as it was written; none where it is not known."""
    try:
        found = json.loads((folder / kind).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def require_undamaged(folder: Path) -> None:
    """Raise if a table of a run folder is not as it was written.

    Raises:
        UnfinishedError: with its name.
    """
    for name, wanted in read_hashes(folder).items():
        path = folder / "tables" / name
        if path.is_file() and hash_of(path) != wanted:
            raise UnfinishedError(
                f"{path} is not as it was written: run the command that made it again, or delete "
                "it to draw the rest"
            )
