"""Figures of the inverse map: how many concepts are packed into units, and which."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from conceptlab.views.style import CHANCE, PROBE, UNIT, axes_or_new, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_concepts_packed(units: pd.DataFrame, *, ax: "Axes | None" = None) -> "Axes":
    """Units by the number of concepts packed into them: the mirror of figure 5.

    Args:
        units: of one layer, as `pack_units(...).units` has them: columns packed, chance.
        ax: where to draw.
    """
    ax = axes_or_new(ax)
    most = int(np.nanmax([units["packed"].max(), units["chance"].max(), 1]))
    edges = np.arange(most + 2) - 0.5
    ax.hist(units["packed"], edges.tolist(), color=PROBE, rwidth=0.9,
            label=f"concept maps: {units['packed'].mean():.1f} on average")  # fmt: skip
    if units["chance"].notna().any():
        chance = units["chance"].dropna()
        ax.hist(chance, edges.tolist(), histtype="step", color=CHANCE, linewidth=1.4,
                label=f"maps of other images: {chance.mean():.1f}")  # fmt: skip
    ax.locator_params(axis="both", integer=True)
    ax.set_xlabel("concepts packed into the unit", fontsize=9)
    ax.set_ylabel("units", fontsize=9)
    ax.legend(fontsize=8, frameon=False)
    return ax


def plot_packed_unit(table: pd.DataFrame, unit: int, *, ax: "Axes | None" = None) -> "Axes":
    """What is packed into one unit: the share of its variance that each concept explains.

    Args:
        table: as `pack_units(...).table` has it.
        unit: which.
        ax: where to draw; the number beside a bar is the share of the halves that choose it.
    """
    rows = table[(table["unit"] == unit) & table["packed"]]
    ax = axes_or_new(ax, (4.4, 1.0 + 0.24 * max(len(rows), 1)))
    y = np.arange(len(rows))
    ax.barh(y, rows["share"], color=UNIT)
    for place, (share, stability) in enumerate(zip(rows["share"], rows["stability"], strict=True)):
        ax.text(share, place, f" {stability:.0%}", va="center", fontsize=7.5)
    ax.set_yticks(y, [plain(name) for name in rows["concept"]])
    ax.set_ylim(max(len(rows), 1) - 0.4, -0.6)
    ax.set_xlabel("share of the unit's variance", fontsize=9)
    ax.set_title(f"unit {unit}: {rows['share'].sum():.0%} explained", fontsize=9, loc="left")
    return ax
