"""Figures of polysemanticity: how many kinds of image the units of a layer answer to."""

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conceptlab.views.style import CHANCE, PROBE, axes_or_new

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PACKED = ("#cfe3f1", "#8dbfe0", "#3f8fc4", "#0b4f80")  # few to many concepts
MANY = len(PACKED) - 1
HALF = 0.5  # of the units: where more have many concepts, a colour stands for several numbers


def plot_polysemanticity(units: pd.DataFrame, *, ax: "Axes | None" = None) -> "Axes":
    """Units by the number of clusters that their exemplars form, and by their packed concepts.

    Args:
        units: of one layer, as `Polysemanticity.units` has them; without a column packed, bars are
            of one colour.
        ax: where to draw.
    """
    ax = axes_or_new(ax)
    clusters = units["clusters"].to_numpy(dtype=np.int64)
    places = np.arange(min(1, clusters.min(initial=1)), clusters.max(initial=1) + 1)
    heights = np.zeros(len(places))
    for label, color, chosen in _parts(units):
        counts = np.array([(clusters[chosen] == place).sum() for place in places], dtype=float)
        ax.bar(places, counts, 0.8, bottom=heights, color=color, label=label)
        heights += counts
    for place, height in zip(places, heights, strict=True):
        ax.annotate(f"{height:.0f}", (place, height), (0, 2), textcoords="offset points",
                    ha="center", fontsize=8, color=CHANCE)  # fmt: skip
    ax.set_xticks(places)
    ax.set_xlabel("clusters of the unit's exemplars", fontsize=9)
    ax.set_ylabel("units", fontsize=9)
    if "packed" in units:
        ax.legend(fontsize=8, frameon=False, title="concepts packed", title_fontsize=8)
    return ax


def _parts(units: pd.DataFrame) -> list[tuple[str, str, NDArray[np.bool_]]]:
    """Label, colour and units of each part of a bar."""
    if "packed" not in units:
        return [("", PROBE, np.ones(len(units), dtype=bool))]
    packed = units["packed"].to_numpy(dtype=float)
    wide = (packed >= MANY).mean() > HALF
    size = max(1, math.ceil((np.nanmax(packed) + 1) / len(PACKED))) if wide else 1
    starts = [place * size for place in range(len(PACKED))]
    parts = []
    for color, start in zip(PACKED, starts, strict=True):
        last = start == starts[-1]
        span = str(start) if size == 1 else f"{start} to {start + size - 1}"
        chosen = packed >= start if last else (packed >= start) & (packed < start + size)
        parts.append((f"{start} or more" if last else span, color, chosen))
    return parts
