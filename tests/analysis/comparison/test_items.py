import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

import conceptlab as cl
from conceptlab.analysis.comparison.items import ConceptSimilarities, items_of, matched
from conceptlab.errors import InputError
from conceptlab.space import Space
from conceptlab.vectors import ConceptVectors, unit_rows
from tests.conftest import ToyData, catalogue_of


def vectors(names, categories=None, weights=None, units=4):
    weights = (
        np.random.default_rng(len(names)).normal(size=(len(names), units))
        if weights is None
        else weights
    )
    concepts = pd.DataFrame({"name": names, "category": categories or ["object"] * len(names)})
    space = Space("net", "f" * 64, "layer", weights.shape[1], "raw")
    return ConceptVectors(weights, np.zeros(len(names)), concepts, "segmentation", space)


def similarities(names, categories, table):
    concepts = pd.DataFrame({"name": names, "category": categories})
    return ConceptSimilarities(np.asarray(table, dtype=float), concepts, "a tree")


def test_concepts_are_matched_by_name_whatever_their_order():
    a, b = vectors(["x", "y", "z"]), vectors(["z", "x", "y"])
    sides = matched({"a": a, "b": b})
    assert_array_equal(sides["a"].rows, unit_rows(a.weights))
    assert_array_equal(sides["b"].rows, unit_rows(b.weights[[1, 2, 0]]))


def test_a_name_that_two_categories_share_is_two_concepts():
    a = vectors(["orange", "orange", "sky"], ["color", "object", "object"])
    b = vectors(["orange", "sky", "orange"], ["object", "object", "color"])
    assert_array_equal(matched({"a": a, "b": b})["b"].rows, unit_rows(b.weights[[2, 0, 1]]))


def test_a_side_without_categories_is_matched_by_name_alone():
    a, b = vectors(["x", "y", "z"], ["p", "q", "r"]), vectors(["z", "x", "y"], ["", "", ""])
    assert_array_equal(matched({"a": a, "b": b})["b"].rows, unit_rows(b.weights[[1, 2, 0]]))
    twice = vectors(["x", "x", "y"], ["p", "q", "q"])
    with pytest.raises(InputError, match="twice; give every side its categories"):
        matched({"a": twice, "b": b})


def test_sides_that_differ_are_named_and_the_intersection_is_offered():
    a = vectors(["x", "y", "z", "u"], weights=np.array([[1.0, 0], [0, 1], [0, 0], [1, 1]]))
    b = vectors(["x", "y", "u", "v"])
    with pytest.raises(InputError) as caught:
        matched({"mine": a, "theirs": b})
    said = str(caught.value)
    assert "mine lacks object/v and mine has no vector of object/z" in said
    assert "theirs lacks object/z" in said
    assert "concepts='shared' to compare the 3" in said
    sides = matched({"mine": a, "theirs": b}, "shared")
    assert list(sides["theirs"].concepts["name"]) == ["x", "y", "u"]


def test_too_few_in_common_say_how_many():
    with pytest.raises(InputError, match="at least 3 concepts in common; there is 1"):
        matched({"a": vectors(["x", "y"]), "b": vectors(["x", "z"])}, "shared")


def test_arrays_are_matched_by_place_and_must_be_finite():
    a = np.random.default_rng(0).normal(size=(5, 3))
    broken = a.copy()
    broken[3, 1] = np.nan
    with pytest.raises(InputError, match="b holds NaN or infinite numbers in rows 3"):
        matched({"a": a, "b": broken})
    assert_array_equal(matched({"a": a, "b": broken}, "shared")["a"].rows, a[[0, 1, 2, 4]])
    with pytest.raises(InputError, match="a has 5 rows, b has 4 rows"):
        matched({"a": a, "b": a[:4]})


def test_flags_count_as_zeros_and_ones():
    flags = np.random.default_rng(0).random((6, 3)) < 0.5
    assert_array_equal(items_of(flags, "a").rows, flags.astype(float))
    assert cl.linear_cka(flags, flags.astype(int)).value == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    "wrong", [np.zeros(3), np.zeros((0, 3)), [["x", "y"]], "text", [[1], [1, 2]]]
)
def test_what_is_no_embedding_is_refused(wrong):
    with pytest.raises(InputError, match="neither concept vectors nor an array"):
        items_of(wrong, "a")


def test_similarities_know_which_concepts_they_have():
    table = np.array([[1, 0.5, np.nan], [0.5, 1, np.nan], [np.nan] * 3])
    tree = similarities(["x", "y", "z"], ["p", "p", "q"], table)
    assert list(tree.usable) == [True, True, False]
    assert tree.select(["y"]).similarity == 1
    with pytest.raises(InputError, match="a knows only similarities"):
        items_of(tree, "a").coordinates("a")
    with pytest.raises(InputError, match="not symmetric"):
        similarities(["x", "y"], ["p", "p"], [[1, 0.2], [0.3, 1]])
    with pytest.raises(InputError, match="does not fit 2 concepts"):
        similarities(["x", "y"], ["p", "p"], [[1.0]])


def test_activations_of_other_pictures_do_not_compare(store_activations):
    values = np.random.default_rng(0).random((20, 3, 2, 2))
    planes = np.zeros((20, 1, 8, 8), dtype=int)
    one, other = (
        store_activations(
            values, ToyData(planes, splits, catalogue_of(("a", "b"))), layer=splits[-1]
        )
        for splits in (["train"] * 20, ["train"] * 10 + ["val"] * 10)
    )
    assert matched({"a": one, "b": one})["a"].kind == "images"
    with pytest.raises(InputError, match="different pictures"):
        matched({"a": one, "b": other})


def test_lengths_of_concept_vectors_do_not_count_and_those_of_rows_do():
    given = vectors(["a", "b", "c"], weights=np.diag([1.0, 5.0, 0.1, 1.0])[:3])
    assert_array_equal(items_of(given, "it").coordinates("it"), np.eye(4)[:3])
    assert_array_equal(items_of(given.weights, "it").coordinates("it"), given.weights)
    wild = vectors(["a", "b"], weights=np.array([[np.inf, 1.0, 0, 0], [1.0, 0, 0, 0]]))
    assert_array_equal(items_of(wild, "it").usable, [False, True])


@pytest.mark.parametrize("scale", [1e-300, 1e-161, 1e160, 1e300])
def test_directions_do_not_depend_on_lengths(scale):
    rows = np.random.default_rng(0).normal(size=(40, 7))
    np.testing.assert_allclose(unit_rows(scale * rows), unit_rows(rows), rtol=1e-12)
    assert cl.rsa(rows, scale * rows, "pearson", draws=0).value == pytest.approx(1)
    zero = np.zeros((1, 7))
    assert_array_equal(unit_rows(zero), zero)
