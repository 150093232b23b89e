"""Worker processes end with the process that began them, and put back what they had begun."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conceptlab.errors import InputError, UnfinishedError
from conceptlab.study.scale import spread

PARENT = """
import sys
from tests.study.test_scale import wait_here
from conceptlab.stopping import EXIT_CODE, Stopped, stoppable
from conceptlab.study.scale import spread
if __name__ == "__main__":
    try:
        with stoppable():
            spread(wait_here, [sys.argv[1] + "/a", sys.argv[1] + "/b"], workers=2)
    except Stopped:
        sys.exit(EXIT_CODE)
"""


def wait_here(place):
    """Say that it runs, wait, and say that it ended in order."""
    path = Path(place)
    path.write_text(str(os.getpid()))
    try:
        time.sleep(120)
    finally:
        path.with_suffix(".ended").touch()


def square(number):
    return number * number


def die(number):
    os.kill(os.getpid(), signal.SIGKILL if number == 9 else signal.SIGTERM)
    time.sleep(60)


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_their_parent(tmp_path, number):
    root = Path(__file__).parents[2]
    (tmp_path / "parent.py").write_text(PARENT)
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "parent.py"), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(root)}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    files = [tmp_path / "a", tmp_path / "b"]
    until = time.monotonic() + 60
    while not all(p.is_file() and p.read_text() for p in files) and time.monotonic() < until:
        time.sleep(0.05)
    workers = [int(p.read_text()) for p in files]
    process.send_signal(number)
    err = process.communicate(timeout=30)[1]
    until = time.monotonic() + 15
    while any(map(alive, workers)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(map(alive, workers))
    assert all(p.with_suffix(".ended").exists() for p in files)
    assert process.returncode == (143 if number == signal.SIGTERM else -9)
    assert "Traceback" not in err


def test_results_come_in_order_from_workers_as_from_here():
    assert spread(square, [3, 1, 2], workers=2) == spread(square, [3, 1, 2]) == [9, 1, 4]
    with pytest.raises(InputError, match="at least 1"):
        spread(square, [1], workers=0)


@pytest.mark.parametrize("number", [9, 15])
def test_a_worker_that_is_killed_is_one_sentence(number):
    with pytest.raises(UnfinishedError, match="a worker process ended unexpectedly"):
        spread(die, [number, number], workers=2)
