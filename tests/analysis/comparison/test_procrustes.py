import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes
from scipy.spatial import procrustes as of_scipy

from conceptlab.analysis.comparison.procrustes import procrustes


def test_the_angle_is_that_of_scipys_disparity():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 5)), rng.normal(size=(20, 5))
    assert np.sin(procrustes(x, y, draws=0).value) ** 2 == pytest.approx(of_scipy(x, y)[2])


def test_the_angle_is_that_after_the_best_rotation_also_of_unequal_sizes():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(9, 15)), rng.normal(size=(9, 4))
    x, y = x - x.mean(axis=0), np.pad(y - y.mean(axis=0), ((0, 0), (0, 11)))
    x, y = x / np.linalg.norm(x), y / np.linalg.norm(y)
    turn, _ = orthogonal_procrustes(x, y)
    wanted = np.arccos(((x @ turn) * y).sum())
    assert procrustes(x, y[:, :4], draws=0).value == pytest.approx(wanted, abs=1e-9)


def test_few_items_fit_anything_and_the_test_says_so():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(8, 100)), rng.normal(size=(8, 100))
    found = procrustes(x, y, draws=100)
    assert found.value < 0.5
    assert found.p_value > 0.05
