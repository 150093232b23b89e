"""Regularisers: literal loops over pixels."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from conceptlab.synthesis.regularise import (
    alpha_norm,
    high_frequencies,
    l2,
    penalty,
    total_variation,
)
from conceptlab.synthesis.settings import Synthesis

PICTURES = np.random.default_rng(0).normal(size=(2, 3, 5, 6))


def tensor():
    return torch.tensor(PICTURES)


def loop(cost):
    """Sum of a cost over all pixels of each picture."""
    return [
        sum(cost(p[k], i, j) for k in range(3) for i in range(5) for j in range(6))
        for p in PICTURES
    ]


def test_norms():
    assert_allclose(l2(tensor()), loop(lambda p, i, j: p[i, j] ** 2))
    for alpha in (1.0, 6.0):
        assert_allclose(
            alpha_norm(tensor(), alpha), loop(lambda p, i, j, a=alpha: abs(p[i, j]) ** a)
        )


@pytest.mark.parametrize("beta", [1.0, 2.0, 3.0])
def test_total_variation(beta):
    def cost(p, i, j):
        if i + 1 == 5 or j + 1 == 6:
            return 0.0
        return ((p[i, j + 1] - p[i, j]) ** 2 + (p[i + 1, j] - p[i, j]) ** 2) ** (beta / 2)

    assert_allclose(total_variation(tensor(), beta), loop(cost), rtol=1e-6)
    flat = torch.ones(1, 3, 4, 4, requires_grad=True)
    total_variation(flat, beta).sum().backward()
    assert torch.isfinite(flat.grad).all()


def test_high_frequencies_cost_their_squared_frequency():
    y, x = np.mgrid[:16, :16]
    wave = np.cos(2 * np.pi * (3 * y + 4 * x) / 16)
    several = torch.tensor(np.stack([np.stack([w] * 3) for w in (wave, wave * 0 + 5)]))
    found = high_frequencies(several)
    assert_allclose(found, [3 * (wave**2).sum() * (3**2 + 4**2) / 16**2, 0], atol=1e-9)


def test_the_penalty_is_the_weighted_sum():
    settings = Synthesis(l2=0.5, alpha_norm=0.25, alpha=3.0, tv=2.0, beta=1.5, frequency=4.0)
    square = torch.tensor(PICTURES[..., :5])
    wanted = (
        0.5 * l2(square)
        + 0.25 * alpha_norm(square, 3.0)
        + 2.0 * total_variation(square, 1.5)
        + 4.0 * high_frequencies(square)
    )
    assert_allclose(penalty(square, settings), wanted)
    assert penalty(square, Synthesis()) is None
