"""Geometry: labels by nearest neighbour from where the picture comes from."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import functional

from conceptlab.errors import InputError
from conceptlab.numerics.geometry import Geometry

sides = st.integers(1, 90)


@given(
    width=sides,
    height=sides,
    size=st.integers(1, 40),
    more=st.integers(0, 9),
    fit=st.sampled_from(["whole", "crop"]),
)
def test_labels_at_input_size_come_from_where_the_input_comes_from(width, height, size, more, fit):
    geometry = Geometry(size, fit, size + more if fit == "crop" else None)
    index = np.arange(width * height, dtype=np.int32).reshape(height, width)
    # nearest in PIL: the source of each pixel of the resized picture, then the same crop
    full = (size, size)
    if fit == "crop":
        full = functional.resize(Image.new("L", (width, height)), [size + more]).size
    nearest = Image.fromarray(index).resize(full, Image.Resampling.NEAREST)
    middles = [middle(height, full[1])[:, None] + np.zeros(full[0])]
    middles.append(np.zeros((full[1], 1)) + middle(width, full[0]))
    if fit == "crop":
        nearest = functional.center_crop(nearest, [size, size])
        middles = [functional.center_crop(Image.fromarray(m), [size, size]) for m in middles]
    rows, columns = geometry.label_rows_cols(height, width, (size, size))
    mine = index[rows][:, columns]
    # where a middle falls on the border of two pixels, both are nearest; PIL takes either
    tie_row, tie_column = (np.asarray(m) > 0 for m in middles)
    assert (np.abs(mine // width - np.asarray(nearest) // width) <= tie_row).all()
    assert (np.abs(mine % width - np.asarray(nearest) % width) <= tie_column).all()


def middle(n_in, n_out):
    """1 where the middle of an output pixel is a border between input pixels, else 0."""
    return ((2 * np.arange(n_out) + 1) * n_in % (2 * n_out) == 0).astype(np.float32)


@given(n_in=st.integers(1, 3000), n_out=st.integers(1, 3000))
def test_nearest_is_the_pixel_that_holds_the_middle(n_in, n_out):
    rows, _ = Geometry(n_out).label_rows_cols(n_in, 1, (n_out, 1))
    for i in (0, n_out // 3, n_out // 2, n_out - 1):
        place = Fraction(2 * i + 1, 2) * n_in / n_out
        assert rows[i] <= place < rows[i] + 1


@given(n=st.integers(1, 60), size=st.integers(1, 60), label=st.integers(1, 60))
def test_label_indices_ascend_and_lie_inside(n, size, label):
    rows, columns = Geometry(size).label_rows_cols(n, 2 * n, (label, label + 1))
    assert rows.shape == (label,)
    assert columns.shape == (label + 1,)
    assert (np.diff(rows) >= 0).all()
    assert rows.min() >= 0
    assert rows.max() < n
    assert columns.max() < 2 * n


@pytest.mark.parametrize("fit", ["whole", "crop"])
@given(
    height=st.integers(20, 300), width=st.integers(20, 300), size=st.integers(8, 64),
    label=st.integers(1, 96), more=st.integers(0, 20),
)  # fmt: skip
def test_labels_come_from_the_centres_of_their_cells(fit, height, width, size, label, more):
    """Sampled once: at (i + 1/2) / label of the part that the network sees, in exact fractions."""
    geometry = Geometry(size, fit, size + more if fit == "crop" else None)
    found = geometry.label_rows_cols(height, width, (label, label))
    for own, n_in, (first, last) in zip(
        found, (height, width), _seen_exactly(geometry, height, width), strict=True
    ):
        places = [first + Fraction(2 * i + 1, 2 * label) * (last - first) for i in range(label)]
        assert own.tolist() == [int(place * n_in) for place in places]


def _seen_exactly(geometry, height, width):
    full = geometry.resized(width, height)[::-1]
    corner = geometry.corner(*full)
    ends = zip(corner, full, strict=True)
    return [(Fraction(first, side), Fraction(first + geometry.size, side)) for first, side in ends]


@pytest.mark.parametrize("size", [224, 227, 299])
def test_labels_are_not_half_a_pixel_off(size):
    """A map of its own coordinates, sampled, is the map of the cells' centres on average."""
    rows, _ = Geometry(size).label_rows_cols(360, 480, (size // 2, size // 2))
    centres = (np.arange(size // 2) + 0.5) * 360 / (size // 2)
    assert abs((rows + 0.5 - centres).mean()) < 0.05  # 0.79 at 224 when it was sampled twice


def test_by_hand():
    # 4 columns to an input of 8, then to 2 label pixels: the middles of the halves
    rows, columns = Geometry(8).label_rows_cols(2, 4, (2, 2))
    assert rows.tolist() == [0, 1]
    assert columns.tolist() == [1, 3]
    assert Geometry(4).label_rows_cols(4, 4, (4, 4))[0].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("bad", [(8, "fill"), (0,), (8, "crop", 7)])
def test_bad_settings_are_refused(bad):
    with pytest.raises(InputError):
        Geometry(*bad)


def test_spec_holds_everything():
    assert Geometry(8, "crop", 9).spec() == {"size": 8, "fit": "crop", "resize": 9}


def test_the_part_that_is_seen():
    assert Geometry(8).seen(30, 90) == ((0, 1), (0, 1))
    # 90 x 30 becomes 24 x 8: the crop begins at column 8 of 24
    assert Geometry(8, "crop").seen(30, 90) == ((0, 1), (8 / 24, 16 / 24))
    assert Geometry(8, "crop", 16).seen(50, 50) == ((0.25, 0.75), (0.25, 0.75))


@given(width=sides, height=sides, size=st.integers(1, 40), more=st.integers(0, 9))
def test_pixels_seen_are_those_that_the_crop_reaches_into(width, height, size, more):
    geometry = Geometry(size, "crop", size + more)
    parts, shares = geometry.pixels_seen(height, width), geometry.seen(height, width)
    sampled = geometry.label_rows_cols(height, width, (60, 60))
    for part, (low, high), pixels, own in zip(parts, shares, (height, width), sampled, strict=True):
        assert 0 <= part.start <= own.min()
        assert own.max() < part.stop <= pixels
        assert part.start - 1e-9 <= low * pixels < part.start + 1 + 1e-9
        assert part.stop - 1 - 1e-9 < high * pixels <= part.stop + 1e-9
    assert Geometry(size).pixels_seen(height, width) == (slice(0, height), slice(0, width))
