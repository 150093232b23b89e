"""Patches around a position of a layer's map."""

import numpy as np
import pytest
from PIL import Image

from conceptlab.activations.patches import patches
from tests.conftest import ToyData, catalogue_of


class Ramp(ToyData):
    """Pictures whose red is the row of each pixel, and whose green is its column."""

    def image(self, i):
        rows, columns = np.mgrid[:32, :32].astype(np.uint8)
        return Image.fromarray(np.stack([rows, columns, np.full_like(rows, i)], axis=2))


@pytest.fixture
def ramp(store_activations):
    data = Ramp(np.zeros((4, 1, 4, 4), dtype=int), ["train"] * 4, catalogue_of(("thing", "object")))
    return data, store_activations(np.zeros((4, 2, 4, 4)), data)


def test_a_patch_lies_around_the_centre_of_its_cell(ramp):
    data, acts = ramp
    (patch,) = patches(acts, data, np.array([3]), np.array([[1, 2]]), 6)
    # cells are 8 pixels wide, so the centre of row 1 and column 2 lies at (12, 20)
    assert patch.shape == (6, 6, 3)
    assert patch[0, 0].tolist() == [9, 17, 3]
    assert patch[-1, -1].tolist() == [14, 22, 3]


def test_patches_at_the_border_are_moved_inside(ramp):
    data, acts = ramp
    places = np.array([[0, 0], [3, 3], [0, 3]])
    found = patches(acts, data, np.array([0, 1, 2]), places, 16)
    assert [p[0, 0, :2].tolist() for p in found] == [[0, 0], [16, 16], [0, 16]]
    assert [int(p[0, 0, 2]) for p in found] == [0, 1, 2]
    assert all(p.shape == (16, 16, 3) for p in found)


def test_a_side_is_a_third_of_the_input_unless_given_and_never_beyond_it(ramp):
    data, acts = ramp
    at = np.array([0]), np.array([[2, 2]])
    assert patches(acts, data, *at)[0].shape == (11, 11, 3)
    assert patches(acts, data, *at, 1e6)[0].shape == (32, 32, 3)
    assert patches(acts, data, *at, 0.2)[0].shape == (1, 1, 3)
    assert patches(acts, data, np.empty(0, np.int64), np.empty((0, 2), np.int64)) == []
