"""Ten thousand damaged and hostile inputs for every reader: tracebacks, memory, time.

Each input is made from a sound one by a seeded change (see fuzz_inputs.py) and read in a forked
process. A reader may answer, or refuse in one sentence (`ConceptlabError`); anything else counts:
another exception or a death of the process (column tracebacks), more than 2 GB of resident memory
above what the process had before the input, more than 20 seconds. Memory that is asked for and
never touched costs nothing and does not count, nor does time that the process waits for a processor
which others use. Input n of a reader depends on the seed, the reader and n alone, so `--reader R
--only n --seed S` repeats it. What is done stands in the state file; the same command goes on from
there. Prints a table, and with `--json` one line a reader.

    python analyses/benchmarks/fuzz.py --inputs 10000 --state fuzz.jsonl
"""

import argparse
import json
import os
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from fuzz_inputs import READERS, Reader

from conceptlab.errors import ConceptlabError

MEMORY = 2 << 30
SECONDS = 20
BATCH = 100  # inputs a process reads
TICK = 0.1  # seconds between looks at a process
COLUMNS = ("tracebacks", "over 2 GB", "over 20 s")


def main() -> int:
    """Read all inputs; the exit code is 1 if one of them counts."""
    wanted = _arguments()
    readers = [reader for reader in READERS if wanted.reader in (None, reader.__name__)]
    with tempfile.TemporaryDirectory() as place:
        made = [reader(Path(place, reader.__name__)) for reader in readers]
        if wanted.only is not None:
            _one(made[0], wanted.seed, wanted.only)
            return 0
        state = _State(wanted.state, wanted.seed)
        share = -(-wanted.inputs // len(made))
        for reader in made:
            _all(reader, wanted.seed, share, state)
    return state.show(share, as_json=wanted.json)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=10_000, help="in all, over all readers")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--state", type=Path, default=Path("fuzz.jsonl"))
    parser.add_argument("--reader", choices=[reader.__name__ for reader in READERS])
    parser.add_argument("--only", type=int, help="read this one input here, and show what happens")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


class _State:
    """What is done, line by line in a file.

    Args:
        path: of the file.
        seed: of the inputs; lines of another one are passed over.
    """

    def __init__(self, path: Path, seed: int) -> None:
        self.path, self.seed = path, seed
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        self.lines = [line for line in map(json.loads, lines) if line["seed"] == seed]

    def done(self, reader: str) -> int:
        """How many inputs of a reader have been read."""
        return max((line["done"] for line in self.lines if line["reader"] == reader), default=0)

    def add(self, reader: str, done: int, faults: list[dict[str, Any]]) -> None:
        """Keep what a process has read."""
        line = {"seed": self.seed, "reader": reader, "done": done, "faults": faults}
        self.lines.append(line)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def show(self, share: int, *, as_json: bool) -> int:
        """Print the table, and each kind of fault with its first input; 1 if there is one."""
        rows, faults = {}, []
        for reader in READERS:
            name = reader.__name__
            mine = [f for line in self.lines if line["reader"] == name for f in line["faults"]]
            mine = [fault for fault in mine if fault["input"] < share]
            counts = Counter(fault["kind"] for fault in mine)
            rows[name] = [min(self.done(name), share), *(counts[column] for column in COLUMNS)]
            faults += mine
        if as_json:
            for name, row in rows.items():
                columns = ("inputs", *COLUMNS)
                print(json.dumps({"reader": name, **dict(zip(columns, row, strict=True))}))
        else:
            totals = [sum(column) for column in zip(*rows.values(), strict=True)]
            print(f"{'reader':<16}{'inputs':>8}" + "".join(f"{c:>12}" for c in COLUMNS))
            for name, row in [*rows.items(), ("all", totals)]:
                print(f"{name:<16}{row[0]:>8}" + "".join(f"{n:>12}" for n in row[1:]))
        for said, count in Counter(f"{f['reader']}: {f['said']}" for f in faults).most_common():
            first = next(f for f in faults if f"{f['reader']}: {f['said']}" == said)
            print(f"{count} x {said} (--only {first['input']})", file=sys.stderr)
        return int(bool(faults))


