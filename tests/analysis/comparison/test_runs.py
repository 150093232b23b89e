"""Zooming between networks: planted differences, the level of the tests, and units that match."""

import itertools

import numpy as np
import pandas as pd
import pytest

import conceptlab as cl
from conceptlab.analysis.comparison.relabelling import relabelling
from conceptlab.analysis.comparison.runs import zoom
from conceptlab.errors import InputError
from conceptlab.space import Space
from conceptlab.vectors import ConceptVectors, unit_rows

CONCEPTS, UNITS = 24, 40


def runs(rng, base, count, noise=0.3):
    """Trainings of one network: the same similarities, other units, other noise."""
    found = []
    for _ in range(count):
        turn = np.linalg.qr(rng.normal(size=(UNITS, UNITS)))[0]
        found.append((base + noise * rng.normal(size=base.shape)) @ turn)
    return found


def labelled(rows, categories=("animal", "thing")):
    """Arrays as concept vectors, with categories."""
    names = [f"c{i}" for i in range(len(rows))]
    table = pd.DataFrame(
        {"name": names, "category": [categories[i % len(categories)] for i in range(len(rows))]}
    )
    space = Space("toy", str(rows[0, 0]), "top", rows.shape[1], "raw")
    return ConceptVectors(rows, np.zeros(len(rows)), table, "segmentation", space)


def moved(base, rng, place):
    """The same embedding with one concept somewhere else."""
    other = base.copy()
    other[place] = rng.normal(size=UNITS)
    return other


def test_the_tables_are_the_definition_written_out():
    rng = np.random.default_rng(0)
    own = {"a": runs(rng, rng.normal(size=(CONCEPTS, UNITS)), 3)}
    own["b"] = runs(rng, rng.normal(size=(CONCEPTS, UNITS)), 2)
    found = zoom({k: [labelled(r) for r in v] for k, v in own.items()}, draws=9)

    def distance(one, two):
        gap = unit_rows(one) @ unit_rows(one).T - unit_rows(two) @ unit_rows(two).T
        return (gap**2).sum(axis=1)

    between = np.mean([distance(x, y) for x in own["a"] for y in own["b"]], axis=0)
    inside = [
        np.mean([distance(x, y) for x, y in itertools.combinations(v, 2)], axis=0)
        for v in own.values()
    ]
    within = np.mean(inside, axis=0)
    concepts = found.by_concept.assign(
        place=found.by_concept["concept"].str[1:].astype(int)
    ).sort_values("place")
    assert np.allclose(concepts["between"], between)
    assert np.allclose(concepts["within"], within)
    assert np.allclose(found.whole["between"], between.sum())
    assert np.allclose(found.whole["excess"], between.sum() - within.sum())
    animals = found.by_category.set_index("category").loc["animal"]
    assert animals["within"] == pytest.approx(within[::2].mean())
    assert animals["concepts"] == CONCEPTS // 2
    assert found.by_concept["excess"].is_monotonic_decreasing


def test_what_was_moved_stands_out_and_the_rest_does_not():
    rng = np.random.default_rng(1)
    base = rng.normal(size=(CONCEPTS, UNITS))
    given = {"a": runs(rng, base, 2, 0.1), "b": runs(rng, moved(base, rng, 7), 2, 0.1)}
    found = zoom({k: [labelled(r) for r in v] for k, v in given.items()}, seed=3)
    top = found.by_concept.iloc[0]
    assert top["concept"] == "c7"
    assert top["excess"] > 5 * found.by_concept["excess"][1]  # others lost one similarity each
    assert top["p_value"] < 0.05
    partners = found.concept("c7")
    assert (partners["spread"] > 3 * partners["run_spread"]).mean() > 0.5
    still = found.concept("c3")
    assert (still["spread"] > 3 * still["run_spread"]).mean() < 0.3
    assert still["concept"].iloc[0] == "c7"  # what changed around it is the one that moved


def test_networks_that_differ_a_little_everywhere_are_found_different():
    hits = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        base = rng.normal(size=(CONCEPTS, UNITS))
        other = base + 0.4 * rng.normal(size=base.shape)  # runs differ by 0.3
        found = zoom({"a": runs(rng, base, 2), "b": runs(rng, other, 2)}, draws=199)
        assert found.whole["test"].item() == "concepts"
        hits.append(found.whole["p_value"].item() < 0.05)
    assert np.mean(hits) > 0.9


