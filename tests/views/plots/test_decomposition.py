"""Figures of basis decompositions draw what they are given."""

from itertools import pairwise

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch, Rectangle

from conceptlab.analysis.effects.decomposition import ImageDecomposition
from conceptlab.errors import InputError
from conceptlab.views.plots.decomposition import plot_contributions, plot_image_row
from conceptlab.views.plots.sankey import plot_sankey
from conceptlab.views.style import category_colors


def table_of(name="kitchen", concepts=(), rests=(1.0, 0.5, -0.25), interval=False):
    """A table of one class from (concept, category, contribution) or with a note."""
    rows = [(*c, "") if len(c) == 3 else c for c in concepts]
    rows += [(c, "", v, "") for c, v in zip(("residual", "baseline", "remainder"), rests,
                                            strict=True)]  # fmt: skip
    table = pd.DataFrame(rows, columns=["concept", "category", "contribution", "note"])
    whole = table["contribution"].sum() - rests[1]
    table = table.assign(**{"class": name}, share=table["contribution"] / whole)
    table.loc[table["concept"] == "baseline", "share"] = np.nan
    if interval:
        table["low"], table["high"] = table["contribution"] - 0.2, table["contribution"] + 0.3
    return table


CONCEPTS = [
    ("table", "object", 4.0), ("$x$", "material", 1.0, "no better than chance"),
    ("sun", "object", -0.75),
]  # fmt: skip


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


@pytest.fixture
def ax():
    return Figure().subplots()