def _all(reader: Reader, seed: int, share: int, state: _State) -> None:
    """Read what is left of a reader's share, a process for each batch or what remains of it."""
    name = type(reader).__name__
    done = state.done(name)
    while done < share:
        stop = min(share, done + BATCH)
        done, faults = _batch(reader, seed, done, stop)
        faults = [fault for fault in faults if _holds(reader, seed, fault)]
        state.add(name, done, faults)


def _holds(reader: Reader, seed: int, fault: dict[str, Any]) -> bool:
    """Whether a fault of memory or time is an input's own, and not of all that came before it."""
    number = fault["input"]
    return fault["kind"] == "tracebacks" or bool(_batch(reader, seed, number, number + 1)[1])


def _batch(reader: Reader, seed: int, start: int, stop: int) -> tuple[int, list[dict[str, Any]]]:
    """Inputs start..stop in a process of its own; where it ended, and what counts."""
    receive, send = os.pipe()
    process = os.fork()
    if not process:
        os.close(receive)
        _child(reader, seed, range(start, stop), send)
    os.close(send)
    name, at, faults = type(reader).__name__, start, []
    ended = ""
    for line, excess in _lines(receive, process):
        ended = excess
        if not line:
            break
        told = json.loads(line)
        at = told["input"] + 1
        if told["kind"]:
            faults.append({"reader": name, **told})
    os.close(receive)
    if ended:
        os.kill(process, signal.SIGKILL)
    code = os.waitpid(process, 0)[1]
    if ended or code:
        said = "no answer" if ended else f"the process ended with {os.waitstatus_to_exitcode(code)}"
        kind = ended or "tracebacks"
        faults.append({"reader": name, "input": at, "kind": kind, "said": said})
        at += 1
    return at, faults


def _lines(handle: int, process: int) -> Iterator[tuple[str, str]]:
    """Lines of a pipe until it ends; at last what a process has too much of, or ''."""
    held = b""
    before, started = _resident(process), _seconds(process)
    while True:
        if not select.select([handle], [], [], TICK)[0]:
            late = _seconds(process) - started > SECONDS
            if late or _resident(process) - before > MEMORY:
                yield "", "over 20 s" if late else "over 2 GB"
                return
            continue
        part = os.read(handle, 1 << 16)
        if not part:
            yield "", ""
            return
        *lines, held = (held + part).split(b"\n")
        started = _seconds(process)
        yield from ((line.decode(), "") for line in lines)


def _child(reader: Reader, seed: int, inputs: range, send: int) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libraries talk
    os.dup2(2, 1)
    with tempfile.TemporaryDirectory() as place:
        for number in inputs:
            kind, said = _read(reader, seed, number, Path(place, "input"))
            told = json.dumps({"input": number, "kind": kind, "said": said})
            os.write(send, told.encode() + b"\n")
    os._exit(0)


def _resident(process: int) -> int:
    """Bytes of memory that a process has now."""
    pages = int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _peak() -> int:
    """The most bytes of memory that this process has had since `_forget_peak`."""
    lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _seconds(process: int | str) -> float:
    """A clock that stands still while a process waits for a processor."""
    waited = int(Path(f"/proc/{process}/schedstat").read_text(encoding="ascii").split()[1])
    return time.monotonic() - waited / 1e9


def _read(reader: Reader, seed: int, number: int, place: Path) -> tuple[str, str]:
    """What counts of one input, and what was said; empty texts where all is well."""
    rng = np.random.default_rng([seed, READERS.index(type(reader)), number])
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    _forget_peak()
    before, started = _peak(), _seconds("self")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reader.read(reader.change(place, rng))
    except ConceptlabError:
        pass
    except BaseException as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        said = f"{type(error).__name__} in {Path(last.filename).name}: {str(error)[:150]}"
        return "tracebacks", said
    if _peak() - before > MEMORY:
        return "over 2 GB", f"{(_peak() - before) / 1e9:.1f} GB"
    if _seconds("self") - started > SECONDS:
        return "over 20 s", "answered late"
    return "", ""


def _one(reader: Reader, seed: int, number: int) -> None:
    """Read one input in this process; its traceback, if there is one, is shown."""
    rng = np.random.default_rng([seed, READERS.index(type(reader)), number])
    place = Path(tempfile.mkdtemp())
    path = reader.change(place, rng)
    print(f"{type(reader).__name__} {number}: {path}")
    reader.read(path)
    print("read")


if __name__ == "__main__":
    sys.exit(main())
