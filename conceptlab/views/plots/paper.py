"""Figures of the paper's kinds: functions of a table that draw on given `Axes` and return them.

Numbers of figures are those of Fong & Vedaldi 2018. Nothing is computed here but means, standard
errors and counts of what a table holds; without `ax` a figure of its own is made, that no window
shows.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from conceptlab.views.style import (
    CHANCE,
    PLAIN,
    PROBE,
    SCORE,
    SHUFFLED,
    UNIT,
    UNTRAINED,
    axes_or_new,
    category_colors,
    category_markers,
    plain,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = {"probe_score": "probe over all units", "best_unit_score": "best single unit"}
EXACT = 8  # figure 5: numbers of concepts up to here have a bar of their own
IOU_EDGES = np.linspace(0, 1, 21)


def scored(concepts: pd.DataFrame, task: str) -> pd.DataFrame:
    """The rows of a task whose probe and best unit both have a score."""
    rows = concepts[concepts["task"] == task]
    return rows.dropna(subset=["probe_score", "best_unit_score"])


def _layer_ticks(ax: "Axes", names: Sequence[str]) -> None:
    crowded = sum(len(n) for n in names) > 42
    ax.set_xticks(
        range(len(names)), [plain(n) for n in names], rotation=35 if crowded else 0,
        ha="right" if crowded else "center", rotation_mode="anchor",
    )  # fmt: skip
    ax.set_xlim(-0.5, len(names) - 0.5)


def plot_by_category(
    concepts: pd.DataFrame,
    task: str,
    model: str,
    *,
    column: str = "probe_score",
    ax: "Axes | None" = None,
) -> "Axes":
    """Figure 2: mean score of each category along the layers, with standard errors.

    The paper's left panel is `column="probe_score"`, its right one `column="best_unit_score"`.

    Args:
        concepts: columns model, layer, task, category, probe_score, best_unit_score; layers stand
            in the order that they are drawn in.
        task: 'segment' or 'classify'.
        model: which network.
        column: the score to draw; only concepts that have both scores count.
        ax: where to draw.

    Returns:
        The axes; one line per category, its label the category.
    """
    ax = axes_or_new(ax)
    rows = scored(concepts, task)
    rows = rows[rows["model"] == model]
    layers = list(rows["layer"].drop_duplicates())
    names = [str(c) for c in rows["category"].drop_duplicates()]
    colors, markers = category_colors(names), category_markers(names)
    for place, name in enumerate(names):
        of_layer = rows[rows["category"] == name].groupby("layer")[column]
        shift = 0.05 * (place - (len(names) - 1) / 2)
        ax.errorbar(
            np.arange(len(layers)) + shift, of_layer.mean().reindex(layers),
            of_layer.sem().reindex(layers), color=colors[name], marker=markers[name],
            markersize=5, capsize=2, linewidth=1.4, elinewidth=0.9, label=plain(name),
        )  # fmt: skip
    _layer_ticks(ax, layers)
    if task == "classify":
        ax.axhline(0.5, color="#888888", linewidth=0.8, linestyle=":")
    ax.set_ylabel(f"mean {SCORE[task]}", fontsize=9)
    ax.set_title(f"{plain(model)}: {COLUMNS.get(column, column)}", fontsize=9, loc="left")
    ax.legend(fontsize=8, frameon=False)
    return ax


def count_bins(most: int) -> list[tuple[int, int]]:
    """First and last number of concepts of each bar of figure 5.

    >>> count_bins(3)
    [(1, 1), (2, 2), (3, 3)]
    >>> count_bins(20)[-3:]
    [(8, 8), (9, 16), (17, 32)]
    """
    bins = [(i, i) for i in range(1, min(most, EXACT) + 1)]
    while bins and bins[-1][1] < most:
        bins.append((bins[-1][1] + 1, bins[-1][1] * 2))
    return bins


def plot_concepts_per_unit(
    concepts: pd.DataFrame,
    task: str,
    model: str,
    *,
    units: Mapping[str, int] | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Figure 5: how many units are the best one for how many concepts, by layer.

    Args:
        concepts: columns model, layer, task, best_unit, best_unit_score.
        task: 'segment' or 'classify'.
        model: which network.
        units: layer to K, where known; the legend then says how many units are best for none.
        ax: where to draw.
    """
    import matplotlib

    ax = axes_or_new(ax)
    rows = concepts[(concepts["task"] == task) & (concepts["model"] == model)]
    rows = rows[rows["best_unit"] >= 0].dropna(subset=["best_unit_score"])
    layers = list(rows["layer"].drop_duplicates())
    counts = {layer: rows[rows["layer"] == layer]["best_unit"].value_counts() for layer in layers}
    bins = count_bins(max((int(c.max()) for c in counts.values()), default=1))
    shades = matplotlib.colormaps["cividis_r"](np.linspace(0.1, 0.95, max(len(layers), 1)))
    width = 0.84 / max(len(layers), 1)
    for place, layer in enumerate(layers):
        heights = [int(counts[layer].between(low, high).sum()) for low, high in bins]
        shift = (place - (len(layers) - 1) / 2) * width
        label = plain(layer)
        if units and layer in units:
            label += f" ({units[layer] - len(counts[layer])} of {units[layer]} units for none)"
        ax.bar(np.arange(len(bins)) + shift, heights, width, color=shades[place], label=label)
    names = [str(low) if low == high else f"{low}-{high}" for low, high in bins]
    ax.set_xticks(range(len(bins)), names)
    ax.locator_params(axis="y", integer=True)
    ax.set_xlabel("concepts that the unit is best for", fontsize=9)
    ax.set_ylabel("units", fontsize=9)
    ax.set_title(plain(model), fontsize=9, loc="left")
    ax.legend(fontsize=8, frameon=False)
    return ax


