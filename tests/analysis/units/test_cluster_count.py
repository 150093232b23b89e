"""Clusters are counted where they are planted, and nowhere else."""

from itertools import combinations

import numpy as np
import pytest

from conceptlab.analysis.units.cluster_count import (
    LEVEL,
    KindCounter,
    _chance,
    _Split,
    best_splits,
    orthonormal,
    principal,
)


def kinds(points, most=6, seed=0):
    return KindCounter(seed).count(points @ points.T, most)


def planted(rng, sizes, apart=1.0, units=60):
    """Points in clusters of some sizes, and which each is in; mixed."""
    centres = apart * rng.standard_normal((len(sizes), units))
    labels = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    return centres[labels] + rng.standard_normal((len(labels), units)), labels


def share_of(points, side):
    """Literally: the sum of squares between two sides over the whole."""
    mean = points.mean(axis=0)
    total = sum(((p - mean) ** 2).sum() for p in points)
    between = 0.0
    for part in (points[side], points[~side]):
        between += len(part) * ((part.mean(axis=0) - mean) ** 2).sum()
    return between / total


@pytest.mark.parametrize("fewest", [1, 3])
def test_splits_are_about_the_best_of_all(fewest):
    rng = np.random.default_rng(0)
    clouds = rng.standard_normal((20, 9, 3)) * [3, 2, 1]
    clouds -= clouds.mean(axis=1, keepdims=True)
    shares, sides = best_splits(clouds, fewest)
    gaps = []
    for points, share, side in zip(clouds, shares, sides, strict=True):
        assert fewest <= side.sum() <= 9 - fewest
        assert share == pytest.approx(share_of(points, side), rel=1e-12)
        every = [
            share_of(points, np.isin(np.arange(9), chosen))
            for size in range(fewest, 9 - fewest + 1)
            for chosen in combinations(range(9), size)
        ]
        assert share <= max(every) * (1 + 1e-12)
        gaps.append(max(every) - share)
    assert np.mean(gaps) < 0.01


def test_splits_agree_with_scikit_learn():
    from sklearn.cluster import KMeans

    rng = np.random.default_rng(1)
    for _ in range(10):
        points = planted(rng, (14, 26), 2.0, 5)[0]
        points -= points.mean(axis=0)
        share = best_splits(points[None], 2)[0][0]
        inertia = KMeans(2, n_init=20, random_state=0).fit(points).inertia_
        assert share == pytest.approx(1 - inertia / (points**2).sum(), abs=0.005)


def test_scores_keep_distances_and_references_the_covariance():
    rng = np.random.default_rng(2)
    points = rng.standard_normal((12, 4)) + 7
    scores, sizes = principal(points @ points.T, 5)
    assert scores.shape == (12, 4)
    far = np.linalg.norm(points[:, None] - points, axis=2)
    assert np.allclose(np.linalg.norm(scores[:, None] - scores, axis=2), far)
    drawn = orthonormal(rng.standard_normal((3, 12, 4))) * sizes
    for reference in drawn:
        assert np.allclose(reference.sum(axis=0), 0)
        assert np.allclose(reference.T @ reference, scores.T @ scores)
    assert principal(points @ points.T, 2)[0] == pytest.approx(scores[:, :2])


def test_the_gaussian_reference_is_exact_whatever_the_covariance():
    """Of any Gaussian clouds, a share LEVEL of p-values is at most LEVEL."""
    rng = np.random.default_rng(3)
    reference = orthonormal(rng.standard_normal((199, 14, 3)))
    found = 0
    for trial in range(800):
        points = rng.standard_normal((14, 20)) / np.arange(1, 21) ** (trial % 3)
        scores, sizes = principal(points @ points.T, 3)
        share = float(best_splits(scores[None], 4)[0][0])
        found += _chance(share, reference, sizes, 4) <= LEVEL
    assert 0.033 < found / 800 < 0.07  # three binomial deviations, and the references'


