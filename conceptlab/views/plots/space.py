"""Figures of an embedding space: planes, trees, matrices of cosines, ranks of analogies."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conceptlab.analysis.vectors.analogies import Analogies
from conceptlab.analysis.vectors.clusters import Hierarchy
from conceptlab.analysis.vectors.projection import Projection
from conceptlab.vectors import ConceptVectors
from conceptlab.views.style import (
    PROBE,
    UNIT,
    axes_or_new,
    category_colors,
    category_markers,
    plain,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LABELLED = 45  # names on a plane
MOST = 120  # names along an axis


def plot_projection(projection: Projection, *, ax: "Axes | None" = None) -> "Axes":
    """Concepts on a plane, coloured by category; those that have room are named.

    Args:
        projection: of `conceptlab.project`.
        ax: where to draw; x and y have no units.
    """
    table = projection.table
    ax = axes_or_new(ax, (6.4, 5.2))
    names = [str(c) for c in table["category"].drop_duplicates()]
    colors, markers = category_colors(names), category_markers(names)
    for name in names:
        rows = table[table["category"] == name]
        ax.scatter(rows["x"], rows["y"], s=22, color=colors[name], marker=markers[name],
                   label=plain(name) or "no category")  # fmt: skip
    for place in _roomy(table[["x", "y"]].to_numpy()):
        row = table.iloc[place]
        ax.annotate(plain(row["concept"]), (row["x"], row["y"]), fontsize=7, xytext=(3, 2),
                    textcoords="offset points")  # fmt: skip
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_title(f"{projection.method}, trustworthiness {projection.trustworthiness:.2f}",
                 fontsize=9, loc="left")  # fmt: skip
    ax.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return ax


def _roomy(points: NDArray[np.float64]) -> list[int]:
    """Points to name: each as far as possible from those already named, from the first on."""
    spread = np.ptp(points, axis=0)
    scaled = points / np.where(spread > 0, spread, 1.0) * np.array([1.0, 2.2])  # names are wide
    chosen = [0]
    far = np.linalg.norm(scaled - scaled[0], axis=1)
    while len(chosen) < min(LABELLED, len(points)) and far.max() > 0.06:
        chosen.append(int(far.argmax()))
        far = np.minimum(far, np.linalg.norm(scaled - scaled[chosen[-1]], axis=1))
    return chosen


def plot_tree(tree: Hierarchy, *, ax: "Axes | None" = None) -> "Axes":
    """The tree of all concepts, leaves coloured by category.

    Args:
        tree: of `conceptlab.hierarchy`.
        ax: where to draw; x is the distance at which groups join.
    """
    from scipy.cluster.hierarchy import dendrogram

    ax = axes_or_new(ax, (5.4, 1.2 + 0.15 * len(tree.table)))
    names = [plain(name) for name in tree.table["concept"]]
    drawn = dendrogram(
        tree.linkage, labels=names, orientation="right", ax=ax, color_threshold=0,
        above_threshold_color="#888888", leaf_font_size=7 if len(names) <= MOST else 4,
    )  # fmt: skip
    colors = category_colors([str(c) for c in tree.table["category"]])
    for label, leaf in zip(ax.get_yticklabels(), drawn["leaves"], strict=True):
        label.set_color(colors[str(tree.table["category"].iloc[leaf])])
    what = "Euclidean distance" if tree.method == "ward" else "1 - cosine"
    ax.set_xlabel(f"{what} ({tree.method})", fontsize=9)
    return ax


def plot_similarity(
    vectors: ConceptVectors, order: Sequence[int] | None = None, *, ax: "Axes | None" = None
) -> "Axes":
    """Cosines of every two concepts.

    Args:
        vectors: the embedding; concepts without a vector are left out.
        order: rows of the vectors in the order to draw; by category, then as they stand, if not
            given. `scipy.cluster.hierarchy.leaves_list` of a tree puts alike ones together.
        ax: where to draw; orange is alike, blue opposite.
    """
    from matplotlib.colors import LinearSegmentedColormap

    usable = np.flatnonzero(vectors.usable)
    category = pd.factorize(vectors.concepts["category"].iloc[usable])[0]
    rows = usable[np.argsort(category, kind="stable")] if order is None else np.asarray(order)
    names = [plain(vectors.names[row]) for row in rows]
    ax = axes_or_new(ax, (2.0 + 0.11 * len(rows), 1.6 + 0.11 * len(rows)))
    shades = LinearSegmentedColormap.from_list("cosine", [PROBE, "white", UNIT])
    image = ax.imshow(vectors.similarity[np.ix_(rows, rows)], cmap=shades, vmin=-1, vmax=1)
    if len(rows) <= MOST:
        ax.set_xticks(range(len(rows)), names, rotation=90, fontsize=6)
        ax.set_yticks(range(len(rows)), names, fontsize=6)
    ax.spines[:].set_visible(False)
    ax.figure.colorbar(image, ax=ax, shrink=0.5, label="cosine")
    return ax


def plot_analogies(found: Analogies, *, ax: "Axes | None" = None) -> "Axes":
    """The rank of each analogy's expected answer, beside its rank among the neighbours of c alone.

    Args:
        found: of `conceptlab.analogies`.
        ax: where to draw; x is logarithmic, the dotted line what a guess would have.
    """
    rows = found.table.sort_values("rank", kind="stable").head(40)
    ax = axes_or_new(ax, (5.4, 1.2 + 0.2 * len(rows)))
    y = np.arange(len(rows))
    ax.scatter(rows["rank_near_c"], y, marker="|", s=60, color=UNIT, label="near c alone")
    ax.scatter(rows["rank"], y, s=20, color=PROBE, label="b - a + c")
    most = int(rows["candidates"].max())
    ax.axvline((most + 1) / 2, color="#888888", linewidth=0.8, linestyle=":")
    texts = [f"{a} : {b} = {c} : {d}" for a, b, c, d in rows[["a", "b", "c", "expected"]].values]
    ax.set_yticks(y, [plain(text) for text in texts])
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xscale("log")
    ax.set_xlim(0.9, most * 1.1)
    ax.set_xlabel(f"rank among {most}", fontsize=9)
    ax.set_title(f"mean reciprocal rank {found.value:.2f}, p = {found.p_value:.3g}",
                 fontsize=9, loc="left")  # fmt: skip
    ax.legend(fontsize=8, frameon=False)
    return ax
