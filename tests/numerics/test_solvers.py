import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from conceptlab.numerics.solvers import minimise


def quadratics(rng, rows, width):
    """Rows of 1/2 x A x - b x with different curvature."""
    roots = rng.normal(size=(rows, width, width))
    a = roots @ roots.transpose(0, 2, 1) + 0.1 * np.eye(width)
    return a * np.logspace(-2, 2, rows)[:, None, None], rng.normal(size=(rows, width))


@given(st.integers(0, 100), st.integers(1, 6), st.integers(1, 8))
def test_finds_the_minimum_of_quadratics(seed, rows, width):
    a, b = quadratics(np.random.default_rng(seed), rows, width)

    def objective(x, which):
        ax = np.einsum("bij,bj->bi", a[which], x)
        return 0.5 * (x * ax).sum(1) - (x * b[which]).sum(1), ax - b[which]

    found = minimise(objective, np.zeros((rows, width)), tolerance=1e-14, max_evaluations=2000)
    exact = np.linalg.solve(a, b[:, :, None])[:, :, 0]
    best = objective(exact, np.arange(rows))[0]
    assert_allclose(found.loss, best, rtol=1e-6, atol=1e-9)
    assert found.converged.all()


def test_rows_do_not_influence_one_another():
    a, b = quadratics(np.random.default_rng(0), 5, 4)

    def objective(x, which):
        ax = np.einsum("bij,bj->bi", a[which], x)
        return 0.5 * (x * ax).sum(1) - (x * b[which]).sum(1), ax - b[which]

    together = minimise(objective, np.zeros((5, 4)), tolerance=1e-12)
    for row in range(5):
        alone = minimise(
            lambda x, _, row=row: objective(x, np.full(len(x), row)), np.zeros((1, 4)),
            tolerance=1e-12,
        )  # fmt: skip
        assert_allclose(alone.x[0], together.x[row], rtol=1e-9, atol=1e-12)


def test_loss_never_rises_and_the_limit_holds():
    losses = []

    def rosenbrock(x, _):
        u, v = x[:, 0], x[:, 1]
        loss = (1 - u) ** 2 + 100 * (v - u**2) ** 2
        losses.append(loss[0])
        return loss, np.stack([-2 * (1 - u) - 400 * u * (v - u**2), 200 * (v - u**2)], 1)

    found = minimise(rosenbrock, np.array([[-1.2, 1.0]]), tolerance=1e-12, max_evaluations=7)
    assert found.evaluations == 7
    assert not found.converged[0]
    assert found.loss[0] == min(losses)
    found = minimise(rosenbrock, np.array([[-1.2, 1.0]]), tolerance=1e-14, max_evaluations=500)
    assert found.x[0] == pytest.approx([1, 1], abs=1e-4)


def test_a_start_at_the_minimum_ends_at_once():
    found = minimise(lambda x, _: ((x**2).sum(1), 2 * x), np.zeros((2, 3)))
    assert found.evaluations == 1
