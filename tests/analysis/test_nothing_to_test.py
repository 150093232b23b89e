"""Tests that had nothing to test give no p-value, and perfect orders of few are not certain."""

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose

import conceptlab as cl
from conceptlab.analysis.effects.families import _rank_test
from conceptlab.errors import InputError
from tests.models.nets import pictures, probed


def vectors_of(weights, names, categories):
    table = pd.DataFrame({"name": names, "category": categories})
    space = cl.Space("net", "f" * 8, "top", len(weights[0]), "raw")
    return cl.ConceptVectors(
        np.asarray(weights, float), np.zeros(len(weights)), table, "cav", space
    )


def test_a_single_cell_says_nothing_of_another_partition():
    one = pd.DataFrame({"resolution": 1, "image": range(20), "row": 0, "column": 0})
    measures = cl.compare_atlases(one, one, draws=19).measures
    assert measures[["p_value", "adjusted"]].isna().all(axis=None)
    apart = one.assign(row=range(20))  # every image has a cell of its own: any pairing agrees
    assert cl.compare_atlases(apart, apart, draws=19).measures["adjusted"].isna().all()


def test_a_sum_that_is_near_to_nothing_has_no_answer():
    names = list("abcdefg")
    one_hot = cl.analogies(vectors_of(np.eye(7), names, "thing"), [("a", "b", "c", "d")], 19)
    row = one_hot.table.iloc[0]
    assert (row["answer"], row["note"]) == ("", "4 concepts are equally near: no answer")
    assert (row["rank"], row["cosine"]) == (2.5, 0.0)
    assert np.isnan(one_hot.p_value)
    angles = np.radians([0, 60, -60, 20, 100, 150, 200])  # 60 and -60 add up to 0 degrees
    turned = np.column_stack([np.cos(angles), np.sin(angles)])
    found = cl.analogies(vectors_of(turned, names, "thing"), [("a", "b", "c", "d")], 0).table.iloc[
        0
    ]
    assert found["answer"] == ""
    assert "vanishes" in found["note"]
    assert np.isnan(found["cosine"])
    assert np.isnan(found["cosine_expected"])


def test_a_correlation_that_rests_on_one_unit_has_no_interval():
    rng = np.random.default_rng(0)
    scores = rng.uniform(0.1, 0.2, (2, 30))
    scores[:, 4] = 0.9
    one_hot = np.stack([np.eye(30)[4], rng.normal(size=30)])
    table = pd.DataFrame(
        {"unit": np.tile(np.arange(30), 2), "concept": np.repeat(["a", "b"], 30),
         "category": "thing", "iou_val": scores.ravel()}
    )  # fmt: skip
    found = cl.unit_agreement(vectors_of(one_hot, ["a", "b"], "thing"), table, draws=99)
    single = found.iloc[0]
    assert single["r"] > 0.9
    assert single[["low", "high", "p_value", "p_holm", "p_bh"]].isna().all()
    assert 0.01 <= single["p_permutation"] <= 0.15  # 1 of 30 places
    assert found.loc[1, ["low", "high", "p_value"]].notna().all()
    assert cl.agreement_by_layer(found)["concepts"].tolist() == [1]
    probe = pd.DataFrame({"concept": ["a", "b"], "probe_score": [0.0, 0.5]})
    shares = cl.unit_shares(vectors_of(one_hot, ["a", "b"], "thing"), table, probe)
    assert shares.groupby("concept")["share_iou"].count().tolist() == [0, 30]


def test_what_never_leaves_the_floor_saturates_nowhere():
    rows = [("classify", f"c{i}", "thing", f, 0.5) for i in range(4) for f in (1, 2, 4)]
    subsets = pd.DataFrame(rows, columns=["task", "concept", "category", "units", "score"])
    found = cl.saturation(subsets)
    assert found[["units", "low", "high", "score"]].isna().all(axis=None)
    assert (found["best"] == 0.5).all()


def test_a_class_that_reads_a_layer_nowhere_is_made_of_nothing():
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),
        torch.nn.Linear(4, 2),
    )  # fmt: skip
    net[3].weight.data[0], net[3].bias.data[0] = 0.0, 1.7
    model = probed(net)
    vectors = cl.ConceptVectors(
        np.eye(4)[:2], np.zeros(2), pd.DataFrame({"name": ["a", "b"], "category": "thing"}), "cav",
        model.space("0", 4),
    )  # fmt: skip
    found = cl.decompose(model, {0: pictures(3)}, vectors)
    assert found.table["concept"].tolist() == ["residual", "baseline", "remainder"]
    assert found.table["share"].isna().all()
    assert "nowhere" in found.table["note"].iloc[0]
    assert found.classes["explained"].isna().all()


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
