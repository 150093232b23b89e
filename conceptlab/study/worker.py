"""A process that works for a study, and ends with it, whatever becomes of the one that began it."""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from types import FrameType
from typing import Any, TypeVar

from conceptlab.stopping import EXIT_CODE, Stopped

T = TypeVar("T")
R = TypeVar("R")
GRACE = 10.0  # seconds to put things back after the study's own process is gone
DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux's prctl

_working = threading.Event()


def begin() -> None:
    """Set up a worker: SIGTERM and the end of its parent end it, with all put back on the way."""
    from tqdm import tqdm

    tqdm.set_lock(threading.RLock())  # shared with none, so that ending leaves no lock behind
    signal.signal(signal.SIGTERM, _end)
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(DEATH_SIGNAL, signal.SIGTERM)
    threading.Thread(target=_watch, args=(parent,), daemon=True, name="parent").start()


def work(function: Callable[[T], R], item: T) -> R:
    """Function of an item, in a worker; when it is stopped, so is the worker."""
    _working.set()
    try:
        return function(item)
    except Stopped:
        _leave()
        raise
    finally:
        _working.clear()


def _end(number: int, frame: FrameType | None) -> None:
    del number, frame
    if not _working.is_set():
        _leave()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # its parent's end may come twice
    raise Stopped


def _watch(parent: Any) -> None:
    """Wait for the end of the parent, which closes a pipe on every system."""
    wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    _leave()


def _leave() -> None:
    os._exit(EXIT_CODE)
