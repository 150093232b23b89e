"""What a linear classifier finds after erasure."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score

from conceptlab.analysis.effects.erased_probe import erased_probe
from conceptlab.errors import InputError, SpaceError
from conceptlab.probes.classification import ClassificationProbe, accuracies
from conceptlab.vectors import ConceptVectors
from tests.conftest import ToyData, catalogue_of

ACCURACIES = ["before", "after", "intact", "refit", "random", "units", "units_refit"]


@pytest.fixture
def probed(store_activations):
    """120 + 80 images; concept a is in unit 2 alone, b in units 0 and 1 twice over, c in none."""
    rng = np.random.default_rng(0)
    shows = rng.random((200, 3)) < 0.5
    planes = np.full((200, 1, 8, 8), -1)
    for concept in range(3):
        planes[shows[:, concept], 0, 2 * concept, 0] = concept
    values = rng.normal(size=(200, 6, 4, 4))
    values[:, 2] += 2.0 * shows[:, 0, None, None]
    values[:, :2] += 2.0 * shows[:, 1, None, None, None]
    data = ToyData(
        planes, ["train"] * 120 + ["val"] * 80, catalogue_of(*((n, "object") for n in "abc"))
    )
    acts = store_activations(values, data, dtype="float32")
    vectors = ConceptVectors(
        np.eye(6)[[2, 0, 5]], np.array([-1.0, -1.0, 0.0]), catalogue_of(
            *((n, "object") for n in "abc"))[["name", "category"]],
        "classification", acts.space("raw"),
    )  # fmt: skip
    return data, acts, vectors


def shares(table, concept):
    row = table.set_index("concept").loc[concept]
    return {name: row[f"accuracy_{name}"] for name in ACCURACIES}


def test_nothing_is_left_of_a_direction_for_its_own_vector(probed):
    data, acts, vectors = probed
    table = erased_probe(acts, data, vectors, units=1)
    assert (table["accuracy_after"] == 0.5).all()
    assert (table["accuracy_units"] == 0.5).all()  # one unit is its direction
    assert (table["accuracy_before"][:2] > 0.95).all()
    fitted = ClassificationProbe(min_examples=5).fit(acts, data)
    own = erased_probe(acts, data, fitted.vectors, units=2)
    assert (own["accuracy_after"] == 0.5).all()
    before = accuracies(fitted.vectors, acts, data)
    assert_allclose(own["accuracy_before"], before["accuracy"])
    assert own["n"].tolist() == before["n"].tolist()


def test_what_is_encoded_once_is_gone_and_what_is_encoded_twice_is_not(probed):
    data, acts, vectors = probed
    table = erased_probe(acts, data, vectors, units=1)
    once, twice = shares(table, "a"), shares(table, "b")
    for kind in ("refit", "units_refit"):
        assert once[kind] < 0.65
        assert twice[kind] > 0.95
    assert min(once["intact"], twice["intact"], twice["random"]) > 0.95
    assert once["random"] > 0.85  # of six dimensions a random one takes a part of the only one
    wider = replace(vectors, weights=vectors.weights + np.eye(6)[1])
    both = erased_probe(acts, data, wider, units=2)
    assert shares(both, "b")["units_refit"] < 0.65
    assert shares(both, "b")["refit"] < 0.65  # what b adds lies along units 0 + 1


@pytest.mark.parametrize("place", [0, 1, 2])
def test_refits_are_those_of_pooled_activations_of_erased_maps(probed, place):
    data, acts, vectors = probed
    table = erased_probe(acts, data, vectors, units=1, seed=3)
    v = np.random.default_rng(place).normal(size=6)
    given = replace(vectors, weights=np.tile(v, (3, 1)))
    found = erased_probe(acts, data, given, units=2)
    maps = np.asarray(acts.array).astype(float)
    u, mean = v / np.linalg.norm(v), maps[:120].mean(axis=(0, 2, 3))
    erased = maps.copy()
    for image, row, column in np.ndindex(200, 4, 4):
        h = maps[image, :, row, column]
        erased[image, :, row, column] = h - ((h - mean) @ u) * u
    x = erased.mean(axis=(2, 3))
    shown = (data._planes == place).any(axis=(1, 2, 3))
    fit = LogisticRegression(class_weight="balanced").fit(x[:120], shown[:120])
    expected = balanced_accuracy_score(shown[120:], fit.predict(x[120:]))
    assert found["accuracy_refit"][place] == pytest.approx(expected, abs=0.08)
    assert table["accuracy_intact"][place] == found["accuracy_intact"][place]


def test_vectors_without_a_border_on_pooled_activations_get_the_best(probed):
    data, acts, vectors = probed
    binary = replace(
        vectors, kind="segmentation", bias=np.full(3, 99.0),
        space=replace(vectors.space, inputs="binary@0.005"),
        thresholds=np.zeros(6, dtype=np.float32),
    )  # fmt: skip
    table = erased_probe(acts, data, binary, units=1)
    assert (table["accuracy_before"][:2] > 0.95).all()
    assert (table["accuracy_after"] == 0.5).all()


def test_order_of_concepts_changes_nothing(probed):
    data, acts, vectors = probed
    table = erased_probe(acts, data, vectors, units=2).set_index("concept")
    other = erased_probe(acts, data, vectors.select(["c", "a", "b"]), units=2).set_index("concept")
    pd.testing.assert_frame_equal(other.loc[list("abc")], table)


def test_no_vector_and_no_images_of_a_kind_are_nan(probed):
    data, acts, vectors = probed
    weights = vectors.weights.copy()
    weights[1] = 0
    table = erased_probe(acts, data, replace(vectors, weights=weights), units=2)
    assert table.filter(like="accuracy").isna().all(axis=1).tolist() == [False, True, False]


def test_bad_inputs(probed):
    data, acts, vectors = probed
    with pytest.raises(InputError, match="has 6 units; cannot take out 7"):
        erased_probe(acts, data, vectors, units=7)
    with pytest.raises(InputError, match="units is a whole number of at least 1; got 0"):
        erased_probe(acts, data, vectors, units=0)
    with pytest.raises(InputError, match="no 'test' images; its splits: train, val"):
        erased_probe(acts, data, vectors, "test", units=2)
    flat = replace(vectors, space=replace(vectors.space, inputs="flattened"))
    with pytest.raises(InputError, match="flattened maps are no directions at a position"):
        erased_probe(acts, data, flat)
    with pytest.raises(SpaceError, match="layer"):
        erased_probe(
            acts, data, replace(vectors, space=replace(vectors.space, layer="other")), units=2
        )
    renamed = replace(vectors, concepts=vectors.concepts.assign(name=["aa", "b", "c"]))
    with pytest.raises(InputError, match="the data set has no concept object/aa; nearest: a"):
        erased_probe(acts, data, renamed, units=2)