def plot_models(concepts: pd.DataFrame, task: str, *, ax: "Axes | None" = None) -> "Axes":
    """Figure 6: for every network and layer, mean score of each category, probe and best unit.

    Args:
        concepts: columns model, layer, task, category, probe_score, best_unit_score.
        task: 'segment' or 'classify'.
        ax: where to draw.

    Returns:
        The axes; bars are probes with their standard errors, diamonds the best units.
    """
    rows = scored(concepts, task)
    places = list(dict.fromkeys(zip(rows["model"], rows["layer"], strict=True)))
    names = [str(c) for c in rows["category"].drop_duplicates()]
    colors = category_colors(names)
    ax = axes_or_new(ax, (max(5.4, 1.2 + 0.16 * len(places) * (len(names) + 1)), 3.6))
    width = 0.84 / max(len(names), 1)
    for number, name in enumerate(names):
        groups = rows[rows["category"] == name].groupby(["model", "layer"])
        probe, unit = groups["probe_score"], groups["best_unit_score"]
        x = np.arange(len(places)) + (number - (len(names) - 1) / 2) * width
        ax.bar(
            x, probe.mean().reindex(places), width, yerr=probe.sem().reindex(places),
            color=colors[name], label=plain(name), error_kw={"linewidth": 0.8, "capsize": 1.5},
        )  # fmt: skip
        ax.scatter(
            x, unit.mean().reindex(places), marker="D", s=18, color="white", edgecolors="black",
            linewidths=0.9, zorder=3, label="best unit" if name == names[-1] else None,
        )  # fmt: skip
    _layer_ticks(ax, [layer for _, layer in places])
    _model_labels(ax, [model for model, _ in places])
    if task == "classify":
        ax.axhline(0.5, color="#888888", linewidth=0.8, linestyle=":")
    ax.set_ylabel(f"mean {SCORE[task]}", fontsize=9)
    ax.legend(fontsize=8, frameon=False)
    return ax


def _model_labels(ax: "Axes", models: Sequence[str]) -> None:
    """The network's name above its layers, and a line between networks."""
    for name in dict.fromkeys(models):
        own = [i for i, other in enumerate(models) if other == name]
        ax.text(float(np.mean(own)), 1.02, plain(name), transform=ax.get_xaxis_transform(),
                ha="center", va="bottom", fontsize=9)  # fmt: skip
        if own[0]:
            ax.axvline(own[0] - 0.5, color="#bbbbbb", linewidth=0.8)


