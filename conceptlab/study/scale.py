"""Where the parts of a study run: in this process, in several, or on a Dask cluster.

A part is a function from files to files, so it can run anywhere that sees the same folders.
"""

import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

from conceptlab.errors import InputError, UnfinishedError
from conceptlab.study.worker import begin, work

T = TypeVar("T")
R = TypeVar("R")


def spread(
    function: Callable[[T], R],
    items: Sequence[T],
    *,
    workers: int = 1,
    scheduler: str | None = None,
) -> list[R]:
    """Results of a function for each item, in the order of the items.

    Args:
        function: can be sent to another process.
        items: likewise.
        workers: processes on this machine; 1 stays in this one.
        scheduler: address of a running Dask scheduler, in place of own processes.

    Raises:
        InputError: no workers, both ways at once, Dask is not installed, or nobody answers there.
        UnfinishedError: a process of ours was killed.
    """
    if workers < 1:
        raise InputError(f"workers is at least 1; got {workers}")
    if scheduler is not None:
        if workers > 1:
            raise InputError("give --workers or --scheduler, not both")
        return _on_cluster(function, items, scheduler)
    if workers == 1 or len(items) < 2:
        return [function(item) for item in items]
    return _in_processes(function, items, min(workers, len(items)))


def _in_processes(function: Callable[[T], R], items: Sequence[T], count: int) -> list[R]:
    """As `spread`; Ctrl-C and SIGTERM end the processes, and only this one speaks of it."""
    context = multiprocessing.get_context("spawn")  # threads and numba do not survive a fork
    before = set(multiprocessing.active_children())
    with ProcessPoolExecutor(count, context, begin) as pool:
        with _interrupts_ignored():
            started = [pool.submit(work, function, item) for item in items]
        try:
            return [future.result() for future in started]
        except BrokenProcessPool as error:
            raise UnfinishedError(
                "a worker process ended unexpectedly, perhaps for lack of memory; the same command "
                "continues where it stopped, with fewer --workers if need be"
            ) from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in set(multiprocessing.active_children()) - before:
                process.terminate()
            raise


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Processes started meanwhile do not hear Ctrl-C; this one's handler is put back."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def _on_cluster(function: Callable[[T], R], items: Sequence[T], address: str) -> list[R]:
    try:
        from distributed import Client
    except ImportError as error:
        raise InputError("Dask is not installed; pip install 'conceptlab[dask]'") from error
    try:
        client: Any = Client(address, timeout="10s")
    except (OSError, ValueError) as error:
        raise InputError(f"no Dask scheduler answers at {address} ({error})") from error
    with client:
        found: list[R] = client.gather(client.map(function, items, pure=False))
    return found
