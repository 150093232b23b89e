"""Figures of the paper's kinds: functions of a table that draw on given `Axes` and return them.

Numbers of figures are those of Fong & Vedaldi 2018.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Okabe & Ito's colours, which colour-blind readers can tell apart.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999", "#F0E442")
USUAL = ("object", "part", "material", "color", "scene", "texture")
PROBE, UNIT = "#0072B2", "#E69F00"
SCORE = {"segment": "IoU_set", "classify": "accuracy"}


def category_colors(categories: Sequence[str]) -> dict[str, str]:
    """A fixed colour for Broden's categories, and the rest in order."""
    rest = [c for c in categories if c not in USUAL]
    return {c: PALETTE[i % len(PALETTE)] for i, c in enumerate([*USUAL, *rest])}


def _axes(ax: "Axes | None", size: tuple[float, float] = (6.0, 3.6)) -> "Axes":
    if ax is not None:
        return ax
    from matplotlib.figure import Figure

    return Figure(figsize=size, layout="constrained").subplots()


def _known(concepts: pd.DataFrame, task: str) -> pd.DataFrame:
    rows = concepts[concepts["task"] == task]
    return rows.dropna(subset=["probe_score", "best_unit_score"])


def plot_by_category(
    concepts: pd.DataFrame, task: str, model: str, ax: "Axes | None" = None
) -> "Axes":
    """Figure 2: mean score of each category along the layers, probe and best single unit.

    Args:
        concepts: the run's table of concepts.
        task: 'segment' or 'classify'.
        model: which network.
        ax: where to draw.

    Returns:
        The axes; solid lines are probes, dashed ones single units, bars the standard error.
    """
    ax = _axes(ax)
    rows = _known(concepts, task)
    rows = rows[rows["model"] == model]
    layers = list(rows["layer"].drop_duplicates())
    colors = category_colors(list(rows["category"].drop_duplicates()))
    for category, group in rows.groupby("category", sort=False):
        for column, style in (("probe_score", "-"), ("best_unit_score", "--")):
            of_layer = group.groupby("layer")[column]
            mean = of_layer.mean().reindex(layers)
            error = of_layer.sem().reindex(layers).fillna(0)
            label = str(category) if style == "-" else None
            ax.errorbar(
                range(len(layers)), mean, error, color=colors[str(category)], linestyle=style,
                marker="o" if style == "-" else "s", markersize=4, capsize=2, label=label,
            )  # fmt: skip
    ax.set_xticks(range(len(layers)), layers, rotation=20 if len(layers) > 3 else 0)
    ax.set_ylabel(f"mean {SCORE[task]}")
    ax.set_title(f"{model}: probe (solid), best unit (dashed)", fontsize=10)
    ax.legend(fontsize=8, frameon=False)
    return ax


