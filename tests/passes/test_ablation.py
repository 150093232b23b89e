"""Edits of a grid, against loops over positions."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from conceptlab.passes.ablation import (
    pooled,
    project_out,
    scores_changed,
    scores_intact,
    set_to_mean,
    squared_displacement,
    squared_distance,
)
from conceptlab.passes.rest import rest_of
from tests.models.nets import Small, pictures, probed


@pytest.fixture
def drawn():
    rng = np.random.default_rng(0)
    grid = rng.normal(size=(3, 5, 2, 4))
    v, u = rng.normal(size=(2, 5))
    return grid, v / np.linalg.norm(v), u / np.linalg.norm(u), rng.normal(size=5)


def test_taking_out_is_a_loop_over_positions(drawn):
    grid, v, u, mean = drawn
    found = project_out(v, u, mean)(torch.tensor(grid)).numpy()
    for n, i, j in np.ndindex(3, 2, 4):
        h = grid[n, :, i, j]
        assert_allclose(found[n, :, i, j], h - ((h - mean) @ v) * u, atol=1e-12)
        assert np.linalg.norm(found[n, :, i, j] - h) == pytest.approx(abs((h - mean) @ v))


def test_a_projection_is_idempotent_and_another_direction_is_not(drawn):
    grid, v, u, mean = drawn
    project, shift = project_out(v, v, mean), project_out(v, u, mean)
    once = project(torch.tensor(grid))
    assert_allclose(project(once).numpy(), once.numpy(), atol=1e-12)
    assert_allclose(np.einsum("nkhw,k->nhw", once.numpy(), v), mean @ v, atol=1e-12)
    moved_once = shift(torch.tensor(grid))
    assert not np.allclose(shift(moved_once).numpy(), moved_once.numpy())


def test_levelled_units_are_at_their_mean_and_the_others_as_they_were(drawn):
    grid, _, _, mean = drawn
    found = set_to_mean(np.array([3, 0]), mean)(torch.tensor(grid)).numpy()
    assert (found[:, 3] == mean[3]).all()
    assert (found[:, 0] == mean[0]).all()
    assert_allclose(found[:, [1, 2, 4]], grid[:, [1, 2, 4]])
    one_hot = np.eye(5)[3]
    alone = set_to_mean(np.array([3]), mean)(torch.tensor(grid)).numpy()
    assert_allclose(project_out(one_hot, one_hot, mean)(torch.tensor(grid)).numpy(), alone)


def test_numbers_of_a_batch_are_those_of_its_grid(drawn):
    model, mean, edit = probed(Small()), np.arange(4.0), set_to_mean(np.array([1]), np.arange(4.0))
    with rest_of(model, "first") as rest:
        scores = scores_intact(rest, pictures())
        grid = model.module.first(pictures()).detach().double().numpy()
        assert_allclose(scores, model.module(pictures()).detach().numpy(), atol=1e-7)
        assert_allclose(pooled(rest), grid.mean(axis=(2, 3)), atol=1e-7)
        squares = ((grid - mean[:, None, None]) ** 2).sum(axis=1).mean(axis=(1, 2))
        assert_allclose(squared_distance(rest, mean), squares, rtol=1e-5)
        assert_allclose(
            squared_displacement(rest, edit), ((grid[:, 1] - 1) ** 2).mean(axis=(1, 2)), rtol=1e-5
        )
        grid[:, 1] = 1.0
        after = model.module.second(model.module.relu(torch.tensor(grid).float())).mean(dim=(2, 3))
        expected = model.module.head(after).detach().numpy()
        assert_allclose(scores_changed(rest, edit), expected, atol=1e-6)
