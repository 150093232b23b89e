"""Bundles of directions beside the matrices that they stand for."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import sparse

from conceptlab.probes.cav.bundle import Bundle


def made(seed=0, samples=9, features=6, count=5, each=4):
    """A bundle whose index holds repeats, and its directions (P, D) written out."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(samples, features)).astype(np.float32)
    index = rng.integers(0, samples, (count, each))
    index[0, 1] = index[0, 0]
    coefficients = rng.normal(size=(count, each))
    dense = np.zeros((count, features))
    for p in range(count):
        for i in range(each):
            dense[p] += coefficients[p, i] * x[index[p, i]].astype(np.float64)
    return Bundle.combining(x, index, coefficients), dense


@pytest.mark.parametrize("features", [6, 40])
def test_combined_samples(features):
    bundle, dense = made(features=features)
    assert len(bundle) == 5
    assert bundle.features == features
    vectors = np.random.default_rng(1).normal(size=(7, features)).astype(np.float32)
    assert_allclose(bundle.along(vectors), dense @ vectors.T, atol=1e-4)
    assert bundle.along(vectors).dtype == np.float32
    assert_allclose(bundle.sums(np.arange(5)[:, None]), dense, atol=1e-5)


def test_sums_of_groups_count_repeats():
    bundle, dense = made()
    groups = np.array([[0, 1, 2], [3, 3, 4], [2, 2, 2]])
    assert_allclose(bundle.sums(groups), dense[groups].sum(axis=1), atol=1e-5)
    assert bundle.sums(np.zeros((0, 3), dtype=np.int64)).shape == (0, 6)


def test_directions_that_are_written_out():
    dense = np.random.default_rng(2).normal(size=(4, 3))
    bundle = Bundle.of(dense)
    vectors = np.eye(3, dtype=np.float32)
    assert_allclose(bundle.along(vectors), dense, rtol=1e-6)
    assert len(Bundle.of(np.zeros((0, 3)))) == 0
    assert Bundle.of(np.zeros((0, 3))).along(vectors).shape == (0, 3)


def test_joined_bundles_are_one_after_the_other():
    first, one = made(0)
    second, two = made(1, samples=4)
    vectors = np.random.default_rng(3).normal(size=(2, 6)).astype(np.float32)
    joined = Bundle.joined([first, second])
    assert_allclose(joined.along(vectors), np.vstack([one, two]) @ vectors.T, atol=1e-4)
    assert len(joined.samples) == 13
    half = Bundle(first.samples, sparse.csr_array(first.combination[:2]))
    shared = Bundle.joined([first, half])
    assert shared.samples is first.samples  # not held twice
    assert_allclose(shared.along(vectors), np.vstack([one, one[:2]]) @ vectors.T, atol=1e-4)
