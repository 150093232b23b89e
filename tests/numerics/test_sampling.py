"""The adjoint of bilinear sampling: PyTorch's own gradient, and the definition of an adjoint."""

import numpy as np
import pytest
import torch
from torch.nn.functional import grid_sample

from conceptlab.numerics.sampling import give_back


def drawn(seed, size=(9, 7), side=6, spread=1.0):
    """Values, a grid, and pictures; places up to `spread`, where 1 is the border."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(3, side, side + 1, 3)).astype(np.float32)
    grid = rng.uniform(-spread, spread, (3, side, side + 1, 2)).astype(np.float32)
    return values, grid, rng.normal(size=(3, 3, *size)).astype(np.float32)


@pytest.mark.parametrize("spread", [0.9, 1.0, 1.4, 3.7])
def test_it_is_the_gradient_of_torch(spread):
    values, grid, pictures = drawn(0, spread=spread)
    leaf = torch.from_numpy(pictures).requires_grad_()
    taken = grid_sample(
        leaf, torch.from_numpy(grid), padding_mode="reflection", align_corners=False
    )
    taken.backward(torch.from_numpy(values).permute(0, 3, 1, 2))
    found = give_back(values, grid, pictures.shape[2:])
    np.testing.assert_allclose(found, leaf.grad.numpy(), atol=2e-5)


def test_it_is_an_adjoint():
    values, grid, pictures = drawn(1, spread=1.3)
    taken = grid_sample(
        torch.from_numpy(pictures).double(), torch.from_numpy(grid).double(),
        padding_mode="reflection", align_corners=False,
    )  # fmt: skip
    inner = (taken.permute(0, 2, 3, 1).numpy() * values).sum()
    assert (give_back(values, grid, pictures.shape[2:]) * pictures).sum() == pytest.approx(
        inner, rel=1e-4
    )


def test_places_of_pixels_give_back_to_these_pixels_alone():
    side = 5
    along = (2 * np.arange(side) + 1 - side) / side
    grid = np.stack(np.meshgrid(along, along), axis=2)[None].astype(np.float32)
    values = np.random.default_rng(2).normal(size=(1, side, side, 3)).astype(np.float32)
    found = give_back(values, grid, (side, side))
    np.testing.assert_allclose(found[0].transpose(1, 2, 0), values[0], atol=1e-6)
