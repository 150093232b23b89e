"""Figures of the overlap of units and concepts: functions of a table that return `Axes`.

Numbers of figures are those of Fong & Vedaldi 2018.
"""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from conceptlab.views.style import (
    PROBE,
    SCORE,
    UNIT,
    axes_or_new,
    category_colors,
    category_markers,
    plain,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 40  # concepts in one figure
SHARES = (
    ("share", "uncorrected", PROBE), ("share_bh", "false discovery rate", "#009E73"),
    ("share_holm", "Holm", "#D55E00"),
)  # fmt: skip


def plot_saturation(
    subsets: pd.DataFrame, saturation: pd.DataFrame, task: str, *, ax: "Axes | None" = None
) -> "Axes":
    """Figure 3 with the F of saturation: mean score against F, a mark where it saturates.

    Args:
        subsets: columns task, category, units, score, of one model and layer.
        saturation: of the same, as `conceptlab.saturation` gives it.
        task: 'segment' or 'classify'.
        ax: where to draw; x is logarithmic. Bars are 95 % intervals of the F of saturation,
            up to all units where no F is surely enough.
    """
    ax = axes_or_new(ax)
    rows = subsets[subsets["task"] == task].dropna(subset=["score"])
    names = [str(c) for c in rows["category"].drop_duplicates()]
    colors, markers = category_colors(names), category_markers(names)
    marks = saturation[saturation["task"] == task].set_index("category")
    for name in names:
        mean = rows[rows["category"] == name].groupby("units")["score"].mean()
        label = plain(name)
        if name in marks.index and np.isfinite(marks.loc[name, "units"]):
            mark = marks.loc[name]
            label += f": F = {mark['units']:.3g}"
            ends = np.minimum(mark[["low", "high"]].to_numpy(dtype=float), mark["most"])
            reach = np.abs(ends[:, None] - mark["units"])
            ax.errorbar([mark["units"]], [mark["score"]], xerr=np.nan_to_num(reach), capsize=3,
                        marker=markers[name], color=colors[name], markersize=8,
                        markerfacecolor="white", linewidth=1.2, zorder=3)  # fmt: skip
        ax.plot(mean.index, mean, marker=markers[name], markersize=3, linewidth=1.3,
                color=colors[name], label=label)  # fmt: skip
    ax.set_xscale("log", base=2)
    most = int(rows["units"].max()) if len(rows) else 1
    ticks = [2**i for i in range(0, most.bit_length(), 2 if most > 128 else 1)]
    ax.set_xticks(ticks, [str(t) for t in ticks])
    ax.minorticks_off()
    ax.set_xlabel("units F", fontsize=9)
    ax.set_ylabel(f"mean {SCORE[task]}", fontsize=9)
    ax.legend(fontsize=7.5, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
    return ax


def plot_agreement(shares: pd.DataFrame, concept: str, *, ax: "Axes | None" = None) -> "Axes":
    """Figure 9: each unit's IoU_set for a concept beside max(w, 0) in its probe.

    Args:
        shares: columns concept, unit, weight, iou, as `conceptlab.unit_shares` gives them.
        concept: whose; its unit with the largest weight and the one with the best IoU are named.
        ax: where to draw.
    """
    ax = axes_or_new(ax, (4.2, 3.0))
    rows = shares[shares["concept"] == concept]
    weights = np.maximum(rows["weight"].to_numpy(), 0.0)
    iou, units = rows["iou"].to_numpy(), rows["unit"].to_numpy()
    ax.scatter(weights, iou, s=12, color=PROBE, alpha=0.7, linewidths=0)
    for place in dict.fromkeys([int(weights.argmax()), int(iou.argmax())]) if len(rows) else ():
        right = weights[place] > weights.max() / 2
        ax.annotate(f"unit {units[place]}", (weights[place], iou[place]), fontsize=7.5,
                    xytext=(-4 if right else 4, -3), textcoords="offset points",
                    ha="right" if right else "left")  # fmt: skip
    varies = len(rows) > 2 and np.ptp(weights) > 0 and np.ptp(iou) > 0
    said = f", r = {np.corrcoef(weights, iou)[0, 1]:.2f}" if varies else ""
    ax.set_title(plain(concept) + said, fontsize=9, loc="left")
    ax.set_xlabel("max(w, 0)", fontsize=9)
    ax.set_ylabel("IoU_set of the unit", fontsize=9)
    return ax


def plot_agreement_by_layer(table: pd.DataFrame, *, ax: "Axes | None" = None) -> "Axes":
    """Section 5.2: the share of concepts whose units' IoU and weights agree, layer by layer.

    Args:
        table: columns layer, share, share_bh, share_holm, alpha and model, as
            `conceptlab.agreement_by_layer` gives them.
        ax: where to draw.
    """
    ax = axes_or_new(ax, (max(4.6, 1.4 + 0.7 * len(table)), 3.0))
    x = np.arange(len(table))
    for place, (column, label, color) in enumerate(SHARES):
        ax.bar(x + 0.27 * (place - 1), table[column], 0.27, color=color, label=label)
    names = [plain(f"{m} {n}") for m, n in zip(table["model"], table["layer"], strict=True)]
    ax.set_xticks(x, names, rotation=35, ha="right", rotation_mode="anchor")
    ax.set_ylim(0, 1)
    alpha = float(table["alpha"].iloc[0]) if len(table) else 0.01
    ax.set_ylabel(f"share of concepts with p < {alpha:g}", fontsize=9)
    ax.legend(fontsize=7.5, frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
    return ax


def plot_zero_shares(distribution: pd.DataFrame, *, ax: "Axes | None" = None) -> "Axes":
    """Section 5.1: the share of images on which the best unit, and the probe, miss a concept.

    Args:
        distribution: of one model and layer, as `conceptlab.iou_distribution` gives it; the 40
            concepts with the most images are drawn, the most missed first.
        ax: where to draw.
    """
    rows = distribution.nlargest(MOST, "images").sort_values(
        "zeros_unit", ascending=False, kind="stable"
    )
    ax = axes_or_new(ax, (4.6, 1.1 + 0.18 * len(rows)))
    y = np.arange(len(rows))
    ax.hlines(y, rows["zeros_probe"], rows["zeros_unit"], color="#cccccc", linewidth=1.2, zorder=1)
    ax.scatter(rows["zeros_unit"], y, s=18, marker="D", color=UNIT, label="best unit", zorder=2)
    ax.scatter(rows["zeros_probe"], y, s=20, color=PROBE, label="probe", zorder=2)
    ax.set_yticks(y, [plain(c) for c in rows["concept"]])
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xlim(-0.02, 1.02)
    ax.set_xlabel("share of its images with IoU_ind = 0", fontsize=9)
    ax.legend(fontsize=8, frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    return ax
