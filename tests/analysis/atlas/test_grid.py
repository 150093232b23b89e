"""Cells of a plane: literal replicas of what they average, and bad input."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from conceptlab.activations.sample import Sample
from conceptlab.analysis.atlas import grid as module
from conceptlab.analysis.atlas.grid import (
    RIDGE,
    cell_means,
    cells_of,
    concept_scores,
    nearest_vectors,
    whitened,
)
from conceptlab.errors import InputError
from conceptlab.space import Space
from conceptlab.vectors import ConceptVectors

UNITS, COUNT = 6, 300
SPACE = Space("toy", "m" * 64, "layer", UNITS, "raw")


def drawn(seed=0, images=80):
    """Vectors, the images that they are of (several each), and points on the unit square."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(COUNT, UNITS)).astype(np.float32) ** 2
    values[3] = 0.0
    owners = np.sort(rng.integers(images, size=COUNT))
    names = np.array([f"train/{i:03}" for i in owners])
    points = rng.beta(2, 2, size=(COUNT, 2))
    points[0], points[1] = (1.0, 1.0), (0.0, 1.0)  # the far edge belongs to the last cell
    places = np.zeros((COUNT, 2), dtype=int)
    return Sample(values, owners, places, names, SPACE), points


def members(points, resolution, least):
    """Number of each cell to its vectors, one by one."""
    found = {}
    for i, (x, y) in enumerate(points):
        column = min(int(x * resolution), resolution - 1)
        row = min(int(y * resolution), resolution - 1)
        found.setdefault(row * resolution + column, []).append(i)
    return {k: v for k, v in sorted(found.items()) if len(v) >= least}


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 37)


@pytest.mark.parametrize(("resolution", "least"), [(1, 1), (4, 1), (6, 7)])
def test_cells_and_their_means_are_those_counted_one_by_one(resolution, least):
    sample, points = drawn()
    cells = cells_of(points, resolution, least)
    wanted = members(points, resolution, least)
    assert cells.numbers.tolist() == list(wanted)
    assert cells.counts.tolist() == [len(rows) for rows in wanted.values()]
    for place, rows in enumerate(wanted.values()):
        assert np.flatnonzero(cells.of == place).tolist() == rows
    other = cells_of(points, 3, 1)
    means, _ = cell_means(sample.values, [cells, other])
    literal = [sample.values[rows].astype(float).mean(axis=0) for rows in wanted.values()]
    assert_allclose(means, literal, rtol=1e-12)


def test_the_nearest_are_those_of_highest_cosine_one_of_each_image():
    sample, points = drawn(images=8)  # the cells have several vectors of an image
    cells = cells_of(points, 4, 3)
    (means,) = cell_means(sample.values, [cells])
    found = nearest_vectors(sample, cells, means, 6)
    assert found.shape == (len(means), 6)
    short = 0
    for mean, row, own in zip(means, found, members(points, 4, 3).values(), strict=True):
        cosine = {
            i: sample.values[i] @ mean / max(np.linalg.norm(sample.values[i]), 1e-30)
            / np.linalg.norm(mean) for i in own
        }  # fmt: skip
        best = {}
        for i in sorted(own, key=lambda i: -cosine[i]):
            best.setdefault(sample.images[i], i)
        wanted = sorted(best.values(), key=lambda i: -cosine[i])[:6]
        short += len(wanted) < 6
        assert row.tolist() == wanted + [-1] * (6 - len(wanted))
    assert short


def vectors_of(inputs="raw", seed=0, **changes):
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(5, UNITS))
    weights[4] = 0.0
    concepts = pd.DataFrame({"name": list("abcde"), "category": "object"})
    space = Space("toy", "m" * 64, "layer", UNITS, inputs)
    levels = np.full(UNITS, 0.7, dtype=np.float32) if inputs.startswith("binary") else None
    return ConceptVectors(weights, rng.normal(size=5), concepts, "segmentation", space, levels)


@pytest.mark.parametrize("inputs", ["raw", "binary@0.005"])
def test_scores_are_mean_logits_in_standard_deviations(inputs):
    sample, points = drawn()
    vectors = vectors_of(inputs)
    cells = cells_of(points, 4, 3)
    (found,) = concept_scores(sample, vectors, [cells])
    values = sample.values > 0.7 if inputs.startswith("binary") else sample.values
    logits = values.astype(float) @ vectors.weights.T + vectors.bias
    for row, own in zip(found, members(points, 4, 3).values(), strict=True):
        wanted = (logits[own].mean(axis=0) - logits.mean(axis=0)) / logits.std(axis=0).clip(1e-9)
        assert_allclose(row[:4], wanted[:4], rtol=1e-9)
    assert np.isnan(found[:, 4]).all()  # says the same of all
    whole = concept_scores(sample, vectors, [cells_of(points, 1, 1)])[0]
    assert_allclose(whole[0, :4], 0.0, atol=1e-12)  # one cell of all is the mean


def test_scores_are_right_far_from_zero():
    sample, points = drawn()
    far = replace(sample, values=np.round(sample.values * 64) / 64 + np.float32(2**16))
    near = replace(sample, values=np.round(sample.values * 64) / 64)
    cells = cells_of(points, 4, 3)
    (found,), (wanted,) = (concept_scores(s, vectors_of(), [cells]) for s in (far, near))
    assert_allclose(found[:, :4], wanted[:, :4], rtol=1e-7, atol=1e-9)


def test_whitening_is_the_inverse_of_the_second_moment():
    sample, points = drawn()
    means = cell_means(sample.values, [cells_of(points, 4, 3)])
    (found,) = whitened(means, sample.values)
    wide = sample.values.astype(float)
    moment = sum(np.outer(h, h) for h in wide) / COUNT
    moment += RIDGE * np.trace(moment) / UNITS * np.eye(UNITS)
    assert_allclose(found, means[0] @ np.linalg.inv(moment).T, rtol=1e-8)


def test_whitening_of_units_that_fire_alone_divides_by_their_power():
    rows = (np.eye(UNITS) * np.arange(1, UNITS + 1)).astype(np.float32)
    power = np.arange(1, UNITS + 1) ** 2 / UNITS
    (found,) = whitened([rows.astype(float)], rows)
    wanted = np.diag(np.arange(1, UNITS + 1) / (power + RIDGE * power.mean()))
    assert_allclose(found, wanted, atol=1e-12)
    dead = np.zeros((4, UNITS), dtype=np.float32)
    assert (whitened([dead.astype(float)], dead)[0] == 0).all()


def test_permuting_vectors_permutes_what_is_of_vectors_and_no_cell():
    sample, points = drawn()
    order = np.random.default_rng(1).permutation(COUNT)
    mixed = sample.take(order)
    one, other = cells_of(points, 5, 2), cells_of(points[order], 5, 2)
    assert_array_equal(one.of[order], other.of)
    (a,), (b,) = cell_means(sample.values, [one]), cell_means(mixed.values, [other])
    assert_allclose(a, b, rtol=1e-12)
    near, far = nearest_vectors(sample, one, a, 3), nearest_vectors(mixed, other, b, 3)
    assert_array_equal(near, np.where(far >= 0, order[far], -1))


def test_a_grid_without_a_full_cell_is_refused_in_a_sentence():
    points = np.array([[0.1, 0.1], [0.1, 0.2], [0.9, 0.9]])
    with pytest.raises(InputError, match=r"no cell of the 10 x 10 grid holds 3 vectors \(the full"):
        cells_of(points, 10, 3)
    assert len(cells_of(points, 1, 3).numbers) == 1
