"""Exemplars as pictures: what is where, and that masks, captions and fields are drawn."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from conceptlab.analysis.units.exemplars import exemplars
from conceptlab.analysis.units.receptive_field import Fields
from conceptlab.errors import InputError
from conceptlab.views.pictures.overlay import GAP, LINE, overlay
from conceptlab.views.plots.exemplars import (
    draw_exemplars,
    exemplar_pictures,
    plot_exemplars,
    plot_field,
)


@pytest.fixture
def shown(toy):
    """Pictures whose red is their number, and the three strongest of two units."""
    data, acts = toy()
    return data, exemplars(acts, [2, 6], count=3, tau=0.1)


@pytest.fixture
def fields():
    change = np.zeros((2, 9, 9))
    change[0, 3:6, 3:6] = 1.0
    table = pd.DataFrame(
        {"target": ["unit 2", "unit 6"], "unit": [2, 6], "field_px": [6.0, np.nan],
         "theoretical_px": [10.0, np.nan], "images": [3, 0]}
    )  # fmt: skip
    return Fields(table, change, 2)


def test_whole_pictures_are_those_of_the_table(shown):
    data, found = shown
    pictures = exemplar_pictures(found, data, show="whole", side=20)
    assert [p.size for p in pictures] == [(20, 20)] * 6
    assert [p.getpixel((9, 9))[0] for p in pictures] == found.table["row"].tolist()


def test_masked_pictures_are_grey_outside_the_mask(shown):
    data, found = shown
    for place, picture in enumerate(exemplar_pictures(found, data, side=24)):
        row = int(found.table["row"][place])
        plain = Image.new("RGB", (24, 24), (row, 0, 0))
        mask = found.mask(place, (24, 24))
        assert mask.any()
        assert not mask.all()
        np.testing.assert_array_equal(np.asarray(picture), np.asarray(overlay(plain, mask)))


def test_patches_are_brought_to_one_size(shown, fields):
    data, found = shown
    rows = found.table["row"].tolist()
    table = fields.table.assign(field_px=[6.0, 9.0])
    some = Fields(table, fields.maps, fields.step)
    for given in (None, some):
        pictures = exemplar_pictures(found, data, show="patch", fields=given, side=16)
        assert [p.size for p in pictures] == [(16, 16)] * 6
        assert [p.getpixel((8, 8))[0] for p in pictures] == rows


def test_a_sheet_has_a_heading_and_a_row_for_each_target(shown):
    data, found = shown
    sheet = draw_exemplars(found, data, show="whole", side=30)
    assert sheet.size == (3 * 30 + 2 * GAP, 2 * (LINE + 30 + LINE) + 3 * GAP)
    pixels = np.asarray(sheet)
    for target in range(2):
        top = target * (2 * LINE + 30 + 2 * GAP)
        assert (pixels[top : top + LINE] < 100).any()  # the heading
        first = top + LINE + GAP
        for place in range(3):
            left = place * (30 + GAP)
            red = found.table["row"][3 * target + place]
            assert (pixels[first : first + 30, left : left + 30] == (red, 0, 0)).all()
            assert (pixels[first + 30 : first + 30 + LINE, left : left + 30] < 150).any()


def test_axes_hold_the_sheet(shown):
    data, found = shown
    ax = plot_exemplars(found, data, show="patch", side=30)
    held = np.asarray(ax.images[0].get_array())
    np.testing.assert_array_equal(
        held, np.asarray(draw_exemplars(found, data, show="patch", side=30))
    )
    assert plot_exemplars(found, data, side=30, ax=ax) is ax


def test_a_field_is_drawn_with_its_square_and_that_of_theory(fields):
    ax = plot_field(fields, "unit 2")
    assert ax.images[0].get_extent() == [-9.0, 9.0, 9.0, -9.0]
    corners = [np.abs(line.get_xydata()) for line in ax.lines]
    assert [c.max() for c in corners] == [3.0, 5.0]
    assert [c.min() for c in corners] == [3.0, 5.0]
    assert len({tuple(p) for p in ax.lines[0].get_xydata()}) == 4
    assert ax.get_title(loc="left") == "unit 2: 6 px"


def test_a_unit_that_nothing_changes_has_no_square(fields):
    ax = plot_field(fields, "unit 6")
    assert len(ax.lines) == 0
    assert ax.get_title(loc="left") == "unit 6: no field"


def test_bad_input(shown, fields):
    data, found = shown
    with pytest.raises(InputError, match="show is one of masked, whole, patch; got 'all'"):
        exemplar_pictures(found, data, show="all")
    with pytest.raises(InputError, match="no field of 'unit 3'; there are unit 2, unit 6"):
        plot_field(fields, "unit 3")
