"""Figures of what the choice of images leaves open: functions of a table that return `Axes`."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from conceptlab.views.style import CHANCE, PROBE, axes_or_new, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 60  # concepts in one figure


def plot_weight_intervals(
    table: pd.DataFrame, concept: str, k: int = 20, *, ax: "Axes | None" = None
) -> "Axes":
    """The largest weights of a concept with their intervals; open where they may be 0.

    Args:
        table: of `conceptlab.weight_intervals`.
        concept: whose.
        k: weights.
        ax: where to draw.
    """
    rows = table[table["concept"] == concept]
    rows = rows.loc[rows["weight"].abs().sort_values(ascending=False, kind="stable").index[:k]]
    ax = axes_or_new(ax, (4.4, 1.0 + 0.2 * len(rows)))
    y = np.arange(len(rows))
    sure = (rows["low"] > 0) | (rows["high"] < 0)
    ax.hlines(y, rows["low"], rows["high"], color=PROBE, linewidth=1.2, zorder=1)
    ax.scatter(rows["weight"], y, s=22, zorder=2, edgecolors=PROBE,
               facecolors=[PROBE if s else "white" for s in sure])  # fmt: skip
    ax.axvline(0, color="#888888", linewidth=0.8)
    ax.set_yticks(y, [f"unit {unit}" for unit in rows["unit"]])
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xlabel("weight, 95 % interval", fontsize=9)
    ax.set_title(plain(concept), fontsize=9, loc="left")
    return ax


def plot_pinned(table: pd.DataFrame, *, ax: "Axes | None" = None) -> "Axes":
    """Concepts by reliability; open where the data does not pin them down.

    Args:
        table: of `conceptlab.pinned_down`; the 60 least reliable are drawn. The line reaches to
            the cosine with the fit that 5 % of the draws stay below.
        ax: where to draw.
    """
    rows = table.head(MOST)
    ax = axes_or_new(ax, (4.8, 1.1 + 0.17 * len(rows)))
    y = np.arange(len(rows))
    ax.scatter(rows["low"], y, marker="|", s=40, color=CHANCE, label="5 % of draws' cosines")
    ax.scatter(rows["reliability"], y, s=20, zorder=2, edgecolors=PROBE, label="reliability",
               facecolors=[PROBE if p else "white" for p in rows["pinned"]])  # fmt: skip
    ax.axvline(0.5, color="#888888", linewidth=0.8, linestyle=":")
    ax.set_yticks(y, [plain(name) for name in rows["concept"]])
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xlim(min(0.0, float(rows["low"].min())) - 0.02, 1.02)
    ax.set_xlabel("reliability, and cosine with the fit", fontsize=9)
    ax.legend(fontsize=8, frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    return ax
