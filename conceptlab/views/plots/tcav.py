"""Figures of TCAV, and of three families of measures side by side: functions of a table."""

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conceptlab.errors import InputError
from conceptlab.views.plots.matrix import LARGEST, dot_matrix
from conceptlab.views.style import (
    axes_or_new,
    category_colors,
    category_markers,
    plain,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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
EDGE = 0.22  # of a panel's points: so near its end there is no room for a name
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
    middle, half, label = VALUES[value]
    return dot_matrix(
        table, value, by="effect", scale=(middle, half),
        labels=(label, "size: effect, in standard deviations of random sets"), ax=ax,
    )  # fmt: skip


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
        left = _freer_left(points - points[place])
        ax.annotate(
            plain(names.iloc[place]), (x.iloc[place], y.iloc[place]),
            xytext=(-4 if left else 4, 0), textcoords="offset points", fontsize=6.5, va="center",
            ha="right" if left else "left", color="#444444",
        )  # fmt: skip


def _freer_left(others: NDArray[np.float64]) -> bool:
    """Whether a name covers fewer of the other points at the left of a point at (0, 0)."""
    if others[:, 0].min() > -EDGE or others[:, 0].max() < EDGE:
        return bool(others[:, 0].max() < EDGE)
    near = np.abs(others[:, 1]) < 0.05
    sides = [(near & (side * others[:, 0] > 0) & (side * others[:, 0] < 0.3)).sum()
             for side in (-1, 1)]  # fmt: skip
    return bool(sides[0] < sides[1])
