"""The script that tries damaged inputs on every reader: it counts what happens, and goes on."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "analyses" / "benchmarks"
PLANTED = """
import sys, time
sys.path.insert(0, {folder!r})
import fuzz
import numpy as np

class Planted:
    def __init__(self, place):
        pass
    def change(self, place, rng):
        self.number = getattr(self, "number", -1) + 1
        return int(rng.integers(1000))
    def read(self, given):
        kind = given % 7
        if kind == 1:
            raise KeyError(given)
        if kind == 2:
            np.ones(3 << 25)
        if kind == 6:
            np.empty(1 << 29)
        if kind == 3:
            import os
            os.abort()
        if kind == 4:
            time.sleep(60)
        if kind == 5:
            raise fuzz.ConceptlabError("refused")

fuzz.READERS[:] = [Planted]
fuzz.SECONDS = 3
fuzz.MEMORY = 1 << 28
sys.exit(fuzz.main())
"""


def run(*words, cwd):
    return subprocess.run(
        [sys.executable, *words], cwd=cwd, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(FOLDER.parents[1])},
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")
def test_each_kind_of_fault_is_counted_and_what_is_done_is_not_done_again(tmp_path):
    (tmp_path / "planted.py").write_text(PLANTED.format(folder=str(FOLDER)))
    done = run("planted.py", "--inputs", "20", "--json", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    import numpy as np

    kinds = [int(np.random.default_rng([0, 0, n]).integers(1000)) % 7 for n in range(20)]
    row = json.loads(done.stdout)
    assert row == {
        "reader": "Planted", "inputs": 20, "tracebacks": kinds.count(1) + kinds.count(3),
        "over 2 GB": kinds.count(2), "over 20 s": kinds.count(4),
    }  # fmt: skip
    assert min(kinds.count(k) for k in range(1, 6)) > 0
    before = (tmp_path / "fuzz.jsonl").read_text()
    again = run("planted.py", "--inputs", "20", "--json", cwd=tmp_path)
    assert again.stdout == done.stdout
    assert (tmp_path / "fuzz.jsonl").read_text() == before


def test_a_few_inputs_of_every_reader_are_answered_or_refused(tmp_path):
    done = run(str(FOLDER / "fuzz.py"), "--inputs", "28", "--json", cwd=tmp_path)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stdout + done.stderr
    assert {row["inputs"] for row in rows} == {2}
    assert len(rows) == 14
