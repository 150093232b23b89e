"""SIGTERM ends work as Ctrl-C does: by an exception, so that all is put back on the way out.

Python drops an exception that is raised inside a destructor or the callback of a weak reference,
and a signal may arrive just there. Such a one is raised again a moment later.
"""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

EXIT_CODE = 143  # 128 + SIGTERM, as shells count
SOON = 0.05  # seconds after which a dropped exception is raised again: a callback is over by then


class Stopped(KeyboardInterrupt):
    """This process was asked to end."""


@dataclass
class Ending:
    """Whether this process was asked to end."""

    asked: bool = False
    timer: threading.Timer | None = None

    def ask(self, number: int, frame: FrameType | None) -> None:
        """The signal's handler; a second signal ends the process at once.

        Raises:
            Stopped: always.
        """
        del number, frame
        self.asked = True
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise Stopped

    def again(self, number: signal.Signals) -> None:
        """Raise again what Python dropped: the handler of the signal runs once more, soon."""
        if number == signal.SIGTERM:
            signal.signal(number, self.ask)
        main = threading.main_thread().ident or 0
        self.timer = threading.Timer(SOON, signal.pthread_kill, [main, number])  # wakes a wait too
        self.timer.daemon = True
        self.timer.start()

    def over(self) -> None:
        """Nothing is left to stop."""
        if self.timer is not None:
            self.timer.cancel()


@contextmanager
def stoppable() -> Iterator[Ending]:
    """Have SIGTERM raise `Stopped` in the main thread; elsewhere nothing is changed.

    Neither it nor `KeyboardInterrupt` is lost where it arrives while Python drops exceptions.
    """
    ending = Ending()
    if threading.current_thread() is not threading.main_thread():
        yield ending
        return
    before, hook = signal.signal(signal.SIGTERM, ending.ask), sys.unraisablehook

    def unraisable(dropped: "UnraisableHookArgs") -> None:
        if isinstance(dropped.exc_value, Stopped):
            ending.again(signal.SIGTERM)
        elif isinstance(dropped.exc_value, KeyboardInterrupt):
            ending.again(signal.SIGINT)
        else:
            hook(dropped)

    sys.unraisablehook = unraisable
    try:
        yield ending
    finally:
        ending.over()
        sys.unraisablehook = hook
        signal.signal(signal.SIGTERM, before)
