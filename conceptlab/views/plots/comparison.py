"""Figures of comparisons between embeddings: functions of a table that draw on given `Axes`.

Numbers of figures are those of Fong & Vedaldi 2018.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conceptlab.views.style import PROBE, UNTRAINED, axes_or_new, category_colors, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NUMBERED = 12  # so many columns or fewer have their values written in
MOST = 24  # pairs of embeddings, or concepts, in one figure
SIGNIFICANT = 0.05


def plot_distances(distances: pd.DataFrame, *, ax: "Axes | None" = None) -> "Axes":
    """Figure 10, left: D_ij between every two embeddings.

    Args:
        distances: columns i, j, distance, as `embedding_distance(...).table` has them.
        ax: where to draw; light is near.
    """
    wide = distances.pivot_table(index="i", columns="j", values="distance", sort=False)
    wide = wide[wide.index]
    ax = axes_or_new(ax, size_of(wide.index, wide.columns))
    return _matrix(ax, wide, cmap="cividis_r")


def plot_distances_by_category(distances: pd.DataFrame, *, ax: "Axes | None" = None) -> "Axes":
    """Figure 10, right: mean D_ijc of each category, for pairs of embeddings.

    Args:
        distances: columns i, j, category, distance, as `embedding_distance(...).by_category` has
            them; the 24 pairs with the largest mean stay where there are more.
        ax: where to draw; light is near.
    """
    order = {name: place for place, name in enumerate(distances["i"].drop_duplicates())}
    rows = distances[distances["i"].map(order) < distances["j"].map(order)]
    pair = rows["i"] + " - " + rows["j"]
    wide = rows.assign(pair=pair).pivot_table(
        index="pair", columns="category", values="distance", sort=False
    )
    wide = wide.loc[wide.mean(axis=1).sort_values(ascending=False, kind="stable").index[:MOST]]
    ax = axes_or_new(ax, size_of(wide.index, wide.columns))
    return _matrix(ax, wide, cmap="cividis_r")


def plot_comparison(comparison: pd.DataFrame, measure: str, *, ax: "Axes | None" = None) -> "Axes":
    """One measure between every two spaces; what chance may have done stands in brackets.

    Args:
        comparison: columns i, j, measure, value, p_value, as `conceptlab.compare` gives them.
        measure: which of them.
        ax: where to draw; rows are i, columns j. Dark is alike.
    """
    rows = comparison[comparison["measure"] == measure]
    names = list(dict.fromkeys([*rows["i"], *rows["j"]]))
    values, chances = (_square(rows, names, column) for column in ("value", "p_value"))
    ax = axes_or_new(ax, size_of(names, names))
    distance = measure in ("distance", "procrustes")  # small is alike
    _matrix(ax, values, cmap="cividis" if distance else "cividis_r",
            brackets=(chances > SIGNIFICANT).to_numpy())  # fmt: skip
    ax.set_title(plain(measure), fontsize=9, loc="left")
    return ax


def _square(rows: pd.DataFrame, names: list[str], column: str) -> pd.DataFrame:
    """(n, n) values of a column; symmetric measures have one order of each pair, and get both."""
    wide = rows.set_index(["i", "j"])[column].unstack("j").reindex(index=names, columns=names)
    return wide.where(wide.notna(), wide.T)


def size_of(rows: Iterable[object], columns: Iterable[object]) -> tuple[float, float]:
    """Inches of a matrix whose rows and columns have these names."""
    sides, heads = ([len(str(name)) for name in names] for names in (rows, columns))
    width = 0.8 + 0.075 * max(sides, default=0) + 0.5 * len(heads)
    return width, 0.6 + 0.05 * max(heads, default=0) + 0.36 * len(sides)


def _matrix(
    ax: "Axes", wide: pd.DataFrame, cmap: str, brackets: NDArray[np.bool_] | None = None
) -> "Axes":
    """Cells of a table, with their values where there is room; some in brackets."""
    values = wide.to_numpy(dtype=float)
    low, high = min(0.0, float(np.nanmin(values, initial=0.0))), np.nanmax(values, initial=0.0)
    ax.imshow(values, cmap=cmap, vmin=low, vmax=high, aspect="auto")
    middle = (low + high) / 2
    if wide.shape[1] <= NUMBERED:
        for i, j in zip(*np.nonzero(np.isfinite(values)), strict=True):
            dark = (values[i, j] > middle) == cmap.endswith("_r")
            text = _short(values[i, j])
            doubtful = brackets is not None and brackets[i, j]
            ax.text(int(j), int(i), f"({text})" if doubtful else text, ha="center", va="center",
                    fontsize=7.5, color="white" if dark else "black")  # fmt: skip
    ax.set_xticks(range(wide.shape[1]), [plain(c) for c in wide.columns], rotation=40, ha="right",
                  rotation_mode="anchor")  # fmt: skip
    ax.set_yticks(range(len(wide)), [plain(c) for c in wide.index])
    ax.spines[:].set_visible(False)
    return ax


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 or value == 0 else f"{value:.2g}"


def plot_zoom(level: pd.DataFrame, *, ax: "Axes | None" = None) -> "Axes":
    """Distances between networks beside those between training runs of one network.

    Args:
        level: one of the tables of `conceptlab.zoom`, with columns i, j, category or concept where
            it has them, between, within, p_value; its first 24 rows are drawn, from top to bottom.
        ax: where to draw. Filled: p below 0.05; a line joins what is compared.
    """
    rows = level.head(MOST)
    ax = axes_or_new(ax, (5.4, 1.1 + 0.22 * len(rows)))
    y = np.arange(len(rows))
    ax.hlines(y, rows["within"], rows["between"], color="#bbbbbb", linewidth=1.2, zorder=1)
    ax.scatter(rows["within"], y, marker="|", s=60, color=UNTRAINED, zorder=2,
               label="between training runs")  # fmt: skip
    sure = (rows["p_value"] < SIGNIFICANT).to_numpy()
    colors = _colors(rows)
    ax.scatter(rows["between"], y, s=26, zorder=3, edgecolors=colors,
               facecolors=[c if s else "white" for c, s in zip(colors, sure, strict=True)],
               label="between networks")  # fmt: skip
    pairs = rows["i"] + " - " + rows["j"]
    what = rows.get("concept", rows.get("category", pd.Series("", rows.index))).astype(str)
    one = pairs.nunique() == 1 and (what != "").all()
    names = what if one else (what + ": " + pairs).str.removeprefix(": ")
    ax.set_yticks(y, [plain(name) for name in names])
    if one:
        ax.text(1, -0.5, plain(pairs.iloc[0]), transform=ax.get_yaxis_transform(), ha="right",
                va="center", fontsize=8)  # fmt: skip
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xlim(left=0)
    ax.set_xlabel("D" if "category" not in rows else "mean D of a concept", fontsize=9)
    ax.legend(fontsize=8, frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    return ax


def _colors(rows: pd.DataFrame) -> list[str]:
    if "category" not in rows:
        return [PROBE] * len(rows)
    names = rows["category"].astype(str)
    colors = category_colors(names)
    return [colors[name] for name in names]
