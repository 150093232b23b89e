"""Figures of TCAV, and of three families of measures side by side: functions of a table."""

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conceptlab.errors import InputError
from conceptlab.views.style import (
    CHANCE,
    PROBE,
    SHUFFLED,
    axes_or_new,
    category_colors,
    category_markers,
    plain,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable

SIGNIFICANT = 0.05
MOST = 30  # concepts, or classes, in one figure
LARGEST = 8.0  # standard deviations above which dots grow no more
AREA = 170.0  # of the largest dot, in square points
SHOWN = (1.0, 3.0, 8.0)  # effects in the legend
DOUBTFUL = "chance"  # in the note of a vector that is no better
VALUES = {  # what a dot's colour may be: its scale's middle, and half its width where that is fixed
    "score": (0.5, 0.5, "TCAV score: share of pictures with a positive derivative"),
    "magnitude": (0.5, 0.5, "share of the derivatives' size that is positive"),
    "sensitivity": (0.0, 0.0, "mean derivative of the logit along the concept"),
    "effect": (0.0, LARGEST, "effect, in standard deviations of random sets"),
}
FAMILIES = {
    "encoded": "encoded: score of the probe",
    "used": "used: TCAV effect",
    "contributing": "contributing: share of the logit",
    "erased": "erased: change of the logit",
}
NAMED = 5  # concepts with a name in a panel
SIDE = 2.6  # inches of a panel


def plot_tcav(table: pd.DataFrame, value: str = "score", *, ax: "Axes | None" = None) -> "Axes":
    """How much each class depends on each concept, and which of it random sets reach too.

    A dot's colour is the score, grey in the middle; its size is the effect against random sets, in
    their standard deviations; it is filled where p_adjusted is below 0.05. A hatched row is a
    concept whose vector is no better than chance; a cross, a concept with nothing to compare.

    Args:
        table: `conceptlab.tcav(...)` of one layer and one kind of vectors; of more than 30
            concepts, those whose largest effect is largest are drawn, and of more than 30 classes
            likewise.
        value: what the colour is: 'score', 'magnitude', 'sensitivity' or 'effect'.
        ax: where to draw; rows are concepts, columns classes.

    Raises:
        InputError: no rows, several of one class and concept, or another value.
    """
    if value not in VALUES:
        raise InputError(f"value is one of {', '.join(VALUES)}; got {value!r}")
    if not len(table):
        raise InputError("the table has no rows; there is nothing to draw")
    twice = table[table.duplicated(["class", "concept"])]
    if len(twice):
        raise InputError(
            f"class {twice['class'].iloc[0]} and concept {twice['concept'].iloc[0]} stand twice; "
            "give the rows of one layer and one kind of vectors"
        )
    concepts, classes = (_strongest(table, column) for column in ("concept", "class"))
    rows = table[table["concept"].isin(concepts) & table["class"].isin(classes)]
    ax = axes_or_new(ax, _size(concepts, classes))
    y, x = rows["concept"].map(concepts.index), rows["class"].map(classes.index)
    _bands(ax, rows, y)
    scale = _scale(rows, value)
    _dots(ax, rows, x.to_numpy(), y.to_numpy(), scale.to_rgba(rows[value].to_numpy(float)))
    _legend(ax)
    _bar(ax, scale, VALUES[value][2])
    ax.set_xticks(range(len(classes)), [plain(name) for name in classes], rotation=40, ha="right",
                  rotation_mode="anchor")  # fmt: skip
    ax.set_yticks(range(len(concepts)), [plain(name) for name in concepts])
    ax.set_xlim(-0.6, len(classes) - 0.4)
    ax.set_ylim(len(concepts) - 0.4, -0.6)
    ax.set_axisbelow(True)
    ax.grid(color="#eeeeee", linewidth=0.7)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    return ax


def _strongest(rows: pd.DataFrame, column: str) -> list[str]:
    """At most so many names, those with the largest effect, in the table's order."""
    size = rows["effect"].abs().groupby(rows[column], sort=False).max()
    kept = set(size.sort_values(ascending=False, kind="stable").index[:MOST])
    return [str(name) for name in size.index if name in kept]


def _size(concepts: list[str], classes: list[str]) -> tuple[float, float]:
    side, head = (max(map(len, names)) for names in (concepts, classes))
    width = 2.0 + 0.075 * side + 0.36 * max(len(classes), 8)
    return width, 1.3 + 0.05 * head + 0.26 * max(len(concepts), 10)


def _bands(ax: "Axes", rows: pd.DataFrame, y: "pd.Series[int]") -> None:
    """Hatched rows behind the concepts whose vector is no better than chance."""
    doubtful = rows["note"].astype(str).str.contains(DOUBTFUL)
    label = "vector no better than chance"
    for place in sorted(set(y[doubtful])):
        ax.axhspan(place - 0.5, place + 0.5, facecolor="#f2f2f2", edgecolor="#d0d0d0",
                   hatch="////", linewidth=0, zorder=0, label=label)  # fmt: skip
        label = ""  # one row stands for all in the legend


def _scale(rows: pd.DataFrame, value: str) -> "ScalarMappable":
    """From numbers to colours, with grey in the middle."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    middle, half, _ = VALUES[value]
    if not half:
        half = max(float(rows[value].abs().max()), 1e-12)
    colors = LinearSegmentedColormap.from_list("score", [PROBE, "#c4c4c4", SHUFFLED])
    return ScalarMappable(Normalize(middle - half, middle + half), colors)


def _dots(
    ax: "Axes",
    rows: pd.DataFrame,
    x: NDArray[np.int64],
    y: NDArray[np.int64],
    shades: NDArray[np.float64],
) -> None:
    effect = rows["effect"].to_numpy(float)
    known = np.isfinite(effect)
    sure = known & (rows["p_adjusted"] < SIGNIFICANT).to_numpy()
    for which, faces in ((sure, shades[sure]), (known & ~sure, "white")):
        ax.scatter(x[which], y[which], s=_area(effect[which]), facecolors=faces,
                   edgecolors=shades[which], linewidths=1.3, zorder=2)  # fmt: skip
    ax.scatter(x[~known], y[~known], s=16, marker="x", color=CHANCE, linewidths=0.8, zorder=2)


def _legend(ax: "Axes") -> None:
    """Sizes of dots, what is filled, what is hatched: above."""
    for size in SHOWN:
        ax.scatter([], [], s=_area(np.array([size])), facecolors="white", edgecolors=CHANCE,
                   linewidths=1.3, label=f"{size:.0f}")  # fmt: skip
    ax.scatter([], [], s=50, color=CHANCE, label=f"adjusted p < {SIGNIFICANT}")
    ax.legend(fontsize=7.5, frameon=False, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=5,
              title="size: effect, in standard deviations of random sets", title_fontsize=7.5,
              alignment="left", handletextpad=0.3, columnspacing=1.0)  # fmt: skip


def _bar(ax: "Axes", scale: "ScalarMappable", label: str) -> None:
    figure = ax.get_figure(root=True)
    assert figure is not None
    bar = figure.colorbar(scale, ax=ax, shrink=0.7, pad=0.02, aspect=25)
    bar.set_label(label, fontsize=8)
    bar.ax.tick_params(labelsize=7.5)
    bar.outline.set_visible(False)


def _area(effect: NDArray[np.float64]) -> NDArray[np.float64]:
    """Square points of dots; an effect of nothing is still to be seen."""
    share: NDArray[np.float64] = np.minimum(np.abs(effect), LARGEST) / LARGEST
    return 6.0 + (AREA - 6.0) * share


def plot_families(table: pd.DataFrame, ax: "Axes | None" = None) -> "Axes":
    """Where a concept is encoded, used, contributing, and missed when it is erased: all pairs.

    A panel for every two measures, a point for every concept, and Spearman's rank correlation of
    the two above it. The concepts that lie farthest from the middle of a panel have their names.

    Args:
        table: columns concept, category, and at least two of encoded (IoU or accuracy of the
            probe), used (TCAV effect), contributing (share of the logit in the basis
            decomposition), erased (change of the logit); NaN where a concept has none.
        ax: its place is divided into the panels; a figure of its own if not given.

    Returns:
        The axes that were given, or of that figure, without marks of their own; the panels are its
        `child_axes`.

    Raises:
        InputError: fewer than two of the measures.
    """
    measures = [name for name in FAMILIES if name in table and table[name].notna().any()]
    if len(measures) < 2:
        raise InputError(
            f"the table needs at least two of the columns {', '.join(FAMILIES)} with values; it "
            f"has {', '.join(measures) or 'none'}"
        )
    pairs = list(combinations(measures, 2))
    columns = 3 if len(pairs) > 1 else 1
    rows = -(-len(pairs) // columns)
    if ax is None:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(SIDE * 1.25 * columns, SIDE * 1.05 * rows + 0.4))
        ax = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    ax.set_axis_off()
    colors, markers = category_colors(table["category"]), category_markers(table["category"])
    for place, (first, second) in enumerate(pairs):
        panel = ax.inset_axes(_place(place, rows, columns))
        _family(panel, table, (first, second), colors, markers)
    for name, color in colors.items():
        ax.scatter([], [], s=24, color=color, marker=markers[name], label=plain(name))
    ax.legend(fontsize=8, frameon=False, loc="lower center", ncols=6, bbox_to_anchor=(0.5, 0.0),
              borderaxespad=0.2, handletextpad=0.2)  # fmt: skip
    return ax


def _place(place: int, rows: int, columns: int) -> tuple[float, float, float, float]:
    """Left, bottom, width and height of a panel, in shares of the page."""
    foot = 0.1 / rows
    wide, high = 1 / columns, (1 - foot) / rows
    row, column = divmod(place, columns)
    left, bottom = column * wide, 1 - (row + 1) * high
    return left + 0.22 * wide, bottom + 0.18 * high, 0.73 * wide, 0.7 * high


def _family(
    ax: "Axes",
    table: pd.DataFrame,
    pair: tuple[str, str],
    colors: dict[str, str],
    markers: dict[str, str],
) -> None:
    """One panel: two measures of every concept that has both."""
    axes_or_new(ax)
    known = table.dropna(subset=list(pair))
    x, y = (known[name].astype(float) for name in pair)
    for category, rows in known.groupby("category", sort=False):
        ax.scatter(rows[pair[0]], rows[pair[1]], s=16, color=colors[str(category)],
                   marker=markers[str(category)], alpha=0.85, linewidths=0)  # fmt: skip
    _names(ax, known["concept"], x, y)
    ax.set_xlabel(FAMILIES[pair[0]], fontsize=8)
    ax.set_ylabel(FAMILIES[pair[1]], fontsize=8)
    ax.tick_params(labelsize=7)
    ax.margins(0.16)
    rank = spearman(x, y)
    said = "no rank correlation" if np.isnan(rank) else f"Spearman {rank:.2f}"
    ax.set_title(f"{said}, {len(known)} concepts", fontsize=8.5)


def spearman(first: "pd.Series[float]", second: "pd.Series[float]") -> float:
    """Correlation of ranks; NaN for fewer than three, or where one of them does not vary."""
    if len(first) < 3 or first.nunique() < 2 or second.nunique() < 2:
        return float("nan")
    return float(first.rank().corr(second.rank()))


def _names(
    ax: "Axes", names: "pd.Series[str]", x: "pd.Series[float]", y: "pd.Series[float]"
) -> None:
    """The names of the points farthest from the middle, no two in one another's way."""
    spans = [max(float(np.ptp(v)), 1e-12) if len(v) else 1.0 for v in (x, y)]
    points = np.column_stack([(v - v.median()) / s for v, s in zip((x, y), spans, strict=True)])
    taken: list[NDArray[np.float64]] = []
    for place in np.argsort(-np.square(points).sum(axis=1), kind="stable"):
        if len(taken) == NAMED:
            break
        if any(abs(points[place] - other)[1] < 0.09 for other in taken):
            continue
        taken.append(points[place])
        left = points[place, 0] > 0
        ax.annotate(
            plain(names.iloc[place]), (x.iloc[place], y.iloc[place]),
            xytext=(-4 if left else 4, 0), textcoords="offset points", fontsize=6.5, va="center",
            ha="right" if left else "left", color="#444444",
        )  # fmt: skip
