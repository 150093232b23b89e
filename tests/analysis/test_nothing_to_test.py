"""Tests that had nothing to test give no p-value, and perfect orders of few are not certain."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import conceptlab as cl
from conceptlab.analysis.families import _rank_test
from conceptlab.errors import InputError


def vectors_of(weights, names, categories):
    table = pd.DataFrame({"name": names, "category": categories})
    space = cl.Space("net", "f" * 8, "top", len(weights[0]), "raw")
    return cl.ConceptVectors(
        np.asarray(weights, float), np.zeros(len(weights)), table, "cav", space
    )


def test_a_single_cell_says_nothing_of_another_partition():
    one = pd.DataFrame({"resolution": 1, "image": range(20), "row": 0, "column": 0})
    measures = cl.compare_atlases(one, one, draws=19).measures
    assert measures["p_value"].isna().all()


def test_weights_that_no_draw_changes_have_no_chance():
    vectors = vectors_of(np.eye(3)[:2], ["a", "b"], "thing")
    same = np.repeat(vectors.weights[None], 4, axis=0)

    class Fixed:
        draws = same

    Fixed.vectors = vectors
    table = cl.weight_intervals(Fixed())
    assert table[["p_value", "p_bh"]].isna().all(axis=None)


@pytest.mark.parametrize("count", [4, 5, 6])
def test_a_perfect_order_of_few_is_as_rare_as_enumeration_says(count):
    from math import factorial

    rho, chance = _rank_test(np.arange(count) * 1.0, np.exp(np.arange(count) * 1.0))
    assert rho == pytest.approx(1)
    assert_allclose(chance, 2 / factorial(count))


def test_a_table_s_own_names_choose_its_rows():
    vectors = vectors_of(np.eye(4)[:3], ["red", "red", "car"], ["color", "part", "object"])
    assert vectors.select(vectors.concepts["name"]).names == vectors.names
    some = vectors.concepts[vectors.concepts["category"] == "part"]["name"]
    assert vectors.select(some).names == ["red"]
    assert vectors.select(some).concepts["category"].tolist() == ["part"]
    with pytest.raises(InputError, match="stands in several categories"):
        vectors.select(["red"])


def test_directions_of_a_concept_without_a_vector_say_so():
    vectors = vectors_of([[1.0, 0], [0, 0]], ["sky", "sea"], "object")
    with pytest.raises(InputError, match=r"'sea' has no vector \(too few examples"):
        cl.directions(vectors, ["sea"])


def test_small_chances_are_not_written_as_zero(capsys):
    from conceptlab.cli.options import show

    show(pd.DataFrame({"p_value": [1e-9, 0.25, np.nan], "used_p": [0.0, 1.0, 0.5], "x": 0.5}))
    said = capsys.readouterr().out
    assert "0.0000" not in said
    assert said.count("<0.0001") == 2
    assert "0.2500" in said