@pytest.mark.parametrize("decay", [0.0, 1.0])
def test_a_gaussian_cloud_is_one_kind(decay):
    rng = np.random.default_rng(4)
    counter = KindCounter(0)
    counts = []
    for _ in range(150):
        points = rng.standard_normal((40, 60)) / np.arange(1, 61) ** decay
        counts.append(counter.count(points @ points.T, 6).count)
    assert np.mean(np.array(counts) == 1) >= 0.95


def test_a_continuum_is_one_kind():
    rng = np.random.default_rng(5)
    counts = [
        kinds(np.outer(rng.uniform(-1, 1, 40), np.full(60, 0.5)) + noise).count
        for noise in rng.normal(0, 0.1, (40, 40, 60))
    ]
    assert np.mean(np.array(counts) == 1) >= 0.85


@pytest.mark.parametrize(
    "sizes", [(20, 20), (34, 6), (14, 13, 13), (20, 12, 8), (10,) * 4, (8,) * 5]
)
def test_planted_clusters_are_found(sizes):
    points, truth = planted(np.random.default_rng(sum(sizes[:1])), sizes)
    found = kinds(points)
    assert found.count == len(sizes)
    assert found.p_value <= LEVEL
    for label in range(found.count):
        assert len(set(truth[found.labels == label])) == 1
    assert list(np.bincount(found.labels)) == sorted(sizes, reverse=True)


def test_at_most_so_many():
    points, _ = planted(np.random.default_rng(6), (10, 10, 10, 10))
    assert kinds(points, most=3).count == 3
    assert kinds(points, most=1).count == 1


def test_the_surest_split_is_made_first():
    """Of two pairs of clusters, one far apart and one near, the far pair is told apart first."""
    centres = np.zeros((4, 60))
    centres[:2, 0], centres[2:, 0] = 30, -30
    centres[:2, 1] = 0, 7
    centres[2:, 2] = 0, 14
    points = np.repeat(centres, 10, axis=0) + np.random.default_rng(0).standard_normal((40, 60))
    assert kinds(points).count == 4
    three = kinds(points, most=3).labels
    assert three[0] == three[10]
    assert three[20] != three[30]


def test_parts_are_tested_more_severely():
    def significant(points, p_value):
        return _Split(np.zeros(points, dtype=bool), p_value).significant(40)

    assert significant(40, 0.05)
    assert not significant(40, 0.055)
    assert significant(20, 0.024)
    assert not significant(20, 0.025)  # 0.05 * 19 / 39
    assert not significant(20, float("nan"))


def test_one_stray_point_is_no_kind():
    rng = np.random.default_rng(7)
    points = rng.standard_normal((40, 60))
    points[5] += 4
    assert kinds(points).count == 1


def test_order_scale_and_rotation_change_nothing():
    rng = np.random.default_rng(8)
    points, _ = planted(rng, (18, 12, 10))
    found = kinds(points)
    order = rng.permutation(40)
    turned = points[order] @ np.linalg.qr(rng.standard_normal((60, 60)))[0] * 1e-4 + 3e-4
    again = kinds(turned)
    assert again.labels.tolist() == found.labels[order].tolist()
    assert again.p_value == found.p_value
    same = kinds(points)
    assert same.labels.tolist() == found.labels.tolist()


@pytest.mark.parametrize("count", [0, 1, 7])
def test_few_points_are_not_tested(count):
    found = kinds(
        np.random.default_rng(9).standard_normal((count, 5)) + 100.0 * np.arange(count)[:, None]
    )
    assert found.count == min(count, 1)
    assert np.isnan(found.p_value)


def test_eight_points_can_be_two_kinds_and_equal_ones_are_one():
    rng = np.random.default_rng(10)
    points, _ = planted(rng, (4, 4), 3.0)
    assert kinds(points).count == 2
    equal = kinds(np.ones((30, 4)))
    assert equal.count == 1
    assert np.isnan(equal.p_value)  # nothing to be split
    twice = kinds(np.repeat(np.eye(2), 10, axis=0))
    assert sorted(np.bincount(twice.labels)) == [10, 10]
