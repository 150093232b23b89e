"""The figure of polysemanticity counts what the table holds."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from conceptlab.views.plots.polysemanticity import plot_polysemanticity

UNITS = pd.DataFrame({"clusters": [1, 1, 1, 3, 3, 0], "packed": [0, 2, 7, 1, 3, 0]})


def test_bars_are_units_by_clusters_and_packed_concepts():
    ax = Figure().subplots()
    assert plot_polysemanticity(UNITS, ax=ax) is ax
    heights = {c.get_label(): [b.get_height() for b in c] for c in ax.containers}
    assert heights == {
        "0": [1, 1, 0, 0], "1": [0, 0, 0, 1], "2": [0, 1, 0, 0], "3 or more": [0, 1, 0, 1],
    }  # fmt: skip
    assert [t.get_text() for t in ax.texts] == ["1", "3", "0", "2"]
    assert ax.get_xticks().tolist() == [0, 1, 2, 3]
    tops = np.sum(list(heights.values()), axis=0)
    assert [b.get_y() + b.get_height() for b in ax.containers[-1]] == tops.tolist()


def test_without_packing_bars_have_one_colour():
    ax = plot_polysemanticity(UNITS[["clusters"]])
    assert [b.get_height() for b in ax.containers[0]] == [1, 3, 0, 2]
    assert len(ax.containers) == 1
    assert ax.get_legend() is None


def test_where_most_units_have_many_concepts_a_colour_stands_for_several_numbers():
    units = pd.DataFrame({"clusters": [1] * 8, "packed": [4, 5, 6, 7, 8, 9, 11, 0]})
    bars = {c.get_label(): c[0].get_height() for c in plot_polysemanticity(units).containers}
    assert bars == {"0 to 2": 1, "3 to 5": 2, "6 to 8": 3, "9 or more": 2}
