"""Planned figures, and panels in rows with one legend."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from conceptlab.files import atomic_path
from conceptlab.views.plots.paper import scored

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

DPI = 150
LETTER, HANDLE = 0.065, 0.55  # inches in a legend: of a letter, and of a mark with its spaces
Draw = Callable[["Axes"], "Axes"]
#: A context for a part of what is drawn, by its name: it may keep a failure from ending the rest.
Part = Callable[[str], AbstractContextManager[object]]


@dataclass(frozen=True)
class Planned:
    """A figure that the tables allow.

    Args:
        name: of its file, without the ending.
        title: a few words.
        caption: what is plotted and how it was computed.
        draw: makes it.
    """

    name: str
    title: str
    caption: str
    draw: Callable[[], "Figure"]


def whole(name: str) -> AbstractContextManager[object]:
    """The context of a part without which nothing is drawn: what fails ends it all."""
    return nullcontext(name)


def save_figure(figure: "Figure | SubFigure", path: Path) -> None:
    """Write a figure as PNG, whole or not at all."""
    with atomic_path(path) as temporary:
        figure.figure.savefig(temporary, dpi=DPI, format="png")


def best_layers(concepts: pd.DataFrame, task: str) -> dict[str, str]:
    """Each network's layer with the highest mean score of the probe.

    Args:
        concepts: the table of concepts.
        task: 'segment' or 'classify'.
    """
    rows = scored(concepts, task)
    means = rows.groupby(["model", "layer"], sort=False)["probe_score"].mean()
    return {
        str(model): str(means[model].idxmax())
        for model in means.index.get_level_values(0).drop_duplicates()
    }


def named_pairs(table: pd.DataFrame) -> pd.DataFrame:
    """A table of pairs with columns i and j, such as 'scenenet features.17'."""
    return table.assign(**{k: table[f"model_{k}"] + " " + table[f"layer_{k}"] for k in "ij"})


def panels(
    draws: Sequence[Draw],
    columns: int,
    size: tuple[float, float],
    *,
    share: Literal["none", "row", "all"] = "none",
    one_legend: bool = True,
) -> "Figure":
    """Panels in rows, with one legend for all of them below, or one in each.

    Args:
        draws: each draws on the axes that it is given.
        columns: panels in a row.
        size: inches of a panel.
        share: which panels have one y axis.
        one_legend: whether the panels' legends are one.
    """
    from matplotlib.figure import Figure

    rows = -(-len(draws) // columns)
    height = size[1] * rows + 0.4 * one_legend
    figure = Figure(figsize=(size[0] * columns, height), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=share)
    labels: dict[str, Any] = {}
    for place, (ax, draw) in enumerate(zip(grid.flat, draws, strict=False)):
        draw(ax)
        labels |= {label: h for h, label in zip(*ax.get_legend_handles_labels(), strict=True)}
        if one_legend and ax.get_legend():
            ax.get_legend().remove()
        if share != "none" and place % columns:
            ax.set_ylabel("")
    for ax in grid.flat[len(draws) :]:
        ax.set_axis_off()
    if one_legend and labels:
        widest = HANDLE + LETTER * max(map(len, labels))
        fit = max(1, int(size[0] * columns / widest))
        figure.legend(labels.values(), labels.keys(), loc="outside lower center", fontsize=8,
                      frameon=False, ncols=min(len(labels), fit))  # fmt: skip
    return figure
