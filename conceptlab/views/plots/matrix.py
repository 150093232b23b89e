"""A matrix of dots, concepts by classes: colour a value, size an effect, filled where sure."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conceptlab.views.style import CHANCE, PROBE, SHUFFLED, axes_or_new, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable

SIGNIFICANT = 0.05
MOST = 30  # concepts, or classes, in one figure
LARGEST = 8.0  # standard deviations above which dots grow no more
AREA = 170.0  # of the largest dot, in square points
SHOWN = (1.0, 3.0, 8.0)  # effects in the legend
DOUBTFUL = "chance"  # in the note of a vector that is no better


def dot_matrix(
    table: pd.DataFrame,
    value: str,
    *,
    by: str,
    scale: tuple[float, float],
    labels: tuple[str, str],
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw a dot for every class and concept of a table.

    A dot's size is the column effect; it is filled where p_adjusted is below 0.05. A hatched row is
    a concept whose note says that its vector is no better than chance; a cross, one with nothing to
    compare.

    Args:
        table: columns class, concept, effect, p_adjusted, note and those named; a row for a pair.
        value: the column that colours show.
        by: of more than 30 concepts, those are drawn in which this column is largest in size, and
            of more than 30 classes likewise.
        scale: the value in the middle of the colours, which is grey, and the distance to their end;
            0 for the largest that there is.
        labels: of the colours, and of the sizes.
        ax: where to draw; rows are concepts, columns classes.
    """
    concepts, classes = (_largest(table, column, by) for column in ("concept", "class"))
    rows = table[table["concept"].isin(concepts) & table["class"].isin(classes)]
    ax = axes_or_new(ax, _size(concepts, classes))
    y, x = rows["concept"].map(concepts.index), rows["class"].map(classes.index)
    _bands(ax, rows, y)
    colors = _scale(rows[value], *scale)
    _dots(ax, rows, x.to_numpy(), y.to_numpy(), colors.to_rgba(rows[value].to_numpy(float)))
    _legend(ax, 5 if len(classes) > 9 else 3, labels[1])
    _bar(ax, colors, labels[0])
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


def _largest(rows: pd.DataFrame, column: str, by: str) -> list[str]:
    """At most so many names, those that are largest in size, in the table's order."""
    size = rows[by].abs().groupby(rows[column], sort=False).max()
    kept = set(size.sort_values(ascending=False, kind="stable").index[:MOST])
    return [str(name) for name in size.index if name in kept]


def _size(concepts: list[str], classes: list[str]) -> tuple[float, float]:
    side, head = (max(map(len, names)) for names in (concepts, classes))
    width = 2.0 + 0.075 * side + 0.36 * max(len(classes), 8)
    return width, 1.6 + 0.05 * head + 0.26 * max(len(concepts), 10)


def _bands(ax: "Axes", rows: pd.DataFrame, y: "pd.Series[int]") -> None:
    """Hatched rows behind the concepts whose vector is no better than chance."""
    doubtful = rows["note"].astype(str).str.contains(DOUBTFUL)
    label = "vector no better than chance"
    for place in sorted(set(y[doubtful])):
        ax.axhspan(place - 0.5, place + 0.5, facecolor="#f2f2f2", edgecolor="#d0d0d0",
                   hatch="////", linewidth=0, zorder=0, label=label)  # fmt: skip
        label = ""  # one row stands for all in the legend


def _scale(values: "pd.Series[float]", middle: float, half: float) -> "ScalarMappable":
    """From numbers to colours, with grey in the middle."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    if not half:
        half = max(float((values - middle).abs().max()), 1e-12)
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


def _legend(ax: "Axes", columns: int, title: str) -> None:
    """Sizes of dots, what is filled, what is hatched: above."""
    for size in SHOWN:
        ax.scatter([], [], s=_area(np.array([size])), facecolors="white", edgecolors=CHANCE,
                   linewidths=1.3, label=f"{size:.0f}")  # fmt: skip
    ax.scatter([], [], s=50, color=CHANCE, label=f"adjusted p < {SIGNIFICANT}")
    ax.legend(fontsize=7.5, frameon=False, loc="lower left", bbox_to_anchor=(0, 1.0),
              ncols=columns, title=title,
              title_fontsize=7.5, alignment="left", handletextpad=0.3,
              columnspacing=1.0, borderpad=0.2)  # fmt: skip


def _bar(ax: "Axes", scale: "ScalarMappable", label: str) -> None:
    bar = ax.figure.colorbar(scale, ax=ax, shrink=0.7, pad=0.02, aspect=25)
    bar.set_label(label, fontsize=8)
    bar.ax.tick_params(labelsize=7.5)
    bar.outline.set_visible(False)


def _area(effect: NDArray[np.float64]) -> NDArray[np.float64]:
    """Square points of dots; an effect of nothing is still to be seen."""
    share: NDArray[np.float64] = np.minimum(np.abs(effect), LARGEST) / LARGEST
    return 6.0 + (AREA - 6.0) * share
