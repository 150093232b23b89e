import numpy as np
from numpy.testing import assert_allclose
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from conceptlab.numerics.logistic import Whitening, balanced_weights, decisions, fit_logistic


def test_solver_agrees_with_scipy_and_scikit_learn():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 5)) * [1, 3, 0.2, 1, 1]
    labels = np.stack([x @ rng.normal(size=5) + rng.normal(size=80) > 0.5 for _ in range(3)])
    images = balanced_weights(labels, np.ones_like(labels))
    penalty = np.array([0.1, 0.01, 0.001])
    found = fit_logistic(x, labels, images, penalty, np.ones(5), 1e-10)
    for c in range(3):

        def objective(w, c=c):
            z = x @ w[:-1] + w[-1]
            loss = images[c] @ (np.logaddexp(0, z) - labels[c] * z)
            return loss + penalty[c] / 2 * (w[:-1] ** 2).sum()

        best = minimize(objective, np.zeros(6), method="BFGS", options={"gtol": 1e-8})
        assert objective(found[c]) <= best.fun + 1e-8
        assert_allclose(found[c], best.x, atol=1e-3)
        # scikit-learn sums over images: its C is 1 / penalty
        theirs = LogisticRegression(C=1 / penalty[c], tol=1e-10, max_iter=10_000)
        theirs.fit(x, labels[c], sample_weight=images[c])
        assert_allclose(found[c, :-1], theirs.coef_[0], atol=1e-3)
    own = np.repeat(x[None], 3, axis=0)
    assert_allclose(fit_logistic(own, labels, images, penalty, np.ones(5), 1e-10), found, atol=1e-5)


def test_problems_that_share_inputs_are_those_that_have_them_alone():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(3, 70, 4))
    labels = rng.random((12, 70)) < 0.4
    images = balanced_weights(labels, rng.random((12, 70)) < 0.8)
    penalty = 10.0 ** rng.uniform(-3, 0, 12)  # some end early, so that few of a set are left
    found = fit_logistic(x, labels, images, penalty, np.ones(4), 1e-12)
    for p in range(12):
        own = slice(p, p + 1)
        alone = fit_logistic(x[p // 4], labels[own], images[own], penalty[own], np.ones(4), 1e-12)
        assert_allclose(found[own], alone, atol=1e-4)
        wanted = x[p // 4] @ found[p, :-1] + found[p, -1]
        assert_allclose(decisions(x, found)[p], wanted, atol=1e-12)


def test_whitened_units_are_uncorrelated_and_weights_go_back():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(200, 4)) @ rng.normal(size=(4, 4)) + 5
    x = np.column_stack([x, np.full(200, 3.0)])  # a unit that never varies
    white = Whitening.of(x)
    z = white.rotate(x)
    covariance = z.T @ z / len(z)
    assert_allclose(covariance, np.diag(white.values), atol=1e-4)
    weights, bias = rng.normal(size=(2, z.shape[1])), rng.normal(size=2)
    plain, shift = white.back(weights, bias)
    assert_allclose(x @ plain.T + shift, z @ weights.T + bias, atol=1e-3)
