"""Covered pictures: a literal replica, what is far away, and the model given back."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from conceptlab.errors import LayerError
from conceptlab.passes.occlusion import occluded
from tests.models.nets import Small, probed, state

PLACES = np.array([[1, 1], [6, 2], [4, 7]])


@pytest.fixture
def model():
    return probed(Small())


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)


def boxes(side=2):
    """An empty one, and squares everywhere."""
    corners = np.array(list(np.ndindex(8 - side + 1, 8 - side + 1)))
    return np.concatenate([np.zeros((1, 4), int), np.hstack([corners, corners + side])])


@pytest.mark.parametrize("batch_size", [1, 7, 100])
def test_outputs_are_those_of_pictures_covered_one_by_one(model, pixels, batch_size):
    before = state(model.module)
    found = np.concatenate(
        list(occluded(model, "second", pixels, boxes(), PLACES, batch_size=batch_size))
    )
    assert state(model.module) == before
    assert found.shape == (50, 3, 5)
    for box, got in zip(boxes(), found, strict=True):
        batch = model.normalise(torch.from_numpy(pixels[None])).clone()
        top, left, bottom, right = box
        batch[:, :, top:bottom, left:right] = 0
        with torch.no_grad():
            grid = model.module.second(torch.relu(model.module.first(batch)))[0].numpy()
        assert_allclose(got, grid[:, PLACES[:, 0], PLACES[:, 1]].T, atol=1e-5)


def test_only_what_a_position_sees_changes_it(model, pixels):
    """Two layers of 3 x 3: five pixels."""
    found = np.concatenate(list(occluded(model, "second", pixels, boxes(), PLACES)))
    changed = np.abs(found - found[0]).max(axis=2) > 1e-6
    first, last = boxes()[:, None, :2], boxes()[:, None, 2:]
    sees = ((first <= PLACES + 2) & (last > PLACES - 2)).all(axis=2)
    sees[0] = False
    assert_array_equal(changed, sees)


def test_the_cover_is_the_colour_of_the_mean(model):
    grey = np.full((8, 8, 3), 128, dtype=np.uint8)  # a level of 255 beside the mean of 0.5
    found = np.concatenate(list(occluded(model, "first", grey, boxes(4), PLACES)))
    assert np.abs(found - found[0]).max() < 0.02


def test_an_unknown_layer_is_refused(model, pixels):
    with pytest.raises(LayerError, match="no layer 'third'"):
        list(occluded(model, "third", pixels, boxes(), PLACES))
