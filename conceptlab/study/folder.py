"""The run folder: steps whose outputs appear whole or not at all, and the tables made of them.

A step's outputs lie in `steps/MODEL/LAYER/STEP/` with a `step.json` that holds the key of all that
they depend on and the hash of each file; a step whose key and files are the same is not run again.
What a study no longer asks for moves to `unused/`, and comes back when it does. Tables and vectors
of the run are put together from the steps that are there, so several commands can share a folder.
"""

import errno
import json
import logging
import os
import resource
import shutil
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from conceptlab import csvtable
from conceptlab.activations.lock import held
from conceptlab.csvtable import write_table
from conceptlab.errors import CacheError, ConceptlabError, InputError, UnfinishedError
from conceptlab.files import sweep, write_text
from conceptlab.keys import differences, digest
from conceptlab.study.record import (
    FIGURES,
    HASHES,
    RECORD,
    Names,
    Outputs,
    damage,
    hash_of,
    move,
    publish,
    read_hashes,
    read_record,
)
from conceptlab.study.same import OtherError, require_same
from conceptlab.study.settings import SEGMENT_TASKS

log = logging.getLogger(__name__)

VERSION = 8  # of what steps put out: raised when it changes, so that run folders follow

__all__ = ["Names", "Outputs", "RunFolder", "read_table", "safe"]


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
        study: whether a study asks for its steps, and not a single command.

    Raises:
        CacheError: it cannot be written.
    """

    def __init__(self, path: str | Path, study: bool = False) -> None:
        self.path = Path(path)
        self.study = study
        self.models: list[str] = []  # the study's order; others follow in order of their making
        self.asked: dict[Names, str] = {}  # steps of this run, and the key that each has to have
        self.tried: set[Names] = set()  # the parts of this run
        self.unmade: dict[Names, str] = {}  # what could not be made, and why
        self.written: set[str] = set()  # the tables of this run
        self.failure: BaseException | None = None  # the last of them
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
        names: Names,
        key: Mapping[str, Any],
        make: Callable[[], Outputs],
        holds: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> Path:
        """The folder of a step's outputs, made now unless the same step is there already.

        Args:
            names: model, layer (or a word for what concerns all) and step.
            key: everything that the outputs depend on, as JSON values.
            make: computes them.
            holds: what the run, the model and the layer are of (`require_same`).

        Raises:
            OtherError: the run folder holds results of something else under these names.
            InputError: it has failed before in this run.
        """
        self.require_same(names, holds or {})
        key = {"version": VERSION, **key}
        place, wanted = self.place(names), digest(key)
        first = self.asked.get(names) != wanted
        self.asked[names] = wanted
        if names in self.unmade and not first:
            raise InputError(f"{names[2]} could not be made: {self.unmade[names]}")
        self._require(place.parent)
        with held(place):  # one process makes a step; another waits and finds it made
            if self._ready(names, wanted, key):
                if first:
                    log.info("%s %s %s: as before", *names)
            else:
                self._make(names, wanted, key, make, holds or {})
        self.unmade.pop(names, None)
        return place

    def place(self, names: Names, root: str = "steps") -> Path:
        """The folder of a step."""
        model, layer, step = names
        return self.path / root / safe(model) / safe(layer) / step

    def _ready(self, names: Names, wanted: str, key: Mapping[str, Any]) -> bool:
        """Whether a step is there, undamaged; brought back if it is among the unused ones."""
        place, aside = self.place(names), self.place(names, "unused")
        if _is(place, wanted, names):
            return True
        if _is(aside, wanted, names):
            self._retire(names, aside)
            return True
        earlier = read_record(place)
        if earlier and earlier["key"] != wanted:
            changed = differences(earlier["settings"], json.loads(json.dumps(key)))
            log.info("%s %s %s: made again (%s)", *names, "; ".join(changed[:3]))
            self._retire(names)
        return False

    def _retire(self, names: Names, instead: Path | None = None) -> None:
        """Put a step among the unused ones, and one of them in its place."""
        place, aside = self.place(names), self.place(names, "unused")
        back = place.with_name(f".{place.name}.back.tmp")
        if instead is not None:
            instead.rename(back)
        if read_record(place):
            move(place, aside)
        if instead is not None:
            move(back, place)

    def keep_asked(self) -> None:
        """Put aside the steps that an earlier run of a study asked for, and this one does not."""
        for record, _ in self._records("*"):
            names = record["model"], record["layer"], record["step"]
            if record["study"] and names not in self.asked:
                log.info("%s %s %s: no longer asked for, kept in unused/", *names)
                self._retire(names)

    def require_same(self, names: Names, holds: Mapping[str, Mapping[str, Any]]) -> None:
        """Raise if the folder has results of another data set, network or layer's activations.

        Args:
            names: of the step that is to be made.
            holds: see `conceptlab.study.same`.

        Raises:
            OtherError: with what differs.
        """
        for record, _ in self._records("*"):
            require_same(self.path, record, names, holds)

    def _make(
        self,
        names: Names,
        wanted: str,
        key: Mapping[str, Any],
        make: Callable[[], Outputs],
        holds: Mapping[str, Any],
    ) -> None:
        place = self.place(names)
        for left in place.parent.glob(f".{place.name}.*.tmp"):
            shutil.rmtree(left, ignore_errors=True)  # of a run that was killed
        started = time.perf_counter()
        try:
            outputs = make()
        except (UnfinishedError, MemoryError):
            raise
        except (Exception, SystemExit) as error:
            self._note(names, error)
            raise
        record = {
            "key": wanted,
            "model": names[0],
            "layer": names[1],
            "step": names[2],
            "study": self.study,
            "holds": holds,
            "settings": dict(key),
            "seconds": round(time.perf_counter() - started, 3),
            "peak_memory_mb": round(peak_memory() / 1e6, 1),
            "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        }
        publish(place, outputs, record)

    @contextmanager
    def part(self, model: str, layer: str, step: str) -> Iterator[None]:
        """A part of a run: one that fails is noted, and the rest stands.

        Work that is only unfinished (a full disk, an interrupt, no memory) is no failure.
        """
        self.tried.add((model, layer, step))
        try:
            yield
        except (UnfinishedError, OtherError, MemoryError):
            raise
        except (Exception, SystemExit) as error:
            if error is not self.failure:
                self._note((model, layer, step), error)

    def _note(self, names: Names, error: BaseException) -> None:
        """Keep why a part could not be made."""
        log.debug("%s %s %s", *names, exc_info=error)
        if names not in self.unmade:
            self.unmade[names] = reason(error)
        self.failure = error

    def write_unmade(self) -> None:
        """Write `tables/unmade.csv`: what could not be made, by this run or an earlier command."""
        path, columns = self.path / "tables" / "unmade.csv", ["model", "layer", "step", "reason"]
        rows = [[*names, text] for names, text in self.unmade.items()]
        if path.is_file() and not self.study:
            for row in read_table(path).reindex(columns=columns).itertuples(index=False):
                model, layer, step, text = row
                if (model, layer, step) not in self.tried | {*self.asked, *self.unmade}:
                    rows.append([model, layer, step, text])
        self.table("unmade", pd.DataFrame(rows, columns=columns))

    def forget_figures(self) -> set[str]:
        """Remove the figures that an earlier run of a study drew; the names of all others."""
        for name in read_hashes(self.path, FIGURES):
            (self.path / "figures" / Path(name).name).unlink(missing_ok=True)
        return self._figures()

    def note_figures(self, others: set[str]) -> None:
        """Keep the names of the figures that this run of a study drew, which are no others."""
        own = {name: hash_of(self.path / "figures" / name) for name in self._figures() - others}
        self.write_json(FIGURES, dict(sorted(own.items())))

    def _figures(self) -> set[str]:
        return {path.name for path in (self.path / "figures").glob("[!.]*") if path.is_file()}

    def steps(self, name: str) -> Iterator[tuple[str, str, Path]]:
        """(model, layer, folder) of every finished step of a name, in order of their making."""
        for record, folder in self._finished(name):
            yield record["model"], record["layer"], folder

    def records(self) -> list[dict[str, Any]]:
        """What is known of every finished step, in order of their making."""
        return [record for record, _ in self._finished("*")]

    def _finished(self, name: str) -> list[tuple[dict[str, Any], Path]]:
        """Record and folder of every step whose files are as written, in order.

        One that is damaged is noted among what could not be made.
        """
        found = []
        for record, place in self._records(name):
            names = record["model"], record["layer"], record["step"]
            wrong = damage(place, record)
            if wrong:
                text = f"{place} is damaged ({wrong}); run the command that made it again"
                self.unmade.setdefault(names, text)
            elif names not in self.unmade:
                found.append((record, place))
        return found

    def _records(self, name: str) -> list[tuple[dict[str, Any], Path]]:
        """Record and folder of every step whose record can be read, in order."""
        paths = (self.path / "steps").glob(f"*/*/{name}/{RECORD}")
        places = [p.parent for p in paths if not p.parent.name.startswith(".")]
        found = [(record, place) for place in places if (record := read_record(place))]
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
        """Write `tables/NAME.csv` and note its hash; a table without rows takes an old one away."""
        path = self.path / "tables" / f"{name}.csv"
        known = read_hashes(self.path)
        self.written.add(path.name)
        if len(table):
            write_table(path, table)
            known[path.name] = hash_of(path)
        else:
            path.unlink(missing_ok=True)
            known.pop(path.name, None)
        self.write_json(HASHES, dict(sorted(known.items())))  # whatever command came first

    def forget_tables(self, others: Collection[str] = ()) -> None:
        """Take away the tables of an earlier run that this one could not make.

        Args:
            others: beginnings of the names of tables that this run has not tried to make.
        """
        known = read_hashes(self.path)
        for name in set(known) - self.written:
            if not name.startswith(tuple(others)):
                (self.path / "tables" / Path(name).name).unlink(missing_ok=True)
                del known[name]
        self.write_json(HASHES, dict(sorted(known.items())))

    def vectors(self) -> dict[Names, Path]:
        """(model, layer, task) to the vectors' file, of all steps."""
        found = {}
        for step in ("dissect", *SEGMENT_TASKS.values(), "classify", "tcav"):
            for record, folder in self._finished(step):
                for name in sorted(n for n in record["files"] if n.endswith(".h5")):
                    found[record["model"], record["layer"], Path(name).stem] = folder / name
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


def reason(error: BaseException) -> str:
    """Why a part could not be made, in a sentence."""
    text = " ".join(str(error).split())
    if isinstance(error, ConceptlabError):
        return text
    if isinstance(error, SystemExit):
        return f"what it ran ended the program (SystemExit: {text})"
    return f"{type(error).__name__}: {text} (--debug shows where)"


def _is(place: Path, wanted: str, names: Iterable[str]) -> bool:
    """Whether the step of a key lies there; one whose files are damaged is told."""
    record = read_record(place)
    if not record and (place / RECORD).exists():
        log.warning("%s %s %s: its record is damaged; it is made again", *names)
    if record.get("key") != wanted:
        return False
    wrong = damage(place, record)
    if wrong:
        log.warning("%s %s %s: %s; it is made again", *names, wrong)
    return not wrong
