"""Figures of uncertainty draw what the tables hold."""

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from conceptlab.analysis.vectors.intervals import pinned_down, weight_intervals
from conceptlab.views.plots import uncertainty as plots
from tests.analysis.vectors.test_intervals import drawn


@pytest.fixture
def ax():
    return Figure().subplots()


@pytest.fixture(scope="module")
def found():
    rng = np.random.default_rng(0)
    return drawn(np.vstack([rng.normal(size=(3, 30)), 0.1 * rng.normal(size=(1, 30))]), 0.3, rng)


def filled(points):
    return [mpl.colors.to_hex(c) != "#ffffff" for c in points.get_facecolors()]


def test_the_largest_weights_stand_first_and_those_off_zero_are_filled(found, ax):
    table = weight_intervals(found)
    assert plots.plot_weight_intervals(table, "c001", 7, ax=ax) is ax
    rows = table[table["concept"] == "c001"]
    order = rows["weight"].abs().sort_values(ascending=False).index[:7]
    points = ax.collections[1]
    np.testing.assert_allclose(points.get_offsets()[:, 0], rows.loc[order, "weight"])
    sure = (rows["low"] > 0) | (rows["high"] < 0)
    assert filled(points) == list(sure[order])


def test_concepts_that_are_not_pinned_down_are_open(found, ax):
    table = pinned_down(found)
    plots.plot_pinned(table, ax=ax)
    points = ax.collections[1]
    np.testing.assert_allclose(points.get_offsets()[:, 0], table["reliability"])
    assert filled(points) == list(table["pinned"])
    assert ax.get_yticklabels()[0].get_text() == "c003"
