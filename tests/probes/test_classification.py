import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score

from conceptlab.numerics.borders import best_border
from conceptlab.numerics.intervals import balanced_bounds
from conceptlab.numerics.logistic import balanced_weights
from conceptlab.numerics.metrics import balanced_accuracy
from conceptlab.probes import classification
from conceptlab.probes.base import FOLDS, folds
from conceptlab.probes.classification import ClassificationProbe, accuracies
from conceptlab.probes.heldout import held_out, middle
from conceptlab.probes.subsets import unit_ranking
from tests.conftest import ToyData, catalogue_of


@pytest.fixture
def scenes(store_activations):
    """60 + 30 images; concept 0 is in unit 2's mean, concept 1 in no unit, concept 2 everywhere."""
    rng = np.random.default_rng(0)
    shows = rng.random((90, 2)) < 0.4
    planes = np.full((90, 1, 8, 8), -1)
    planes[:, 0, 0, 0] = 2
    planes[shows[:, 0], 0, 4, 4] = 0
    planes[shows[:, 1], 0, 2, 2] = 1
    values = rng.normal(size=(90, 6, 4, 4))
    values[:, 2] += 2.0 * shows[:, 0, None, None]
    splits = ["train"] * 60 + ["val"] * 30
    data = ToyData(planes, splits, catalogue_of(("a", "object"), ("b", "object"), ("c", "object")))
    return data, store_activations(values, data)


def test_finds_the_planted_unit(scenes):
    data, acts = scenes
    probe = ClassificationProbe(min_examples=5).fit(acts, data)
    assert np.abs(probe.vectors.weights[0]).argmax() == 2
    table = probe.score(acts, data)
    assert table["accuracy"][0] > 0.9
    shuffled = ClassificationProbe(min_examples=5, shuffle=True).fit(acts, data)
    assert shuffled.score(acts, data)["accuracy"][0] < 0.8


def test_a_concept_of_every_image_cannot_be_learned_and_says_so(scenes):
    data, acts = scenes
    probe = ClassificationProbe(min_examples=5).fit(acts, data)
    assert probe.vectors.concepts["note"][2] == "too few examples"
    assert np.isnan(probe.score(acts, data)["accuracy"][2])


def test_no_vector_is_a_unit_where_nothing_can_be_told(store_activations):
    rng = np.random.default_rng(0)
    planes = np.full((90, 1, 8, 8), -1)
    for concept in range(10):
        planes[rng.random(90) < 0.5, 0, 0, concept % 8] = concept
    names = [(f"n{i}", "object") for i in range(10)]
    data = ToyData(planes, ["train"] * 60 + ["val"] * 30, catalogue_of(*names))
    acts = store_activations(rng.normal(size=(90, 6, 4, 4)), data)
    probe = ClassificationProbe(min_examples=5).fit(acts, data)
    enough = (probe.vectors.concepts["note"] == "").to_numpy()
    assert enough.sum() >= 8
    assert (probe.vectors.weights[enough] != 0).all()
    assert ((probe.best_units(acts, data).weights != 0).sum(axis=1) <= 1).all()


def test_a_concept_of_two_units_has_both_and_ranks_them_first(store_activations):
    """Neither unit tells it alone: it is in the difference of two that vary together."""
    rng = np.random.default_rng(0)
    shows = rng.random(150) < 0.5
    planes = np.full((150, 1, 8, 8), -1)
    planes[shows, 0, 4, 4] = 0
    common = rng.normal(size=150)
    pooled = rng.normal(0, 0.1, (150, 6))
    pooled[:, 1] = common + 0.5 * shows
    pooled[:, 4] = common - 0.5 * shows
    data = ToyData(planes, ["train"] * 100 + ["val"] * 50, catalogue_of(("a", "object")))
    acts = store_activations(np.tile(pooled[:, :, None, None], (1, 1, 4, 4)), data)
    probe = ClassificationProbe(min_examples=5).fit(acts, data)
    assert probe.score(acts, data)["accuracy"][0] > 0.97
    best = accuracies(probe.best_units(acts, data), acts, data)["accuracy"][0]
    assert best < 0.8
    assert set(unit_ranking(probe.vectors, acts)[0][:2]) == {1, 4}
    weights = probe.vectors.weights[0]
    assert weights[1] == pytest.approx(-weights[4], rel=0.2)


