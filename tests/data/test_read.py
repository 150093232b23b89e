"""Files of pictures and label maps: every kind that is read, and hostile ones."""

import os
import struct
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from conceptlab.data import load_data
from conceptlab.data.read import (
    displayed,
    picture_bytes,
    read_image,
    read_index_map,
    read_number_map,
)
from conceptlab.errors import DataError

RNG = np.random.default_rng(1)


def grey_png(path, values, bits, palette=False, interlaced=False):
    """A PNG of 1 to 16 bits written by hand (W3C PNG specification), values as they are."""

    def chunk(kind, data):
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    def packed(rows):
        found = b""
        for row in rows:
            text = "".join(f"{v:0{bits}b}" for v in row)
            text += "0" * (-len(text) % 8)
            found += b"\0" + int(text, 2).to_bytes(len(text) // 8, "big")
        return found

    height, width = values.shape
    parts = [values]
    if interlaced:  # Adam7
        starts = ((0, 0), (0, 4), (4, 0), (0, 2), (2, 0), (0, 1), (1, 0))
        steps = ((8, 8), (8, 8), (8, 4), (4, 4), (4, 2), (2, 2), (2, 1))
        parts = [values[a::c, b::d] for (a, b), (c, d) in zip(starts, steps, strict=True)]
    head = struct.pack(">IIBBBBB", width, height, bits, 3 if palette else 0, 0, 0, interlaced)
    body = chunk(b"IHDR", head)
    if palette:
        body += chunk(b"PLTE", bytes(range(3 * (1 << bits))) if bits < 8 else bytes(768))
        body += chunk(b"tRNS", b"\0")
    pixels = b"".join(packed(part) for part in parts if part.size)
    body += chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("palette", [False, True])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_label_values_are_those_that_the_file_stores(tmp_path, bits, palette, interlaced):
    palette &= bits < 16  # which have at most 256 colours
    values = RNG.integers(0, 1 << bits, (11, 13))
    values[0, 0] = (1 << bits) - 1
    grey_png(tmp_path / "a.png", values, bits, palette, interlaced)
    assert np.array_equal(read_index_map(tmp_path / "a.png"), values)


def test_a_label_map_of_two_bits_in_a_data_set(tree):
    values = np.array([[0, 0, 1, 1, 2, 2]] * 4)
    grey_png(tree / "labels/train/p0.png", values, 2)
    assert np.array_equal(load_data(f"folder:{tree}").labels(0).planes[0], values)


def test_a_label_map_is_a_png(tmp_path):
    Image.new("L", (8, 6)).save(tmp_path / "a.png", "JPEG")
    for read in (read_index_map, read_number_map):
        with pytest.raises(DataError, match=r"no picture of a known format \(PNG\)"):
            read(tmp_path / "a.png")


@pytest.mark.parametrize("lies", [1, 3, 6, 8])
def test_a_picture_and_its_label_lie_alike(tree, lies):
    """A camera's JPEG and the label map of what it shows: halves of the same side."""
    shown = np.zeros((48, 32), np.uint8)
    shown[:, 20:] = 1
    turns = {1: 0, 3: 2, 6: 1, 8: 3}  # to the left, from what is shown to what is stored
    exif = Image.Exif()
    exif[0x0112] = lies
    stored = Image.fromarray(np.rot90(shown, turns[lies]) * 200)
    (tree / "images/train/p0.png").unlink()
    stored.save(tree / "images/train/p0.jpg", exif=exif, quality=95)
    Image.fromarray(shown).save(tree / "labels/train/p0.png")
    data = load_data(f"folder:{tree}")
    assert displayed(tree / "images/train/p0.jpg") == data.image(0).size == (32, 48)
    assert np.array_equal(np.asarray(data.image(0))[..., 0] > 100, data.labels(0).planes[0] == 1)


def test_a_turned_picture_has_another_fingerprint_than_its_bytes(tree):
    """Activations of before, when it was seen as it is stored, are not taken for its own."""
    file, exif = tree / "images/train/p0.jpg", Image.Exif()
    exif[0x0112] = 3
    for lies, ending in ((exif, b"upright"), (None, b"")):
        Image.new("RGB", (12, 8)).save(file, **({} if lies is None else {"exif": lies}))
        assert picture_bytes(file) == file.read_bytes() + ending


def test_transparency_goes_to_networks_that_ask_for_it(tree):
    pixels = RNG.integers(0, 256, (8, 12, 4), dtype=np.uint8)
    Image.fromarray(pixels).save(tree / "images/train/p0.png")
    data = load_data(f"folder:{tree}")
    assert data.image(0).mode == data.picture(1).mode == "RGB"
    assert np.array_equal(data.image(0), pixels[..., :3])
    assert np.array_equal(data.picture(0), pixels)


def test_only_the_formats_that_are_named_are_opened(tmp_path):
    """Pillow would run Ghostscript on the first of these."""
    (tmp_path / "a.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EOF\n")
    Image.new("RGB", (8, 8)).save(tmp_path / "b.png", "DDS")
    for name in ("a.png", "b.png"):
        with pytest.raises(DataError, match=r"no picture of a known format"):
            read_image(tmp_path / name)


@pytest.mark.parametrize("kind", ["png", "jpeg", "tiff", "gif", "bmp", "webp", "avif", "jpeg2000"])
def test_damaged_files_of_every_format(tmp_path, kind):
    file = tmp_path / "a.png"
    Image.fromarray(RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(file, kind)
    sound = np.frombuffer(file.read_bytes(), np.uint8)
    assert read_image(file).size == (30, 20)
    for _ in range(60):
        spoilt = sound.copy()
        spoilt[RNG.integers(0, len(spoilt), 3)] = RNG.integers(0, 256, 3)
        file.write_bytes(spoilt[: RNG.integers(1, len(spoilt) + 1)].tobytes())
        try:
            read_image(file)
            displayed(file)
        except DataError:  # anything else fails the test
            continue


@pytest.mark.skipif(sys.platform == "win32", reason="no such files there")
def test_what_is_no_file_is_not_waited_for(tree):
    for name, make in (
        ("p0", os.mkfifo), ("p1", lambda p: p.symlink_to("/dev/zero")),
        ("p2", lambda p: p.symlink_to(p.name)), ("p3", lambda p: p.mkdir()),
    ):  # fmt: skip
        for folder in ("images", "labels"):
            path = tree / folder / "train" / f"{name}.png"
            path.unlink()
            make(path)
    data = load_data(f"folder:{tree}")
    found = {p.file: p.message for p in data.validate() if p.severity == "error"}
    for name in ("p0", "p1", "p3"):
        assert found[f"images/train/{name}.png"] == "is no regular file"
    assert "Too many levels of symbolic links" in found["images/train/p2.png"]
    for name in ("classes.csv", "scenes.csv"):
        (tree / name).unlink(missing_ok=True)
        (tree / name).symlink_to("/dev/zero")
        if name == "classes.csv":
            with pytest.raises(DataError, match="is no regular file"):
                load_data(f"folder:{tree}")


def test_a_file_that_is_too_large_to_be_a_picture(tmp_path):
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(1 << 40)  # sparse
    with pytest.raises(DataError, match="files of at most 537 MB are read"):
        read_image(tmp_path / "a.png")


def test_names_that_are_no_utf_8(tree):
    bad = os.fsencode(tree / "images/train") + b"/caf\xe9.png"
    Image.new("RGB", (12, 8)).save(os.fsdecode(bad), "PNG")
    for spec in (f"folder:{tree}", f"pictures:{tree / 'images'}"):
        with pytest.raises(DataError, match=r"caf\\xe9\.png: the name is no UTF-8"):
            load_data(spec)


def test_numbers_of_thousands_of_digits(tree):
    (tree / "classes.csv").write_text(f"index,name,category\n{'9' * 5000},sky,object\n")
    with pytest.raises(DataError, match=r"\(5000 characters\) is no index in 0\.\.65535"):
        load_data(f"folder:{tree}")


@pytest.mark.parametrize("name", ["a\x00b.png", "a" * 5000 + ".png"])
def test_a_name_that_no_file_can_have_is_told(name, tmp_path):
    from conceptlab.data.fresh import state_of
    from conceptlab.data.read import require_file

    with pytest.raises(DataError, match="cannot read"):
        require_file(tmp_path / name)
    assert state_of([tmp_path / name]) is None
