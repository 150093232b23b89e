"""Overlap of units and concepts: the definitions written out, planted truths, and bad input."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import pearsonr, spearmanr

from conceptlab.analysis.units.overlap import (
    agreement_by_layer,
    concepts_per_unit,
    iou_distribution,
    unit_agreement,
    unit_shares,
)
from conceptlab.errors import InputError
from conceptlab.numerics.intervals import FISHER, jackknife_bounds
from conceptlab.space import Space
from conceptlab.vectors import ConceptVectors

UNITS = 40


def layer(weights, scores, names=None, categories=None):
    """Vectors and the layer's table of units."""
    count = len(weights)
    names = names or [f"c{i}" for i in range(count)]
    categories = categories or ["object"] * count
    table = pd.DataFrame({"name": names, "category": categories})
    space = Space("net", "f" * 8, "top", weights.shape[1], "raw")
    vectors = ConceptVectors(weights, np.zeros(count), table, "segmentation", space)
    units = pd.DataFrame(
        {
            "unit": np.repeat(np.arange(weights.shape[1]), count),
            "concept": vectors.names * weights.shape[1],
            "category": categories * weights.shape[1],
            "iou_val": scores.T.ravel(),
        }
    )
    return vectors, units


def skewed(rng, count):
    return rng.normal(size=(count, UNITS)) ** 3, rng.gamma(0.3, size=(count, UNITS))


def test_correlations_are_scipys_over_units():
    rng = np.random.default_rng(0)
    weights, scores = skewed(rng, 6)
    found = unit_agreement(*layer(weights, scores), draws=0)
    for row, w, x in zip(found.itertuples(), weights, scores, strict=True):
        wanted = pearsonr(x, np.maximum(w, 0))
        assert (row.r, row.p_value) == pytest.approx((wanted.statistic, wanted.pvalue))
        on = np.array([(x, np.maximum(w, 0))[side] for side in (0, 1)])
        left = [np.corrcoef(np.delete(on, i, axis=1))[0, 1] for i in range(UNITS)]
        bounds = jackknife_bounds(wanted.statistic, left, scale=FISHER)
        assert (row.low, row.high) == pytest.approx(bounds)
        assert row.spearman == pytest.approx(spearmanr(np.abs(w), x).statistic)
    assert found["p_permutation"].isna().all()


@pytest.mark.parametrize("units", [10, 20, 50, 200])
@pytest.mark.parametrize("heavy", [False, True])
def test_intervals_of_agreement_cover(units, heavy):
    """Gamma weights and scores that share a part; Fisher's own error covers 80 % of these."""
    from conceptlab.analysis.units.overlap import _interval, _standard

    def pair(rng, size):
        if not heavy:
            both = rng.normal(size=(3, *size))
            return both[0] + both[1], both[0] + both[2]
        both = rng.gamma(1.0, size=(3, *size))
        return both[0] + both[1], both[0] + both[2]

    x, y = (_standard(side) for side in pair(np.random.default_rng(units), (2000, units)))
    low, high = _interval(x, y, np.einsum("ck,ck->c", x, y))
    assert 0.92 <= ((low <= 0.5) & (0.5 <= high)).mean() <= 0.98


def test_units_that_agree_are_found_and_others_at_the_level_of_chance():
    rng = np.random.default_rng(1)
    weights, scores = skewed(rng, 500)
    chance = unit_agreement(*layer(weights, scores), draws=199)
    rate = (chance["p_permutation"] <= 0.05).mean()
    assert abs(rate - 0.05) < 3 * np.sqrt(0.05 * 0.95 / 500)
    assert not (chance["p_holm"] < 0.01).sum() > 5
    related = np.maximum(weights, 0) + 0.1 * rng.random(weights.shape)
    planted = unit_agreement(*layer(weights, related), draws=199)
    assert (planted["r"] > 0.9).all()
    assert (planted["p_permutation"] == 1 / 200).all()


def test_a_layer_says_what_share_of_its_concepts_agree():
    rng = np.random.default_rng(2)
    weights, scores = skewed(rng, 40)
    scores[:30] = np.maximum(weights[:30], 0) + 0.05 * rng.random((30, UNITS))
    weights[39] = -1.0  # nothing above zero: no correlation
    found = unit_agreement(*layer(weights, scores), draws=0).assign(model="net", layer="top")
    assert np.isnan(found["r"].iloc[39])
    table = agreement_by_layer(found)
    row = table.iloc[0]
    assert (row["model"], row["layer"], row["concepts"]) == ("net", "top", 39)
    known = found.dropna(subset=["r"])
    assert row["share"] == (known["p_value"] < 0.01).mean() >= 30 / 39
    assert 30 / 39 <= row["share_holm"] <= row["share_bh"] <= row["share"] + 1e-12


