"""All figures that a run folder's tables allow, as PNG."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from conceptlab.files import atomic_path
from conceptlab.views import plots
from conceptlab.views.tables import read_tables

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Drawn = tuple[str, str, Callable[[], "Axes"]]
TASKS = {"segment": "segmentation", "classify": "classification"}


def write_figures(run: Path) -> list[tuple[Path, str]]:
    """Draw every figure that the tables of a run allow.

    Args:
        run: the run folder.

    Returns:
        The files in `figures/` and their captions.
    """
    tables = read_tables(run)
    written = []
    for name, caption, draw in _figures(tables):
        path = run / "figures" / f"{name}.png"
        figure = draw().get_figure(root=True)
        with atomic_path(path) as temporary:
            assert figure is not None  # axes that were drawn on belong to one
            figure.savefig(temporary, dpi=150, format="png")
        written.append((path, caption))
    return written


def _figures(tables: dict[str, pd.DataFrame]) -> Iterator[Drawn]:
    concepts = tables.get("concepts")
    if concepts is not None:
        yield from _of_concepts(concepts)
    subsets = tables.get("subsets")
    if subsets is not None:
        yield from _of_subsets(subsets)
    distances = tables.get("distances")
    if distances is not None:
        for task in distances["task"].drop_duplicates():
            yield (
                f"figure10-{task}",
                f"Figure 10: squared distance D_ij between the {TASKS[task]} embeddings of all "
                "networks and layers, over the concepts that have a vector in all of them.",
                partial(plots.plot_distances, distances, task),
            )


def _of_concepts(concepts: pd.DataFrame) -> Iterator[Drawn]:
    scored = concepts.dropna(subset=["probe_score", "best_unit_score"])
    for task in scored["task"].drop_duplicates():
        score = plots.SCORE[task]
        for number, model in enumerate(scored[scored["task"] == task]["model"].drop_duplicates()):
            yield (
                f"figure2-{task}-{number}",
                f"Figure 2, {TASKS[task]}: mean {score} by category along the layers of {model}; "
                "probe over all units (solid) and best single unit (dashed), standard errors over "
                "concepts.",
                partial(plots.plot_by_category, concepts, task, model),
            )
            yield (
                f"figure5-{task}-{number}",
                f"Figure 5, {TASKS[task]}: for how many concepts a unit of {model} is the best.",
                partial(plots.plot_concepts_per_unit, concepts, task, model),
            )
        yield (
            f"figure6-{task}",
            f"Figure 6, {TASKS[task]}: mean {score} over concepts, probe and best unit, for every "
            "network and layer.",
            partial(plots.plot_models, concepts, task),
        )
        yield from _controls(scored[scored["task"] == task], task)


def _controls(rows: pd.DataFrame, task: str) -> Iterator[Drawn]:
    """Each network's best layer."""
    for number, (model, group) in enumerate(rows.groupby("model", sort=False)):
        layer = group.groupby("layer")["probe_score"].mean().idxmax()
        chosen = group[group["layer"] == layer]
        yield (
            f"controls-{task}-{number}",
            f"Controls, {TASKS[task]}, {model} {layer}: the probe with its 95 % bootstrap interval "
            "over images, beside the best unit, the best of K units under permuted label maps, the "
            "probe trained on shuffled labels, and the probe on the untrained network.",
            partial(plots.plot_controls, chosen),
        )


def _of_subsets(subsets: pd.DataFrame) -> Iterator[Drawn]:
    groups = subsets.groupby(["model", "layer"], sort=False)
    for number, ((model, layer), group) in enumerate(groups):
        for task in group["task"].drop_duplicates():
            yield (
                f"figure3-{task}-{number}",
                f"Figure 3, {TASKS[task]}: mean {plots.SCORE[task]} by category against the number "
                f"F of units that the probe may use; {model} {layer}.",
                partial(plots.plot_subsets, group, task),
            )
