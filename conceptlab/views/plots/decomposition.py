"""Figures of basis decompositions: what concepts contribute to a class, and where in a picture."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conceptlab.analysis.effects.decomposition import RESTS, ImageDecomposition
from conceptlab.errors import InputError
from conceptlab.numerics.resample import upsample
from conceptlab.views.pictures.overlay import GREY
from conceptlab.views.style import CHANCE, axes_or_new, category_colors, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HATCHES = ("////", "....", "xxxx", "\\\\\\\\")
FOR, AGAINST = (230, 97, 1), (53, 80, 170)  # RGB of what speaks for a class, and against it
STRONGEST = 0.7  # how much of a picture the largest value of a map covers
SIDE = 1.9  # inches of a picture


def with_categories(table: pd.DataFrame) -> pd.DataFrame:
    """The table with a category for each concept, so that none but the rests are without.

    Args:
        table: columns concept, category.
    """
    concept = ~table["concept"].isin(RESTS) & (table["category"] == "")
    return table.assign(category=table["category"].mask(concept, "no category"))


def plot_contributions(table: pd.DataFrame, ax: "Axes | None" = None) -> "Axes":
    """What each concept adds to the logit of one class, and what is no concept's.

    Args:
        table: columns class, concept, category, contribution, share, note, of one class, as
            `ImageDecomposition` and `Decomposition` have them; with columns low and high, these
            intervals are drawn.
        ax: where to draw; a hatched bar's vector has a note, which the legend says.

    Raises:
        InputError: several classes.
    """
    names = table["class"].unique()
    if len(names) != 1:
        raise InputError(f"one class is drawn at a time; the table has {len(names)}")
    table = with_categories(table)
    ax = axes_or_new(ax, (5.8, 1.3 + 0.24 * len(table)))
    bars = ax.barh(np.arange(len(table)), table["contribution"], height=0.72,
                   color=_colors(table), edgecolor="white", linewidth=0)  # fmt: skip
    _hatch(bars, table["note"])
    _whiskers(ax, table)
    ax.axvline(0, color="black", linewidth=0.8)
    ax.set_yticks(range(len(table)), [plain(name) for name in table["concept"]])
    for label, category in zip(ax.get_yticklabels(), table["category"], strict=True):
        label.set_fontstyle("normal" if category else "italic")
    ax.set_ylim(len(table) - 0.4, -0.6)
    ax.margins(x=0.14)
    ax.set_xlabel("contribution to the logit", fontsize=9)
    ax.set_title(f"{plain(names[0])}: {table['contribution'].sum():.2f}", fontsize=9, loc="left")
    _legend(ax, table)
    return ax


def _colors(table: pd.DataFrame) -> list[str]:
    """A colour per row; grey for what is no concept."""
    colors = category_colors(c for c in table["category"] if c)
    return [colors.get(category, CHANCE) for category in table["category"]]


def _hatches(notes: pd.Series) -> dict[str, str]:
    """A pattern for each note."""
    found = [str(note) for note in notes.unique() if note]
    return {note: HATCHES[place % len(HATCHES)] for place, note in enumerate(found)}


def _hatch(bars: Any, notes: pd.Series) -> None:
    patterns = _hatches(notes)
    for bar, note in zip(bars, notes, strict=True):
        if note:
            bar.set_hatch(patterns[note])


def _whiskers(ax: "Axes", table: pd.DataFrame) -> None:
    """Intervals, and beyond the end of each bar the share of the logit that it makes up."""
    value = table["contribution"].to_numpy(dtype=float)
    low, high = value, value
    if "low" in table:
        low, high = (table[column].to_numpy(dtype=float) for column in ("low", "high"))
        ax.hlines(np.arange(len(table)), low, high, color="black", linewidth=1)
    for place, share in enumerate(table["share"]):
        if np.isfinite(share):
            right = value[place] >= 0
            end = max(high[place], value[place], 0) if right else min(low[place], value[place])
            ax.annotate(
                _percent(share), (end, place), xytext=(3 if right else -3, 0),
                textcoords="offset points", va="center", ha="left" if right else "right",
                fontsize=7.5,
            )  # fmt: skip


def _percent(share: float) -> str:
    return f"{round(100 * share)} %"  # and never -0


def _legend(ax: "Axes", table: pd.DataFrame) -> None:
    """Categories by colour and notes by pattern, below."""
    from matplotlib.patches import Patch

    colors = category_colors(c for c in table["category"] if c)
    handles = [Patch(color=color, label=plain(name)) for name, color in colors.items()]
    handles += [
        Patch(facecolor="#bbbbbb", edgecolor="white", linewidth=0, hatch=hatch, label=plain(note))
        for note, hatch in _hatches(table["note"]).items()
    ]
    if handles:
        ax.legend(handles=handles, fontsize=8, frameon=False, loc="upper left",
                  bbox_to_anchor=(1, 1))  # fmt: skip


def plot_image_row(
    decomposition: ImageDecomposition, most: int = 4, axes: "Sequence[Axes] | None" = None
) -> NDArray[Any]:
    """A picture, and where the concepts that contribute most to its class do so.

    Zhou et al. 2018, figure 1. Each map has its own scale; what share of the logit it makes up
    stands above it. Orange speaks for the class and blue against it.

    Args:
        decomposition: of the picture.
        most: concepts at most.
        axes: where to draw: one for the picture, and one for each concept.

    Returns:
        The axes that were drawn on.

    Raises:
        InputError: too few axes.
    """
    rows = decomposition.table.head(min(most, len(decomposition.heatmaps)))
    drawn = _axes(axes, 1 + len(rows))
    logit = decomposition.logit
    _picture(drawn[0], decomposition.picture, f"{decomposition.table['class'][0]} {logit:.2f}")
    for ax, heatmap, (_, row) in zip(drawn[1:], decomposition.heatmaps, rows.iterrows(),
                                     strict=False):  # fmt: skip
        share = "" if np.isnan(row["share"]) else _percent(row["share"])
        shown = _laid_over(decomposition.picture, heatmap)
        _picture(ax, shown, f"{row['concept']} {share}")
        ax.set_xlabel(plain(row["note"]), fontsize=7.5)
    return drawn


def _axes(axes: "Sequence[Axes] | None", count: int) -> NDArray[Any]:
    if axes is None:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(SIDE * count, SIDE + 0.4), layout="constrained")
        return np.asarray(figure.subplots(1, count, squeeze=False)[0])
    given = np.asarray(axes, dtype=object).ravel()
    if len(given) < count:
        raise InputError(f"the picture and its concepts take {count} axes; got {len(given)}")
    return np.asarray(given[:count])


def _picture(ax: "Axes", pixels: NDArray[np.uint8], title: str) -> None:
    ax.imshow(pixels)
    ax.set_title(plain(title), fontsize=9)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)


def _laid_over(pixels: NDArray[np.uint8], heatmap: NDArray[np.float64]) -> NDArray[np.uint8]:
    """(h, w, 3) a grey picture, coloured where a map (H, W) is far from zero."""
    strength = upsample(heatmap, (pixels.shape[0], pixels.shape[1]))
    largest = np.abs(strength).max()
    strength = strength / largest if largest > 0 else strength
    grey = (pixels.astype(np.float64) @ np.array(GREY))[:, :, None]
    color = np.where(strength[:, :, None] > 0, FOR, AGAINST)
    cover = STRONGEST * np.abs(strength)[:, :, None]
    return np.asarray(np.rint((1 - cover) * grey + cover * color), dtype=np.uint8)
