"""Motions: a literal resampling, exact shifts, reflected borders, and each image its own."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.ndimage import map_coordinates

from conceptlab.synthesis.settings import Synthesis
from conceptlab.synthesis.transform import motions, moved

SIZE = 12


def generators(count=3):
    return np.random.default_rng(0).spawn(count)


def picture(count=3):
    return torch.rand(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "settings",
    [Synthesis(steps=4, jitter=3 / SIZE), Synthesis(steps=4, jitter=0, scale=0.3, rotate=40)],
)
def test_moving_is_bilinear_resampling_with_reflection(settings):
    found = motions(generators(), settings, SIZE)
    assert found.shape == (4, 3, 2, 3)
    y, x = (np.mgrid[:SIZE, :SIZE] + 0.5) * 2 / SIZE - 1
    for motion in found:
        made = moved(picture(), torch.from_numpy(motion)).numpy()
        for n, m in enumerate(motion.astype(float)):
            sx, sy = (row[0] * x + row[1] * y + row[2] for row in m)
            places = [(s + 1) * SIZE / 2 - 0.5 for s in (sy, sx)]
            for plane in range(3):
                wanted = map_coordinates(picture()[n, plane].numpy(), places, order=1,
                                         mode="reflect")  # fmt: skip
                assert_allclose(made[n, plane], wanted, atol=1e-5)


def test_motions_are_shift_turn_and_scale_within_their_bounds():
    settings = Synthesis(steps=200, jitter=3 / SIZE, scale=0.2, rotate=10)
    found = motions(generators(), settings, SIZE).astype(float)
    zoom = np.sqrt(np.linalg.det(found[..., :2]))
    angle = np.degrees(np.arctan2(found[..., 1, 0], found[..., 0, 0]))
    shift = found[..., 2] * SIZE / 2
    assert 1 / 1.2 - 1e-6 <= zoom.min() < 0.85
    assert 1.18 < zoom.max() <= 1.2 + 1e-6
    late = found[175:]
    assert np.abs(np.degrees(np.arctan2(late[..., 1, 0], late[..., 0, 0]))).max() < 5.1
    assert_allclose(found[-1], [[[1, 0, 0], [0, 1, 0]]] * 3, atol=0.01)  # at rest
    assert -10 <= angle.min() < -9
    assert 9 < angle.max() <= 10
    assert set(np.unique(shift.round(4))) == set(range(-3, 4))
    assert_allclose(found[..., 0, 1], -found[..., 1, 0])


def test_jitter_alone_moves_pixels_and_changes_none():
    settings = Synthesis(steps=8, jitter=3 / SIZE, scale=0, rotate=0)
    for motion in motions(generators(), settings, SIZE):
        made = moved(picture(), torch.from_numpy(motion))
        for n in range(3):
            right, down = (motion[n, :, 2] * SIZE / 2).round().astype(int)
            padded = np.pad(picture()[n].numpy(), ((0, 0), (3, 3), (3, 3)), mode="symmetric")
            wanted = padded[:, 3 + down : 3 + down + SIZE, 3 + right : 3 + right + SIZE]
            assert_allclose(made[n], wanted, atol=1e-5)


def test_there_are_no_dark_borders():
    settings = Synthesis(steps=8, jitter=4 / SIZE, scale=0.5, rotate=45)
    for motion in motions(generators(), settings, SIZE):
        assert moved(torch.ones(3, 3, SIZE, SIZE), torch.from_numpy(motion)).min() > 0.999


def test_motions_are_each_images_own():
    settings = Synthesis(steps=5)
    several = motions(generators(), settings, SIZE)
    assert np.array_equal(several[:, :1], motions(generators(1), settings, SIZE))
    assert not np.array_equal(several[:, 0], several[:, 1])
    assert motions(generators(), Synthesis(jitter=0, scale=0, rotate=0), SIZE) is None