def test_the_excess_has_no_bias():
    rng = np.random.default_rng(2)
    base = rng.normal(size=(8, UNITS))
    excesses = [
        zoom({"a": runs(rng, base, 2, 0.5), "b": runs(rng, base, 2, 0.5)}, draws=0)
        .whole["excess"].item()
        for _ in range(300)
    ]  # fmt: skip
    mean, error = np.mean(excesses), np.std(excesses) / np.sqrt(len(excesses))
    assert abs(mean) < 3 * error
    biased = zoom({"a": runs(rng, base, 2, 0.5), "b": runs(rng, base, 2, 0.5)}, draws=0)
    assert biased.whole["between"].item() > 10 * error  # the distance alone would say 'different'


def rates(first, second, repeats, draws=99):
    """Share of nulls with a small p: whole embeddings, and concepts."""
    whole, single = [], []
    for seed in range(repeats):
        rng = np.random.default_rng(1000 + seed)
        base = rng.normal(size=(CONCEPTS, UNITS))
        found = zoom(
            {"a": runs(rng, base, first), "b": runs(rng, base, second)}, draws=draws, seed=seed
        )
        whole.append(found.whole["p_value"].item() <= 0.05)
        single.extend(found.by_concept["p_value"] <= 0.05)
    return float(np.mean(whole)), float(np.mean(single))


def test_a_concept_whose_runs_differ_by_more_than_those_of_others_is_no_finding():
    """On the scale of all concepts together its p-values were below 0.05 in 18 % of cases."""
    found = []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        noise = np.full((CONCEPTS, 1), 0.3)
        noise[0] = 1.5
        base = np.random.default_rng(1).normal(size=(CONCEPTS, UNITS))
        each = [base + noise * rng.normal(size=base.shape) for _ in range(8)]
        table = zoom({"a": each[:4], "b": each[4:]}, draws=1, seed=seed).by_concept
        found.append(table.loc[table["concept"] == "0", "p_value"].item())
    assert np.mean(np.array(found) <= 0.05) <= 0.10  # 0.05 and three standard errors


@pytest.mark.parametrize(("first", "second"), [(2, 2), (4, 4)])
def test_equal_networks_are_found_different_no_more_often_than_chance(first, second):
    whole, single = rates(first, second, 300)
    assert whole <= 0.085  # 0.05, and three standard errors of 300 draws
    assert 0.04 <= single <= 0.06


def test_concepts_that_change_together_are_not_taken_for_many_where_runs_suffice():
    """One direction of noise that all concepts share: few runs mistake it, many do not."""

    def share(count):
        hits = []
        for seed in range(150):
            rng = np.random.default_rng(seed)
            base, common = rng.normal(size=(CONCEPTS, UNITS)), rng.normal(size=(CONCEPTS, 1))
            given = {
                k: [base + 3 * rng.normal() * common * np.ones(UNITS) for _ in range(count)]
                for k in "ab"
            }
            hits.append(zoom(given, draws=99).whole["p_value"].item() <= 0.05)
        return np.mean(hits)

    assert share(4) <= 0.11  # 0.05, and three standard errors
    assert share(2) > 0.2  # what the docstring warns of


def test_four_runs_of_each_are_dealt_out_whole():
    rng = np.random.default_rng(4)
    base = rng.normal(size=(6, UNITS))
    found = zoom({"a": runs(rng, base, 4, 0.05), "b": runs(rng, moved(base, rng, 0), 4, 0.05)})
    assert (found.by_concept["test"] == "runs").all()
    assert found.whole["p_value"].item() == pytest.approx(1 / 35)  # of C(8, 4) / 2 deals


