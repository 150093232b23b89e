"""The non-negative lasso against scikit-learn, and its conditions of optimality."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls
from sklearn.linear_model import Lasso

from conceptlab.numerics.lasso import nonnegative_lasso


def problem(seed, rows=200, width=12, targets=5):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, width)) @ rng.normal(size=(width, width))
    y = x[:, :3] @ rng.random((3, targets)) + rng.normal(size=(rows, targets))
    return x, y, x.T @ x / rows, x.T @ y / rows


@pytest.mark.parametrize("penalty", [0.01, 0.3, 2.0])
def test_weights_are_scikit_learns(penalty):
    x, y, gram, products = problem(0)
    found = nonnegative_lasso(gram, products, np.full(5, penalty), np.zeros_like(products))
    model = Lasso(penalty, positive=True, fit_intercept=False, tol=1e-10, max_iter=100_000)
    for k in range(5):
        np.testing.assert_allclose(found[:, k], model.fit(x, y[:, k]).coef_, atol=1e-4)


def test_without_a_penalty_it_is_scipys_non_negative_least_squares():
    x, y, gram, products = problem(1)
    found = nonnegative_lasso(gram, products, np.zeros(5), np.zeros_like(products))
    for k in range(5):
        np.testing.assert_allclose(found[:, k], nnls(x, y[:, k])[0], atol=1e-4)


@given(seed=st.integers(0, 10_000), penalty=st.floats(0.001, 3))
@settings(max_examples=30)
def test_the_conditions_of_optimality_hold_from_any_start(seed, penalty):
    _, _, gram, products = problem(seed)
    rng = np.random.default_rng(seed)
    start = rng.random(products.shape) * (rng.random(products.shape) < 0.5)
    found = nonnegative_lasso(gram, products, np.full(5, penalty), start)
    slope = products - gram @ found - penalty
    assert (found >= 0).all()
    assert (slope[found == 0] < 1e-3).all()
    assert (np.abs(slope[found > 0]) < 1e-3).all()


def test_a_constant_column_stays_out_and_nothing_is_fine():
    gram, products = np.diag([0.0, 1.0]), np.array([[5.0], [1.0]])
    found = nonnegative_lasso(gram, products, np.zeros(1), np.zeros((2, 1)))
    np.testing.assert_allclose(found, [[0.0], [1.0]])
    assert nonnegative_lasso(gram, np.zeros((2, 0)), np.zeros(0), np.zeros((2, 0))).shape == (2, 0)
