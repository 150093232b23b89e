"""P-values against controls, and adjusted ones."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import false_discovery_control, kstest, norm, ttest_ind

from conceptlab.numerics.testing import SMALLEST, benjamini_hochberg, holm, prediction_p


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


@pytest.mark.parametrize("controls", [2, 5, 30])
def test_a_prediction_test_is_the_t_test_of_one_value_against_a_sample(controls):
    rng = np.random.default_rng(controls)
    observed, null = 3 * rng.normal(size=8), rng.normal(2, 0.5, size=(8, controls))
    found = prediction_p(observed, null)
    for value, own, chance in zip(observed, null, found, strict=True):
        assert chance == pytest.approx(ttest_ind([value], own).pvalue, rel=1e-9)


def test_a_prediction_test_is_exact_for_normal_controls():
    rng = np.random.default_rng(0)
    for controls in (3, 20):
        chances = prediction_p(rng.normal(size=20_000), rng.normal(size=(20_000, controls)))
        assert kstest(chances, "uniform").pvalue > 0.01
    few = rng.normal(size=(20_000, 4))
    score = (rng.normal(size=20_000) - few.mean(axis=1)) / few.std(axis=1, ddof=1)
    # a normal law in place of Student's would find far too much
    assert (2 * norm.sf(np.abs(score)) < 0.05).mean() > 0.1


def test_shared_controls_are_the_same_as_each_ones_own():
    rng = np.random.default_rng(1)
    observed, null = rng.normal(size=5), rng.normal(size=9)
    own = prediction_p(observed, np.tile(null, (5, 1)))
    assert_allclose(prediction_p(observed, null), own)
    assert prediction_p(observed[0], null) == pytest.approx(own[0])
    assert_allclose(prediction_p(2 * observed + 3, 2 * null + 3), own)
    middle = null.mean()
    wide = middle + 2 * (null - middle)
    assert_allclose(prediction_p(observed, null, 2.0), prediction_p(observed, wide))
    assert (prediction_p(observed, null, 2.0) > own).all()


def test_controls_that_do_not_vary_test_nothing_or_decide():
    found = prediction_p(np.array([0.1, 0.2, np.nan]), np.full((3, 7), 0.1))
    assert np.isnan(found[[0, 2]]).all()
    assert found[1] == SMALLEST > 0
    assert prediction_p(np.array([1e9]), np.array([0.0, 1e-9, -1e-9] * 400))[0] >= SMALLEST


def test_one_control_is_refused():
    with pytest.raises(ValueError, match="at least two controls; got 1"):
        prediction_p(np.zeros(2), np.zeros((2, 1)))
