"""The run folder: steps whose outputs appear whole or not at all, and the tables made of them.

A step's outputs lie in `steps/MODEL/LAYER/STEP/` with a `step.json` that holds the key of all that
they depend on; a step whose key is the same is not run again. Tables and vectors of the run are put
together from the steps that are there, so several commands can share a folder.
"""

import errno
import json
import logging
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from conceptlab import csvtable
from conceptlab.activations.lock import held
from conceptlab.csvtable import write_table
from conceptlab.errors import CacheError, InputError
from conceptlab.files import sweep, write_text
from conceptlab.keys import canonical, digest
from conceptlab.probes.resampled import VectorDistribution
from conceptlab.vectors import ConceptVectors

log = logging.getLogger(__name__)


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


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV of a run folder.

    Raises:
        InputError: it is missing or damaged.
    """
    try:
        return csvtable.read_table(path)
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot read the table {path} ({error}): run the command that made it again"
        ) from error


class RunFolder:
    """A run folder; created if it is not there.

    Args:
        path: of the folder.

    Raises:
        CacheError: it cannot be written.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.models: list[str] = []  # the study's order; others follow in order of their making
        self._require(self.path / "steps")
        sweep(self.path)

    def _require(self, folder: Path) -> None:
        """Make a folder of the run unless it is there, and raise unless it can be written."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not os.access(folder, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            raise CacheError(
                f"cannot write in the run folder {self.path} ({error.strerror}); choose another "
                "with --out"
            ) from error

    def step(
        self,
        model: str,
        layer: str,
        name: str,
        key: Mapping[str, Any],
        make: Callable[[], Outputs],
    ) -> Path:
        """The folder of a step's outputs, made now unless the same step is there already.

        Args:
            model: its name in this run.
            layer: its name, or a word for what concerns all.
            name: of the step.
            key: everything that the outputs depend on, as JSON values.
            make: computes them.
        """
        place = self.path / "steps" / safe(model) / safe(layer) / name
        wanted = digest(dict(key))
        self._require(place.parent)
        with held(place):  # one process makes a step; another waits and finds it made
            if _record(place).get("key") == wanted:
                log.info("%s %s %s: as before", model, layer, name)
            else:
                self._make(place, wanted, (model, layer, name), key, make)
        return place

    def _make(
        self,
        place: Path,
        wanted: str,
        names: tuple[str, str, str],
        key: Mapping[str, Any],
        make: Callable[[], Outputs],
    ) -> None:
        for left in place.parent.glob(f".{place.name}.*.tmp"):
            shutil.rmtree(left, ignore_errors=True)  # of a run that was killed
        model, layer, name = names
        started = time.perf_counter()
        outputs = make()
        record = {
            "key": wanted,
            "model": model,
            "layer": layer,
            "step": name,
            "settings": dict(key),
            "seconds": round(time.perf_counter() - started, 3),
            "peak_memory_mb": round(peak_memory() / 1e6, 1),
            "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        }
        _publish(place, outputs, record)

    def steps(self, name: str) -> Iterator[tuple[str, str, Path]]:
        """(model, layer, folder) of every finished step of a name, in order of their making."""
        for record, folder in self._finished(name):
            yield record["model"], record["layer"], folder

    def records(self) -> list[dict[str, Any]]:
        """What is known of every finished step, in order of their making."""
        return [record for record, _ in self._finished("*")]

    def _finished(self, name: str) -> list[tuple[dict[str, Any], Path]]:
        """Record and folder of every step whose record can be read, in order."""
        paths = (self.path / "steps").glob(f"*/*/{name}/step.json")
        places = [p.parent for p in paths if not p.parent.name.startswith(".")]
        found = [(record, place) for place in places if (record := _record(place))]
        return sorted(found, key=lambda item: self._place(item[0]))

    def _place(self, record: dict[str, Any]) -> tuple[int, int]:
        known = record["model"] in self.models
        return self.models.index(record["model"]) if known else len(self.models), record["order"]

    def gather(self, name: str, table: str) -> pd.DataFrame:
        """One table from all steps of a name, with columns model and layer before its own."""
        parts = []
        for model, layer, folder in self.steps(name):
            path = folder / f"{table}.csv"
            if path.is_file():
                part = read_table(path)
                part.insert(0, "layer", layer)
                part.insert(0, "model", model)
                parts.append(part)
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()

    def table(self, name: str, table: pd.DataFrame) -> None:
        """Write `tables/NAME.csv`; a table without rows takes an old one away."""
        path = self.path / "tables" / f"{name}.csv"
        if len(table):
            write_table(path, table)
        else:
            path.unlink(missing_ok=True)

    def vectors(self) -> dict[tuple[str, str, str], Path]:
        """(model, layer, task) to the vectors' file, of all steps."""
        found = {}
        for step in ("dissect", "segment", "classify", "tcav"):
            for model, layer, folder in self.steps(step):
                for path in sorted(folder.glob("*.h5")):
                    found[model, layer, path.stem] = path
        return found

    def write_json(self, name: str, value: Any) -> None:
        """Write a JSON file, whole or not at all."""
        write_text(self.path / name, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def safe(name: str) -> str:
    """A name that can be a folder's, itself where it already can."""
    from conceptlab.activations.store import safe_name

    return safe_name(name)


def peak_memory() -> int:
    """The most memory that this process has held so far, in bytes."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def _record(place: Path) -> dict[str, Any]:
    """What is known of a step; nothing where it is missing or its record is damaged."""
    try:
        record = json.loads((place / "step.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    whole = isinstance(record, dict) and record.keys() >= {"key", "model", "layer", "order"}
    return record if whole else {}


def _publish(place: Path, outputs: Outputs, record: dict[str, Any]) -> None:
    """Write a step's outputs beside their place, then put them there by one rename."""
    place.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{place.name}.", suffix=".tmp", dir=place.parent))
    try:
        for name, table in outputs.tables.items():
            if len(table.columns):  # a CSV without any cannot be read
                write_table(folder / f"{name}.csv", table)
        for task, vectors in outputs.vectors.items():
            vectors.save(folder / f"{task}.h5")
        for name, picture in outputs.pictures.items():
            (folder / name).write_bytes(picture)
        write_text(folder / "step.json", canonical({**record, "order": time.time_ns()}))
        folder.chmod(0o755)
        if place.exists():
            old = folder.with_name(f"{folder.name}.old.tmp")
            place.rename(old)
            folder.rename(place)
            shutil.rmtree(old)
        else:
            folder.rename(place)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise CacheError(
            f"cannot write {place} ({os.strerror(error.errno or 0)}); free some space or choose "
            "another run folder, then run the same command again: what is complete is kept"
        ) from error
