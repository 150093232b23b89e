"""Every plot draws on the axes that it is given, and what it draws are the table's numbers."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from conceptlab.views.plots import paper as plots
from conceptlab.views.tables import read_tables
from tests.views.conftest import HOSTILE, LAYERS, UNITS


@pytest.fixture
def tables(finished):
    return read_tables(finished)


@pytest.fixture
def ax():
    return Figure(layout="constrained").subplots()


def bars(ax):
    return {c.get_label(): [p.get_height() for p in c.patches] for c in ax.containers
            if hasattr(c, "patches")}  # fmt: skip


@pytest.mark.parametrize("task", ["segment", "classify"])
@pytest.mark.parametrize("column", ["probe_score", "best_unit_score"])
def test_scores_by_category_are_means_over_concepts(tables, ax, task, column):
    concepts = tables["concepts"]
    assert plots.plot_by_category(concepts, task, "net", column=column, ax=ax) is ax
    lines = {c.get_label(): c.lines[0].get_ydata() for c in ax.containers}
    assert set(lines) == {"object", "part", "color"}
    own = concepts[(concepts["model"] == "net") & (concepts["task"] == task)]
    for category, drawn in lines.items():
        part = own[own["category"] == category]
        for place, layer in enumerate(("conv.1", "conv.2")):
            score = part.loc[part["layer"] == layer, column].mean()
            assert drawn[place] == pytest.approx(score)
    assert [t.get_text() for t in ax.get_xticklabels()] == ["conv.1", "conv.2"]


def test_bars_of_scores_by_category_are_standard_errors(tables, ax):
    concepts = tables["concepts"]
    plots.plot_by_category(concepts, "segment", "net", ax=ax)
    drawn = next(c for c in ax.containers if c.get_label() == "part")
    low, high = drawn.lines[2][0].get_segments()[0][:, 1]
    rows = concepts[(concepts["layer"] == "conv.1") & (concepts["task"] == "segment")]
    error = rows.loc[rows["category"] == "part", "probe_score"].sem()
    assert high - low == pytest.approx(2 * error)


def test_concepts_without_one_of_the_scores_do_not_count(tables, ax):
    concepts = tables["concepts"].copy()
    here = (concepts["model"] == "net") & (concepts["task"] == "segment")
    hidden = here & (concepts["concept"] == "wheel")
    concepts.loc[hidden, "best_unit_score"] = float("nan")
    plots.plot_by_category(concepts, "segment", "net", ax=ax)
    drawn = next(c for c in ax.containers if c.get_label() == "part").lines[0].get_ydata()
    left = concepts[here & ~hidden & (concepts["category"] == "part")]
    assert drawn[0] == pytest.approx(left[left["layer"] == "conv.1"]["probe_score"].mean())


@pytest.mark.parametrize("most", [1, 7, 8, 9, 100])
def test_bins_of_figure_5_hold_every_number_once(most):
    found = [i for low, high in plots.count_bins(most) for i in range(low, high + 1)]
    assert found == list(range(1, len(found) + 1))
    assert len(found) >= most


def test_units_are_counted_by_the_concepts_that_they_are_best_for(tables, ax):
    concepts = tables["concepts"]
    units = {"conv.1": UNITS, "conv.2": UNITS}
    assert plots.plot_concepts_per_unit(concepts, "segment", "net", units=units, ax=ax) is ax
    drawn = bars(ax)
    assert len(drawn) == 2
    for layer, (label, heights) in zip(units, drawn.items(), strict=True):
        own = concepts[(concepts["layer"] == layer) & (concepts["task"] == "segment")]
        counts = own.dropna(subset=["best_unit_score"])["best_unit"].value_counts()
        assert sum(h * n for n, h in enumerate(heights, start=1)) == counts.sum()
        assert heights == [(counts == n).sum() for n in range(1, len(heights) + 1)]
        assert f"{UNITS - len(counts)} of {UNITS} units for none" in label


def test_networks_are_bars_of_probes_and_diamonds_of_best_units(tables, ax):
    concepts = tables["concepts"]
    assert plots.plot_models(concepts, "segment", ax=ax) is ax
    rows = concepts[concepts["task"] == "segment"]
    for category, heights in bars(ax).items():
        own = rows[rows["category"] == category].groupby(["model", "layer"])["probe_score"].mean()
        np.testing.assert_allclose(heights, [own[place] for place in LAYERS])
    drawn = sorted(y for c in ax.collections if len(c.get_offsets()) == 3 and c.get_paths()
                   for y in c.get_offsets()[:, 1])  # fmt: skip
    means = rows.groupby(["model", "layer", "category"])["best_unit_score"].mean()
    np.testing.assert_allclose(drawn, sorted(means))


@pytest.mark.parametrize("concept", [HOSTILE, "object/mountain", "$x_1$", "nan"])
def test_distributions_count_the_images_above_zero(tables, ax, concept):
    rows = tables["per_image"]
    rows = rows[(rows["layer"] == "conv.1") & (rows["model"] == "net")]
    assert plots.plot_iou_distribution(rows, concept, ax=ax) is ax
    own = rows[rows["concept"] == concept]
    unit, probe = (sum(heights) for heights in bars(ax).values())
    assert (unit, probe) == ((own["iou_unit"] > 0).sum(), (own["iou_probe"] > 0).sum())
    zeros = 100 * (own["iou_probe"] == 0).mean()
    said = [t.get_text() for t in ax.get_legend().get_texts()]
    assert any(t.startswith(f"probe: {zeros:.0f} % zeros") for t in said)


def test_controls_show_every_score_at_its_place(tables, ax):
    rows = tables["concepts"]
    rows = rows[(rows["layer"] == "block") & (rows["task"] == "segment")]
    assert plots.plot_controls(rows, ax=ax) is ax
    known = rows.dropna(subset=["probe_score"])
    drawn = {c.get_label(): c.get_offsets() for c in ax.collections if c.get_label()[:1] != "_"}
    columns = {label: column for column, label, _ in plots.CONTROLS}
    assert set(columns) <= set(drawn)
    for label, column in columns.items():
        np.testing.assert_allclose(drawn[label][:, 0], known[column])
        np.testing.assert_allclose(drawn[label][:, 1], np.arange(len(known)))
    probe = next(c for c in ax.containers if c.get_label().startswith("probe"))
    np.testing.assert_allclose(probe.lines[0].get_xdata(orig=False), known["probe_score"])
    ends = np.array([s[:, 0] for s in probe.lines[2][0].get_segments()])
    np.testing.assert_allclose(ends, known[["probe_low", "probe_high"]])


def test_controls_that_are_not_there_are_not_drawn(tables, ax):
    rows = tables["concepts"]
    rows = rows[(rows["layer"] == "block") & (rows["task"] == "segment")]
    columns = ["concept", "task", "probe_score", "best_unit_score"]
    plots.plot_controls(rows[columns], ax=ax)
    said = {t.get_text() for t in ax.get_legend().get_texts()}
    assert "best unit" in said
    assert not {"best unit by chance", "probe, shuffled labels"} & said


def test_without_axes_a_plot_makes_its_own_figure(tables):
    made = plots.plot_models(tables["concepts"], "classify")
    assert made.get_figure() is not None
