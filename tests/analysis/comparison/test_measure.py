"""What all measures promise, and that their tests and intervals keep their level."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import stats

from conceptlab.analysis.comparison import measure as driver
from conceptlab.analysis.comparison.cka import _u_centred
from conceptlab.analysis.comparison.compare import MEASURES
from conceptlab.errors import InputError

seeds = st.integers(0, 2**32 - 1)
ORIGIN = ("distance", "rsa-pearson", "rsa-spearman", "rsa-kendall")  # cosines are about it
SYMMETRIC = tuple(name for name in MEASURES if name != "predictivity")
SELF = {name: 0.0 if name in ("distance", "procrustes") else 1.0 for name in MEASURES}


def value(name, a, b):
    return MEASURES[name](a, b, 0, 0, "same").value


def spaces(seed, count=24):
    """Two related spaces of other numbers of units, and a rotation of the first."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(count, 4))
    b = a @ rng.normal(size=(4, 6)) + 0.5 * rng.normal(size=(count, 6))
    return a, b, np.linalg.qr(rng.normal(size=(4, 4)))[0], rng


@pytest.mark.parametrize("name", MEASURES)
@given(seed=seeds)
@settings(max_examples=25)
def test_rotation_scale_and_order_of_units_or_items_change_nothing(name, seed):
    a, b, turn, rng = spaces(seed)
    wanted = value(name, a, b)
    assert value(name, 7 * a @ turn, b) == pytest.approx(wanted, abs=1e-7)
    assert value(name, a[:, ::-1], 0.1 * b[:, ::-1]) == pytest.approx(wanted, abs=1e-7)
    if name != "predictivity":  # whose folds are by place
        mixed = rng.permutation(len(a))
        assert value(name, a[mixed], b[mixed]) == pytest.approx(wanted, abs=1e-7)


@pytest.mark.parametrize("name", MEASURES)
@given(seed=seeds)
@settings(max_examples=25)
def test_a_stretch_is_no_rotation_and_a_shift_matters_to_cosines_alone(name, seed):
    a, b, _, _ = spaces(seed)
    wanted = value(name, a, b)
    assert abs(value(name, a, b * np.array([9, 1, 1, 1, 1, 1])) - wanted) > 1e-6
    shifted = abs(value(name, a, b + 2.0) - wanted)
    assert shifted > 1e-6 if name in ORIGIN else shifted < 1e-7


@pytest.mark.parametrize("name", SYMMETRIC)
@given(seed=seeds)
@settings(max_examples=25)
def test_both_orders_agree(name, seed):
    a, b, _, _ = spaces(seed)
    assert value(name, a, b) == pytest.approx(value(name, b, a), abs=1e-9)


def test_what_predicts_is_not_what_is_predicted():
    a, b, _, _ = spaces(3)
    assert abs(value("predictivity", a, b[:, :1]) - value("predictivity", b[:, :1], a)) > 0.1


@pytest.mark.parametrize("name", MEASURES)
@given(seed=seeds)
@settings(max_examples=25)
def test_a_space_agrees_with_its_rotation_entirely(name, seed):
    a, _, turn, _ = spaces(seed)
    near = 2e-3 if name == "predictivity" else 3e-6  # a ridge shrinks, an arccos is steep
    assert value(name, a, 2 * a @ turn) == pytest.approx(SELF[name], abs=near)


@given(seed=seeds)
@settings(max_examples=50)
def test_procrustes_keeps_the_triangle_inequality(seed):
    rng = np.random.default_rng(seed)
    a, b, c = (rng.normal(size=(6, k)) for k in (2, 3, 5))
    c = np.pad(a, ((0, 0), (0, 3))) + 0.1 * c
    ab, bc, ac = (value("procrustes", x, y) for x, y in ((a, b), (b, c), (a, c)))
    assert ac <= ab + bc + 1e-9
    assert ab <= ac + bc + 1e-9


@pytest.mark.parametrize("name", MEASURES)
def test_many_items_give_what_few_would(name, monkeypatch):
    a, b, _, _ = spaces(5, count=300)
    wanted = value(name, a, b)
    monkeypatch.setattr(driver, "LARGE", 100)
    monkeypatch.setattr(driver, "SAMPLE", 80)
    monkeypatch.setattr("conceptlab.analysis.comparison.rsa.BLOCK", 70)
    monkeypatch.setattr("conceptlab.analysis.comparison.cka.BLOCK", 70)
    exact = name in ("distance", "cka", "cka-debiased", "procrustes", "predictivity", "rsa-pearson")
    found = MEASURES[name](a, b, 30, 0, "same")
    assert found.value == pytest.approx(wanted, abs=1e-9 if exact else 1e-3)
    assert found.items == 300
    assert found.interval[0] < found.value < found.interval[1]
    assert found.p_value == pytest.approx(1 / 31)
    monkeypatch.undo()
    wide = np.ptp(MEASURES[name](a, b, 30, 0, "same").interval)
    assert 0.4 < np.ptp(found.interval) / wide < 2.5


