import numpy as np
import pytest
from PIL import Image

from conceptlab.views.pictures.overlay import EDGE, GAP, LINE, mosaic, overlay, stack, strip


def square(side=8, low=2, high=6):
    mask = np.zeros((side, side), dtype=bool)
    mask[low:high, low:high] = True
    return mask


def test_border_of_the_mask_is_drawn_and_its_inside_kept():
    picture = Image.new("RGB", (8, 8), (200, 100, 60))
    pixels = np.asarray(overlay(picture, square()))
    border = square() & ~square(8, 3, 5)
    assert (pixels[border] == EDGE).all()
    assert (pixels[square(8, 3, 5)] == (200, 100, 60)).all()
    assert (pixels[~square()].max(axis=1) < 150).all()


def test_a_mask_that_meets_the_edge_of_the_picture_has_its_border_there():
    pixels = np.asarray(overlay(Image.new("RGB", (5, 5)), np.ones((5, 5), dtype=bool)))
    border = np.ones((5, 5), dtype=bool)
    border[1:-1, 1:-1] = False
    assert (pixels[border] == EDGE).all()
    assert (pixels[~border] == 0).all()


def test_an_empty_mask_darkens_everything_and_leaves_the_picture_and_mask_alone():
    picture, mask = Image.new("L", (4, 4), 200), np.zeros((4, 4), dtype=bool)
    pixels = np.asarray(overlay(picture, mask))
    assert pixels.shape == (4, 4, 3)
    assert (pixels < 200).all()
    assert not mask.any()
    assert picture.getpixel((0, 0)) == 200


def test_a_mask_of_another_size_is_refused():
    with pytest.raises(ValueError, match="does not fit"):
        overlay(Image.new("RGB", (4, 4)), np.zeros((4, 5), dtype=bool))


def test_strips_and_stacks_hold_every_picture():
    red, blue = Image.new("RGB", (10, 6), "red"), Image.new("RGB", (4, 8), "blue")
    row = strip([red, blue], ["a caption far too long for ten pixels", ""])
    assert row.size == (10 + GAP + 4, 8 + LINE)
    assert row.getpixel((0, 0)) == (255, 0, 0)
    assert row.getpixel((10 + GAP, 7)) == (0, 0, 255)
    column = stack([red, blue])
    assert column.size == (10, 6 + GAP + 8)
    assert column.getpixel((0, 6 + GAP)) == (0, 0, 255)


@pytest.mark.parametrize(("count", "captions"), [(0, []), (2, ["one"])])
def test_captions_and_pictures_must_match(count, captions):
    with pytest.raises(ValueError, match="do not fit"):
        strip([Image.new("RGB", (2, 2))] * count, captions)


def test_a_mosaic_brings_pictures_to_one_size_in_rows():
    pictures = [Image.new("RGB", (5 * n, 9), (50 * n, 0, 0)) for n in range(1, 4)]
    found = mosaic(pictures, ["a", "b", "c"], side=10, columns=2)
    assert found.size == (10 + GAP + 10, 2 * (10 + LINE) + GAP)
    assert [found.getpixel(at)[0] for at in ((5, 5), (15 + GAP, 5), (5, 15 + LINE + GAP))] == [
        50, 100, 150,
    ]  # fmt: skip
