"""Figures of the overlap of units and concepts that a run folder's tables allow."""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from conceptlab.views.figures.panels import Draw, Planned, panels
from conceptlab.views.plots import overlap as plots_overlap
from conceptlab.views.plots import packing as plots_packing
from conceptlab.views.plots import uncertainty as plots_uncertainty
from conceptlab.views.style import TASKS, plain, slug

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def planned_overlap(tables: dict[str, pd.DataFrame]) -> Iterator[Planned]:
    """Figure 9, and those of packed concepts and of what the data pins down.

    Args:
        tables: by name, as `read_tables` gives them.
    """
    if (agreement := tables.get("agreement_by_layer")) is not None:
        yield from _agreement(agreement)
    if (packing := tables.get("packing")) is not None:
        yield from _packing(packing)
    if (pinned := tables.get("pinned")) is not None:
        yield from _pinned(pinned)


def _agreement(agreement: pd.DataFrame) -> Iterator[Planned]:
    alpha = float(agreement["alpha"].iloc[0])
    draw: Draw = partial(_draw_agreement, agreement)
    yield Planned(
        "figure9",
        "Units that segment a concept alone weigh in its probe",
        "Figure 9. Section 5.2: the share of segmentation concepts for which IoU_set of the "
        "single units and max(w, 0) in the probe are correlated over the units of a layer, with "
        f"p < {alpha:g}: uncorrected as in the paper, and corrected for the number of concepts.",
        partial(panels, [draw], 1, (max(4.6, 1.6 + 0.7 * len(agreement)), 3.4), one_legend=False),
    )


def _draw_agreement(rows: pd.DataFrame, ax: "Axes") -> "Axes":
    return plots_overlap.plot_agreement_by_layer(rows, ax=ax)


def _packing(packing: pd.DataFrame) -> Iterator[Planned]:
    for model, rows in packing.groupby("model", sort=False):
        draws: list[Draw] = [
            partial(_draw_packed, part, str(layer))
            for layer, part in rows.groupby("layer", sort=False)
        ]
        yield Planned(
            f"packing-{slug(str(model))}",
            f"Concepts packed into units: {model}",
            "The inverse map (section 7.2.2): units by the number of concepts whose maps together "
            "predict the unit's activation, chosen by sparse non-negative regression and confirmed "
            "on halves of the images. The line is the same with the label maps of other images.",
            partial(panels, draws, min(3, len(draws)), (3.6, 2.8), one_legend=False),
        )


def _draw_packed(rows: pd.DataFrame, layer: str, ax: "Axes") -> "Axes":
    return _titled(plots_packing.plot_concepts_packed(rows, ax=ax), layer)


def _pinned(pinned: pd.DataFrame) -> Iterator[Planned]:
    for (model, task), rows in pinned.groupby(["model", "task"], sort=False):
        means = rows.groupby("layer", sort=False)["reliability"].mean()
        layer = str(means.idxmax())
        own = rows[rows["layer"] == layer]
        shown = min(len(own), plots_uncertainty.MOST)
        draw: Draw = partial(_draw_pinned, own)
        yield Planned(
            f"pinned-{task}-{slug(str(model))}",
            f"Which concepts the data pins down: {TASKS[str(task)]}, {model}, {layer}",
            "Vectors learned anew from drawn images. Reliability is the share of a vector's "
            "squared length that is no noise; open where it is below one half. The stroke is the "
            "cosine with the fitted vector that 5 % of the draws stay below. The layer is the one "
            "with the highest mean reliability.",
            partial(panels, [draw], 1, (5.2, 1.1 + 0.17 * shown), one_legend=False),
        )


def _draw_pinned(rows: pd.DataFrame, ax: "Axes") -> "Axes":
    return plots_uncertainty.plot_pinned(rows, ax=ax)


def _titled(ax: "Axes", title: str) -> "Axes":
    ax.set_title(plain(title), fontsize=9, loc="left")
    return ax
