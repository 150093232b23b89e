import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from conceptlab.numerics.borders import best_border
from conceptlab.numerics.intervals import balanced_bounds
from conceptlab.numerics.logistic import balanced_weights
from conceptlab.numerics.metrics import balanced_accuracy
from conceptlab.probes.classification import ClassificationProbe, accuracies
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


def test_what_cannot_be_told_apart_falls_back_to_a_single_unit(store_activations):
    rng = np.random.default_rng(0)
    planes = np.full((90, 1, 8, 8), -1)
    for concept in range(10):
        planes[rng.random(90) < 0.5, 0, 0, concept % 8] = concept
    names = [(f"n{i}", "object") for i in range(10)]
    data = ToyData(planes, ["train"] * 60 + ["val"] * 30, catalogue_of(*names))
    acts = store_activations(rng.normal(size=(90, 6, 4, 4)), data)
    probe = ClassificationProbe(min_examples=5).fit(acts, data)
    alone = (probe.vectors.concepts["note"] == "single unit").to_numpy()
    assert alone.sum() >= 8  # nothing is there to be found; 5 % of concepts may seem better
    single = probe.best_units(acts, data).weights
    np.testing.assert_array_equal(probe.vectors.weights[alone], single[alone])
    assert ((single != 0).sum(axis=1) == 1).all()


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
