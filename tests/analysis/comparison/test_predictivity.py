import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import KFold, cross_val_predict

from conceptlab.analysis.comparison.predictivity import FOLDS, PENALTIES, _Fold, predictivity


def test_a_fold_is_scikit_learns_ridge_at_one_of_the_penalties():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 8)) + 3, rng.normal(size=(30, 4)) - 1
    y[:, :2] += x[:, :2]
    test = np.arange(10, 16)
    train = np.setdiff1d(np.arange(30), test)
    fold = _Fold.of(x, test)
    errors = [
        (
            (Ridge(alpha=p * fold.values.mean()).fit(x[train], y[train]).predict(x[test]) - y[test])
            ** 2
        ).sum(axis=1)
        for p in PENALTIES
    ]
    missed, wanted = fold.errors(y)
    assert any(np.allclose(missed, e) for e in errors)
    np.testing.assert_allclose(wanted, ((y[test] - y[train].mean(axis=0)) ** 2).sum(axis=1))


def test_with_plenty_of_items_the_value_is_that_of_least_squares():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(2000, 5))
    y = x @ rng.normal(size=(5, 3)) + 2 * rng.normal(size=(2000, 3))
    predicted = cross_val_predict(
        LinearRegression(), x, y, cv=KFold(FOLDS, shuffle=True, random_state=1)
    )
    wanted = 1 - ((y - predicted) ** 2).sum() / ((y - y.mean(axis=0)) ** 2).sum()
    assert predictivity(x, y, draws=0).value == pytest.approx(wanted, abs=3e-3)


def test_noise_predicts_nothing_and_itself_everything():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(100, 40)), rng.normal(size=(100, 40))
    assert predictivity(x, y, draws=0).value < 0.02
    assert predictivity(x, x, draws=0).value > 0.99


def test_folds_of_images_are_runs_of_neighbours(toy):
    from conceptlab.analysis.comparison.items import items_of
    from conceptlab.analysis.comparison.predictivity import _Prediction

    _, acts = toy()
    side = items_of(acts, "a")
    assert side.kind == "images"
    assert all((np.diff(fold.test) == 1).all() for fold in _Prediction(side, side).folds)
