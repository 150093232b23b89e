"""Adjusted p-values."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import false_discovery_control

from conceptlab.numerics.testing import benjamini_hochberg, holm


@pytest.mark.parametrize("seed", range(5))
def test_benjamini_hochberg_is_scipys_and_leaves_missing_tests_out(seed):
    rng = np.random.default_rng(seed)
    chances = rng.random(40) ** 2
    assert_allclose(benjamini_hochberg(chances), false_discovery_control(chances))
    holes = np.where(rng.random(40) < 0.3, np.nan, chances)
    known = np.isfinite(holes)
    found = benjamini_hochberg(holes)
    assert_allclose(found[known], false_discovery_control(chances[known]))
    assert np.isnan(found[~known]).all()


def test_holm_is_the_stepwise_rule():
    chances = np.array([0.04, 0.01, np.nan, 0.03, 0.005])
    for alpha in np.linspace(0.001, 0.2, 60):
        rejected, left = set(), [4, 1, 3, 0]  # by size
        while left and chances[left[0]] * len(left) <= alpha:
            rejected.add(left.pop(0))
        assert set(np.flatnonzero(holm(chances) <= alpha)) == rejected


def test_nothing_known_stays_unknown():
    assert np.isnan(holm(np.array([np.nan]))).all()
    assert len(benjamini_hochberg(np.array([]))) == 0


def test_the_share_of_families_with_a_false_finding_is_bounded():
    rng = np.random.default_rng(0)
    chances = rng.random((2000, 20))
    any_false = [(holm(row) <= 0.05).any() for row in chances]
    assert np.mean(any_false) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 2000)
    assert np.mean([(row <= 0.05).any() for row in chances]) > 0.5  # uncorrected