def test_bars_are_the_contributions_in_the_colour_of_their_category(ax):
    table = table_of(concepts=CONCEPTS)
    assert plot_contributions(table, ax=ax) is ax
    bars = ax.containers[0]
    assert [bar.get_width() for bar in bars] == table["contribution"].tolist()
    colors = category_colors(["object", "material"])
    drawn = [mpl.colors.to_hex(bar.get_facecolor()) for bar in bars]
    assert drawn[:3] == [colors[c].lower() for c in ("object", "material", "object")]
    assert len(set(drawn[3:])) == 1
    assert drawn[3] not in drawn[:3]
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names == ["table", r"\$x\$", "sun", "residual", "baseline", "remainder"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first row is above
    assert ax.get_title(loc="left") == "kitchen: 5.50"
    assert [t.get_text() for t in ax.texts] == ["80 %", "20 %", "-15 %", "20 %", "-5 %"]
    assert [t.get_ha() for t in ax.texts] == ["left", "left", "right", "left", "right"]


def test_notes_are_hatched_and_said(ax):
    plot_contributions(table_of(concepts=CONCEPTS), ax=ax)
    hatched = [bool(bar.get_hatch()) for bar in ax.containers[0]]
    assert hatched == [False, True, False, False, False, False]
    assert legend(ax) == ["object", "material", "no better than chance"]
    two = [*CONCEPTS, ("sea", "", 0.5, "few images")]
    found = plot_contributions(table_of(concepts=two))
    assert len({bar.get_hatch() for bar in found.containers[0]}) == 3
    assert legend(found)[2:] == ["no category", "no better than chance", "few images"]


def test_intervals_are_drawn_where_there_are_any(ax):
    plot_contributions(table_of(concepts=CONCEPTS), ax=ax)
    assert not ax.collections
    table = table_of(concepts=CONCEPTS, interval=True)
    found = plot_contributions(table)
    ends = np.array([path.vertices[:, 0] for path in found.collections[0].get_paths()])
    np.testing.assert_allclose(ends, table[["low", "high"]])
    assert found.texts[0].xy == (4.3, 0)  # shares stand beyond them


def test_a_class_without_concepts_or_shares_is_drawn(ax):
    table = table_of().assign(share=np.nan)
    plot_contributions(table, ax=ax)
    assert not ax.texts
    assert ax.get_legend() is None


def test_several_classes_are_refused():
    table = pd.concat([table_of("a"), table_of("b")])
    with pytest.raises(InputError, match="one class is drawn at a time; the table has 2"):
        plot_contributions(table)


def decomposition(maps, picture=None, concepts=CONCEPTS):
    picture = np.full((8, 8, 3), 100, dtype=np.uint8) if picture is None else picture
    table = table_of(concepts=concepts)
    return ImageDecomposition(table, np.asarray(maps, dtype=float), 5.5, 0.9, picture)


def shown(ax):
    return np.asarray(ax.images[0].get_array()).astype(int)


def test_a_row_is_the_picture_and_a_map_for_each_leading_concept():
    maps = np.zeros((3, 2, 2))
    maps[0, 0, 0], maps[0, 1, 1], maps[1, 0, 1] = 4.0, -2.0, 1.0
    found = decomposition(maps)
    axes = plot_image_row(found, most=2)
    assert axes.shape == (3,)
    assert [ax.get_title() for ax in axes] == ["kitchen 5.50", "table 80 %", r"\$x\$ 20 %"]
    assert [ax.get_xlabel() for ax in axes] == ["", "", "no better than chance"]
    np.testing.assert_array_equal(shown(axes[0]), found.picture)
    first, second = shown(axes[1]), shown(axes[2])
    assert first[0, 0, 0] > first[0, 0, 2] + 100  # orange speaks for the class
    assert first[7, 7, 2] > first[7, 7, 0] + 20  # blue against it
    np.testing.assert_array_equal(second[7, 0], [100, 100, 100])
    assert second[0, 7].tolist() == first[0, 0].tolist()  # each map has its own scale
    assert len(plot_image_row(found)) == 4


def test_a_map_of_nothing_leaves_the_picture_grey():
    picture = np.zeros((4, 4, 3), dtype=np.uint8)
    picture[..., 1] = 200
    axes = plot_image_row(decomposition(np.zeros((3, 2, 2)), picture), most=1)
    np.testing.assert_array_equal(shown(axes[1]), np.full((4, 4, 3), round(0.587 * 200)))


def test_a_row_draws_on_given_axes_and_says_when_they_are_too_few():
    axes = Figure().subplots(1, 4)
    found = decomposition(np.ones((3, 2, 2)))
    assert plot_image_row(found, axes=axes).tolist() == axes.tolist()
    with pytest.raises(InputError, match="the picture and its concepts take 4 axes; got 2"):
        plot_image_row(found, axes=axes[:2])
    bare = decomposition(np.zeros((0, 2, 2)), concepts=[])
    assert plot_image_row(bare, axes=axes).tolist() == axes[:1].tolist()


def test_a_share_that_is_unknown_is_not_written():
    found = decomposition(np.ones((3, 2, 2)))
    found.table["share"] = np.nan
    assert plot_image_row(found)[1].get_title().strip() == "table"


def classes(count=3, each=4, seed=0):
    """A table of classes that share concepts of three categories."""
    rng = np.random.default_rng(seed)
    tables = []
    for k in range(count):
        numbers = rng.choice(each + count, each, replace=False)
        values = rng.gamma(0.5, size=each) - 0.1
        concepts = [
            (f"concept number {i}", ("object", "part", "color")[i % 3], value)
            for i, value in zip(numbers, values, strict=True)
        ]
        tables.append(table_of(f"class {k}", concepts, rests=(rng.normal(), 0.3, 0.1)))
    return pd.concat(tables, ignore_index=True)


def parts(ax):
    """Names and bars at either end, and ribbons as (start, end, width, colour)."""
    texts, bars = {}, {}
    for text, bar in zip(ax.texts, [p for p in ax.patches if isinstance(p, Rectangle)],
                         strict=True):  # fmt: skip
        side = "left" if text.get_position()[0] < 0 else "right"
        texts.setdefault(side, []).append(text)
        bars.setdefault(side, {})[text.get_text()] = bar
    ribbons = []
    for patch in ax.patches:
        if isinstance(patch, PathPatch):
            v = patch.get_path().vertices
            assert v[7, 1] - v[0, 1] == pytest.approx(v[4, 1] - v[3, 1])
            ribbons.append((v[0, 1], v[3, 1], v[7, 1] - v[0, 1], patch.get_facecolor()))
    return texts, bars, ribbons


def test_ribbons_are_the_positive_contributions():
    table = pd.concat(
        [
            table_of("a", [("x", "object", 3.0), ("y", "color", -9.0)], (0.5, 7.0, 8.0)),
            table_of("b", [("x", "object", 1.0), ("y", "color", 2.0)], (-3.0, 7.0, 8.0)),
        ]
    )
    ax = plot_sankey(table)
    _, bars, ribbons = parts(ax)
    assert list(bars["left"]) == ["x", "y", "residual"]
    assert list(bars["right"]) == ["a", "b"]
    assert len(ribbons) == 4
    unit = ribbons[0][2] / 3.0
    heights = {n: b.get_height() / unit for side in bars.values() for n, b in side.items()}
    assert heights == pytest.approx({"x": 4, "y": 2, "residual": 0.5, "a": 3.5, "b": 3})
    wanted = [("x", "a", 3.0), ("x", "b", 1.0), ("y", "b", 2.0), ("residual", "a", 0.5)]
    colors = category_colors(["object", "color"]) | {"rest": "#BDBDBD"}
    for (start, end, width, color), (left, right, value) in zip(ribbons, wanted, strict=True):
        assert width / unit == pytest.approx(value)
        for y, bar in ((start, bars["left"][left]), (end, bars["right"][right])):
            assert bar.get_y() - 1e-9 <= y <= bar.get_y() + bar.get_height() - width + 1e-9
        kind = {"x": "object", "y": "color", "residual": "rest"}[left]
        assert mpl.colors.to_hex(color) == colors[kind].lower()
    first = [r[0] for r in ribbons[:2]]
    assert first[1] - first[0] == pytest.approx(3 * unit)  # ribbons of a bar do not overlap


@pytest.mark.parametrize(("count", "each", "size"), [
    (1, 2, None), (3, 4, None), (12, 7, None), (40, 7, None), (5, 6, (4, 2)), (8, 30, (9, 5)),
])  # fmt: skip
def test_names_do_not_overlap(count, each, size):
    ax = None if size is None else Figure(figsize=size, layout="constrained").subplots()
    ax = plot_sankey(classes(count, each), ax)
    canvas = FigureCanvasAgg(ax.figure)
    canvas.draw()
    texts, bars, _ = parts(ax)
    for side in ("left", "right"):
        boxes = [t.get_window_extent(canvas.get_renderer()) for t in texts[side]]
        boxes.sort(key=lambda box: box.y0)
        assert all(low.y1 <= high.y0 + 1 for low, high in pairwise(boxes))
        spans = sorted((b.get_y(), b.get_y() + b.get_height()) for b in bars[side].values())
        assert all(a[1] <= b[0] for a, b in pairwise(spans))
        assert spans[0][0] >= 0
        assert spans[-1][1] <= 1


def test_what_has_no_room_is_one_source_and_nothing_is_lost():
    table = classes(6, 20, seed=2)
    small = Figure(figsize=(5, 2)).subplots()
    plot_sankey(table, small)
    _, bars, ribbons = parts(small)
    large = plot_sankey(table)
    _, more, others = parts(large)
    assert {"other concepts", "residual"} < set(bars["left"])
    assert len(bars["left"]) < len(more["left"])
    rows = table[(table["category"] != "") | (table["concept"] == "residual")]
    wanted = rows[rows["contribution"] > 0].groupby("class")["contribution"].sum()
    for found, widths in ((bars, ribbons), (more, others)):
        heights = pd.Series({n: b.get_height() for n, b in found["right"].items()})
        np.testing.assert_allclose(heights / heights.sum(), wanted / wanted.sum())
        assert sum(r[2] for r in widths) == pytest.approx(heights.sum())
    biggest = rows[rows["category"] != ""].assign(c=rows["contribution"].clip(0))
    assert biggest.groupby("concept")["c"].sum().idxmax() in bars["left"]


def test_notes_have_stars_and_categories_their_colours():
    noted = [
        ("x", "object", 3.0, "at chance"),
        ("y", "", 2.0, "few"),
        ("z", "zoo", 1.0),
    ]
    ax = plot_sankey(table_of("a", noted))
    _, bars, _ = parts(ax)
    assert list(bars["left"]) == ["x*", "y**", "z", "residual"]
    assert legend(ax) == ["no category", "object", "zoo", "* at chance", "** few"]


def test_nothing_to_draw_is_said():
    with pytest.raises(InputError, match="nothing contributes to these classes"):
        plot_sankey(table_of("a", [("x", "object", -1.0)], (-1.0, 3.0, 1.0)))
