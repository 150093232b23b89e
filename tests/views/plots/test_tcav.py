"""The figures of TCAV and of the families of measures draw what their tables hold."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from conceptlab.errors import InputError
from conceptlab.views.plots.matrix import MOST
from conceptlab.views.plots.tcav import _freer_left, plot_families, plot_tcav, spearman
from tests.views.plots.dots import dots, require_names_hatches_and_a_cross


def table(concepts=4, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    rows = [
        {
            "class": f"class {j}", "concept": f"$c${i}", "category": "color",
            "score": rng.random(), "magnitude": rng.random(), "sensitivity": rng.normal(),
            "effect": 3 * rng.normal(), "p_adjusted": 0.01 if (i + j) % 3 == 0 else 0.5,
            "note": "no better than chance" if i == 1 else "",
        }
        for i in range(concepts) for j in range(classes)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_every_row_is_a_dot_as_large_as_its_effect_and_filled_where_significant():
    ax, given = Figure().subplots(), table()
    assert plot_tcav(given, ax=ax) is ax
    found, crosses = dots(ax)
    assert len(found) == 12
    assert not crosses
    for row in given.itertuples():
        _, face, edge = found[int(row.concept[-1]), int(row[1][-1])]
        assert (face == "#ffffff") == (row.p_adjusted > 0.05)
        if row.p_adjusted < 0.05:
            assert face == edge
    order = sorted(given.itertuples(), key=lambda r: abs(r.effect))
    sizes = [found[int(r.concept[-1]), int(r[1][-1])][0] for r in order]
    assert (np.diff(sizes) >= 0).all()
    assert sizes[0] < sizes[-1]


@pytest.mark.parametrize(
    ("value", "numbers"),
    [("score", (0, 0.5, 1)), ("magnitude", (0, 0.5, 1)), ("sensitivity", (-7, 0, 7)),
     ("effect", (-8, 0, 8))],
)  # fmt: skip
def test_colours_are_grey_in_the_middle_of_each_value(value, numbers):
    given = table(1, 3).assign(**{value: numbers})
    found, _ = dots(plot_tcav(given, value))
    edges = [found[0, j][2] for j in range(3)]
    assert edges[0] == "#0072b2"
    assert edges[2] == "#d55e00"
    red, _, blue = (int(edges[1][k : k + 2], 16) for k in (1, 3, 5))
    assert abs(red - blue) < 8


def test_names_hatches_and_crosses():
    given = table()
    given.loc[0, ["effect", "p_adjusted"]] = np.nan
    require_names_hatches_and_a_cross(plot_tcav(given))


def test_of_many_concepts_those_with_the_largest_effect_stay():
    given = table(concepts=MOST + 5)
    given["concept"] = given["concept"].str.strip("$c").str.replace("$", "")
    given["effect"] = -given["concept"].astype(float)
    names = [t.get_text() for t in plot_tcav(given).get_yticklabels()]
    assert len(names) == MOST
    assert names[-1] == str(MOST + 4)


@pytest.mark.parametrize(("concepts", "classes"), [(20, 10), (6, 2)])
def test_names_stay_apart_and_all_is_within_the_page(concepts, classes):
    ax = plot_tcav(table(concepts, classes))
    figure = ax.get_figure()
    figure.canvas.draw()
    boxes = [label.get_window_extent() for label in ax.get_yticklabels()]
    assert all(a.y0 >= b.y1 for a, b in pairwise(boxes))
    boxes += [label.get_window_extent() for label in ax.get_xticklabels()]
    boxes += [ax.get_legend().get_window_extent()]
    assert all(0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes)
    assert all(0 <= box.y0 and box.y1 <= figure.bbox.y1 for box in boxes)


@pytest.mark.parametrize(
    ("given", "value", "said"),
    [
        (table(), "p_value", "value is one of score, magnitude, .*; got 'p_value'"),
        (table().iloc[:0], "score", "no rows"),
        (pd.concat([table(), table()]), "score", r"class class 0 and concept \$c\$0 stand twice"),
    ],
)
def test_bad_tables_of_tcav(given, value, said):
    with pytest.raises(InputError, match=said):
        plot_tcav(given, value)


def measures(concepts=12, seed=0):
    rng = np.random.default_rng(seed)
    base = rng.random(concepts)
    return pd.DataFrame(
        {
            "concept": [f"c{i}" for i in range(concepts)],
            "category": ["object", "color"] * (concepts // 2),
            "encoded": base, "used": np.exp(base), "contributing": -base,
            "erased": rng.normal(size=concepts),
        }
    )  # fmt: skip


def titles(ax):
    """The title of each panel by what its axes say."""
    return {
        (p.get_xlabel().split(":")[0], p.get_ylabel().split(":")[0]): p.get_title()
        for p in ax.child_axes
    }


def test_a_panel_for_every_two_measures_with_their_rank_correlation():
    given = measures()
    said = titles(plot_families(given))
    assert len(said) == 6
    assert said["encoded", "used"] == "Spearman 1.00, 12 concepts"
    assert said["encoded", "contributing"] == "Spearman -1.00, 12 concepts"
    want = spearmanr(given["used"], given["erased"]).statistic
    assert said["used", "erased"] == f"Spearman {want:.2f}, 12 concepts"


def test_panels_hold_the_points_of_the_concepts_that_have_both():
    given = measures()
    given.loc[[0, 3], "used"] = np.nan
    ax = plot_families(given)
    panel = ax.child_axes[0]
    points = np.concatenate([np.asarray(c.get_offsets()) for c in panel.collections])
    want = given.dropna()[["encoded", "used"]].to_numpy()
    assert np.allclose(sorted(points.tolist()), sorted(want.tolist()))
    assert titles(ax)["encoded", "used"].endswith("10 concepts")
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["object", "color"]


def test_names_within_a_panel_are_of_the_points_farthest_from_the_middle():
    given = measures()
    given.loc[5, ["encoded", "used"]] = 40.0, 90.0
    panel = plot_families(given).child_axes[0]
    assert "c5" in [text.get_text() for text in panel.texts]


def test_names_go_inwards_at_the_ends_and_else_to_the_side_where_less_is():
    assert not _freer_left(np.array([[0.0, 0], [0.5, 0], [0.9, 0]]))
    assert _freer_left(np.array([[0.0, 0], [-0.5, 0], [-0.9, 0]]))
    crowd = np.array([[0.0, 0], [-0.6, 0.3], [0.6, 0.3], [0.1, 0.01], [0.2, 0.01]])
    assert _freer_left(crowd)
    assert not _freer_left(-crowd)


@pytest.mark.parametrize("drop", [[], ["erased"], ["erased", "contributing"]])
def test_panels_do_not_lie_upon_one_another_or_outside(drop):
    ax = plot_families(measures().drop(columns=drop))
    figure = ax.get_figure()
    figure.canvas.draw()
    boxes = [panel.get_tightbbox() for panel in ax.child_axes] + [ax.get_legend().get_tightbbox()]
    assert len(boxes) == {0: 7, 1: 4, 2: 2}[len(drop)]
    for i, box in enumerate(boxes):
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert box.y1 <= figure.bbox.y1
        assert not any(box.overlaps(other) for other in boxes[i + 1 :])


def test_families_on_given_axes_and_too_few_measures():
    ax = Figure(figsize=(9, 6)).subplots()
    assert plot_families(measures(), ax) is ax
    bare = measures()[["concept", "category", "used"]]
    with pytest.raises(InputError, match=r"at least two of the columns encoded, .*; it has used"):
        plot_families(bare)
    with pytest.raises(InputError, match="it has none"):
        plot_families(bare.assign(used=np.nan))


def test_rank_correlation_has_ties_and_nothing_where_nothing_varies():
    first, second = pd.Series([1.0, 2, 2, 5, 4]), pd.Series([3.0, 3, 1, 9, 2])
    assert spearman(first, second) == pytest.approx(spearmanr(first, second).statistic)
    assert np.isnan(spearman(first, 0 * second))
    assert np.isnan(spearman(first[:2], second[:2]))
    table = measures().assign(used=1.0)
    assert titles(plot_families(table))["encoded", "used"].startswith("no rank correlation")
