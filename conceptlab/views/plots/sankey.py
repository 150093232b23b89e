"""Ribbons from concepts to the classes that they contribute to."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conceptlab.errors import InputError
from conceptlab.views.plots.decomposition import with_categories
from conceptlab.views.style import axes_or_new, category_colors, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]
FONT = 8.0  # points
LINE = 1.35 * FONT / 72  # inches that a name takes
LEGEND = 0.4  # inches below
SMALL = 0.01  # of all contributions: concepts with less are not named
GAP = 0.008  # of the axes' height, between bars
WIDTH = 0.025  # of the bars at either end, of the axes' width
REST = "#BDBDBD"
OTHERS, RESIDUAL = "other concepts", "residual"


def plot_sankey(table: pd.DataFrame, ax: "Axes | None" = None) -> "Axes":
    """Which concepts contribute to which classes: ribbons as wide as the contributions.

    Zhou et al. 2018, figure 5, with the residual as a source of its own. What speaks against a
    class (a contribution below 0) is not drawn, and neither is the baseline. Concepts that make up
    less than a hundredth of all, or that there is no room for, are one source.

    Args:
        table: columns class, concept, category, contribution, note, as `Decomposition.table`.
        ax: where to draw. A concept with a note has a star; the legend says what it means.

    Raises:
        InputError: no contribution is above 0.
    """
    known = with_categories(table)
    known = known[(known["category"] != "") | (known["concept"] == RESIDUAL)]
    rows = known[known["contribution"] > 0]
    if rows.empty:
        raise InputError("nothing contributes to these classes; there is nothing to draw")
    classes = list(dict.fromkeys(rows["class"]))
    ax = axes_or_new(ax, (6.8, LEGEND + 2 * LINE * max(len(classes), 14)))
    height = max(ax.get_window_extent().height / ax.figure.dpi - LEGEND, LINE)
    line = min(LINE / height, 0.9 / len(classes) - GAP)
    flows = _flows(rows, classes, max(int(1 / (line + GAP)) - 2, 1))
    drawn = rows[rows["concept"].isin(flows.index.get_level_values("concept"))]
    notes = [note for note in drawn["note"].unique() if note]
    stars = {note: "*" * (place + 1) for place, note in enumerate(notes)}
    marks = drawn.drop_duplicates("concept").set_index("concept")["note"].map(stars).dropna()
    _draw(ax, flows, line, marks.to_dict())
    _legend(ax, flows, stars)
    return ax


def _flows(rows: pd.DataFrame, classes: list[str], room: int) -> pd.DataFrame:
    """Contributions by (category, concept), from top to bottom, and class.

    A concept stands where the classes that it contributes to do, on average; others and the
    residual stand below.
    """
    wide = rows.pivot_table(index=["category", "concept"], columns="class", values="contribution",
                            aggfunc="sum", fill_value=0.0)[classes]  # fmt: skip
    named = wide[wide.index.get_level_values("category") != ""]
    rest = wide[wide.index.get_level_values("category") == ""]
    sums = named.sum(axis=1).sort_values(ascending=False, kind="stable")
    kept = sums[sums >= SMALL * wide.to_numpy().sum()].index[:room]
    small = named.drop(index=kept)
    if len(small):
        others = pd.DataFrame([small.sum()], index=pd.MultiIndex.from_tuples([("", OTHERS)]))
        rest = pd.concat([others, rest])
    named = named.loc[kept]
    middle = (named * np.arange(len(classes))).sum(axis=1) / named.sum(axis=1)
    named = named.loc[middle.sort_values(kind="stable").index]
    found = pd.concat([named, rest])
    found.index.names = ["category", "concept"]
    return found


def _draw(ax: "Axes", flows: pd.DataFrame, line: float, marks: dict[str, str]) -> None:
    """Bars at both ends, their names, and the ribbons between them."""
    values = flows.to_numpy()
    scale = min(_scale(values.sum(axis=1), line), _scale(values.sum(axis=0), line))
    left = _tops(scale * values.sum(axis=1), line)
    right = _tops(scale * values.sum(axis=0), line)
    colors = _colors(flows)
    starts, ends = left.copy(), right.copy()
    for i, (category, concept) in enumerate(flows.index.to_list()):
        color = colors.get(category, REST)
        name = f"{concept}{marks.get(concept, '')}"
        _node(ax, 0.0, left[i], scale * values[i].sum(), color, name)
        for j in np.flatnonzero(values[i] > 0):
            width = scale * values[i, j]
            _ribbon(ax, starts[i], ends[j], width, color)
            starts[i] += width
            ends[j] += width
    for top, (name, own) in zip(right, flows.items(), strict=True):
        _node(ax, 1.0, top, scale * own.sum(), "#333333", name)
    ax.set_xlim(0, 1)
    ax.set_ylim(1, 0)
    ax.set_axis_off()


def _colors(flows: pd.DataFrame) -> dict[str, str]:
    return category_colors(c for c in flows.index.get_level_values("category") if c)


def _legend(ax: "Axes", flows: pd.DataFrame, stars: dict[str, str]) -> None:
    """Categories by colour, and what stars mean, below."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [
        Patch(color=color, label=plain(name)) for name, color in sorted(_colors(flows).items())
    ]
    handles += [
        Line2D([], [], linestyle="", label=plain(f"{star} {note}")) for note, star in stars.items()
    ]
    if handles:
        ax.legend(handles=handles, fontsize=FONT, frameon=False, loc="upper center", ncols=6,
                  bbox_to_anchor=(0.5, 0), handlelength=1.2)  # fmt: skip


def _scale(sums: Floats, line: float) -> float:
    """Height of a unit, so that all bars of a side fit, each no lower than a line of text."""
    low, high = 0.0, 1.0 / sums.sum()
    for _ in range(50):
        middle = (low + high) / 2
        fits = (np.maximum(middle * sums, line) + GAP).sum() <= 1.0
        low, high = (middle, high) if fits else (low, middle)
    return low


def _tops(heights: Floats, line: float) -> Floats:
    """(n,) where each bar begins: in the middle of a slot of a line or more, slots spread."""
    slots = np.maximum(heights, line)
    free = (1.0 - slots.sum()) / len(slots)
    begins = np.concatenate([[0.0], np.cumsum(slots + free)[:-1]]) + free / 2
    return np.asarray(begins + (slots - heights) / 2)


def _node(ax: "Axes", x: float, top: float, height: float, color: str, name: Any) -> None:
    """A bar with its name outside, left of x = 0 or right of x = 1."""
    from matplotlib.patches import Rectangle

    inside = x if x == 0 else x - WIDTH
    ax.add_patch(Rectangle((inside, top), WIDTH, height, color=color, linewidth=0))
    ax.text(-0.012 if x == 0 else 1.012, top + height / 2, plain(name), fontsize=FONT, va="center",
            ha="right" if x == 0 else "left")  # fmt: skip


def _ribbon(ax: "Axes", start: float, end: float, width: float, color: str) -> None:
    """From a concept's bar to a class's."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    x0, x1 = WIDTH, 1 - WIDTH
    middle = (x0 + x1) / 2
    points = [
        (x0, start), (middle, start), (middle, end), (x1, end),
        (x1, end + width), (middle, end + width), (middle, start + width), (x0, start + width),
        (x0, start),
    ]  # fmt: skip
    codes = [Path.MOVETO, *[Path.CURVE4] * 3, Path.LINETO, *[Path.CURVE4] * 3, Path.CLOSEPOLY]
    ax.add_patch(PathPatch(Path(points, codes), facecolor=color, alpha=0.45, linewidth=0))
