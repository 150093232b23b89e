"""The number of units that a concept needs, on curves whose answer is known."""

import numpy as np
import pandas as pd
import pytest

from conceptlab.analysis.units.saturation import concept_saturation, saturation
from conceptlab.errors import InputError

SIZES = (1, 2, 4, 8, 16)


def curves(scores, categories=None, task="segment", **more):
    """The table of subsets of some concepts' curves (C, F)."""
    count = len(scores)
    categories = categories or ["object"] * count
    table = pd.DataFrame(
        {"task": task, "concept": np.repeat([f"c{i}" for i in range(count)], len(SIZES)),
         "category": np.repeat(categories, len(SIZES)), "units": list(SIZES) * count,
         "score": np.ravel(scores)}
    )  # fmt: skip
    return table.assign(**{k: np.ravel(v) for k, v in more.items()})


def test_a_line_in_log_units_saturates_where_it_should():
    rising = np.array([[0.1, 0.2, 0.3, 0.4, 0.5]])
    found = saturation(curves(rising), share=0.9).set_index("category")
    assert found.loc["object", "score"] == pytest.approx(0.45)
    assert found.loc["object", "units"] == pytest.approx(8 * np.sqrt(2))  # half of an octave
    assert found.loc["all", "units"] == pytest.approx(8 * np.sqrt(2))
    assert found.loc["all", ["best", "whole", "most"]].tolist() == [0.5, 0.5, 16]


def test_three_planted_units_are_enough_and_one_is_too():
    three = np.array([[0.2, 0.5, 0.9, 0.9, 0.9]] * 5)
    one = np.array([[0.7] * 5] * 5)
    table = curves(np.vstack([three, one]), ["object"] * 5 + ["color"] * 5)
    found = saturation(table).set_index("category")
    assert 2 < found.loc["object", "units"] <= 4
    assert found.loc["color", "units"] == 1
    assert found.loc["color", ["low", "high"]].tolist() == [1, 1]


def test_too_many_units_may_harm_and_do_not_move_the_answer():
    table = curves([[0.2, 0.6, 0.6, 0.4, 0.3]])
    found = saturation(table).iloc[-1]
    assert found["units"] == pytest.approx(2 ** ((0.57 - 0.2) / 0.4))
    assert (found["best"], found["whole"]) == (0.6, 0.3)


def test_accuracy_starts_at_one_half():
    table = curves([[0.5, 0.7, 0.9, 0.9, 0.9]], task="classify")
    assert saturation(table, share=0.5)["units"].iloc[0] == pytest.approx(2)


def test_intervals_hold_the_answer_of_all_concepts_and_narrow_with_them():
    rng = np.random.default_rng(0)

    def draw(count):
        need = rng.uniform(0, 4, count)  # log2 of the units that each needs
        return np.clip(1 - (need[:, None] - np.arange(5)) / 4, 0, 1)

    truth = saturation(curves(draw(20_000)))["units"].iloc[-1]
    held, widths = [], []
    for _ in range(60):
        row = saturation(curves(draw(25))).iloc[-1]
        held.append(row["low"] <= truth <= row["high"])
        widths.append(row["high"] - row["low"])
    assert np.mean(held) > 0.9
    wide = saturation(curves(draw(400))).iloc[-1]
    assert wide["high"] - wide["low"] < 0.5 * np.median(widths)


def test_single_concepts_have_a_range_from_their_intervals():
    scores = np.array([[0.1, 0.2, 0.3, 0.4, 0.5], [0.0] * 5])
    table = curves(scores, low=scores - 0.05, high=scores + 0.05)
    found = concept_saturation(table, share=0.8)
    assert found["units"].iloc[0] == pytest.approx(8)
    assert found["low"].iloc[0] == pytest.approx(8 / np.sqrt(2))
    assert found["high"].iloc[0] == pytest.approx(8 * np.sqrt(2))
    assert np.isnan(found["units"].iloc[1])  # never above nothing
    never = concept_saturation(curves(scores[:1], low=scores[:1] - 0.2, high=scores[:1]))
    assert never["high"].item() == np.inf
    assert concept_saturation(curves(scores))["low"].isna().all()


def test_concepts_with_gaps_are_left_out():
    scores = np.array([[0.1, 0.2, 0.3, 0.4, 0.5], [0.9, np.nan, 0.9, 0.9, 0.9]])
    assert saturation(curves(scores))["concepts"].tolist() == [1, 1]


def test_layers():
    rng = np.random.default_rng(1)
    table = pd.concat(
        [curves(np.sort(rng.random((6, 5)), axis=1)).assign(model="m", layer=n) for n in "ab"]
    )
    found = saturation(table)
    assert list(found["layer"]) == ["a", "a", "b", "b"]
    assert (found["low"] <= found["units"]).all()
    assert (found["units"] <= found["high"]).all()


def test_one_concept_has_no_interval_and_equal_ones_a_sure_answer():
    rising = [0.1, 0.2, 0.3, 0.4, 0.5]
    assert np.isnan(saturation(curves([rising]))[["low", "high"]].to_numpy()).all()
    row = saturation(curves([rising] * 4), share=0.8).iloc[-1]
    assert row["low"] == pytest.approx(row["units"]) == row["high"]


@pytest.mark.parametrize(
    ("table", "share", "said"),
    [
        (curves([[0.1] * 5]), 0.0, "share is a number above 0"),
        (curves([[0.1] * 5]).drop(columns="units"), 0.9, "lacks the columns units"),
        (curves([[np.nan] * 5]), 0.9, "holds no score"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(table, share, said):
    with pytest.raises(InputError, match=said):
        saturation(table, share)


def test_a_task_without_a_score_has_no_row():
    """Every held-out picture shows every concept: no accuracy is defined."""
    rows = [
        {"task": task, "concept": concept, "category": "object", "units": units,
         "score": 0.1 * units if task == "segment" else np.nan, "low": 0.0, "high": 1.0}
        for task in ("segment", "classify") for concept in ("a", "b") for units in (1, 2, 4)
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    assert set(saturation(table)["task"]) == {"segment"}
    assert set(concept_saturation(table)["task"]) == {"segment"}
    partly = table.assign(score=table["score"].where(table["units"] < 4, np.nan))
    assert saturation(partly).empty
    assert concept_saturation(partly)["units"].empty


@pytest.mark.parametrize(("task", "floor"), [("segment", 0.0), ("classify", 0.5)])
def test_what_never_leaves_the_floor_has_neither_value_nor_interval(task, floor):
    found = saturation(curves(np.full((4, len(SIZES)), floor), task=task))
    assert found[["units", "low", "high"]].isna().all(axis=None)