def test_names_that_categories_share_are_two_concepts():
    rng = np.random.default_rng(3)
    weights, scores = skewed(rng, 3)
    vectors, units = layer(
        weights, scores, ["orange", "orange", "sky"], ["color", "object", "object"]
    )
    found = unit_agreement(vectors, units.sample(frac=1, random_state=0), draws=0)
    assert list(found["concept"]) == ["color/orange", "object/orange", "sky"]
    wanted = pearsonr(scores[1], np.maximum(weights[1], 0)).statistic
    assert found["r"].iloc[1] == pytest.approx(wanted)


def test_shares_are_both_measures_of_the_paper():
    rng = np.random.default_rng(4)
    weights, scores = skewed(rng, 2)
    vectors, units = layer(weights, scores)
    probe = pd.DataFrame({"concept": ["c0", "c1"], "probe_score": [0.5, 0.0]})
    found = unit_shares(vectors, units, probe)
    first = found[found["concept"] == "c0"]
    assert first["share_weight"].sum() == pytest.approx(1)
    np.testing.assert_allclose(first["share_iou"], scores[0] / 0.5)
    np.testing.assert_allclose(first["weight"], weights[0])
    assert not np.isfinite(found[found["concept"] == "c1"]["share_iou"]).any()


def test_units_are_counted_with_their_concepts():
    concepts = pd.DataFrame(
        {"model": "net", "layer": ["a", "a", "a", "b"], "task": "segment",
         "concept": ["x", "y", "z", "x"], "best_unit": [2, 2, -1, 0]}
    )  # fmt: skip
    units = pd.DataFrame({"model": "net", "layer": ["a"] * 3 + ["b"] * 2, "unit": [0, 1, 2, 0, 1]})
    found = concepts_per_unit(concepts, units).set_index(["layer", "unit"])
    assert found.loc[("a", 2), "concepts"] == 2
    assert found.loc[("a", 2), "names"] == "x, y"
    assert list(found["concepts"]) == [0, 0, 2, 1, 0]
    bare = concepts_per_unit(concepts)
    assert list(bare["concepts"]) == [2, 1]


def test_distributions_keep_zeros_apart_and_say_who_is_ahead():
    rng = np.random.default_rng(5)
    probe = np.concatenate([np.zeros(10), rng.random(90)])
    unit = np.where(np.arange(100) < 60, 0.0, probe / 2)
    rows = pd.DataFrame(
        {"image": [f"val/{i}" for i in range(100)], "concept": "x", "category": "object",
         "iou_probe": probe, "iou_unit": unit}
    )  # fmt: skip
    row = iou_distribution(rows).iloc[0]
    assert (row["images"], row["zeros_probe"], row["zeros_unit"]) == (100, 0.1, 0.6)
    assert row["mean_probe"] == pytest.approx(probe[10:].mean())
    assert row["probe_50"] == pytest.approx(np.median(probe[10:]))
    assert row["unit_90"] == pytest.approx(np.quantile(unit[60:], 0.9))
    assert row["better"] == 1
    assert row["p_value"] < 1e-9
    alike = rows.assign(iou_unit=probe + 0.01 * rng.choice([-1, 1], 100))
    assert iou_distribution(alike)["p_value"].item() > 0.05
    none = rows.assign(iou_unit=0.0, iou_probe=0.0)
    assert np.isnan(iou_distribution(none)["p_value"].item())
    with pytest.raises(InputError, match="'val/0' of concept 'x' stands in the table twice"):
        iou_distribution(pd.concat([rows, rows]))


def test_bad_input_is_refused_in_a_sentence():
    weights, scores = skewed(np.random.default_rng(6), 2)
    vectors, units = layer(weights, scores)
    with pytest.raises(InputError, match="units 0 to 38 and the vectors 40"):
        unit_agreement(vectors, units[units["unit"] < 39])
    with pytest.raises(InputError, match="take one layer"):
        unit_agreement(vectors, pd.concat([units, units]))
    with pytest.raises(InputError, match="has a column iou_test or iou_val"):
        unit_agreement(vectors, units.drop(columns="iou_val"))
    with pytest.raises(InputError, match="no concept has a vector and a score"):
        unit_agreement(vectors, units[units["concept"] == "c0"].assign(concept="other"))
    with pytest.raises(InputError, match="no concept has a vector and a score"):
        unit_agreement(vectors, units.assign(iou_val=np.nan))
    with pytest.raises(InputError, match="lacks the columns best_unit"):
        concepts_per_unit(pd.DataFrame({"task": [], "concept": []}))