@pytest.mark.parametrize(("first", "second", "deals"), [(2, 2, 3), (1, 2, 3), (2, 3, 10)])
def test_every_deal_stands_once_the_given_one_first(first, second, deals):
    made = relabelling(first, second)
    assert len(made.between) == deals
    assert len(np.unique(made.between.reshape(deals, -1), axis=0)) == deals
    assert np.allclose(made.between.sum(axis=(1, 2)), 1)
    assert np.allclose(made.within.sum(axis=(1, 2)), 1)
    assert (made.between[0][:first, first:] > 0).all()
    assert (made.between[0][:first, :first] == 0).all()


def test_without_second_runs_there_are_distances_and_no_test():
    rng = np.random.default_rng(5)
    found = zoom({"a": rng.normal(size=(6, 4)), "b": rng.normal(size=(6, 9))})
    assert found.whole["between"].item() > 0
    assert found.whole[["within", "excess", "p_value"]].isna().all(axis=None)
    assert (found.by_concept["test"] == "").all()
    assert found.by_concept["between"].is_monotonic_decreasing


def test_one_network_with_runs_is_measure_enough():
    rng = np.random.default_rng(6)
    base = rng.normal(size=(CONCEPTS, UNITS))
    found = zoom({"a": runs(rng, base, 2, 0.1), "b": runs(rng, rng.normal(size=base.shape), 1)})
    assert found.whole["p_value"].item() < 0.05
    assert found.whole["runs_j"].item() == 1


def test_a_unit_is_found_again_under_its_new_number():
    rng = np.random.default_rng(7)
    base = np.abs(rng.normal(size=(CONCEPTS, 12)))
    base[5] = 0.01
    base[5, 3] = 4.0
    order = rng.permutation(12)
    other = base[:, order] + 0.01 * rng.normal(size=base.shape)
    units = zoom({"a": base, "b": other}, draws=0).units("5", k=2)
    first = units.iloc[0]
    assert (first["unit"], first["serves"]) == (3, "5")
    assert first["like_network"] == "b"
    assert order[first["like_unit"]] == 3
    assert first["share"] == pytest.approx(4 / (4 + 11 * 0.01))
    assert first["effective"] == pytest.approx(1, abs=0.01)
    assert list(units["network"]) == ["a", "a", "b", "b"]


def test_reference_spaces_take_part_and_have_no_units():
    rng = np.random.default_rng(8)
    rows = labelled(rng.normal(size=(6, 5)))
    reference = cl.ConceptSimilarities(rows.similarity, rows.concepts, "WordNet")
    found = zoom({"net": [rows, labelled(rng.normal(size=(6, 5)))], "WordNet": reference}, draws=9)
    assert found.whole["concepts"].item() == 6
    assert "WordNet" in found.concept(rows.names[0]).columns
    with pytest.raises(InputError, match="WordNet knows only similarities"):
        found.units(rows.names[0])


def test_the_same_seed_gives_the_same_tables():
    rng = np.random.default_rng(9)
    base = rng.normal(size=(CONCEPTS, UNITS))
    given = {"a": runs(rng, base, 2), "b": runs(rng, base, 2)}
    pd.testing.assert_frame_equal(zoom(given, seed=4).whole, zoom(given, seed=4).whole)
    assert not zoom(given, seed=4).whole.equals(zoom(given, seed=5).whole)


def test_the_page_is_escaped():
    rng = np.random.default_rng(10)
    found = zoom({"<b>a": rng.normal(size=(4, 3)), "b": rng.normal(size=(4, 3))}, draws=0)
    assert "<b>a" not in found._repr_html_()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"a": np.eye(4)}, "two networks or more"),
        ([np.eye(4), np.eye(4)], "networks is a dictionary; got a list"),
        ({"a": [], "b": np.eye(4)}, "a has no run"),
        ({"a": [np.eye(4), np.eye(4)], "b": np.ones((4, 2))}, "a run 1 and a run 2 are the same"),
        ({"a": np.eye(4), "b": np.eye(5)}, "a run 1 has 4 rows, b run 1 has 5 rows"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(given, said):
    with pytest.raises(InputError, match=said):
        zoom(given)


def test_an_unknown_concept_is_refused_with_the_nearest_name():
    rng = np.random.default_rng(11)
    found = zoom({k: labelled(rng.normal(size=(6, 5))) for k in "ab"}, draws=0)
    with pytest.raises(InputError, match="no concept 'c9'"):
        found.concept("c9")