def test_units_that_do_not_vary_have_no_weight(store_activations):
    rng = np.random.default_rng(0)
    planes = np.full((90, 1, 8, 8), -1)
    planes[::2, 0, 4, 4] = 0
    data = ToyData(planes, ["train"] * 60 + ["val"] * 30, catalogue_of(("a", "object")))
    values = np.full((90, 6, 4, 4), 0.3)
    acts = store_activations(values, data, layer="constant", dtype="float32")
    flat = ClassificationProbe(min_examples=5).fit(acts, data).vectors
    assert flat.concepts["note"].tolist() == ["no unit varies"]
    assert not flat.usable.any()
    values = values + 1e-8 * rng.normal(size=values.shape)  # float32 cannot hold it
    values[:, 2] = rng.normal(size=(90, 4, 4)) * 1e-9  # and this it can: small is not constant
    acts = store_activations(values, data, layer="small", dtype="float32")
    weights = ClassificationProbe(min_examples=5).fit(acts, data).vectors.weights[0]
    assert np.flatnonzero(weights).tolist() == [2]


def test_weights_are_those_of_scikit_learn(scenes):
    data, acts = scenes
    probe = ClassificationProbe(min_examples=5).fit(acts, data)
    x = acts.pooled[:60].astype(float)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    for concept in (0, 1):
        shows = (data._planes[:60] == concept).any(axis=(1, 2, 3))
        penalty = probe.vectors.concepts["penalty"][concept]
        model = LogisticRegression(
            C=1 / (penalty * 60), class_weight="balanced", tol=1e-10, max_iter=10_000
        ).fit(x, shows)
        found = probe.vectors.weights[concept] * acts.pooled[:60].std(axis=0)
        np.testing.assert_allclose(found, model.coef_[0], atol=2e-4)


@pytest.mark.parametrize("own", [False, True])
def test_held_out_logits_are_those_of_scikit_learn_without_the_fold(own):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(2, 100, 6)) if own else rng.normal(size=(100, 6))
    shown = x[..., 0] + rng.normal(size=(2, 100)) > 0.5
    known = rng.random((2, 100)) < 0.9
    penalties = np.array([[1.0, 0.3], [0.1, 0.03]])
    logits = held_out(x, shown, known, penalties, np.ones(6))
    fold = folds(100)
    for (place, c), penalty in np.ndenumerate(penalties):
        mine = x[c] if own else x
        for held in range(FOLDS):
            learn, judge = known[c] & (fold != held), fold == held
            model = LogisticRegression(
                C=1 / (penalty * learn.sum()), class_weight="balanced", tol=1e-10
            ).fit(mine[learn], shown[c, learn])
            wanted = model.decision_function(mine[judge])
            np.testing.assert_allclose(logits[place, c, judge], wanted, atol=0.02)


def test_concepts_learned_some_at_a_time_are_the_same(scenes, monkeypatch):
    data, acts = scenes
    probe = ClassificationProbe(min_examples=5).fit(acts, data)
    units = np.zeros((3, 6), dtype=bool)
    units[:, 1:4] = True
    few = probe.refit(acts, data, units)
    monkeypatch.setattr(classification, "NUMBERS", 1)
    for one, other in (
        (ClassificationProbe(min_examples=5).fit(acts, data), probe),
        (probe.refit(acts, data, units), few),
    ):
        np.testing.assert_allclose(one.vectors.weights, other.vectors.weights, atol=1e-3)
        np.testing.assert_allclose(one.vectors.bias, other.vectors.bias, atol=2e-2)


def test_the_border_is_where_held_out_logits_are_as_likely_of_either_kind():
    rng = np.random.default_rng(1)
    shown = rng.random((3, 80)) < 0.3
    logits = rng.normal(size=(3, 80)) * 4 + 3 * shown - 2
    weights = balanced_weights(shown, np.ones_like(shown))
    found = middle(logits, shown, weights)
    for row in range(3):
        line = LogisticRegression(C=np.inf, class_weight="balanced", tol=1e-10)
        line.fit(logits[row][:, None], shown[row])
        assert found[row] == pytest.approx(line.intercept_[0] / line.coef_[0, 0], abs=1e-2)
    backwards = middle(-logits, shown, weights)  # no slope: halfway between the means
    halves = [(logits[r][shown[r]].mean() + logits[r][~shown[r]].mean()) / 2 for r in range(3)]
    np.testing.assert_allclose(backwards, halves)


