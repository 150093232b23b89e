import threading
import time

import pytest

from conceptlab.numerics.parallel import ordered_map


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
