"""Measures of undefined or rounding-size quantities: NaN with a note, and never a p-value."""

import itertools

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

import conceptlab as cl
from conceptlab.analysis.comparison.compare import MEASURES
from conceptlab.errors import InputError

DRAWS = 30
rng = np.random.default_rng(0)
SIDE = rng.normal(size=(24, 6))
NOISE = 1 + 1e-7 * rng.normal(size=(24, 3))
COORDINATES = ("cka", "cka-debiased", "procrustes", "predictivity")
RANKS = ("rsa-pearson", "rsa-spearman")
FLAT = {
    "constant": np.full((24, 3), 0.1),
    "single precision, constant": (0.1 * NOISE).astype(np.float32),
    "zeros": np.zeros((24, 3)),
    "one item 24 times": np.repeat(SIDE[:1], 24, axis=0),
}


def asked(name, a, b, draws=DRAWS):
    return MEASURES[name](a, b, draws, 0, "same")


@pytest.mark.parametrize("name", [*COORDINATES, *RANKS])
@pytest.mark.parametrize("flat", FLAT)
@pytest.mark.parametrize("turned", [False, True])
def test_a_side_that_does_not_vary_has_no_value_no_interval_and_no_p_value(name, flat, turned):
    sides = (FLAT[flat], SIDE) if turned else (SIDE, FLAT[flat])
    found = asked(name, *sides)
    assert np.isnan([found.value, *found.interval, found.p_value]).all()
    assert ("first side" if turned else "second side") in found.note
    assert found.note in repr(found)
    assert found.row()["note"] == found.note


@pytest.mark.parametrize("name", [*RANKS, "cka-debiased"])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_items_that_are_all_equally_unlike_agree_with_nothing(name, kind):
    turn = np.linalg.qr(rng.normal(size=(24, 24)))[0]
    for alike in (np.eye(24, dtype=kind), turn.astype(kind)):
        found = asked(name, SIDE, alike)
        assert np.isnan([found.value, found.p_value]).all(), name
        assert found.note, name


@pytest.mark.parametrize("name", ["cka", "procrustes", "distance", "rsa-kendall"])
def test_a_value_that_no_order_changes_is_not_tested(name):
    found = asked(name, SIDE, np.eye(24))
    assert np.isfinite(found.value)
    assert np.isnan(found.p_value)
    assert "nothing to test" in found.note


@pytest.mark.parametrize("name", ["distance", *RANKS, "rsa-kendall"])
def test_an_item_without_a_cosine_leaves_its_side_undefined(name):
    rows = SIDE.copy()
    rows[[3, 7]] = 0
    found = asked(name, SIDE, rows)
    assert np.isnan([found.value, found.p_value]).all()
    assert "3, 7" in found.note
    with pytest.raises(InputError, match="b is all zero in rows 3, 7"):
        cl.embedding_distance({"a": SIDE, "b": rows})


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("scale", [1e-6, 1e6, 1e150])
def test_scale_changes_neither_value_nor_p_value(name, scale):
    other = SIDE[:, :3] + rng.normal(size=(24, 3))
    wanted, found = asked(name, SIDE, other), asked(name, SIDE * scale, other * scale)
    assert found.value == pytest.approx(wanted.value, abs=1e-9)
    assert found.p_value == wanted.p_value


@pytest.mark.parametrize("name", MEASURES)
def test_single_precision_copies_agree_and_are_told_from_chance(name):
    found = asked(name, SIDE, SIDE.astype(np.float32))
    assert found.p_value == pytest.approx(1 / (1 + DRAWS))
    few = "too few items for an interval: it takes 50"
    assert found.note == (few if name == "predictivity" else "")


def test_small_angles_keep_their_digits():
    turned = SIDE.copy()
    turned[:, 0] *= 1 + 1e-7
    a, b = (s - s.mean(axis=0) for s in (SIDE, turned))
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    # to first order the angle is the distance of the two once no rotation is left
    u, _, v = np.linalg.svd(a.T @ b)
    wanted = np.linalg.norm(a @ u @ v - b)
    assert cl.procrustes(SIDE, turned, draws=0).value == pytest.approx(wanted, rel=1e-6)
    assert cl.procrustes(SIDE, SIDE[:, ::-1], draws=0).value == 0


def test_what_varies_among_held_out_items_alone_predicts_nothing():
    inputs = np.full((24, 2), 0.1)
    inputs[5, 0] = 0.3  # alone; in training it is constant, but for rounding of the mean
    found = cl.predictivity(inputs, SIDE, draws=0)
    assert abs(found.value) < 0.2


@pytest.mark.parametrize("count", [3, 4, 5])
@pytest.mark.parametrize(("method", "truth"), [("spearman", spearmanr), ("pearson", pearsonr)])
def test_few_items_have_a_value_and_an_exact_level(count, method, truth):
    a, b = (np.random.default_rng([count, k]).normal(size=(count, 7)) for k in range(2))

    def pairs(rows):
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return (1 - unit @ unit.T)[np.tril_indices(count, -1)]

    value = truth(pairs(a), pairs(b))[0]
    found = cl.rsa(a, b, method, draws=2000)
    assert found.value == pytest.approx(value, abs=1e-9)
    orders = itertools.permutations(range(count))
    exact = np.mean([truth(pairs(a), pairs(b[list(o)]))[0] >= value - 1e-9 for o in orders])
    assert found.p_value == pytest.approx(exact, abs=4 * np.sqrt(0.25 / 2000))


def test_an_embedding_beside_itself_is_not_said_to_differ():
    import pandas as pd

    weights = np.vstack([SIDE[:5], np.zeros(6)])
    table = pd.DataFrame({"name": list("abcdef"), "category": "thing"})
    space = cl.Space("net", "f" * 8, "top", 6, "raw")
    given = cl.ConceptVectors(weights, np.zeros(6), table, "cav", space)
    with pytest.raises(InputError, match="none of these embeddings has a vector of thing/f"):
        cl.rsa(given, given)
    assert cl.rsa(given, given, draws=0, concepts="shared").value == pytest.approx(1)
