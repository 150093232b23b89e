"""A vector as a sum of concept vectors: the definitions, planted sums, and what cannot be."""

import itertools
from functools import cache

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from conceptlab.analysis.effects.basis import METHODS, basis_rows, candidates, nonnegative_basis
from conceptlab.errors import InputError, SpaceError
from conceptlab.models import load_model
from conceptlab.probes.cav.result import Cavs
from conceptlab.space import Space
from conceptlab.vectors import ConceptVectors


@cache
def scenenet():
    return load_model("builtin:scenenet")


def embedded(weights, names=None, other=()):
    """Vectors over the last layer of scenenet."""
    weights = np.asarray(weights, dtype=float)
    names = names or [f"c{i:02d}" for i in range(len(weights))]
    concepts = pd.DataFrame({"name": names, "category": "object"})
    space = {
        "model": "scenenet", "weights": scenenet().fingerprint,
        "layer": "features.17", "units": weights.shape[1], "inputs": "raw",
    }  # fmt: skip
    space = Space(**{**space, **dict(other)})
    return ConceptVectors(weights, np.zeros(len(weights)), concepts, "cav", space)


def smallest_residual(target, rows):
    """Non-negative least squares read aloud: the best of all subsets whose solution is positive."""
    best = target @ target, ()
    for size in range(1, len(rows) + 1):
        for subset in itertools.combinations(range(len(rows)), size):
            found = np.linalg.lstsq(rows[list(subset)].T, target, rcond=None)[0]
            if (found >= 0).all():
                residual = target - found @ rows[list(subset)]
                best = min(best, (residual @ residual, subset))
    return best


