"""The script for the day an accelerator is lent, tried on the CPU."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "analyses" / "benchmarks" / "gpu.py"


@pytest.mark.slow
def test_every_figure_is_printed_and_a_cpu_agrees_with_itself():
    command = [sys.executable, str(SCRIPT), "--device", "cpu", "--small", "--skip-tests"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    rows = {row["figure"]: row for row in map(json.loads, done.stdout.splitlines())}
    assert all(row["met"] and row["device"] == "cpu" for row in rows.values())
    for precision in ("float32", "bfloat16"):
        assert rows[f"extraction / bare loop, {precision}"]["value"] > 0
        assert rows[f"extraction / usual loop, {precision}"]["value"] > 0
    agreement = "activations, largest difference from the CPU, "
    assert rows[agreement + "float32"]["value"] < 1e-4
    assert 0 < rows[agreement + "bfloat16"]["value"] < 0.25  # autocast did something
    assert rows["derivatives, smallest cosine with the CPU's"]["value"] > 0.99999
    assert rows["images by optimisation, largest difference from the CPU"]["value"] == 0
