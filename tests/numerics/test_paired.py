import numpy as np
import pytest
from scipy.stats import binomtest

from conceptlab.numerics.metrics import iou
from conceptlab.numerics.paired import swap_test


def total(sums):
    return sums[:, 0]


def test_of_right_and_wrong_it_is_mcnemars_exact_test():
    rng = np.random.default_rng(0)
    for _ in range(5):
        first, second = rng.random((2, 40, 1)) < np.array([0.8, 0.6])[:, None, None]
        better, worse = (first & ~second).sum(), (second & ~first).sum()
        exact = binomtest(int(better), int(better + worse), 0.5).pvalue
        found = swap_test(first.astype(float), second.astype(float), total, 40)
        assert found == pytest.approx(exact, abs=0.05)


def test_the_level_holds_for_ratios_of_sums():
    rng = np.random.default_rng(1)
    rejected = []
    for seed in range(300):
        label = rng.integers(1, 50, 15)
        both, mask = (rng.binomial(label, rng.beta(2, 2, (2, 15))) for _ in range(2))
        counts = np.stack([both, both + mask, np.stack([label, label])], axis=2).astype(float)
        rejected.append(swap_test(*counts, lambda s: iou(*s.T), 15, seed) <= 0.05)
    assert 0.02 <= np.mean(rejected) <= 0.085


def test_neighbours_change_sides_together():
    rng = np.random.default_rng(2)
    found = []
    for seed in range(200):
        gain = np.repeat(rng.normal(size=(12, 1)), 10, axis=0)
        found.append([swap_test(gain, 0 * gain, total, worth, seed) <= 0.05 for worth in (12, 120)])
    together, apart = np.mean(found, axis=0)
    assert together < 0.1
    assert apart > 0.3


def test_what_is_undefined_has_no_p_value():
    none = np.zeros((5, 3))
    assert np.isnan(swap_test(none, none, lambda s: iou(*s.T), 5))
    one = np.array([[3.0]])  # both changes of sides give the same difference
    assert np.isnan(swap_test(one, 0 * one, total, 1))
    many = np.ones((30, 1))  # neighbours that are worth one image
    assert np.isnan(swap_test(many, 0 * many, total, 1))
    assert np.isnan(swap_test(many, many, total, 30))
