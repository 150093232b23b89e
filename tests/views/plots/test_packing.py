"""Figures of packed concepts draw what the tables hold."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from conceptlab.views.plots import packing as plots


@pytest.fixture
def ax():
    return Figure().subplots()


def test_units_are_counted_beside_chance(ax):
    units = pd.DataFrame({"packed": [0, 2, 2, 5], "chance": [0.0, 0.0, 1.0, 0.0]})
    assert plots.plot_concepts_packed(units, ax=ax) is ax
    bars = ax.containers[0]
    assert [b.get_height() for b in bars] == [1, 0, 2, 0, 0, 1]
    assert "2.2 on average" in ax.get_legend().get_texts()[0].get_text()
    bare = plots.plot_concepts_packed(units.assign(chance=np.nan))
    assert len(bare.get_legend().get_texts()) == 1


def test_a_unit_shows_its_packed_concepts(ax):
    table = pd.DataFrame(
        {"unit": [3, 3, 3, 4], "concept": ["$a$", "b", "c", "d"], "share": [0.4, 0.1, 0.0, 0.2],
         "stability": [1.0, 0.9, 0.6, 1.0], "packed": [True, True, False, True]}
    )  # fmt: skip
    plots.plot_packed_unit(table, 3, ax=ax)
    assert [b.get_width() for b in ax.containers[0]] == [0.4, 0.1]
    assert [t.get_text() for t in ax.texts] == [" 100%", " 90%"]
    assert ax.get_title(loc="left") == "unit 3: 50% explained"
    assert plots.plot_packed_unit(table, 9).get_title(loc="left") == "unit 9: 0% explained"
