"""Static figures of an atlas draw what they are given."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from conceptlab.errors import InputError
from conceptlab.views.plots import atlas as plots
from tests.views.atlases import BLUE, RED, icons_of, planted


@pytest.fixture
def ax():
    return Figure().subplots()


def color(ax, resolution, row, column, dy=0.0):
    """The drawn colour at a cell's centre, or above it by a share of the cell's side."""
    (picture,) = ax.images
    assert picture.get_extent() == [0, 1, 1, 0]
    pixels = picture.get_array()
    y, x = ((v + 0.5) / resolution * len(pixels) for v in (row - dy, column))
    return pixels[int(y), int(x)]


@pytest.mark.parametrize(("asked", "drawn"), [(4, 4), (8, 8), (None, 8)])
def test_icons_stand_at_their_cells(ax, asked, drawn):
    atlas = planted()
    assert plots.plot_atlas(atlas, icons_of(atlas), asked, ax=ax) is ax
    assert color(ax, drawn, 1, 0).tolist() == list(RED)
    assert color(ax, drawn, 1, drawn - 1).tolist() == list(BLUE)
    assert color(ax, drawn, 0, 0).tolist() == [255, 255, 255]  # no cell
    assert ax.get_xlim() == (0, 1)
    assert ax.get_ylim() == (1, 0)


@pytest.mark.parametrize(("focus", "strong", "faint"), [("west", 0, 3), ("north", None, None)])
def test_opacity_is_the_attribution_or_the_score(ax, focus, strong, faint):
    atlas = planted()
    plots.plot_atlas(atlas, icons_of(atlas), 4, focus=focus, ax=ax)
    if focus == "west":  # the class, though a concept has that name too
        cells = {(2, 0): 1.0, (2, 1): 0.33, (2, 3): 0.0}
    else:
        cells = {(0, 1): 1.0, (1, 1): 0.33, (3, 3): 0.0}
    for (row, column), share in cells.items():
        own = np.array(RED if column < 2 else BLUE)
        wanted = 255 + (plots.FAINT + (1 - plots.FAINT) * share) * (own - 255.0)
        np.testing.assert_allclose(color(ax, 4, row, column), wanted, atol=1)


def test_a_concept_that_says_nothing_leaves_all_faint(ax):
    atlas = replace(planted(), classes=("east", "east", "never"))
    plots.plot_atlas(atlas, icons_of(atlas), 4, focus="west", ax=ax)
    assert color(ax, 4, 2, 0).min() > 230


def test_frames_tell_which_class_a_cell_speaks_for(ax):
    atlas = planted(names=("west", "east", "$never$"))
    assert plots.plot_atlas_classes(atlas, icons_of(atlas), "west", "east", 4, ax=ax) is ax
    assert color(ax, 4, 2, 0).tolist() == list(RED)
    west, east = (color(ax, 4, 2, column, dy=0.46).astype(int) for column in (0, 3))
    assert west[0] > west[2] + 50  # orange
    assert east[2] > east[0] + 20  # violet
    near = color(ax, 4, 2, 1, dy=0.46).astype(int)
    assert near[2] > west[2]  # paler where they differ less
    bar = ax.figure.axes[1]
    assert bar.get_ylabel() == "attribution to west minus that to east"
    np.testing.assert_allclose(bar.get_ylim(), (-0.75, 0.75))


def test_icons_are_shrunk_to_the_picture_and_none_is_lost(ax):
    atlas = planted((8,))
    icons = icons_of(atlas)[0]
    large = np.repeat(np.repeat(icons.icons, 30, axis=1), 30, axis=2)
    plots.plot_atlas(atlas, (replace(icons, icons=large),), ax=ax)
    assert len(ax.images[0].get_array()) <= plots.PIXELS
    assert color(ax, 8, 7, 7).tolist() == list(BLUE)


@pytest.mark.parametrize("suffix", ["png", "pdf"])
def test_it_is_saved_for_papers(tmp_path, suffix):
    atlas = planted(names=("$a$", "_b", "c"), focus="$x$")
    for ax in (
        plots.plot_atlas(atlas, icons_of(atlas), focus="$a$"),
        plots.plot_atlas_classes(atlas, icons_of(atlas), "$a$", "_b"),
    ):
        path = tmp_path / f"atlas.{suffix}"
        ax.figure.savefig(path)
        assert path.stat().st_size > 1000


def test_bad_input_is_named(ax):
    atlas = planted()
    icons = icons_of(atlas)
    with pytest.raises(InputError, match=r"no grid of 5 cells on a side, only of \[4, 8\]"):
        plots.plot_atlas(atlas, icons, 5, ax=ax)
    with pytest.raises(InputError, match="no class or concept 'wst'; nearest: west"):
        plots.plot_atlas(atlas, icons, focus="wst", ax=ax)
    with pytest.raises(InputError, match="no class 'north'"):
        plots.plot_atlas_classes(atlas, icons, "west", "north", ax=ax)
    for wrong in (icons[:1], icons[::-1]):
        with pytest.raises(InputError, match="icons are not of this atlas"):
            plots.plot_atlas(atlas, wrong, ax=ax)
