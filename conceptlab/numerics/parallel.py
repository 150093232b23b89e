"""Threads over pieces of work that release the GIL, with results in order."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Lock
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")


def workers() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def ordered_map(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Function of each item, in the order of the items, a few ahead of whoever consumes them.

    Results do not depend on the number of threads as long as the pieces do not.
    """
    threads = workers()
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[R]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


class _Blas:
    """How many are inside `one_blas_thread`, and what puts BLAS back when the last one leaves."""

    lock = Lock()
    inside = 0
    limits: Any = None


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """BLAS on one thread while threads of ours fill the processors: else they wait for another.

    A solver whose passes are threaded takes it for its whole: BLAS's threads spin after each
    product, and hold up the pass that follows. BLAS has one setting for a process, so that the
    first who enters makes it and the last who leaves takes it back.
    """
    from threadpoolctl import threadpool_limits

    with _Blas.lock:
        if not _Blas.inside:
            _Blas.limits = threadpool_limits(1, user_api="blas")
        _Blas.inside += 1
    try:
        yield
    finally:
        with _Blas.lock:
            _Blas.inside -= 1
            if not _Blas.inside:
                _Blas.limits.restore_original_limits()
