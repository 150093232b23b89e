"""TCAV, decomposition and erasure as steps of a study: what they leave in a run folder."""

import json

import numpy as np
import pandas as pd
import pytest

from conceptlab.study.effects import strongest
from conceptlab.vectors import ConceptVectors


def table(studied, name):
    path = studied / "tables" / f"{name}.csv"
    numbers = ("p_value", "effect", "low", "high", "score")
    return pd.read_csv(path, keep_default_na=False, na_values={name: [""] for name in numbers})


def test_tcav_of_cavs_and_of_both_probes_for_every_layer(studied):
    found = table(studied, "tcav")
    at = found[["model", "layer"]].drop_duplicates()
    assert list(map(tuple, at.to_numpy())) == [
        ("scenenet", "features.8"), ("scenenet", "features.17"),
        ("scenenet-second", "features.17"), ("sceneres", "stages.2"),
    ]  # fmt: skip
    assert set(found["kind"]) == {"cav", "segmentation", "classification"}
    assert set(found["class"]) == {"street", "kitchen"}
    assert (found["n"] <= 6).all()
    assert found["score"].between(0, 1).all()
    assert (found["low"] <= found["score"] + 1e-6).all()  # a score has an interval, always
    assert (found["high"] >= found["score"] - 1e-6).all()
    assert found["p_value"].dropna().between(0, 1).all()
    saved = ConceptVectors.load(studied / "vectors" / "sceneres" / "stages.2" / "cav.h5")
    assert saved.kind == "cav"
    own = found[(found["model"] == "sceneres") & (found["kind"] == "cav")]
    named = set(saved.concepts["name"][saved.usable])
    assert set(own["concept"].str.rpartition("/")[2]) <= named


def test_decompositions_add_up_to_the_logit(studied):
    parts, classes = table(studied, "decomposition"), table(studied, "decomposed_classes")
    sums = parts.groupby(["model", "layer", "class"])["contribution"].sum()
    whole = classes.set_index(["model", "layer", "class"])["logit"]
    np.testing.assert_allclose(sums.loc[whole.index], whole, rtol=1e-4)
    linear = classes[classes["layer"].isin(["features.17", "stages.2"])]
    assert (linear["completeness_error"] < 1e-4).all()
    pictures = table(studied, "decomposed_pictures")
    assert len(pictures) == 4 * 2
    for path in pictures["picture"]:
        assert (studied / path).read_bytes().startswith(b"\x89PNG")


def test_erasure_takes_the_concepts_of_the_strongest_effects(studied):
    found, erased = table(studied, "tcav"), table(studied, "erasure")
    for (model, layer), rows in erased.groupby(["model", "layer"]):
        own = found[(found["model"] == model) & (found["layer"] == layer)]
        assert set(rows["concept"]) == set(strongest(own, 2))
        assert set(rows["ablation"]) == {"direction", "units"}
    probe = table(studied, "erased_probe")
    assert (probe["accuracy_after"].astype(float) == 0.5).any()


def test_families_stand_beside_one_another(studied):
    families = table(studied, "families")
    own = table(studied, "tcav")
    assert len(families) == (own["kind"] == "cav").sum()
    assert {"encoded", "accuracy", "used", "contributing", "erased", "verdict"} <= set(families)
    assert (studied / "tables" / "family_correlations.csv").is_file()


def test_steps_are_recorded_with_their_classes(studied):
    step = json.loads(
        (studied / "steps/scenenet/features.17/tcav/step.json").read_text(encoding="utf-8")
    )
    assert set(step["settings"]["classes"]) == {"street", "kitchen"}
    assert step["settings"]["settings"]["tcav.random"] == 6


@pytest.mark.parametrize("count", [0, 1, 3])
def test_strongest_leaves_out_what_says_nothing(count):
    rows = pd.DataFrame(
        {
            "kind": ["cav", "cav", "cav", "cav", "segmentation", "cav"],
            "concept": ["a", "b", "c", "a", "d", "e"],
            "effect": [1.0, -5.0, 3.0, -4.0, 9.0, 8.0],
            "note": ["", "", "", "", "", "no better than chance"],
        }
    )
    assert strongest(rows, count) == ["b", "a", "c"][:count]
    assert strongest(pd.DataFrame(), count) == []