def plot_subsets(subsets: pd.DataFrame, task: str, ax: "Axes | None" = None) -> "Axes":
    """Figure 3: mean score against the number of units F, by category.

    Args:
        subsets: columns task, concept, category, units, score, of one model and layer.
        task: 'segment' or 'classify'.
        ax: where to draw.
    """
    ax = _axes(ax)
    rows = subsets[subsets["task"] == task].dropna(subset=["score"])
    colors = category_colors(list(rows["category"].drop_duplicates()))
    for category, group in rows.groupby("category", sort=False):
        mean = group.groupby("units")["score"].mean()
        ax.plot(mean.index, mean, marker="o", markersize=4, color=colors[str(category)],
                label=str(category))  # fmt: skip
    ax.set_xscale("log", base=2)
    ticks = sorted(rows["units"].unique())[:: max(1, rows["units"].nunique() // 8)]
    ax.set_xticks(ticks, [str(t) for t in ticks])
    ax.minorticks_off()
    ax.set_xlabel("units F")
    ax.set_ylabel(f"mean {SCORE[task]}")
    ax.legend(fontsize=8, frameon=False)
    return ax


def plot_concepts_per_unit(
    concepts: pd.DataFrame, task: str, model: str, ax: "Axes | None" = None
) -> "Axes":
    """Figure 5: how many units are the best one for how many concepts, by layer."""
    ax = _axes(ax)
    rows = concepts[(concepts["task"] == task) & (concepts["model"] == model)]
    rows = rows[rows["best_unit"] >= 0].dropna(subset=["best_unit_score"])
    layers = list(rows["layer"].drop_duplicates())
    counts = {layer: rows[rows["layer"] == layer]["best_unit"].value_counts() for layer in layers}
    most = max((int(c.max()) for c in counts.values() if len(c)), default=1)
    width = 0.8 / max(len(layers), 1)
    for place, layer in enumerate(layers):
        heights = counts[layer].value_counts().reindex(range(1, most + 1), fill_value=0)
        shift = (place - (len(layers) - 1) / 2) * width
        ax.bar(heights.index + shift, heights, width, color=PALETTE[place % len(PALETTE)],
               label=layer)  # fmt: skip
    ax.set_xticks(range(1, most + 1))
    ax.set_xlabel("concepts that the unit is best for")
    ax.set_ylabel("units")
    ax.set_title(model, fontsize=10)
    ax.legend(fontsize=8, frameon=False)
    return ax


def plot_models(concepts: pd.DataFrame, task: str, ax: "Axes | None" = None) -> "Axes":
    """Figure 6: mean score of the probe and of the best unit, for every network and layer."""
    rows = _known(concepts, task)
    names = list(dict.fromkeys(zip(rows["model"], rows["layer"], strict=True)))
    ax = _axes(ax, (max(5.0, 0.75 * len(names) + 1.5), 3.8))
    for shift, column, color, label in (
        (-0.2, "probe_score", PROBE, "probe"), (0.2, "best_unit_score", UNIT, "best unit"),
    ):  # fmt: skip
        groups = rows.groupby(["model", "layer"])[column]
        mean, error = groups.mean().reindex(names), groups.sem().reindex(names).fillna(0)
        places = np.arange(len(names)) + shift
        ax.bar(places, mean, 0.4, yerr=error, color=color, label=label, capsize=2)
    ax.set_xticks(range(len(names)), [f"{m}\n{n}" for m, n in names], fontsize=8, rotation=30)
    if task == "classify":
        ax.axhline(0.5, color="#666666", linewidth=0.8, linestyle=":")
    ax.set_ylabel(f"mean {SCORE[task]}")
    ax.legend(fontsize=8, frameon=False)
    return ax


def plot_iou_distribution(
    per_image: pd.DataFrame, concept: str, ax: "Axes | None" = None
) -> "Axes":
    """Figure 7: the distribution of IoU_ind of the best unit and of the probe.

    Args:
        per_image: columns concept, iou_unit, iou_probe, of one model and layer.
        concept: whose.
        ax: where to draw. The legend gives the share of zeros, and mean and deviation of the rest.
    """
    ax = _axes(ax, (4.2, 2.8))
    rows = per_image[per_image["concept"] == concept]
    for column, color, name in (("iou_unit", UNIT, "best unit"), ("iou_probe", PROBE, "probe")):
        values = rows[column].dropna().to_numpy()
        above = values[values > 0]
        zeros = float((values == 0).mean()) if len(values) else float("nan")
        said = f"{name}: {zeros:.0%} zeros"
        if len(above):
            said += f", {above.mean():.2f} ± {above.std():.2f}"
        ax.hist(values, np.linspace(0, 1, 21).tolist(), color=color, alpha=0.6, label=said)
    ax.set_xlabel("IoU_ind")
    ax.set_ylabel("images")
    ax.set_title(concept, fontsize=10)
    ax.legend(fontsize=7, frameon=False)
    return ax


def plot_distances(distances: pd.DataFrame, task: str, ax: "Axes | None" = None) -> "Axes":
    """Figure 10, left: D_ij between the embeddings of all networks and layers."""
    rows = distances[distances["task"] == task]
    first = rows["model_i"] + "\n" + rows["layer_i"]
    second = rows["model_j"] + "\n" + rows["layer_j"]
    names = list(first.drop_duplicates())
    matrix = pd.crosstab(first, second, rows["distance"], aggfunc="mean").loc[names, names]
    ax = _axes(ax, (1.2 + 0.75 * len(names), 0.9 + 0.7 * len(names)))
    ax.imshow(matrix, cmap="viridis_r")
    middle = float(matrix.to_numpy().max()) / 2
    for i in range(len(names)):
        for j in range(len(names)):
            value = float(matrix.iat[i, j])
            text, color = f"{value:.3g}", "white" if value > middle else "black"
            ax.text(j, i, text, ha="center", va="center", fontsize=7, color=color)
    ax.set_xticks(range(len(names)), names, fontsize=7, rotation=45, ha="right")
    ax.set_yticks(range(len(names)), names, fontsize=7)
    return ax


def plot_controls(concepts: pd.DataFrame, ax: "Axes | None" = None) -> "Axes":
    """Probe scores with their 95 % intervals, beside every control that there is.

    Args:
        concepts: rows of one model, layer and task.
        ax: where to draw.
    """
    rows = concepts.dropna(subset=["probe_score"]).sort_values("probe_score", ascending=False)
    ax = _axes(ax, (max(5.0, 0.22 * len(rows) + 2), 3.8))
    x = np.arange(len(rows))
    spread = np.vstack(
        [rows["probe_score"] - rows["probe_low"], rows["probe_high"] - rows["probe_score"]]
    )
    ax.errorbar(x, rows["probe_score"], np.nan_to_num(spread).clip(0), fmt="o", color=PROBE,
                capsize=2, markersize=4, label="probe, 95 %")  # fmt: skip
    for column, marker, color, label in (
        ("best_unit_score", "s", UNIT, "best unit"),
        ("chance_score", "x", "#CC79A7", "best unit by chance"),
        ("shuffled_score", "_", "#D55E00", "shuffled labels"),
        ("untrained_score", "^", "#009E73", "untrained network"),
    ):
        if column in rows and rows[column].notna().any():
            ax.scatter(x, rows[column], marker=marker, s=22, color=color, label=label)
    ax.set_xticks(x, rows["concept"], rotation=90, fontsize=7)
    ax.set_ylabel("score")
    ax.legend(fontsize=8, frameon=False, ncols=2)
    return ax
