"""Training of CAVs: the same by hand, positions and flattened maps, held-out accuracy."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.linear_model import LogisticRegression, RidgeClassifier

from conceptlab.errors import InputError
from conceptlab.probes.cav.sets import Side, own_set, plan_complement, plan_random, random_sets
from conceptlab.probes.cav.training import SMALLEST, Settings, train

UNITS, SIZE, SETS = 6, 20, 8
POOL = np.arange(60, 260)


class Arrays:
    """Samples held in memory."""

    def __init__(self, values):
        self.values, self.units = values.astype(np.float32), values.shape[1]

    def pooled(self, rows):
        return self.values[rows].mean(axis=(2, 3))

    def maps(self, rows):
        return self.values[rows]


def outputs(grid=3, shift=3.0, seed=0):
    """A layer far from the origin: concept 0 moves units 0 and 1, concept 1 is like the rest."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(260, UNITS, grid, grid)) * rng.uniform(0.5, 2, UNITS)[:, None, None]
    values += rng.normal(size=UNITS)[:, None, None] * 4 + 10
    values[:30, :2] += shift
    return Arrays(values)


def planned(redraws=4, seed=0):
    sides = [Side("planted", np.arange(30)), Side("nothing", np.arange(30, 60))]
    return plan_random(sides, random_sets(POOL, SETS, SIZE, seed), SIZE, redraws, seed, POOL)


def directions(one):
    """(P, D) what a bundle stands for."""
    return one.bundle.sums(np.arange(len(one.bundle))[:, None])


def scaled(x):
    """Samples as the penalty takes them: centred, and of mean squared length 1."""
    x = x.astype(np.float64)
    middle = x.mean(axis=0)
    length = np.sqrt(((x - middle) ** 2).sum(axis=1).mean())
    return (x - middle) / length, middle, length


def by_hand(x, plan, classifier, penalty):
    """Unit weights and biases on raw activations of all pairs, by scikit-learn.

    No penalty is below SMALLEST where samples of all pairs have a mean squared length of 1.
    """
    weights, biases = [], []
    whole = scaled(x[np.unique([plan.positive, plan.negative])])[2]
    asked = penalty
    for yes, no in zip(plan.positive, plan.negative, strict=True):
        own, middle, length = scaled(x[[*yes, *no]])
        penalty = max(asked, SMALLEST * (whole / length) ** 2)
        labels = np.repeat([1, -1], len(yes))
        if classifier == "ridge":
            found = RidgeClassifier(alpha=penalty).fit(own, labels)
        else:
            found = LogisticRegression(C=1 / penalty, tol=1e-10, max_iter=10_000).fit(own, labels)
        w, b = found.coef_.ravel(), float(found.intercept_.ravel()[0])
        size = np.linalg.norm(w)
        weights.append(w / size)
        biases.append((b * length - w @ middle) / size)
    return np.stack(weights), np.array(biases)


@pytest.mark.parametrize("classifier", ["ridge", "logistic"])
@pytest.mark.parametrize("form", ["pooled", "flattened"])
def test_the_same_by_hand(form, classifier):
    samples, plan = outputs(), planned(redraws=1)
    (found,) = train(samples, [plan], Settings(classifier, form, 0.3))
    rows = np.arange(260)
    x = samples.pooled(rows) if form == "pooled" else samples.maps(rows).reshape(260, -1)
    weights, biases = by_hand(x, plan, classifier, 0.3)
    assert_allclose(directions(found), weights, atol=3e-4)
    assert_allclose(found.bias, biases, atol=6e-3)  # of sums of 30
    assert_allclose(np.linalg.norm(directions(found), axis=1), 1, rtol=1e-4)


@pytest.mark.parametrize("classifier", ["ridge", "logistic", "svm", "difference"])
@pytest.mark.parametrize("form", ["pooled", "positions", "flattened"])
def test_decisions_on_raw_activations(form, classifier):
    samples, plan = outputs(shift=6.0), planned()
    (found,) = train(samples, [plan], Settings(classifier, form, 0.1))
    planted = plan.roles.draws[0]
    w, b = directions(found)[planted], found.bias[planted]
    yes = np.arange(20, 30), np.arange(100, 130)
    flat = [
        samples.maps(r).reshape(len(r), -1) if form == "flattened" else samples.pooled(r)
        for r in yes
    ]
    assert (flat[0] @ w.T + b > 0).mean() > 0.9
    assert (flat[1] @ w.T + b < 0).mean() > 0.9
    assert found.accuracy[0] > 0.95
    assert not found.chance[0]
    assert found.stability[0] > 0.8
    assert found.stability[0] > found.stability[1]


@pytest.mark.parametrize("classifier", ["ridge", "logistic", "svm", "difference"])
def test_maps_of_one_position_are_their_means(classifier):
    samples, plan = outputs(grid=1), planned()
    pooled, positions, flattened = (
        train(samples, [plan], Settings(classifier, form, 0.1))[0]
        for form in ("pooled", "positions", "flattened")
    )
    for other in (positions, flattened):
        assert_allclose(directions(other), directions(pooled), atol=4e-3)
        assert_allclose(other.bias, pooled.bias, atol=0.1)
        assert_allclose(other.accuracy, pooled.accuracy, atol=0.011)
        assert_allclose(other.stability, pooled.stability, atol=4e-3)
    assert_allclose(directions(flattened), directions(pooled), atol=1e-6)


