"""Where the parts of a study run: in this process, in several, or on a Dask cluster.

A part is a function from files to files, so it can run anywhere that sees the same folders.
"""

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

from conceptlab.errors import InputError

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
    """
    if workers < 1:
        raise InputError(f"workers is at least 1; got {workers}")
    if scheduler is not None:
        if workers > 1:
            raise InputError("give --workers or --scheduler, not both")
        return _on_cluster(function, items, scheduler)
    if workers == 1 or len(items) < 2:
        return [function(item) for item in items]
    context = multiprocessing.get_context("spawn")  # threads and numba do not survive a fork
    with ProcessPoolExecutor(min(workers, len(items)), context) as pool:
        return list(pool.map(function, items))


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
