"""The families beside one another: verdicts and rank correlations of tables made by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from conceptlab.analysis.effects.families import concept_families, family_correlations

AT = {"model": "m", "layer": "l"}
NAMES = ["a", "b", "c", "d", "e", "f"]


def tcav_rows(effects, chances, kind="cav"):
    return pd.DataFrame(
        {
            **AT, "class": "one", "concept": NAMES[: len(effects)], "category": "object",
            "kind": kind, "effect": effects, "p_adjusted": chances, "note": "",
        }
    )  # fmt: skip


def erasure_rows(changes, chances):
    rows = {
        **AT, "class": "one", "concept": NAMES[: len(changes)], "category": "object",
        "ablation": "direction", "logit_change": changes, "p_adjusted": chances,
    }  # fmt: skip
    return pd.concat([pd.DataFrame(rows), pd.DataFrame({**rows, "ablation": "units"})])


NOTHING = pd.DataFrame()


@pytest.mark.parametrize(
    ("effect", "p", "change", "p_erased", "verdict"),
    [
        (5.0, 0.01, -2.0, 0.01, "used"),
        (-5.0, 0.01, 2.0, 0.01, "used"),
        (5.0, 0.01, 2.0, 0.01, "contradictory"),
        (5.0, 0.01, -2.0, 0.2, "sensitive, not confirmed"),
        (5.0, 0.01, np.nan, np.nan, "sensitive, not confirmed"),
        (5.0, 0.2, -2.0, 0.01, "changed by erasure only"),
        (5.0, 0.2, -2.0, 0.2, "not shown"),
        (np.nan, np.nan, np.nan, np.nan, "not shown"),
    ],
)
def test_a_claim_of_use_needs_both_tests_and_one_direction(effect, p, change, p_erased, verdict):
    table = concept_families(
        NOTHING, tcav_rows([effect], [p]), NOTHING, erasure_rows([change], [p_erased])
    )
    assert table["verdict"].tolist() == [verdict]


def test_every_family_stands_in_its_own_column():
    scores = pd.DataFrame(
        {
            **AT, "concept": ["a", "a", "b"], "category": "object",
            "task": ["segment", "classify", "segment"], "probe_score": [0.3, 0.8, 0.1],
        }
    )  # fmt: skip
    parts = pd.DataFrame(
        {
            **AT, "class": "one", "concept": ["a", "residual"], "category": ["object", ""],
            "share": [0.6, 0.4],
        }
    )  # fmt: skip
    other = tcav_rows([9.0], [0.5], kind="segmentation")
    tcav = pd.concat([tcav_rows([3.0, -1.0], [0.01, 0.5]), other])
    table = concept_families(scores, tcav, parts, erasure_rows([-1.0], [0.02]))
    assert table["concept"].tolist() == ["a", "b"]
    assert table["used"].tolist() == [3.0, -1.0]
    assert table["encoded"].tolist() == [0.3, 0.1]
    np.testing.assert_array_equal(table["accuracy"], [0.8, np.nan])
    assert table["contributing"].tolist() == [0.6, 0.0]  # asked, and not in the basis
    np.testing.assert_array_equal(table["erased"], [-1.0, np.nan])
    assert not len(concept_families(scores, NOTHING, parts, NOTHING))


def test_what_was_not_asked_is_unknown_and_not_zero():
    table = concept_families(NOTHING, tcav_rows([1.0], [0.5]), NOTHING, NOTHING)
    assert table[["encoded", "accuracy", "contributing", "erased"]].isna().all(axis=None)


def test_rank_correlations_are_those_of_scipy_with_erasure_turned_round():
    effects = [5.0, 1.0, -2.0, 3.0, 0.5, -4.0]
    changes = [-3.0, -1.0, 2.0, -2.5, 0.1, 1.0]
    table = concept_families(
        NOTHING, tcav_rows(effects, [0.5] * 6), NOTHING, erasure_rows(changes, [0.5] * 6)
    )
    found = family_correlations(table)
    assert len(found) == 1
    wanted = spearmanr(effects, [-c for c in changes])
    assert found["rho"][0] == pytest.approx(wanted.statistic)
    assert found["p_adjusted"][0] == pytest.approx(12 / 720)  # of all orders of six
    assert found["n"][0] == 6
    assert wanted.statistic > 0.8
    few = concept_families(
        NOTHING, tcav_rows(effects[:3], [0.5] * 3), NOTHING, erasure_rows(changes[:3], [0.5] * 3)
    )
    assert not len(family_correlations(few))
    assert not len(family_correlations(NOTHING))
