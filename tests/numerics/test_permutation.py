"""Permutation p-values: exact by enumeration, and none where nothing is known or tested."""

import itertools

import numpy as np
import pytest

from conceptlab.numerics.testing import permutation_p


def test_all_orders_give_the_exact_share():
    x, y = np.array([1.0, 2, 3, 5]), np.array([1.0, 3, 2, 9])
    every = np.array([x @ y[list(order)] for order in itertools.permutations(range(4))])
    wanted = sum(x @ y[list(o)] >= x @ y for o in itertools.permutations(range(4))) / 24
    others = np.delete(every, 0)  # the given order counts by itself
    assert permutation_p(x @ y, others) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("value", "null"),
    [
        (np.nan, [1.0, 2.0]), (np.inf, [1.0, 2.0]), (1.0, [1.0, np.nan]), (1.0, []),
        (0.3, [0.3, 0.3 + 1e-16, 0.3 - 1e-16]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("greater", [True, False])
def test_what_is_undefined_or_never_changes_has_no_p_value(value, null, greater):
    assert np.isnan(permutation_p(value, np.array(null), greater=greater))


@pytest.mark.parametrize("greater", [True, False])
def test_ties_at_rounding_size_count_as_equal(greater):
    far = -9.0 if greater else 9.0
    null = np.array([far, 1.0 - 1e-15, 1.0 + 1e-15, far])
    assert permutation_p(1.0, null, greater=greater) == pytest.approx(3 / 5)


def test_the_size_of_cancelling_terms_says_what_is_equal():
    null = np.array([1e-9, 2e-9, 1e3])
    assert permutation_p(0.0, null, greater=False) == pytest.approx(1 / 4)
    assert permutation_p(0.0, null, greater=False, size=1e5) == pytest.approx(3 / 4)