def iou_label(values: pd.Series, name: str) -> str:
    """What figure 7's legend says: the share of zeros, mean and deviation of the rest.

    >>> iou_label(pd.Series([0, 0, 0.2, 0.4]), "probe")
    'probe: 50 % zeros, else 0.30 ± 0.10'
    """
    known = values.dropna().to_numpy(dtype=float)
    if not len(known):
        return f"{name}: none"
    said = f"{name}: {100 * float((known == 0).mean()):.0f} % zeros"
    above = known[known > 0]
    return f"{said}, else {above.mean():.2f} ± {above.std():.2f}" if len(above) else said


def plot_iou_distribution(
    per_image: pd.DataFrame, concept: str, *, ax: "Axes | None" = None
) -> "Axes":
    """Figure 7: the distribution of IoU_ind of the best unit and of the probe.

    Args:
        per_image: columns concept, iou_unit, iou_probe, of one model and layer.
        concept: whose.
        ax: where to draw. Bars are of the non-zero part, as are mean and standard deviation in
            the legend, which gives the share of zeros too.
    """
    ax = axes_or_new(ax, (4.2, 2.8))
    rows = per_image[per_image["concept"] == concept]
    for column, color, name in (("iou_unit", UNIT, "best unit"), ("iou_probe", PROBE, "probe")):
        values = rows[column].dropna().to_numpy(dtype=float)
        ax.hist(values[values > 0], IOU_EDGES.tolist(), color=color, alpha=0.6,
                label=iou_label(rows[column], name))  # fmt: skip
    ax.set_xlim(0, 1)
    ax.set_ylim(top=1.45 * ax.get_ylim()[1])  # room for the legend
    ax.locator_params(axis="y", integer=True)
    ax.set_xlabel("IoU_ind above zero", fontsize=9)
    ax.set_ylabel("images", fontsize=9)
    ax.set_title(plain(concept), fontsize=9, loc="left")
    ax.legend(fontsize=7, frameon=False)
    return ax


CONTROLS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("chance_score", "best unit by chance", {"marker": "|", "color": CHANCE, "s": 46}),
    ("shuffled_score", "probe, shuffled labels", {"marker": "x", "color": SHUFFLED, "s": 18}),
    ("untrained_score", "probe, untrained network",
     {"marker": "^", "facecolors": "none", "edgecolors": UNTRAINED, "s": 24}),
    ("position_score", "position alone", {"marker": "+", "color": PLAIN, "s": 30}),
    ("colour_score", "colour alone", {"marker": "1", "color": PLAIN, "s": 30}),
    ("plain_score", "position and colour", {"marker": "*", "color": PLAIN, "s": 26}),
    ("best_unit_score", "best unit", {"marker": "D", "color": UNIT, "s": 16}),
)  # fmt: skip


def plot_controls(concepts: pd.DataFrame, *, ax: "Axes | None" = None) -> "Axes":
    """Probe scores with their 95 % intervals, beside every control that there is.

    Args:
        concepts: rows of one model, layer and task; drawn from top to bottom as they stand. Columns
            concept, task, probe_score, probe_low, probe_high, best_unit_score, chance_score,
            shuffled_score, untrained_score, position_score, colour_score, plain_score (those that
            are there and not all missing).
        ax: where to draw.
    """
    rows = concepts.dropna(subset=["probe_score"])
    ax = axes_or_new(ax, (5.4, 1.1 + 0.18 * len(rows)))
    y = np.arange(len(rows))
    for column, label, look in CONTROLS:
        if column in rows and rows[column].notna().any():
            ax.scatter(rows[column], y, label=label, linewidths=1.1, **look)
    spread = None
    if {"probe_low", "probe_high"} <= set(rows.columns):
        both = [rows["probe_score"] - rows["probe_low"], rows["probe_high"] - rows["probe_score"]]
        spread = np.clip(np.array(both, dtype=float), 0, None)
    ax.errorbar(rows["probe_score"], y, xerr=spread, fmt="o", color=PROBE, markersize=4,
                capsize=0, elinewidth=1.2, label="probe, 95 % interval")  # fmt: skip
    ax.set_yticks(y, [plain(c) for c in rows["concept"]])
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.grid(axis="y", color="#e6e6e6", linewidth=0.6)
    ax.set_axisbelow(True)
    tasks = list(rows["task"].drop_duplicates()) if "task" in rows else []
    ax.set_xlabel(SCORE[tasks[0]] if len(tasks) == 1 else "score", fontsize=9)
    ax.legend(fontsize=8, frameon=False)
    return ax