@pytest.mark.slow
@pytest.mark.parametrize("name", MEASURES)
def test_the_permutation_test_keeps_its_level_and_has_power(name):
    draws, repeats = 39, 500
    if name in ("predictivity", "procrustes", "rsa-kendall"):
        repeats = 200
    rng = np.random.default_rng(1)
    chance, found = [], []
    for _ in range(repeats):
        a, b = rng.normal(size=(12, 5)), rng.normal(size=(12, 6))
        chance.append(MEASURES[name](a, b, draws, int(rng.integers(2**32)), "same").p_value)
    for _ in range(40):
        a = rng.normal(size=(20, 5))
        b = a @ rng.normal(size=(5, 5)) + 0.5 * rng.normal(size=(20, 5))
        found.append(MEASURES[name](a, b, draws, int(rng.integers(2**32)), "same").p_value)
    rejected = np.mean(np.array(chance) <= 0.05)
    assert abs(rejected - 0.05) < 3 * np.sqrt(0.05 * 0.95 / repeats)
    assert np.mean(np.array(found) <= 0.05) > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("name", MEASURES)
def test_intervals_hold_what_new_items_would_give(name):
    """Of 95 % intervals, most hold the value that many more items of the same kind have."""
    mix = np.random.default_rng(0).normal(size=(4, 6))

    def pair(rng, count):
        a = rng.normal(size=(count, 4))
        return a, a @ mix + 2.0 * rng.normal(size=(count, 6))

    # values depend on the number of items a little: the mean over draws of that number is meant
    rng = np.random.default_rng(1)
    truth = np.mean([value(name, *pair(rng, 60)) for _ in range(300)])
    held = []
    for _ in range(100):
        low, high = MEASURES[name](*pair(rng, 60), 200, int(rng.integers(2**32)), "same").interval
        held.append(low <= truth <= high)
    assert 0.9 <= np.mean(held)


@pytest.mark.parametrize("name", ["rsa-pearson", "rsa-spearman", "rsa-kendall", "cka-debiased"])
def test_the_interval_of_unrelated_spaces_is_as_wide_as_their_values_spread(name):
    """The jackknife alone makes it 1.4 to 1.6 times as wide: pairs count twice."""
    rng = np.random.default_rng(5)
    values, spreads = [], []
    for _ in range(150):
        sides = rng.normal(size=(60, 4)), rng.normal(size=(60, 6))
        found = MEASURES[name](*sides, 1, 0, "same")
        values.append(np.arctanh(found.value))
        spreads.append(np.ptp(np.arctanh(found.interval)) / 2 / stats.t.ppf(0.975, 59))
    assert 0.85 < np.sqrt(np.mean(np.square(spreads))) / np.std(values) < 1.35


def test_a_u_centred_gram_matrix_gives_the_debiased_value():
    rng = np.random.default_rng(6)
    first, second = rng.normal(size=(12, 3)), rng.normal(size=(12, 5))
    second[:, :3] += first
    squares = []
    for rows in (first, second):
        gram = rows @ rows.T
        np.fill_diagonal(gram, 0.0)
        squares.append(_u_centred(gram, gram.sum(axis=1)))
    assert_allclose([square.sum(axis=0) for square in squares], 0, atol=1e-12)
    correlation = (squares[0] * squares[1]).sum() / 2
    assert correlation == pytest.approx(value("cka-debiased", first, second), abs=1e-12)


@pytest.mark.parametrize("name", ["rsa-pearson", "procrustes", "cka"])
def test_of_few_items_every_order_is_looked_at(name):
    rng = np.random.default_rng(0)
    a = rng.normal(size=(5, 3))
    b = a @ rng.normal(size=(3, 4)) + 0.5 * rng.normal(size=(5, 4))
    every = np.array([value(name, a, b[list(order)]) for order in permutations(range(5))])
    observed, greater = value(name, a, b), MEASURES[name].greater
    wanted = np.mean(every >= observed - 1e-12 if greater else every <= observed + 1e-12)
    found = [MEASURES[name](a, b, 500, seed, "same").p_value for seed in (0, 1)]
    assert found == pytest.approx([wanted] * 2, abs=1e-12)


@pytest.mark.parametrize("name", MEASURES)
def test_a_seed_gives_the_same_answer_and_no_draws_give_no_test(name):
    a, b, _, _ = spaces(8)
    once, again = (MEASURES[name](a, b, 20, 5, "same") for _ in range(2))
    assert once == again
    bare = MEASURES[name](a, b, 0, 0, "same")
    assert np.isnan([bare.p_value, *bare.interval]).all()
    assert "dequate" in bare.adequate
    with pytest.raises(InputError, match="draws"):
        MEASURES[name](a, b, -1, 0, "same")


@pytest.mark.parametrize("name", MEASURES)
def test_too_few_items_are_refused(name):
    a = np.random.default_rng(0).normal(size=(2, 3))
    with pytest.raises(InputError, match="needs at least"):
        value(name, a, a)


def test_a_constant_side_has_no_value_but_does_no_harm():
    a, b, _, _ = spaces(2)
    same = np.ones_like(b)
    for name in ("cka", "cka-debiased", "rsa-spearman", "rsa-pearson", "procrustes"):
        found = MEASURES[name](a, same, 5, 0, "same")
        assert np.isnan(found.value), name
    assert_allclose(MEASURES["rsa-kendall"](a, same, 5, 0, "same").value, 0)
