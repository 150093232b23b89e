"""Figures of comparisons between embeddings that a run folder's tables allow."""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from conceptlab.analysis.vectors.projection import Projection
from conceptlab.views.figures.panels import Draw, Planned, named_pairs, panels
from conceptlab.views.plots import comparison as plots
from conceptlab.views.plots.space import plot_projection
from conceptlab.views.style import TASKS, slug

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ZOOMS = ("zoom", "zoom_by_category", "zoom_by_concept")


def planned_comparison(tables: dict[str, pd.DataFrame]) -> Iterator[Planned]:
    """Figure 10, left and right, every measure, and the zoom.

    Args:
        tables: by name, as `read_tables` gives them.
    """
    if (projection := tables.get("projection")) is not None:
        yield from _planes(projection)
    if (distances := tables.get("distances")) is not None:
        yield from _distances(distances, tables.get("distances_by_category"))
    if (comparison := tables.get("comparison")) is not None:
        yield from _measures(comparison)
    if tables.get("zoom") is not None:
        yield from _zoom(tables)


def _planes(projection: pd.DataFrame) -> Iterator[Planned]:
    for (model, layer, task), rows in projection.groupby(["model", "layer", "task"], sort=False):
        plane = Projection(rows, float(rows["trustworthiness"].iloc[0]), rows["method"].iloc[0])
        draw: Draw = partial(_draw_plane, plane)
        yield Planned(
            f"plane-{task}-{slug(str(model))}",
            f"Concepts on a plane: {TASKS[str(task)]}, {model}, {layer}",
            f"{plane.method} of the cosines between concept vectors (section 5.3), in the layer "
            "whose probes score best. Near on the plane is mostly near in the embedding, as far as "
            "the trustworthiness says (1: entirely; 0.5: not at all).",
            partial(panels, [draw], 1, (8.0, 5.6), one_legend=False),
        )


def _draw_plane(plane: Projection, ax: "Axes") -> "Axes":
    return plot_projection(plane, ax=ax)


def _distances(distances: pd.DataFrame, parts: pd.DataFrame | None) -> Iterator[Planned]:
    for task in distances["task"].drop_duplicates():
        rows = named_pairs(distances[distances["task"] == task])
        names = rows["i"].drop_duplicates()
        count = rows["concepts"].max()
        over = "the same" if pd.isna(count) else f"the same {int(count)}"
        draw: Draw = partial(_draw_distances, rows)
        yield Planned(
            f"figure10-{task}",
            f"Distances between embeddings: {TASKS[task]}",
            f"Figure 10. Left: D_ij, the squared Frobenius norm of the difference of two networks' "
            f"matrices of cosines between concept vectors, over {over} concepts.",
            partial(panels, [draw], 1, plots.size_of(names, names), one_legend=False),
        )
        if parts is None or len(names) < 2:
            continue
        own = named_pairs(parts[parts["task"] == task])
        pairs = (own["i"] + " - " + own["j"]).drop_duplicates()
        pairs = pairs[: min(len(names) * (len(names) - 1) // 2, plots.MOST)]
        size = plots.size_of(pairs, own["category"].drop_duplicates())
        draw = partial(_draw_by_category, own)
        yield Planned(
            f"figure10-categories-{task}",
            f"Distances by category: {TASKS[task]}",
            "Figure 10. Right: mean of D_ijc over the concepts of each category, for the pairs of "
            "embeddings that differ most.",
            partial(panels, [draw], 1, size, one_legend=False),
        )


def _draw_distances(rows: pd.DataFrame, ax: "Axes") -> "Axes":
    return plots.plot_distances(rows, ax=ax)


def _draw_by_category(rows: pd.DataFrame, ax: "Axes") -> "Axes":
    return plots.plot_distances_by_category(rows, ax=ax)


def _measures(comparison: pd.DataFrame) -> Iterator[Planned]:
    for what, rows in comparison.groupby("task", sort=False):
        pairs = named_pairs(rows)
        spaces = dict.fromkeys([*pairs["i"], *pairs["j"]])
        measures = list(rows["measure"].drop_duplicates())
        draws: list[Draw] = [partial(_draw_measure, pairs, str(name)) for name in measures]
        over = (
            "activations of the same images" if what == "activations"
            else f"{TASKS[str(what)]} vectors of the same concepts"
        )  # fmt: skip
        yield Planned(
            f"comparison-{what}",
            f"Agreement of networks and layers: {over}",
            f"{', '.join(measures)} between every two layers, on {over}; dark is alike. Values in "
            "brackets may be chance (permutation test, p > 0.05). The table below has intervals, "
            "and says when each measure is adequate.",
            partial(panels, draws, min(2, len(draws)), plots.size_of(spaces, spaces),
                    one_legend=False),
        )  # fmt: skip


def _draw_measure(rows: pd.DataFrame, measure: str, ax: "Axes") -> "Axes":
    return plots.plot_comparison(rows, measure, ax=ax)


def _zoom(tables: dict[str, pd.DataFrame]) -> Iterator[Planned]:
    for task in tables["zoom"]["task"].drop_duplicates():
        levels = [tables[name][tables[name]["task"] == task] for name in ZOOMS if name in tables]
        draws: list[Draw] = [partial(_draw_zoom, level) for level in levels]
        shown = max(min(len(level), plots.MOST) for level in levels)
        yield Planned(
            f"zoom-{task}",
            f"Where networks differ by more than training runs: {TASKS[task]}",
            "D_ij of whole embeddings, and mean D_ijc of categories and concepts, between networks "
            "(dots) and between training runs of one network (strokes); filled where the excess is "
            "significant (p < 0.05, uncorrected). The concepts are those of largest excess.",
            partial(panels, draws, 2, (6.4, 1.4 + 0.2 * shown)),
        )


def _draw_zoom(rows: pd.DataFrame, ax: "Axes") -> "Axes":
    return plots.plot_zoom(rows, ax=ax)
