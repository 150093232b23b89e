"""Figures of concept erasure: functions of a table that draw on given `Axes`."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conceptlab.errors import InputError
from conceptlab.views.style import CHANCE, PROBE, SHUFFLED, axes_or_new, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIGNIFICANT = 0.05
MOST = 30  # concepts, or classes, in one figure
LARGEST = 8.0  # standard deviations above which dots grow no more
AREA = 170.0  # of the largest dot, in square points
SHOWN = (1.0, 3.0, 8.0)  # effects in the legend
DOUBTFUL = "chance"  # in the note of a vector that is no better


def plot_erasure(
    table: pd.DataFrame, ablation: str = "direction", *, ax: "Axes | None" = None
) -> "Axes":
    """What erasing each concept does to each class.

    A dot's colour is the change of the class's score, its size the change against controls of equal
    size, in their standard deviations; it is filled where p_adjusted is below 0.05. A hatched row
    is a concept whose vector is no better than chance; a cross, a change with nothing to compare.

    Args:
        table: `conceptlab.erase(...).table`; of more than 30 concepts, those whose largest change
            is largest are drawn, and of more than 30 classes likewise.
        ablation: 'direction' or 'units'.
        ax: where to draw; rows are concepts, columns classes.

    Raises:
        InputError: no rows of that ablation.
    """
    rows = table[table["ablation"] == ablation]
    if not len(rows):
        known = ", ".join(map(str, table["ablation"].unique()))
        raise InputError(
            f"the table has no rows of ablation {ablation!r}; it has {known or 'none'}"
        )
    concepts, classes = (_largest(rows, column) for column in ("concept", "class"))
    rows = rows[rows["concept"].isin(concepts) & rows["class"].isin(classes)]
    ax = axes_or_new(ax, _size(concepts, classes))
    y, x = rows["concept"].map(concepts.index), rows["class"].map(classes.index)
    _bands(ax, rows, y)
    _dots(ax, rows, x.to_numpy(), y.to_numpy())
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


def _largest(rows: pd.DataFrame, column: str) -> list[str]:
    """At most so many names, those with the largest change, in the table's order."""
    size = rows["logit_change"].abs().groupby(rows[column], sort=False).max()
    kept = set(size.sort_values(ascending=False, kind="stable").index[:MOST])
    return [str(name) for name in size.index if name in kept]


def _size(concepts: list[str], classes: list[str]) -> tuple[float, float]:
    side, head = (max(map(len, names)) for names in (concepts, classes))
    width = 2.0 + 0.075 * side + 0.36 * max(len(classes), 4)
    return width, 1.2 + 0.05 * head + 0.26 * len(concepts)


def _bands(ax: "Axes", rows: pd.DataFrame, y: "pd.Series[int]") -> None:
    """Hatched rows behind the concepts whose vector is no better than chance."""
    doubtful = rows["note"].astype(str).str.contains(DOUBTFUL)
    label = "vector no better than chance"
    for place in sorted(set(y[doubtful])):
        ax.axhspan(place - 0.5, place + 0.5, facecolor="#f2f2f2", edgecolor="#d0d0d0",
                   hatch="////", linewidth=0, zorder=0, label=label)  # fmt: skip
        label = ""  # one row stands for all in the legend


def _dots(ax: "Axes", rows: pd.DataFrame, x: NDArray[np.int64], y: NDArray[np.int64]) -> None:
    """The dots, their legend and their scale of colours."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    change, effect = rows["logit_change"].to_numpy(float), rows["effect"].to_numpy(float)
    top = max(float(np.nanmax(np.abs(change))), 1e-12)
    colors = LinearSegmentedColormap.from_list("change", [PROBE, "#c4c4c4", SHUFFLED])
    scale = ScalarMappable(Normalize(-top, top), colors)
    shades = scale.to_rgba(change)
    known = np.isfinite(effect)
    sure = known & (rows["p_adjusted"] < SIGNIFICANT).to_numpy()
    for which, faces in ((sure, shades[sure]), (known & ~sure, "white")):
        ax.scatter(x[which], y[which], s=_area(effect[which]), facecolors=faces,
                   edgecolors=shades[which], linewidths=1.3, zorder=2)  # fmt: skip
    ax.scatter(x[~known], y[~known], s=16, marker="x", color=CHANCE, linewidths=0.8, zorder=2)
    for size in SHOWN:
        ax.scatter([], [], s=_area(np.array([size])), facecolors="white", edgecolors=CHANCE,
                   linewidths=1.3, label=f"{size:.0f}")  # fmt: skip
    ax.scatter([], [], s=50, color=CHANCE, label=f"adjusted p < {SIGNIFICANT}")
    ax.legend(fontsize=7.5, frameon=False, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=5,
              title="effect, in standard deviations of the controls", title_fontsize=7.5,
              alignment="left", handletextpad=0.3, columnspacing=1.0)  # fmt: skip
    figure = ax.get_figure(root=True)
    assert figure is not None
    bar = figure.colorbar(scale, ax=ax, shrink=0.7, pad=0.02, aspect=25)
    bar.set_label("change of the score, erased - intact", fontsize=8)
    bar.ax.tick_params(labelsize=7.5)
    bar.outline.set_visible(False)


def _area(effect: NDArray[np.float64]) -> NDArray[np.float64]:
    """Square points of dots; an effect of nothing is still to be seen."""
    share: NDArray[np.float64] = np.minimum(np.abs(effect), LARGEST) / LARGEST
    return 6.0 + (AREA - 6.0) * share
