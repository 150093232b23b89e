"""Figures of overlap draw what their tables hold."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from conceptlab.analysis.units.overlap import agreement_by_layer, unit_agreement, unit_shares
from conceptlab.analysis.units.saturation import saturation
from conceptlab.views.plots import overlap as plots
from tests.analysis.units.test_overlap import UNITS, layer
from tests.analysis.units.test_saturation import curves


@pytest.fixture
def ax():
    return Figure().subplots()


def offsets(ax):
    return {c.get_label(): np.asarray(c.get_offsets()) for c in ax.collections if len(
        c.get_offsets())}  # fmt: skip


def test_saturation_is_marked_on_its_curve(ax):
    table = curves([[0.2, 0.5, 0.9, 0.9, 0.9], [0.1, 0.2, 0.3, 0.4, 0.5]], ["$a$", "color"])
    marks = saturation(table)
    assert plots.plot_saturation(table, marks, "segment", ax=ax) is ax
    drawn = {line.get_label(): line for line in ax.lines}
    for category, wanted in marks.set_index("category").iloc[:2].iterrows():
        label = category.replace("$", r"\$") + f": F = {wanted['units']:.3g}"
        own = table[table["category"] == category]
        np.testing.assert_allclose(drawn[label].get_ydata(), own["score"])
    points = [c[0].get_xydata()[0] for c in ax.containers]
    np.testing.assert_allclose(sorted(p[0] for p in points), sorted(marks["units"][:2]))
    assert len(saturation(table[table["category"] == "color"])) == 2  # the category, and all


def test_an_interval_without_an_end_reaches_all_units(ax):
    table = curves([[0.1, 0.2, 0.3, 0.4, 0.5]] * 2)
    marks = saturation(table).assign(low=1.0, high=np.inf)
    plots.plot_saturation(table, marks, "segment", ax=ax)
    ax.figure.canvas.draw()
    ends = ax.collections[0].get_segments()[0][:, 0]
    np.testing.assert_allclose(ends, [1, 16])
    assert ax.get_xlim()[1] < 64


def test_curves_without_a_mark_are_drawn_alone(ax):
    table = curves([[0.1, 0.2, 0.3, 0.4, 0.5], [0.3, 0.4, 0.5, 0.6, 0.7]])
    plots.plot_saturation(table, saturation(table).head(0), "segment", ax=ax)
    (line,) = ax.lines
    assert line.get_label() == "object"
    np.testing.assert_allclose(line.get_xdata(), [1, 2, 4, 8, 16])
    np.testing.assert_allclose(line.get_ydata(), [0.2, 0.3, 0.4, 0.5, 0.6])
    assert ax.get_xscale() == "log"
    assert not ax.containers


def test_agreement_shows_every_unit_and_names_the_best(ax):
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(2, UNITS))
    iou = rng.random((2, UNITS))
    vectors, units = layer(weights, iou)
    probe = units.drop_duplicates("concept").assign(probe_score=0.5)
    plots.plot_agreement(unit_shares(vectors, units, probe), "c1", ax=ax)
    np.testing.assert_allclose(
        ax.collections[0].get_offsets(), np.stack([np.maximum(weights[1], 0), iou[1]], axis=1)
    )
    assert {t.get_text() for t in ax.texts} == {
        f"unit {weights[1].argmax()}", f"unit {iou[1].argmax()}"
    }  # fmt: skip
    r = np.corrcoef(np.maximum(weights[1], 0), iou[1])[0, 1]
    assert ax.get_title(loc="left") == f"c1, r = {r:.2f}"


def test_layers_have_a_bar_per_correction(ax):
    rng = np.random.default_rng(1)
    parts = []
    for name in ("one", "two"):
        weights = rng.normal(size=(20, UNITS))
        vectors, units = layer(weights, np.maximum(weights, 0) + rng.random(weights.shape))
        parts.append(unit_agreement(vectors, units, draws=0).assign(model="net", layer=name))
    table = agreement_by_layer(pd.concat(parts))
    plots.plot_agreement_by_layer(table, ax=ax)
    for bars, column in zip(ax.containers, ("share", "share_bh", "share_holm"), strict=True):
        np.testing.assert_allclose([b.get_height() for b in bars], table[column])
    assert [t.get_text() for t in ax.get_xticklabels()] == ["net one", "net two"]


def test_shares_of_zeros_stand_in_order(ax):
    rows = pd.DataFrame(
        {"concept": ["a", "b", "c"], "images": [9, 8, 7], "zeros_unit": [0.2, 0.9, 0.5],
         "zeros_probe": [0.1, 0.3, 0.0]}
    )  # fmt: skip
    plots.plot_zero_shares(rows, ax=ax)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["b", "c", "a"]
    np.testing.assert_allclose(offsets(ax)["best unit"][:, 0], [0.9, 0.5, 0.2])
    np.testing.assert_allclose(offsets(ax)["probe"][:, 0], [0.3, 0.0, 0.1])