def test_accuracy_is_scikit_learns_balanced_accuracy(scenes):
    data, acts = scenes
    probe = ClassificationProbe(min_examples=5).fit(acts, data)
    found = accuracies(probe.vectors, acts, data, "val", intervals=True)
    assert found.equals(accuracies(probe.vectors, acts, data, "val", intervals=True))
    said = acts.pooled[60:] @ probe.vectors.weights.T + probe.vectors.bias > 0
    for concept in (0, 1):
        shows = (data._planes[60:] == concept).any(axis=(1, 2, 3))
        assert found["n"][concept] == shows.sum()
        expected = balanced_accuracy_score(shows, said[:, concept])
        assert found["accuracy"][concept] == pytest.approx(expected)
        assert found["low"][concept] <= expected <= found["high"][concept]
    assert np.isnan(found["accuracy"][2])  # every image shows it


def test_an_accuracy_of_one_has_an_interval_of_some_width(store_activations):
    """Twelve images show the concept, and all are told rightly: that is no certainty."""
    rng = np.random.default_rng(0)
    planes = np.full((120, 1, 8, 8), -1)
    shows = rng.permutation(120)[:24]
    planes[shows, 0, 0, 0] = 0
    data = ToyData(planes, ["train"] * 60 + ["val"] * 60, catalogue_of(("a", "object")))
    values = rng.normal(size=(120, 3, 4, 4))
    values[shows, 0] += 9.0
    acts = store_activations(values, data)
    found = ClassificationProbe(min_examples=5).fit(acts, data).score(acts, data, intervals=True)
    assert found["accuracy"][0] == 1.0
    count = [found["n"][0], 60 - found["n"][0]]
    low, high = balanced_bounds(count, count)
    assert found["low"][0] == pytest.approx(low)
    assert found["high"][0] == high == 1.0
    assert found["low"][0] < 0.93


def test_accuracy_is_the_mean_over_balanced_sets():
    rng = np.random.default_rng(0)
    shown, right = np.arange(60) < 7, rng.random(60) < 0.6
    drawn = [
        np.concatenate([right[:7], rng.choice(right[7:], 7, replace=False)]).mean()
        for _ in range(4000)
    ]
    assert balanced_accuracy(right, shown) == pytest.approx(np.mean(drawn), abs=0.01)


def test_best_border_is_the_best_of_all(scenes):
    rng = np.random.default_rng(3)
    x = np.round(rng.normal(size=(25, 4)), 1)
    labels = rng.random(25) < 0.5
    images = balanced_weights(labels[None], np.ones((1, 25), dtype=bool))[0]
    order = np.argsort(x, axis=0, kind="stable")
    unit, border, direction, gain = best_border(x, order, np.where(labels, -images, images))
    best = 0.0
    for k in range(4):
        for value in np.unique(x[:, k])[:-1]:
            right = (x[:, k] > value) == labels
            best = max(best, images @ right, 1 - images @ right)
    reached = images @ ((direction * (x[:, unit] - border) > 0) == labels)
    assert reached == pytest.approx(best)
    assert gain == pytest.approx(2 * best - 1)


def test_unlabelled_images_are_neither_kind(store_activations):
    rng = np.random.default_rng(0)
    planes = np.full((80, 1, 8, 8), -1)
    planes[::2, 0, 0, 0] = 0
    unlabelled = np.zeros((80, 8, 8), np.uint64)
    unlabelled[60:] = 1
    splits = ["train"] * 40 + ["val"] * 40
    data = ToyData(planes, splits, catalogue_of(("a", "object")), unlabelled)
    acts = store_activations(rng.normal(size=(80, 3, 4, 4)), data)
    probe = ClassificationProbe(min_examples=5).fit(acts, data)
    assert probe.score(acts, data)["n"][0] == 10  # of 20 that show it, 10 are labelled