def test_positions_are_samples_of_their_own():
    samples, plan = outputs(grid=2), planned(redraws=0)
    (found,) = train(samples, [plan], Settings("ridge", "positions", 0.3))
    rows = np.hstack([plan.positive, plan.negative])
    for p in (0, SETS, len(rows) - 3):
        maps = samples.maps(rows[p]).reshape(len(rows[p]), UNITS, -1).transpose(0, 2, 1)
        own, middle, length = scaled(maps.reshape(-1, UNITS))
        theirs = RidgeClassifier(alpha=0.3).fit(own, np.repeat([1, -1], SIZE * 4))
        w = theirs.coef_.ravel()
        size = np.linalg.norm(w)
        assert_allclose(directions(found)[p], w / size, atol=1e-5)
        raw = (theirs.intercept_[0] * length - w @ middle) / size
        assert found.bias[p] == pytest.approx(raw, abs=1e-3)
    assert np.isnan(found.stability).all()


def test_accuracy_is_that_of_images_left_out():
    samples, plan = outputs(), planned(redraws=0)
    (found,) = train(samples, [plan], Settings("ridge", "pooled", 0.3))
    x = samples.pooled(np.arange(260))
    for c in range(2):
        right = []
        for p in plan.roles.judged[c]:
            sides = plan.positive[p], plan.negative[p]
            for held in np.array_split(np.arange(SIZE), 5):
                learn = np.setdiff1d(np.arange(SIZE), held)
                own, middle, length = scaled(x[np.concatenate([s[learn] for s in sides])])
                theirs = RidgeClassifier(alpha=0.3).fit(own, np.repeat([1, -1], len(learn)))
                rest = (x[np.concatenate([s[held] for s in sides])] - middle) / length
                right += (theirs.predict(rest) == np.repeat([1, -1], len(held))).tolist()
        assert found.accuracy[c] == pytest.approx(np.mean(right), abs=0.006)


def test_accuracy_of_what_is_there_and_of_nothing():
    accuracies, marks, steady = [], [], []
    for seed in range(20):
        plan = planned(redraws=2, seed=seed)
        (found,) = train(outputs(seed=seed), [plan], Settings("ridge", "pooled", 0.1))
        accuracies.append(found.accuracy)
        marks.append(found.chance)
        steady.append(found.stability)
    planted, nothing = np.transpose(accuracies)
    assert planted.min() > 0.9
    assert abs(nothing.mean() - 0.5) < 4 * nothing.std() / np.sqrt(20)
    marks = np.array(marks)
    assert not marks[:, 0].any()
    assert marks[:, 1].mean() >= 0.8
    assert np.mean(steady, axis=0)[0] > 0.7


def test_several_plans_share_samples_and_are_each_alone():
    samples = outputs()
    plans = [planned(), planned(seed=1)]
    together = train(samples, plans, Settings("difference", "pooled", 0.1))
    assert together[0].bundle.samples is together[1].bundle.samples
    for plan, one in zip(plans, together, strict=True):
        (alone,) = train(samples, [plan], Settings("difference", "pooled", 0.1))
        assert_allclose(directions(one), directions(alone), atol=1e-5)
        assert_allclose(one.bias, alone.bias, atol=1e-3)
        assert_allclose(one.accuracy, alone.accuracy)


def test_two_images_a_side():
    sides = [Side("two", np.array([0, 1]), np.arange(60, 90))]
    plan = plan_complement(sides, 5, 2, 2, 0)
    for form in ("pooled", "positions", "flattened"):
        (found,) = train(outputs(shift=30.0), [plan], Settings("ridge", form, 0.1))
        assert found.accuracy[0] > 0.9
        assert found.chance[0]  # four images right: guessing does that one time in sixteen


def test_a_layer_that_never_varies():
    values = Arrays(np.ones((260, UNITS, 2, 2)))
    for form in ("pooled", "positions", "flattened"):
        for classifier in ("ridge", "svm", "difference"):
            (found,) = train(values, [planned()], Settings(classifier, form, 0.1))
            assert not directions(found).any()
            assert found.chance.all()
            assert_allclose(found.accuracy, 0.5)


def test_settings_that_make_no_sense():
    for bad, say in (
        (("ridge", "maps", 0.1), "form is one of pooled, positions, flattened; got 'maps'"),
        (("tree", "pooled", 0.1), "classifier is one of ridge, logistic, svm, difference"),
        (("ridge", "pooled", 0.0), "penalty is at least 0.001"),
        (("ridge", "pooled", 1e-7), "penalty is at least 0.001, or rounding decides; got 1e-07"),
        (("ridge", "pooled", float("nan")), "penalty is a finite number; got nan"),
    ):
        with pytest.raises(InputError, match=say):
            Settings(*bad)


def test_a_concepts_set_is_the_same_for_all_counterparts():
    plan = planned()
    own = own_set(Side("planted", np.arange(30)), 20, 0)
    assert (plan.positive[plan.roles.draws[0]] == own).all()


@pytest.mark.parametrize("form", ["pooled", "positions", "flattened"])
@pytest.mark.parametrize("classifier", ["ridge", "logistic", "svm"])
def test_the_smallest_penalty_is_solved_in_double_precision(form, classifier):
    samples, plan = outputs(), planned(redraws=1)
    (found,) = train(samples, [plan], Settings(classifier, form, 1e-3))
    assert_allclose(np.linalg.norm(directions(found), axis=1), 1, rtol=5e-4)
    assert np.isfinite(found.bias).all()


@pytest.mark.parametrize("penalty", [5e-3, SMALLEST])
def test_small_penalties_by_hand(penalty):
    samples, plan = outputs(), planned(redraws=1)
    (found,) = train(samples, [plan], Settings("ridge", "pooled", penalty))
    weights, biases = by_hand(samples.pooled(np.arange(260)), plan, "ridge", penalty)
    assert_allclose(directions(found), weights, atol=1e-3)
    assert_allclose(found.bias, biases, atol=1e-2)
