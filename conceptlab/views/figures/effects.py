"""Figures of what concepts do to predictions that a run folder's tables allow."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd

from conceptlab.views.figures.panels import Planned
from conceptlab.views.plots.erasure import plot_erasure
from conceptlab.views.plots.sankey import plot_sankey
from conceptlab.views.plots.tcav import plot_families, plot_tcav
from conceptlab.views.style import slug

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ABLATIONS = {
    "direction": "its direction is projected out at every position, against steps of equal length "
    "along random directions",
    "units": "its top units are set to their mean, against random sets of as many units",
}
KINDS = {"cav": "CAVs", "segmentation": "segmentation", "classification": "classification"}
SCORED = ("encoded", "accuracy")  # of which the first that is known stands for what is encoded


def planned_effects(tables: dict[str, pd.DataFrame]) -> Iterator[Planned]:
    """TCAV, decomposition, erasure, and the families side by side.

    Args:
        tables: by name, as `read_tables` gives them.
    """
    for name, plan in (
        ("tcav", _tcav), ("decomposition", _decomposition), ("erasure", _erasure),
        ("families", _families),
    ):  # fmt: skip
        if name in tables:
            for (model, layer), rows in tables[name].groupby(["model", "layer"], sort=False):
                yield from plan(rows, f"{model}, {layer}", slug(f"{model}-{layer}"))


def _tcav(rows: pd.DataFrame, where: str, name: str) -> Iterator[Planned]:
    for kind, own in rows.groupby("kind", sort=False):
        yield Planned(
            f"tcav-{slug(str(kind))}-{name}",
            f"How classes depend on concepts: {KINDS.get(str(kind), str(kind))}, {where}",
            "TCAV. Colour: share of a class's pictures whose logit rises along the concept. Size: "
            "effect against random sets of images in the concept's place, in their standard "
            "deviations. Filled: significant after Holm's correction over all tests. Hatched: the "
            "vector tells held-out images no better than chance.",
            partial(_drawn, plot_tcav, own),
        )


def _decomposition(rows: pd.DataFrame, where: str, name: str) -> Iterator[Planned]:
    yield Planned(
        f"sankey-{name}",
        f"What concepts contribute to classes: {where}",
        "Interpretable basis decomposition. The width of a ribbon is a concept's mean contribution "
        "to the logit over the class's pictures; the grey source is the residual that no concept "
        "explains. Negative contributions are in the table.",
        partial(_drawn, plot_sankey, rows),
    )


def _erasure(rows: pd.DataFrame, where: str, name: str) -> Iterator[Planned]:
    for ablation, text in ABLATIONS.items():
        if (rows["ablation"] == ablation).any():
            yield Planned(
                f"erasure-{ablation}-{name}",
                f"What is lost with a concept: {ablation}, {where}",
                f"Erasure. The concept is taken out of the layer ({text}), and the rest of the "
                "network runs again. Colour: change of the class's logit. Size: the same against "
                "the controls, in their standard deviations. Filled: significant after Holm's "
                "correction.",
                partial(_drawn, plot_erasure, rows, ablation),
            )


def _families(rows: pd.DataFrame, where: str, name: str) -> Iterator[Planned]:
    scores = [column for column in SCORED if rows[column].notna().sum() > 1]
    if not scores:
        return
    several = rows["class"].nunique() > 1
    names = rows["class"] + ": " + rows["concept"] if several else rows["concept"]
    own = rows.assign(encoded=rows[scores[0]], concept=names)
    yield Planned(
        f"families-{name}",
        f"Encoded, used, contributing: {where}",
        "Section 7.2.1 of the thesis: for each class and concept the score of the probe (encoded), "
        "the TCAV effect (used), the share of the logit in the basis decomposition (contributing) "
        "and the change of the logit when the concept is erased, against one another, with "
        "Spearman's rank correlations.",
        partial(_drawn, plot_families, own),
    )


def _drawn(plot: "Callable[..., Axes]", *given: Any) -> "Figure":
    """The figure that a plot makes for itself."""
    figure = plot(*given).get_figure(root=True)
    if figure is None:
        raise ValueError("a plot has left its axes without a figure")
    return figure
