"""The figure of concept erasure draws what its table holds."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from conceptlab.errors import InputError
from conceptlab.views.plots.erasure import plot_erasure
from conceptlab.views.plots.matrix import MOST
from tests.views.plots.dots import dots, require_names_hatches_and_a_cross


def table(concepts=4, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    rows = [
        {
            "class": f"class {j}", "concept": f"$c${i}", "ablation": ablation,
            "logit_change": rng.normal(), "effect": 3 * rng.normal(),
            "p_adjusted": 0.01 if (i + j) % 3 == 0 else 0.5,
            "note": "no better than chance" if i == 1 else "",
        }
        for ablation in ("direction", "units") for j in range(classes) for i in range(concepts)
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize("ablation", ["direction", "units"])
def test_every_row_is_a_dot_filled_where_significant(ablation):
    ax, given = Figure().subplots(), table()
    assert plot_erasure(given, ablation, ax=ax) is ax
    found, crosses = dots(ax)
    assert len(found) == 12
    assert not crosses
    rows = given[given["ablation"] == ablation]
    for row in rows.itertuples():
        _, face, edge = found[int(row.concept[-1]), int(row[1][-1])]
        assert (face == "#ffffff") == (row.p_adjusted > 0.05)
        if row.p_adjusted < 0.05:
            assert face == edge
    order = sorted(rows.itertuples(), key=lambda r: abs(r.effect))
    sizes = [found[int(r.concept[-1]), int(r[1][-1])][0] for r in order]
    assert (np.diff(sizes) >= 0).all()
    assert sizes[0] < sizes[-1]


def test_colours_tell_falls_from_rises():
    given = table()
    given["logit_change"] = np.where(given["class"] == "class 0", -1.0, 1.0)
    found, _ = dots(plot_erasure(given))
    assert {edge for (_, x), (_, _, edge) in found.items() if x == 0} == {"#0072b2"}
    assert {edge for (_, x), (_, _, edge) in found.items() if x > 0} == {"#d55e00"}


def test_names_hatches_and_crosses():
    given = table()
    given.loc[0, ["effect", "p_adjusted"]] = np.nan
    require_names_hatches_and_a_cross(plot_erasure(given))


def test_of_many_concepts_those_that_change_most_stay():
    given = table(concepts=MOST + 5)
    given["concept"] = given["concept"].str.strip("$c")
    given["logit_change"] = given["concept"].str.replace("$", "").astype(float)
    ax = plot_erasure(given)
    names = [t.get_text() for t in ax.get_yticklabels()]
    assert len(names) == MOST
    assert names[-1] == str(MOST + 4)


def test_twenty_concepts_and_ten_classes_keep_their_names_apart():
    ax = plot_erasure(table(20, 10))
    figure = ax.get_figure()
    figure.canvas.draw()
    boxes = [label.get_window_extent() for label in ax.get_yticklabels()]
    assert all(a.y0 >= b.y1 for a, b in pairwise(boxes))
    assert all(0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes)


def test_an_ablation_that_is_not_there():
    with pytest.raises(InputError, match="no rows of ablation 'unit'; it has direction, units"):
        plot_erasure(table(), "unit")
