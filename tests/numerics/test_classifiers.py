"""Linear classifiers: scikit-learn, optimality of the stated objectives, closed forms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression, RidgeClassifier

from conceptlab.errors import InputError
from conceptlab.numerics.classifiers import (
    CLASSIFIERS,
    TOGETHER,
    fit_by_moments,
    fit_in_features,
    fit_in_samples,
    require_classifier,
)

LOSSES = CLASSIFIERS[:3]  # 'difference' minimises none


def problem(seed=0, n=24, features=6, apart=1.0):
    """Samples of two classes, and their labels."""
    rng = np.random.default_rng(seed)
    labels = np.where(np.arange(n) < (n + 1) // 2, 1.0, -1.0)
    x = rng.normal(size=(n, features)) * rng.uniform(0.3, 2, features)
    return x + apart * np.outer(labels, rng.normal(size=features)) / np.sqrt(features), labels


def one(x, labels, classifier, penalty):
    """Weights, bias and length from the Gram matrix, for one problem of all samples."""
    index = np.arange(len(x))[None]
    a, b, length = fit_in_samples(x @ x.T, index, labels, classifier, penalty)
    return x.T @ a[0], b[0], length[0]


def loss_of(margin, classifier):
    """The losses as the module states them, and their derivatives."""
    if classifier == "ridge":
        return (1 - margin) ** 2 / 2, margin - 1
    if classifier == "svm":
        gap = np.maximum(0, 1 - margin)
        return gap**2 / 2, -gap
    return np.log1p(np.exp(-margin)), -1 / (1 + np.exp(margin))


def objective(point, x, labels, classifier, penalty):
    """The stated objective at (w, b), and its gradient."""
    w, b = point[:-1], point[-1]
    loss, slope = loss_of(labels * (x @ w + b), classifier)
    pull = labels * slope
    gradient = np.append(x.T @ pull + penalty * w, pull.sum())
    return loss.sum() + penalty / 2 * w @ w, gradient


@pytest.mark.parametrize("penalty", [0.1, 3.0])
@pytest.mark.parametrize("shape", [(30, 5), (12, 40)])
def test_agree_with_scikit_learn(shape, penalty):
    x, labels = problem(1, *shape)
    ridge = RidgeClassifier(alpha=penalty).fit(x, labels)
    logistic = LogisticRegression(C=1 / penalty, tol=1e-12, max_iter=100_000).fit(x, labels)
    for theirs, name in ((ridge, "ridge"), (logistic, "logistic")):
        for w, b in (one(x, labels, name, penalty)[:2], fit_in_features(x, labels, name, penalty)):
            assert_allclose(w, theirs.coef_.ravel(), rtol=1e-4, atol=1e-5)
            assert_allclose(b, theirs.intercept_[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(30, 5), (12, 40)])
def test_svm_is_the_minimum_of_the_squared_hinge(shape):
    x, labels = problem(2, *shape)
    best = minimize(
        objective, np.zeros(shape[1] + 1), (x, labels, "svm", 0.5), "BFGS", True,
        options={"gtol": 1e-9},
    )  # fmt: skip
    w, b, _ = one(x, labels, "svm", 0.5)
    assert_allclose(np.append(w, b), best.x, atol=1e-5)
    assert_allclose(np.append(*fit_in_features(x, labels, "svm", 0.5)), best.x, atol=1e-5)


@settings(max_examples=60)
@given(
    st.sampled_from(LOSSES), st.integers(0, 10_000), st.integers(2, 30), st.integers(1, 40),
    st.sampled_from([0.01, 0.1, 1.0, 30.0]), st.sampled_from([0.0, 1.0, 20.0]),
)  # fmt: skip
def test_nothing_pulls_at_a_solution(classifier, seed, n, features, penalty, apart):
    x, labels = problem(seed, n, features, apart)
    w, b, length = one(x, labels, classifier, penalty)
    value, gradient = objective(np.append(w, b), x, labels, classifier, penalty)
    start, steep = objective(np.zeros(features + 1), x, labels, classifier, penalty)
    assert np.abs(gradient).max() < 1e-4 * max(np.abs(steep).max(), 1)
    assert value <= start + 1e-9
    assert_allclose(length, np.linalg.norm(w), rtol=1e-6, atol=1e-7)


@settings(max_examples=40)
@given(
    st.sampled_from(CLASSIFIERS), st.integers(0, 10_000), st.integers(2, 30), st.integers(1, 40),
    st.sampled_from([0.05, 1.0]),
)  # fmt: skip
def test_samples_and_features_give_the_same(classifier, seed, n, features, penalty):
    x, labels = problem(seed, n, features)
    w, b, _ = one(x, labels, classifier, penalty)
    weights, bias = fit_in_features(x, labels, classifier, penalty)
    scale = np.abs(weights).max() + abs(bias)
    assert_allclose(w, weights, atol=2e-3 * scale)
    assert_allclose(x @ w + b, x @ weights + bias, atol=2e-3)


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_many_problems_are_each_alone_and_samples_may_be_shared(classifier):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(30, 8))
    index = rng.integers(0, 30, size=(TOGETHER + 5, 10))  # more than one thread's share
    labels = np.repeat([1.0, -1.0], 5)
    a, b, length = fit_in_samples(x @ x.T, index, labels, classifier, 0.3)
    for p, own in enumerate(index):
        w, bias, norm = one(x[own], labels, classifier, 0.3)
        assert_allclose(x[own].T @ a[p], w, atol=1e-7)
        assert_allclose([b[p], length[p]], [bias, norm], atol=1e-7)


@pytest.mark.parametrize("classifier", LOSSES)
def test_a_sample_that_stands_twice_counts_twice(classifier):
    x = problem(4, 12, 2, apart=0.0)[0]  # which no line tells apart
    index = np.array([[0, 1, 1, 2, 3, 6, 6, 6, 7, 8]])
    own = np.repeat([1.0, -1.0], 5)
    a, b, length = fit_in_samples(x @ x.T, index, own, classifier, 0.2)
    w = x[index[0]].T @ a[0]
    _, gradient = objective(np.append(w, b), x[index[0]], own, classifier, 0.2)
    assert np.abs(gradient).max() < 1e-4
    assert length[0] == pytest.approx(np.linalg.norm(w))
    plain = one(x[[0, 1, 2, 3, 6, 7, 8]], np.repeat([1.0, -1.0], [4, 3]), classifier, 0.2)[0]
    assert np.abs(w - plain).max() > 1e-3  # the control: repeats are not ignored


@pytest.mark.parametrize("classifier", LOSSES)
def test_coefficients_sum_to_zero_and_so_hold_wherever_the_origin_lies(classifier):
    x, labels = problem(5)
    index = np.arange(len(x))[None]
    moved = x + np.linspace(-3, 3, x.shape[1])
    a, _, length = fit_in_samples(x @ x.T, index, labels, classifier, 0.1)
    assert a[0].sum() == pytest.approx(0, abs=1e-6)
    w, b, _ = one(x, labels, classifier, 0.1)
    again, bias, norm = one(moved, labels, classifier, 0.1)
    assert_allclose(again, w, atol=1e-4)
    assert_allclose(moved @ again + bias, x @ w + b, atol=1e-4)
    assert norm == pytest.approx(length[0], rel=1e-4)


def test_difference_is_that_of_the_means_with_its_border_halfway():
    rng = np.random.default_rng(6)
    x = rng.normal(size=(15, 7)) + 2
    labels = np.repeat([1.0, -1.0], [5, 10])
    yes, no = x[:5].mean(axis=0), x[5:].mean(axis=0)
    w, b, length = one(x, labels, "difference", 1.0)
    for weights, bias in ((w, b), fit_in_features(x, labels, "difference", 1.0)):
        assert_allclose(weights, yes - no)
        assert weights @ (yes + no) / 2 + bias == pytest.approx(0, abs=1e-12)
        assert weights @ yes + bias == pytest.approx(length**2 / 2)
    assert length == pytest.approx(np.linalg.norm(yes - no))


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_two_samples_and_samples_far_apart(classifier):
    rng = np.random.default_rng(7)
    pair, labels = rng.normal(size=(2, 9)), np.array([1.0, -1.0])
    w, b, _ = one(pair, labels, classifier, 0.1)
    gap = pair[0] - pair[1]
    assert w @ gap / (np.linalg.norm(w) * np.linalg.norm(gap)) == pytest.approx(1, abs=1e-9)
    assert w @ pair.mean(axis=0) + b == pytest.approx(0, abs=1e-5)
    x, labels = problem(8, 40, 20, apart=200.0)
    for w, b in (one(x, labels, classifier, 1e-3)[:2],
                 fit_in_features(x, labels, classifier, 1e-3)):  # fmt: skip
        assert np.isfinite(w).all()
        assert (np.sign(x @ w + b) == labels).all()


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_samples_that_are_all_equal_give_nothing(classifier):
    x, labels = np.ones((8, 3)), np.repeat([1.0, -1.0], 4)
    w, b, length = one(x, labels, classifier, 0.1)
    assert_allclose(w, 0, atol=1e-9)
    assert length == pytest.approx(0, abs=1e-6)
    assert b == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("classifier", LOSSES)
def test_single_precision_changes_little(classifier):
    x, labels = problem(9, 60, 200)
    exact = one(x, labels, classifier, 0.1)
    rough = one(x.astype(np.float32), labels, classifier, 0.1)
    assert_allclose(rough[0], exact[0], atol=1e-4 * np.abs(exact[0]).max())
    few, labels = problem(9, 200, 20)
    exact = np.append(*fit_in_features(few, labels, classifier, 0.1))
    rough = np.append(*fit_in_features(few.astype(np.float32), labels, classifier, 0.1))
    assert_allclose(rough, exact, atol=1e-3 * np.abs(exact).max())


def test_an_unknown_classifier():
    x, labels = problem()
    say = "classifier is one of ridge, logistic, svm, difference; got 'forest'"
    for call in (
        lambda: require_classifier("forest"),
        lambda: one(x, labels, "forest", 0.1),
        lambda: fit_in_features(x, labels, "forest", 0.1),
    ):
        with pytest.raises(InputError) as caught:
            call()
        assert str(caught.value) == say


def test_moments_are_all_that_ridge_asks_of_samples():
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(60, 7)) + 2, np.repeat([1.0, -1.0], [20, 40])
    wide = np.hstack([x, np.ones((60, 1))])
    weights, bias = fit_by_moments(wide.T @ wide, wide.T @ labels, 0.7)
    theirs = fit_in_features(x, labels, "ridge", 0.7)
    assert_allclose(weights, theirs[0], rtol=1e-9)
    assert bias == pytest.approx(theirs[1])
