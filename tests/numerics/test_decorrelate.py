"""Axes without correlation: the coordinates where there is none, the principal ones where clear."""

import numpy as np
import pytest

from conceptlab.numerics.decorrelate import uncorrelated_axes


def aside(axes):
    """How far axes are from the coordinates, 0 to 1."""
    return 1 - np.mean(np.max(axes**2, axis=0))


def test_many_vectors_show_the_axes_that_they_were_made_of():
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    rows = rng.normal(size=(4000, 5)) * [1, 2, 4, 8, 16] @ turn.T
    found = uncorrelated_axes(rows)
    assert np.abs(turn.T @ found).max(axis=0) == pytest.approx(np.ones(5), abs=0.01)
    np.testing.assert_allclose(found.T @ found, np.eye(5), atol=1e-12)


@pytest.mark.parametrize("count", [5, 20])
def test_few_vectors_of_independent_units_keep_the_units(count):
    scales = np.exp(2 * np.random.default_rng(1).normal(size=12))
    apart = []
    for seed in range(40):
        axes = uncorrelated_axes(np.random.default_rng(seed).normal(size=(count, 12)) * scales)
        apart.append(0.0 if axes is None else aside(axes))
    assert np.mean(apart) < 0.1


def test_too_few_vectors_and_silent_units_say_nothing():
    assert uncorrelated_axes(np.ones((2, 4))) is None
    assert uncorrelated_axes(np.eye(5)) is None
    rows = np.random.default_rng(2).normal(size=(30, 4))
    rows[:, 2] = 0
    found = uncorrelated_axes(rows)
    assert found is None or np.isfinite(found).all()
