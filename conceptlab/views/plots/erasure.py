"""Figures of concept erasure: functions of a table that draw on given `Axes`."""

from typing import TYPE_CHECKING

import pandas as pd

from conceptlab.errors import InputError
from conceptlab.views.plots.matrix import dot_matrix

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_erasure(
    table: pd.DataFrame, ablation: str = "direction", *, ax: "Axes | None" = None
) -> "Axes":
    """What erasing each concept does to each class.

    A dot's colour is the change of the class's score, its size the change against controls of equal
    size, in their standard deviations; it is filled where p_adjusted is below 0.05. A hatched row
    is a concept whose vector is no better than chance; a cross, a change with nothing to compare.

    Args:
        table: `conceptlab.erase(...).table`; of more than 30 concepts, those whose largest change
            is largest are drawn, and of more than 30 classes likewise.
        ablation: 'direction' or 'units'.
        ax: where to draw; rows are concepts, columns classes.

    Raises:
        InputError: no rows of that ablation.
    """
    rows = table[table["ablation"] == ablation]
    if not len(rows):
        known = ", ".join(map(str, table["ablation"].unique()))
        raise InputError(
            f"the table has no rows of ablation {ablation!r}; it has {known or 'none'}"
        )
    return dot_matrix(
        rows, "logit_change", by="logit_change", scale=(0.0, 0.0),
        labels=("change of the score, erased - intact",
                "size: effect, in standard deviations of the controls"), ax=ax,
    )  # fmt: skip
