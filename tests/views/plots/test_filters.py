"""Tiles show the weights and maps that they are given, each by its own largest value."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from conceptlab.errors import InputError
from conceptlab.views.plots.filters import plot_feature_maps, plot_filters


@pytest.fixture
def ax():
    return Figure(layout="constrained").subplots()


def tiles(ax):
    return [np.asarray(image.get_array()) for image in ax.images]


def labels(ax):
    return [text.get_text() for text in ax.texts]


def test_three_channels_are_colours_with_grey_for_zero(ax):
    weights = np.random.default_rng(0).standard_normal((5, 3, 4, 2)) * [[[[100]]]]
    weights[2] = 0
    assert plot_filters(weights, ax=ax, title="conv_1") is ax
    shown = tiles(ax)
    assert len(shown) == 5
    for tile, weight in zip(shown, weights, strict=True):
        largest = np.abs(weight).max() or 1
        for channel in range(3):
            assert tile[:, :, channel] == pytest.approx(0.5 + weight[channel] / largest / 2)
    assert (shown[2] == 0.5).all()
    assert labels(ax) == ["0", "1", "2", "3", "4"]
    assert ax.get_title(loc="left") == "conv_1\n5 filters, in colour: grey is 0"
    assert len(ax.figure.axes) == 1


@pytest.mark.parametrize(("channel", "said"), [(None, "average over 8"), (6, "input channel 6")])
def test_other_channels_are_averaged_or_chosen(ax, channel, said):
    weights = np.random.default_rng(1).standard_normal((4, 8, 3, 3))
    plot_filters(weights, channel, ax=ax)
    for tile, weight in zip(tiles(ax), weights, strict=True):
        plain = weight.mean(axis=0) if channel is None else weight[channel]
        assert tile == pytest.approx(plain / np.abs(plain).max())
    assert all(image.get_clim() == (-1, 1) for image in ax.images)
    assert said in ax.get_title(loc="left")
    assert len(ax.figure.axes) == 2  # the colour bar
    assert ax.figure.axes[1].get_ylabel() == "weight / largest |weight| of the filter"


def test_of_many_filters_the_largest_are_shown(ax):
    weights = np.ones((512, 1, 3, 3)) * np.arange(512)[:, None, None, None]
    plot_filters(weights, most=10, ax=ax)
    assert labels(ax) == [str(n) for n in range(511, 501, -1)]
    assert "the 10 of 512 filters with the largest norm" in ax.get_title(loc="left")
    own = plot_filters(weights, units=[3, 1])
    assert labels(own) == ["3", "1"]


def test_tiles_do_not_overlap_and_lie_within_the_axes(ax):
    plot_filters(np.ones((23, 2, 3, 3)), ax=ax)
    boxes = [image.get_extent() for image in ax.images]
    for i, (left, right, bottom, top) in enumerate(boxes):
        assert (right - left, bottom - top) == pytest.approx((1, 1))
        assert ax.get_xlim()[0] < left < right < ax.get_xlim()[1]
        assert ax.get_ylim()[1] < top < bottom < ax.get_ylim()[0]
        for other in boxes[:i]:
            assert left >= other[1] or right <= other[0] or top >= other[2] or bottom <= other[3]


def test_maps_stand_most_active_first_beside_the_picture(ax):
    maps = np.zeros((4, 2, 3))
    maps[:, 1, 2] = [5, 300, 0, 20]
    picture = np.full((8, 8, 3), 7, dtype=np.uint8)
    plot_feature_maps(maps, picture=picture, ax=ax, title="$conv$")
    assert labels(ax) == ["1: 300", "3: 20", "0: 5", "2: 0"]
    *shown, beside = tiles(ax)
    assert all(tile[1, 2] == (1 if place < 3 else 0) for place, tile in enumerate(shown))
    assert (beside == 7).all()
    left = min(image.get_extent()[0] for image in ax.images[:-1])
    assert ax.images[-1].get_extent()[1] < left
    assert ax.images[0].get_clim() == (0, 1)
    assert ax.get_title(loc="left") == "\\$conv\\$\n4 units, largest peak first"


def test_maps_below_zero_have_two_colours_and_a_limit(ax):
    maps = np.random.default_rng(2).standard_normal((50, 3, 3))
    plot_feature_maps(maps, most=6, ax=ax)
    assert [image.get_clim() for image in ax.images] == [(-1, 1)] * 6
    assert "the 6 of 50 units with the largest peak" in ax.get_title(loc="left")
    first = int(labels(ax)[0].split(":")[0])
    assert first == maps.max(axis=(1, 2)).argmax()
    own = plot_feature_maps(maps, [4])
    assert len(own.images) == 1


@pytest.mark.parametrize(
    ("draw", "said"),
    [
        (lambda: plot_filters(np.ones((2, 3, 3))), r"\(K, C, h, w\), finite"),
        (lambda: plot_filters(np.full((1, 1, 1, 1), np.nan)), "finite"),
        (lambda: plot_filters(np.ones((2, 4, 3, 3)), 4), "input channels 0 to 3; got 4"),
        (lambda: plot_filters(np.ones((2, 4, 3, 3)), units=[2]), "filters are numbers from 0 to 1"),
        (lambda: plot_filters(np.ones((2, 4, 3, 3)), most=0), "at least 1; got 0"),
        (lambda: plot_feature_maps(np.ones((2, 3))), r"\(K, H, W\), finite"),
        (lambda: plot_feature_maps(np.ones((2, 3, 3)), [0.5]), "units are numbers from 0 to 1"),
    ],
)
def test_what_cannot_be_drawn(draw, said):
    with pytest.raises(InputError, match=said):
        draw()
