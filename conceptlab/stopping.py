"""SIGTERM ends work as Ctrl-C does: by an exception, so that all is put back on the way out."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

EXIT_CODE = 143  # 128 + SIGTERM, as shells count


class Stopped(KeyboardInterrupt):
    """This process was asked to end."""


@dataclass
class Ending:
    """Whether this process was asked to end."""

    asked: bool = False

    def ask(self, number: int, frame: FrameType | None) -> None:
        """The signal's handler; a second signal ends the process at once.

        Raises:
            Stopped: always.
        """
        del number, frame
        self.asked = True
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise Stopped


@contextmanager
def stoppable() -> Iterator[Ending]:
    """Have SIGTERM raise `Stopped` in the main thread; elsewhere nothing is changed."""
    ending = Ending()
    if threading.current_thread() is not threading.main_thread():
        yield ending
        return
    before = signal.signal(signal.SIGTERM, ending.ask)
    try:
        yield ending
    finally:
        signal.signal(signal.SIGTERM, before)
