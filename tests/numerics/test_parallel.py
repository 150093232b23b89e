import threading
import time

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from conceptlab.numerics.parallel import one_blas_thread, ordered_map


def test_results_keep_the_order_of_the_items():
    def slow_at_first(i):
        time.sleep(0.02 if i == 0 else 0)
        return i * i

    assert list(ordered_map(slow_at_first, range(20))) == [i * i for i in range(20)]


def test_only_a_few_are_begun_ahead():
    begun, lock = set(), threading.Lock()

    def note(i):
        with lock:
            begun.add(i)
        return i

    results = ordered_map(note, range(1000))
    next(results)
    time.sleep(0.05)
    assert len(begun) < 100
    results.close()


def test_an_error_reaches_the_consumer():
    def fail(i):
        if i == 3:
            raise ValueError("three")
        return i

    with pytest.raises(ValueError, match="three"):
        list(ordered_map(fail, range(10)))


def threads_of_blas():
    return {found["num_threads"] for found in threadpool_info() if found["user_api"] == "blas"}


def test_blas_is_given_back_by_the_last_who_leaves():
    np.ones((2, 2)) @ np.ones((2, 2))
    before = threads_of_blas()
    first, second = one_blas_thread(), one_blas_thread()
    first.__enter__()
    second.__enter__()
    assert threads_of_blas() == {1}
    first.__exit__(None, None, None)  # in the order of threads, not of a stack
    assert threads_of_blas() == {1}
    second.__exit__(None, None, None)
    assert threads_of_blas() == before


def test_blas_is_given_back_after_an_error():
    before = threads_of_blas()
    with pytest.raises(ValueError, match="inside"), one_blas_thread():
        raise ValueError("inside")
    assert threads_of_blas() == before
