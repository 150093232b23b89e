"""Tables of a run, against sums done by hand."""

import pandas as pd
import pytest

from conceptlab.study.steps import _noted
from conceptlab.study.tables import CONCEPT_COLUMNS, summary_table


def test_columns_begin_as_the_contract_says():
    assert CONCEPT_COLUMNS[:11] == [
        "model", "layer", "task", "concept", "category", "n_train", "n_val", "best_unit",
        "best_unit_score", "probe_score", "train_score",
    ]  # fmt: skip


def test_every_score_and_interval_that_is_undefined_has_a_note():
    nan = float("nan")
    table = pd.DataFrame(
        {"note": ["few", "", "", "", "", ""], "n": [0, 0, 9, 1, 9, 9],
         "score": [nan, nan, nan, 0.5, 0.5, 0.5], "low": [nan, nan, nan, nan, 0.4, 0.4],
         "difference_p": [nan, nan, nan, nan, nan, 0.1]}
    )  # fmt: skip
    assert _noted(table, "val")["note"].tolist() == [
        "few", "no image of val shows it", "no other image of val to tell it from",
        "too few images for an interval", "nothing to test against the best unit", "",
    ]  # fmt: skip


def test_summary_by_hand():
    nan = float("nan")
    table = pd.DataFrame(
        {
            "model": "m", "layer": "l", "task": ["segment"] * 4 + ["classify"],
            "best_unit_score": [0.2, 0.4, 0.5, 0.9, nan],
            "probe_score": [0.3, 0.4, 0.1, nan, nan],
            "difference_p": [0.01, 0.01, 0.05, nan, nan],
            "note": ["", "", "", "too few examples", "too few examples"],
        }
    )  # fmt: skip
    segment, classify = summary_table(table).to_dict("records")
    assert (segment["n_concepts"], segment["too_few"]) == (3, 1)
    shares = [segment[f"share_{how}"] for how in ("better", "tied", "worse")]
    assert shares == pytest.approx([1 / 3] * 3)
    assert segment["mean_unit"] == pytest.approx(1.1 / 3)
    assert segment["mean_probe"] == pytest.approx(0.8 / 3)
    assert (classify["n_concepts"], classify["too_few"]) == (0, 1)
    assert pd.isna(classify["share_better"])
