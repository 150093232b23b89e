"""Intervals from draws, where the truth behind them is known."""

import warnings
from dataclasses import dataclass, replace

import numpy as np
import pytest

from conceptlab.analysis.vectors.intervals import (
    pinned_down,
    similarity_intervals,
    weight_intervals,
)
from conceptlab.errors import InputError
from conceptlab.vectors import ConceptVectors
from tests.analysis.vectors.test_clusters import embedding

UNITS = 30


@dataclass
class Drawn:
    vectors: ConceptVectors
    draws: np.ndarray


def drawn(truth, noise, rng, count=50, common=0.0):
    """A fit of known vectors, and draws of it with the same kind of noise; some of it shared."""

    def errors(*shape):
        own = rng.normal(size=(*shape, *truth.shape))
        return noise * (np.sqrt(1 - common) * own + np.sqrt(common) * own[..., :1, :])

    fit = truth + errors()
    return Drawn(embedding(fit), (fit + errors(count)).astype(np.float32))


def test_intervals_of_weights_hold_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(4, UNITS))
    truth[:, 0] = 0
    held, wide, zeros = [], [], []
    for _ in range(100):
        found = drawn(truth, 0.2, rng)
        table = weight_intervals(found)
        length = np.linalg.norm(found.vectors.weights, axis=1).repeat(UNITS)
        held.append(
            (table["low"] * length <= truth.ravel()) & (truth.ravel() <= table["high"] * length)
        )
        wide.append((table["high"] - table["low"]).mean())
        zeros.append(table[table["unit"] == 0]["p_value"] <= 0.05)
    assert 0.93 < np.mean(held) < 0.97
    assert 0.02 < np.mean(zeros) < 0.08
    narrow = weight_intervals(drawn(truth, 0.2, rng), level=0.5)
    assert (narrow["high"] - narrow["low"]).mean() < 0.5 * np.mean(wide)


def test_intervals_of_similarities_hold_the_truth_and_correction_takes_out_the_bias():
    rng = np.random.default_rng(1)
    base = rng.normal(size=UNITS)
    truth = np.stack([base, base + 0.5 * rng.normal(size=UNITS), rng.normal(size=UNITS)])
    unit = truth / np.linalg.norm(truth, axis=1, keepdims=True)
    wanted = (unit @ unit.T)[np.triu_indices(3, 1)]
    held, raw, corrected = [], [], []
    for _ in range(150):
        table = similarity_intervals(drawn(truth, 0.5, rng))
        held.append((table["low"] <= wanted) & (wanted <= table["high"]))
        raw.append(table["similarity"] - wanted)
        corrected.append(table["corrected"] - wanted)
    assert np.mean(raw, axis=0)[0] < -0.1  # noise hides the likeness of the first two
    assert abs(np.mean(corrected, axis=0)).max() < 0.03
    assert np.mean(held, axis=0)[1:].min() > 0.85


def test_noise_that_concepts_share_does_not_make_them_alike():
    rng = np.random.default_rng(2)
    truth = np.linalg.qr(rng.normal(size=(UNITS, 2)))[0].T * 3
    tables = [similarity_intervals(drawn(truth, 0.25, rng, common=0.9)) for _ in range(200)]
    assert np.mean([t["similarity"].item() for t in tables]) > 0.12
    assert abs(np.mean([t["corrected"].item() for t in tables])) < 0.05


def test_what_is_noise_is_not_pinned_down():
    rng = np.random.default_rng(3)
    truth = rng.normal(size=(6, UNITS))
    truth[3:] *= 0.1
    right = []
    for _ in range(50):
        table = pinned_down(drawn(truth, 0.4, rng)).set_index("concept")
        right.append(list(table.loc[[f"c00{i}" for i in range(6)], "pinned"]))
    assert (np.mean(right, axis=0)[:3] > 0.95).all()
    assert (np.mean(right, axis=0)[3:] < 0.3).all()
    table = pinned_down(drawn(truth, 0.4, rng))
    assert table["reliability"].is_monotonic_increasing
    assert (table[table["pinned"]]["told_apart"] > 0.9).all()


def test_draws_that_agree_on_another_vector_do_not_bear_it_out():
    rng = np.random.default_rng(5)
    given = drawn(rng.normal(size=(3, 40)), 0.2, rng)
    elsewhere = 1e-6 * given.draws + rng.normal(size=(3, 40)).astype(np.float32)
    for draws in (1e-6 * given.draws, elsewhere):
        found = pinned_down(replace(given, draws=draws))
        assert (found["reliability"] < 0.01).all()
        assert not found["pinned"].any()


def test_reliability_is_the_share_that_is_no_noise():
    rng = np.random.default_rng(4)
    truth = rng.normal(size=(5, 400))
    found = pinned_down(drawn(truth, 0.5, rng, count=400))
    np.testing.assert_allclose(found["reliability"], 1 - 0.25 / 1.25, atol=0.05)


def test_concepts_that_always_go_together_are_pinned_but_not_told_apart():
    rng = np.random.default_rng(5)
    one = rng.normal(size=(1, UNITS))
    truth = np.vstack([one, one, rng.normal(size=(1, UNITS))])
    found = drawn(truth, 0.2, rng, common=1.0)  # the same images show both
    table = pinned_down(found).set_index("concept")
    assert table["pinned"].all()
    assert table.loc["c000", "told_apart"] == 0
    assert table.loc["c002", "told_apart"] == 1


def test_draws_that_lack_a_concept_are_left_out():
    rng = np.random.default_rng(6)
    found = drawn(rng.normal(size=(4, UNITS)), 0.1, rng)
    found.draws[::2, 1] = np.nan
    found.draws[1:, 2] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        names = set(pinned_down(found)["concept"])
        similarity = similarity_intervals(found)
        weights = weight_intervals(found)
    assert names == {"c000", "c001", "c003"} == set(weights["concept"])
    assert len(similarity) == 3
    assert np.isfinite(similarity[["low", "high"]]).all(axis=None)


def test_bad_input_is_refused_in_a_sentence():
    rng = np.random.default_rng(7)
    found = drawn(rng.normal(size=(2, 4)), 0.1, rng)
    with pytest.raises(InputError, match="level is a share between 0 and 1; got 95"):
        weight_intervals(found, 95)
    nothing = Drawn(embedding(np.zeros((2, 4))), np.zeros((5, 2, 4)))
    with pytest.raises(InputError, match="no concept has a vector in two draws"):
        pinned_down(nothing)