def greedy_read_aloud(target, rows, components):
    """One concept at a time; every one that is left is tried by every subset."""
    chosen, error = (), target @ target
    while len(chosen) < components:
        tried = []
        for place in set(range(len(rows))) - set(chosen):
            among = [*chosen, place]
            squared, support = smallest_residual(target, rows[among])
            tried.append((squared, sorted(among[i] for i in support)))
        squared, support = min(tried, default=(error, ()))
        if squared > error - 1e-12 * (target @ target):
            break
        chosen, error = tuple(support), squared
    return sorted(chosen), error


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 7), st.integers(1, 4))
def test_both_methods_are_those_of_the_definition(seed, concepts, units, components):
    rng = np.random.default_rng(seed)
    rows = basis_rows(rng.normal(size=(concepts, units)) + 0.4, False)
    target = 3e-9 * (rng.normal(size=units) + 0.4)  # as small as gradients may be
    squared = target @ target
    places, error = greedy_read_aloud(target, rows, components)
    greedy = nonnegative_basis(target, rows, "greedy", components)
    assert_allclose(greedy.residual @ greedy.residual, error, atol=1e-9 * squared)
    if units >= concepts:  # else different concepts may do equally well
        assert greedy.places.tolist() == places
    every = nonnegative_basis(target, rows, "nnls", components)
    best = smallest_residual(target, rows)[0]
    assert_allclose(every.residual @ every.residual, best, atol=1e-9 * squared)
    for found in (greedy, every):
        assert (found.coefficients > 0).all()
        assert_allclose(found.coefficients @ rows[found.places] + found.residual, target)
        assert_allclose(rows[found.places] @ found.residual, 0, atol=1e-7 * np.sqrt(squared))
        assert_allclose(found.explained, 1 - found.residual @ found.residual / squared, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_a_planted_sum_of_concepts_is_found_and_an_added_stranger_is_the_residual(method):
    rng = np.random.default_rng(1)
    rows = basis_rows(rng.normal(size=(30, 80)), False)
    stranger = rng.normal(size=80)
    stranger -= np.linalg.pinv(rows) @ (rows @ stranger)  # at right angles to all concepts
    truth = np.zeros(30)
    truth[[4, 11, 25]] = 2.0, 0.7, 1.3
    found = nonnegative_basis(truth @ rows + stranger, rows, method, 7)
    assert found.places.tolist() == [4, 11, 25]
    assert_allclose(found.coefficients, truth[found.places])
    assert_allclose(found.residual, stranger, atol=1e-9)


def test_a_concept_that_others_replace_leaves():
    rows = basis_rows(np.array([[1.0, 1, 0.1], [1, 0, 0], [0, 1, 0]]), False)
    target = np.array([1.0, 1, -0.02])
    assert nonnegative_basis(target, rows, "greedy", 1).places.tolist() == [0]
    assert nonnegative_basis(target, rows, "greedy", 3).places.tolist() == [1, 2]


@pytest.mark.parametrize("method", METHODS)
def test_a_vector_that_all_concepts_speak_against_is_all_residual(method):
    rows = basis_rows(np.abs(np.random.default_rng(2).normal(size=(5, 9))), False)
    found = nonnegative_basis(-rows.sum(axis=0), rows, method, 7)
    assert len(found.places) == 0
    assert_allclose(found.explained, 0, atol=1e-12)
    assert_allclose(found.residual, -rows.sum(axis=0))
    nothing = nonnegative_basis(np.zeros(9), rows, method, 7)
    assert len(nothing.places) == 0
    assert np.isnan(nothing.explained)


def test_of_two_equal_concepts_greedy_takes_the_first_alone():
    row = np.random.default_rng(3).normal(size=12)
    rows = basis_rows(np.stack([row, 3 * row, np.eye(12)[0]]), False)
    assert nonnegative_basis(row, rows, "greedy", 3).places.tolist() == [0]


def test_more_components_leave_less_and_all_of_them_no_more_than_nnls():
    rng = np.random.default_rng(4)
    rows, target = basis_rows(rng.normal(size=(12, 10)), False), rng.normal(size=10)
    explained = [nonnegative_basis(target, rows, "greedy", f).explained for f in range(1, 11)]
    assert (np.diff(explained) >= 0).all()
    assert explained[1] > explained[0]
    assert explained[-1] <= nonnegative_basis(target, rows, "nnls", 1).explained + 1e-12


def test_centred_vectors_are_blind_to_what_all_units_share():
    rng = np.random.default_rng(5)
    weights = rng.normal(size=(4, 7))
    weights[3] = 0.3  # the same for all units
    shifted = weights + np.arange(4)[:, None]
    assert_allclose(basis_rows(shifted, True), basis_rows(weights, True), atol=1e-12)
    assert_allclose(basis_rows(weights, True).sum(axis=1), 0, atol=1e-12)
    assert_allclose(np.linalg.norm(basis_rows(weights, True)[:3], axis=1), 1)
    assert not basis_rows(weights, True)[3].any()
    away = np.abs(basis_rows(shifted, False) - basis_rows(weights, False))[:3]
    assert away.max() > 0.1


def test_candidates_are_the_usable_ones_by_name_with_their_notes():
    weights = np.random.default_rng(6).normal(size=(5, 96))
    weights[1], weights[2, 0] = 0, np.inf
    vectors = embedded(weights, ["tree", "sky", "sea", "dog", "ant"])
    found = candidates(scenenet(), vectors, None, "greedy", 7, False)
    assert found.table["concept"].tolist() == ["ant", "dog", "tree"]
    assert found.table["note"].tolist() == ["", "", ""]
    assert_allclose(found.rows[2], weights[0] / np.linalg.norm(weights[0]))
    concepts = vectors.concepts.assign(note=["at chance", None, "", np.nan, "few"])
    noted = ConceptVectors(vectors.weights, vectors.bias, concepts, "cav", vectors.space)
    found = candidates(scenenet(), noted, None, "greedy", 7, False)
    assert found.table["note"].tolist() == ["few", "", "at chance"]
    cavs = Cavs(noted, bundle=None, groups=(), form="pooled")
    again = candidates(scenenet(), cavs, "features.17", "greedy", 7, False)
    pd.testing.assert_frame_equal(again.table, found.table)


ONES = np.ones((2, 96))


@pytest.mark.parametrize(
    ("vectors", "options", "error", "message"),
    [
        (ONES, {"method": "lasso"}, InputError, "method is one of greedy, nnls; got 'lasso'"),
        (ONES, {"components": 0}, InputError, "components is a whole number of at least 1; got 0"),
        (ONES, {"components": 2.5}, InputError, "components is a whole number of at least 1"),
        (ONES, {"layer": "features.8"}, SpaceError, "belong to layer features.17, not to feat"),
        (ONES, {"centred": True}, InputError, "none of the 2 concepts .* the same for all units"),
        (0 * ONES, {}, InputError, r"none of the 2 concepts has a vector \(all zero or not fin"),
        (np.ones((2, 95)), {}, SpaceError, "have 95 units, and layer features.17 .* has 96"),
        ({"weights": "0" * 64}, {}, SpaceError, "belong to scenenet .00000000., not to the model"),
        ({"inputs": "flattened"}, {}, InputError, "flattened maps weigh each position by itself"),
        ({"layer": "features.99"}, {}, InputError, "no layer 'features.99'; nearest: feat"),
    ],
)
def test_bad_input_is_one_clear_sentence(vectors, options, error, message):
    given = embedded(ONES, other=vectors) if isinstance(vectors, dict) else embedded(vectors)
    options = {"layer": None, "method": "greedy", "components": 7, "centred": False} | options
    with pytest.raises(error, match=message):
        candidates(scenenet(), given, **options)


def test_least_squares_that_go_in_circles_say_so(monkeypatch):
    def never(*_, **__):
        raise RuntimeError("Maximum number of iterations reached.")

    monkeypatch.setattr("scipy.optimize.nnls", never)
    with pytest.raises(InputError, match="over 3 concepts did not come to an end; take fewer"):
        nonnegative_basis(np.ones(3), np.eye(3), "nnls", 7)
