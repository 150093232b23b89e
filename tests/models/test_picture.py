"""What a network sees of a picture is what torchvision's transforms make of it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import functional

from conceptlab.models.picture import network_view
from conceptlab.numerics.geometry import Geometry

sides = st.integers(1, 90)


def noise(width, height, seed=0):
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def apart(one, other):
    """The largest difference of two pictures, in levels of 255."""
    pair = (np.asarray(picture).astype(int) for picture in (one, other))
    return int(np.abs(np.subtract(*pair)).max())


@given(width=sides, height=sides, size=st.integers(1, 40))
def test_whole_equals_pillow_up_to_a_level(width, height, size):
    image = noise(width, height)
    expected = functional.resize(image, [size, size], antialias=True)
    found = network_view(image, Geometry(size))
    assert (found.shape, found.dtype) == ((size, size, 3), np.uint8)
    assert apart(found, expected) <= 1


@given(width=sides, height=sides, size=st.integers(1, 30), more=st.integers(0, 11))
def test_crop_equals_torchvisions_up_to_a_level(width, height, size, more):
    image = noise(width, height)
    resized = functional.resize(image, [size + more], antialias=True)
    expected = functional.center_crop(resized, [size, size])
    assert apart(network_view(image, Geometry(size, "crop", size + more)), expected) <= 1


def test_crop_without_resize_takes_the_size_for_the_shorter_side():
    image = noise(60, 40)
    without, with_it = Geometry(20, "crop"), Geometry(20, "crop", 20)
    assert np.array_equal(network_view(image, without), network_view(image, with_it))


@pytest.mark.parametrize("fit", ["whole", "crop"])
def test_a_picture_of_the_input_s_size_is_seen_as_it_is(fit):
    image = noise(24, 24)
    assert np.array_equal(network_view(image, Geometry(24, fit)), image)


def test_a_coloured_block_and_its_label_stay_together():
    image, label = np.zeros((60, 90, 3), np.uint8), np.zeros((30, 45), np.int64)
    image[20:50, 50:80], label[10:25, 25:40] = 255, 1
    for geometry in (Geometry(48), Geometry(48, "crop", 56)):
        seen = network_view(Image.fromarray(image), geometry)[..., 0] > 127
        rows, columns = geometry.label_rows_cols(30, 45, (48, 48))
        sampled = label[rows][:, columns] > 0
        overlap = (seen & sampled).sum() / (seen | sampled).sum()
        assert overlap > 0.9
