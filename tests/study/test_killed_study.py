"""A study that is killed, and run again, ends as one that never was."""

import subprocess
import sys
import time

import pytest

STUDY = """
[data]
spec = "scenes:n=60"
[[models]]
spec = "builtin:scenenet"
layers = ["features.17"]
[dissect]
permutations = 2
[segment]
sizes = [2]
[classify]
sizes = [2]
"""


def tables(run):
    return {p.name: p.read_bytes() for p in (run / "tables").iterdir()}


@pytest.mark.slow
def test_killed_after_its_first_step_it_ends_with_the_same_tables(tmp_path):
    (tmp_path / "s.toml").write_text(STUDY)

    def command(name):
        words = ["run", "s.toml", "--quiet", "--out", name, "--cache", f"{name}-cache"]
        return [sys.executable, "-m", "conceptlab", *words]

    subprocess.run(command("whole"), cwd=tmp_path, check=True, capture_output=True)
    process = subprocess.Popen(command("killed"), cwd=tmp_path, stdout=subprocess.DEVNULL)
    steps = tmp_path / "killed" / "steps"
    while not list(steps.glob("*/*/dissect/step.json")) and process.poll() is None:
        time.sleep(0.02)
    process.kill()
    assert process.wait() < 0
    kept = next(steps.glob("*/*/dissect/step.json")).stat().st_mtime_ns
    subprocess.run(command("killed"), cwd=tmp_path, check=True, capture_output=True)
    assert next(steps.glob("*/*/dissect/step.json")).stat().st_mtime_ns == kept
    assert tables(tmp_path / "killed") == tables(tmp_path / "whole")
    assert not list(steps.rglob("*.tmp"))
