"""Likeness of Gram matrices: a literal loop, and its bounds."""

import numpy as np
import torch
from numpy.testing import assert_allclose

from conceptlab.synthesis.diversity import diversity_cost, likeness

OUTPUTS = np.random.default_rng(0).normal(size=(4, 3, 5, 2))


def literal(outputs):
    grams = []
    for one in outputs:
        gram = np.array([[(one[a] * one[b]).sum() for a in range(3)] for b in range(3)])
        grams.append(gram / np.sqrt((gram**2).sum()))
    return np.array([np.mean([(g * h).sum() for h in grams if h is not g]) for g in grams])


def test_likeness_is_the_mean_cosine_with_the_others():
    assert_allclose(likeness(torch.tensor(OUTPUTS)), literal(OUTPUTS))


def test_equal_images_are_alike_and_disjoint_ones_are_not():
    same = torch.tensor(np.stack([OUTPUTS[0]] * 3))
    assert_allclose(likeness(same), 1.0)
    apart = torch.zeros(2, 2, 1, 1)
    apart[0, 0], apart[1, 1] = 1, 1
    assert_allclose(likeness(apart), 0.0)


def test_the_cost_is_a_share_of_the_value_and_of_groups_alone():
    values = torch.tensor([2.0, -3.0, 5.0, 7.0], dtype=torch.float64)
    found = diversity_cost(values, {"a": torch.tensor(OUTPUTS)}, [("a", [0, 3])], 0.5)
    own = literal(OUTPUTS[[0, 3]])
    assert_allclose(found, 0.5 * (2 * own[0] + 7 * own[1]))
