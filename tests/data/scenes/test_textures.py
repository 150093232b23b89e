"""Textures: two colours, neither of them rare, and each pattern its own."""

import numpy as np
import pytest

from conceptlab.data.scenes.canvas import SIDE
from conceptlab.data.scenes.textures import TEXTURES


@pytest.mark.parametrize("name", TEXTURES)
@pytest.mark.parametrize("seed", range(4))
def test_both_colours_show(name, seed):
    pattern = TEXTURES[name](np.random.default_rng(seed))
    assert pattern.shape == (SIDE, SIDE)
    assert pattern.dtype == bool
    assert 0.1 < pattern.mean() < 0.75
    assert np.array_equal(pattern, TEXTURES[name](np.random.default_rng(seed)))


def test_chequers_turn_into_their_opposite():
    pattern = TEXTURES["chequered"](np.random.default_rng(1))
    period = int(np.flatnonzero(np.diff(pattern[0].astype(int)))[0]) + 1
    assert np.array_equal(pattern[:, period:], ~pattern[:, :-period])
    assert np.array_equal(pattern[period:], ~pattern[:-period])


def test_a_grid_is_lines_across_and_down():
    pattern = TEXTURES["gridded"](np.random.default_rng(1))
    across, down = pattern.all(axis=1), pattern.all(axis=0)
    assert np.array_equal(pattern, across[:, None] | down)
    assert 0 < across.mean() < 0.5


def test_zigzags_repeat_down():
    pattern = TEXTURES["zigzagged"](np.random.default_rng(2))
    periods = [p for p in range(8, 14) if np.array_equal(pattern[p:], pattern[:-p])]
    assert len(periods) == 1
    assert not np.array_equal(pattern[:, 1:], pattern[:, :-1])


def test_patterns_differ():
    patterns = [TEXTURES[name](np.random.default_rng(3)) for name in TEXTURES]
    for i, one in enumerate(patterns):
        for other in patterns[:i]:
            assert 0.15 < (one ^ other).mean() < 0.85
