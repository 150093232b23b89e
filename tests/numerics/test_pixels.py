"""Pictures of every mode read as what they show, the same from a file and as an object."""

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from conceptlab.errors import InputError
from conceptlab.numerics.pixels import displayed_size, in_colours, upright

RNG = np.random.default_rng(0)
LEVELS = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)
GREY = LEVELS[..., 0]


def colours(image, channels=3):
    return np.asarray(in_colours(image, channels))


@pytest.mark.parametrize("kind", ["<u2", ">u2"])
def test_16_bits_read_as_their_upper_8(kind):
    wide = (GREY.astype(np.uint16) * 256 + RNG.integers(0, 256, GREY.shape)).astype(kind)
    assert np.array_equal(colours(Image.fromarray(wide)), np.repeat(GREY[..., None], 3, axis=2))


@pytest.mark.parametrize("ending", ["png", "tiff", "pgm"])
def test_16_bits_from_a_file_are_those_of_an_object(ending):
    picture = Image.fromarray(GREY.astype(np.uint16) * 257)
    file = io.BytesIO()
    picture.save(file, {"pgm": "PPM"}.get(ending, ending))
    assert np.array_equal(colours(Image.open(file)), colours(picture))
    assert np.array_equal(colours(picture)[..., 1], GREY)


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_numbers_that_do_not_say_which_is_white_are_refused(dtype):
    with pytest.raises(InputError, match="does not say which of them is white"):
        in_colours(Image.fromarray(GREY.astype(dtype)))


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "YCbCr", "HSV"])
def test_modes_that_pillow_converts(mode):
    picture = Image.fromarray(LEVELS).convert(mode)
    assert np.array_equal(colours(picture), picture.convert("RGB"))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "La", "RGBa"])
def test_transparency_is_left_out_and_not_painted_over(mode):
    alpha = np.full((*GREY.shape, 1), 255, np.uint8)
    alpha[:3] = 128
    picture = Image.fromarray(np.concatenate([LEVELS, alpha], axis=2))
    grey = picture.convert("LA")
    expected = colours(grey.convert("RGB") if mode[0] in "L" else picture.convert("RGB"))
    if mode == "PA":
        opaque = Image.fromarray(LEVELS).quantize(8)
        expected, given = np.asarray(opaque.convert("RGB")), opaque.convert("PA")
    else:
        given = grey.convert(mode) if mode[0] == "L" else picture.convert(mode)
    apart = np.abs(colours(given).astype(int) - expected)
    assert apart.max() <= (1 if mode[-1] == "a" else 0)  # multiplied by alpha, and back
    if mode != "PA":
        assert np.array_equal(colours(given, 4)[..., 3], alpha[..., 0])


def test_a_transparent_palette_keeps_its_colours(tmp_path):
    picture = Image.fromarray(LEVELS).quantize(8)
    picture.save(tmp_path / "a.png", transparency=2)
    read = Image.open(tmp_path / "a.png")
    assert np.array_equal(colours(read), picture.convert("RGB"))
    clear = np.asarray(picture) == 2
    assert np.array_equal(colours(read, 4)[..., 3] == 0, clear)


def test_lab_of_a_known_colour():
    # sRGB (255, 0, 0) is L*a*b* (54.29, 80.80, 69.89) under D50 (Lindbloom); a and b from -128 on
    red = Image.merge("LAB", [Image.new("L", (2, 2), v) for v in (138, 81 + 128, 70 + 128)])
    assert np.abs(colours(red).astype(int) - [255, 0, 0]).max() <= 6


@pytest.mark.parametrize("lies", range(1, 9))
@pytest.mark.parametrize("ending", ["png", "jpeg", "tiff", "webp"])
def test_a_picture_is_read_as_it_is_displayed(lies, ending):
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = lies
    Image.fromarray(LEVELS).save(file, ending, exif=exif)
    stored = Image.open(io.BytesIO(file.getvalue()))
    assert displayed_size(Image.open(file)) == ((6, 9) if lies >= 5 else (9, 6))
    expected = np.asarray(ImageOps.exif_transpose(stored).convert("RGB"))
    found = in_colours(Image.open(file))
    assert np.array_equal(found, expected)
    assert np.array_equal(colours(found), expected)  # not turned twice


def test_orientations_by_hand():
    # orientation 6: the right of what is shown is the top of what is stored (CIPA DC-008)
    stored = np.array([[1, 2, 3], [4, 5, 6]], np.uint8)
    shown = {
        1: [[1, 2, 3], [4, 5, 6]], 2: [[3, 2, 1], [6, 5, 4]], 3: [[6, 5, 4], [3, 2, 1]],
        4: [[4, 5, 6], [1, 2, 3]], 5: [[1, 4], [2, 5], [3, 6]], 6: [[4, 1], [5, 2], [6, 3]],
        7: [[6, 3], [5, 2], [4, 1]], 8: [[3, 6], [2, 5], [1, 4]],
    }  # fmt: skip
    for lies, expected in shown.items():
        assert np.asarray(upright(Image.fromarray(stored), lies)).tolist() == expected


@pytest.mark.parametrize("exif", [b"", b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"x" * 40])
def test_damaged_metadata_says_nothing(exif):
    picture = Image.fromarray(LEVELS)
    picture.info["exif"] = exif
    assert np.array_equal(colours(picture), LEVELS)


def test_one_channel_is_the_luminance_and_four_are_with_alpha():
    from torchvision.transforms import functional

    picture = Image.fromarray(LEVELS)
    assert np.array_equal(colours(picture, 1), functional.to_grayscale(picture))
    assert (colours(picture, 4)[..., 3] == 255).all()
    with pytest.raises(InputError, match="1, 3 or 4 channels"):
        in_colours(picture, 2)


def test_an_object_whose_file_breaks_off():
    file = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (60, 60, 3), dtype=np.uint8)).save(file, "PNG")
    with pytest.raises(InputError, match="cannot be decoded"):
        in_colours(Image.open(io.BytesIO(file.getvalue()[:4000])))


@pytest.mark.parametrize("given", ["a/picture.png", None, GREY], ids=["path", "none", "array"])
def test_what_is_no_picture(given):
    with pytest.raises(InputError, match=r"a picture is a PIL image.*got"):
        in_colours(given)
