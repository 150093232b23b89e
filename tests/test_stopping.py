"""An interrupt is not lost where Python drops exceptions: in destructors and weak references."""

import subprocess
import sys

import pytest

INSIDE_A_DESTRUCTOR = """
import signal, sys, time
from conceptlab.stopping import stoppable

class Dropped:
    def __del__(self):
        signal.raise_signal(signal.{name})

with stoppable() as ending:
    try:
        Dropped()
        time.sleep(20)
        print("lost")
    except KeyboardInterrupt as error:
        print(type(error).__name__, ending.asked)
"""


@pytest.mark.parametrize(
    ("name", "said"), [("SIGINT", "KeyboardInterrupt False"), ("SIGTERM", "Stopped True")]
)
def test_a_signal_inside_a_destructor_is_raised_again(name, said):
    done = subprocess.run(
        [sys.executable, "-c", INSIDE_A_DESTRUCTOR.format(name=name)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == (said + "\n", "")
