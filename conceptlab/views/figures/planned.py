"""All figures that a run folder's tables allow, as PNG in its `figures/`."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from conceptlab.views.figures.comparison import planned_comparison
from conceptlab.views.figures.effects import planned_effects
from conceptlab.views.figures.mosaics import write_mosaics
from conceptlab.views.figures.overlap import planned_overlap
from conceptlab.views.figures.panels import (
    Draw,
    Part,
    Planned,
    best_layers,
    panels,
    save_figure,
    whole,
)
from conceptlab.views.plots import overlap as plots_overlap
from conceptlab.views.plots import paper as plots
from conceptlab.views.style import SCORE, TASKS, plain, slug
from conceptlab.views.tables import read_examples, read_tables

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROWS = 40  # concepts in one column of the controls
SHOWN = 6  # concepts in figure 7
Tables = dict[str, pd.DataFrame]
NONE = pd.DataFrame(
    columns=["model", "layer", "task", "category", "probe_score", "best_unit_score"]
)


def write_figures(run: Path, part: Part = whole) -> list[Path]:
    """Draw every figure that the tables and examples of a run allow, each whole or not at all.

    Args:
        run: the run folder.
        part: what becomes of a figure that fails; see `conceptlab.views.figures.panels.Part`. A
            picture of it that was drawn before is taken away.

    Returns:
        The files in `figures/`.
    """
    drawn = []
    for plan in planned(read_tables(run), part):
        path = run / "figures" / f"{plan.name}.png"
        with part(f"figure {plan.name}"):
            try:
                save_figure(plan.draw(), path)
            except BaseException:
                path.unlink(missing_ok=True)
                raise
            drawn.append(path)
    with part("figures of examples"):
        drawn += write_mosaics(run, read_examples(run))
    return drawn


def planned(tables: dict[str, pd.DataFrame], part: Part = whole) -> Iterator[Planned]:
    """The figures that tables allow, in the order of the paper.

    Args:
        tables: by name, as `read_tables` gives them.
        part: what becomes of figures whose plan fails.
    """
    for plan in PLANS:
        with part(f"figures {plan.__name__.strip('_').replace('_', ' ')}"):
            yield from plan(tables)


def _tasks(concepts: pd.DataFrame) -> dict[str, list[str]]:
    """Networks with scores, and the tasks that they have them for."""
    known = concepts.dropna(subset=["probe_score", "best_unit_score"])
    return {
        str(model): [t for t in TASKS if t in set(rows["task"])]
        for model, rows in known.groupby("model", sort=False)
    }


def _units(units: pd.DataFrame | None) -> dict[str, dict[str, int]]:
    """Model to layer to K."""
    counts: dict[str, dict[str, int]] = {}
    if units is not None:
        for (model, layer), most in units.groupby(["model", "layer"])["unit"].max().items():
            counts.setdefault(str(model), {})[str(layer)] = int(most) + 1
    return counts


def _by_category(tables: Tables) -> Iterator[Planned]:
    concepts = tables.get("concepts", NONE)
    for model, tasks in _tasks(concepts).items():
        draws: list[Draw] = [
            partial(_draw_by_category, concepts, task, model, column)
            for task in tasks
            for column in plots.COLUMNS
        ]
        yield Planned(
            f"figure2-{slug(model)}",
            f"Scores by category along the layers of {model}",
            f"Figure 2. Mean {_scores(tasks)} over the concepts of each category, for the layers "
            f"of {model}: probe over all units (left), best single unit (right). Bars are standard "
            "errors over concepts; concepts that lack one of the two scores are left out"
            + ("; the dotted line is chance." if "classify" in tasks else "."),
            partial(panels, draws, 2, (5.0, 3.0), share="row"),
        )


def _draw_by_category(
    concepts: pd.DataFrame, task: str, model: str, column: str, ax: "Axes"
) -> "Axes":
    return plots.plot_by_category(concepts, task, model, column=column, ax=ax)


def _subsets(tables: Tables) -> Iterator[Planned]:
    if "subsets" not in tables:
        return
    known = tables["subsets"].dropna(subset=["score"])
    marks = tables.get("saturation", NONE)
    for (model, task), rows in known.groupby(["model", "task"], sort=False):
        layers = list(rows["layer"].drop_duplicates())
        of_model = marks[(marks["model"] == model) & (marks["task"] == task)]
        draws: list[Draw] = [
            partial(
                _draw_subsets, rows[rows["layer"] == layer], of_model[of_model["layer"] == layer],
                str(task), str(layer),
            )
            for layer in layers
        ]  # fmt: skip
        yield Planned(
            f"figure3-{task}-{slug(str(model))}",
            f"How many units a concept needs: {TASKS[str(task)]}, {model}",
            f"Figure 3. Mean {SCORE[str(task)]} over the concepts of each category against F: the "
            "F units of largest absolute weight are kept, and their weights learned anew "
            "(section 3.2.2). Open marks and their F: where 95 % of the best score is reached, "
            "with 95 % intervals over concepts.",
            partial(panels, draws, min(3, len(draws)), (3.6 if len(draws) > 1 else 5.0, 3.0),
                    share="row", one_legend=False),
        )  # fmt: skip


def _draw_subsets(
    rows: pd.DataFrame, marks: pd.DataFrame, task: str, layer: str, ax: "Axes"
) -> "Axes":
    plots_overlap.plot_saturation(rows, marks, task, ax=ax)
    ax.set_title(plain(layer), fontsize=9, loc="left")
    return ax


def _per_unit(tables: Tables) -> Iterator[Planned]:
    concepts, units = tables.get("concepts", NONE), _units(tables.get("units"))
    for model, tasks in _tasks(concepts).items():
        draws: list[Draw] = [
            partial(_draw_per_unit, concepts, task, model, units.get(model)) for task in tasks
        ]
        yield Planned(
            f"figure5-{slug(model)}",
            f"Units that several concepts share: {model}",
            "Figure 5. Units by the number of concepts that they are the best unit for, chosen on "
            "train; units that are best for no concept are counted in the legend.",
            partial(panels, draws, len(draws), (5.0, 3.2), one_legend=False),
        )


def _draw_per_unit(
    concepts: pd.DataFrame, task: str, model: str, units: dict[str, int] | None, ax: "Axes"
) -> "Axes":
    plots.plot_concepts_per_unit(concepts, task, model, units=units, ax=ax)
    ax.set_title(TASKS[task], fontsize=9, loc="left")
    return ax


def _models(tables: Tables) -> Iterator[Planned]:
    concepts = tables.get("concepts", NONE)
    known = concepts.dropna(subset=["probe_score", "best_unit_score"])
    tasks = [t for t in TASKS if t in set(known["task"])]
    if not tasks:
        return
    bars = known.groupby(["model", "layer"]).ngroups * (known["category"].nunique() + 1)
    draws: list[Draw] = [partial(_draw_models, concepts, task) for task in tasks]
    yield Planned(
        "figure6",
        "Networks and layers",
        f"Figure 6. Mean {_scores(tasks)} over the concepts of each category for every network and "
        "layer: bars are probes over all units with standard errors, diamonds the best single "
        "units of the same concepts.",
        partial(panels, draws, 1, (float(np.clip(1.2 + 0.2 * bars, 5.0, 10.0)), 3.0)),
    )


def _draw_models(concepts: pd.DataFrame, task: str, ax: "Axes") -> "Axes":
    return plots.plot_models(concepts, task, ax=ax)


def _distributions(tables: Tables) -> Iterator[Planned]:
    if "per_image" not in tables:
        return
    known, distributions = (
        tables["per_image"].dropna(subset=["iou_probe"]), tables.get("distributions"),
    )  # fmt: skip
    for model, of_model in known.groupby("model", sort=False):
        layer = of_model.groupby("layer", sort=False)["iou_probe"].mean().idxmax()
        rows = of_model[of_model["layer"] == layer]
        names = rows["concept"].value_counts(sort=False).sort_values(
            ascending=False, kind="stable"
        ).index[:SHOWN]  # fmt: skip
        draws: list[Draw] = [partial(_draw_distribution, rows, str(name)) for name in names]
        yield Planned(
            f"figure7-{slug(str(model))}",
            f"Scores of single images: {model}, {layer}",
            f"Figure 7. IoU_ind of the images that show a concept, non-zero part, for the "
            f"{len(names)} concepts that most images show, in the layer with the highest mean "
            "IoU_ind; the legend gives the share of zeros, and mean ± standard deviation of the "
            "rest. All other concepts have theirs on their page.",
            partial(panels, draws, min(3, len(draws)), (3.4, 2.4), one_legend=False),
        )
        if distributions is not None:
            own = distributions[
                (distributions["model"] == model) & (distributions["layer"] == layer)
            ]
            shown = min(len(own), plots_overlap.MOST)
            draw: Draw = partial(_draw_zero_shares, own)
            yield Planned(
                f"figure7-zeros-{slug(str(model))}",
                f"Images on which a concept is missed: {model}, {layer}",
                "Figure 7. Section 5.1: for each concept, the share of the images that show it on "
                "which the mask of its best unit, and of its probe, does not touch it "
                "(IoU_ind = 0).",
                partial(panels, [draw], 1, (5.4, 1.1 + 0.18 * shown), one_legend=False),
            )


def _draw_distribution(rows: pd.DataFrame, concept: str, ax: "Axes") -> "Axes":
    return plots.plot_iou_distribution(rows, concept, ax=ax)


def _draw_zero_shares(rows: pd.DataFrame, ax: "Axes") -> "Axes":
    return plots_overlap.plot_zero_shares(rows, ax=ax)


def _controls(tables: Tables) -> Iterator[Planned]:
    concepts = tables.get("concepts", NONE)
    for task in TASKS if len(concepts) else ():
        for model, layer in best_layers(concepts, task).items():
            rows = plots.scored(concepts, task)
            rows = rows[(rows["model"] == model) & (rows["layer"] == layer)]
            rows = rows.sort_values("probe_score", ascending=False, kind="stable")
            columns = -(-len(rows) // ROWS)
            draws: list[Draw] = [
                partial(_draw_controls, rows.iloc[list(part)])
                for part in np.array_split(np.arange(len(rows)), columns)
            ]
            yield Planned(
                f"controls-{task}-{slug(model)}",
                f"Controls: {TASKS[task]}, {model}, {layer}",
                f"{SCORE[task]} of every concept, in the network's layer with the highest mean "
                "score of the probe.",
                partial(panels, draws, columns, _controls_size(len(rows), columns)),
            )


def _controls_size(concepts: int, columns: int) -> tuple[float, float]:
    return (7.0 if columns == 1 else 10.0 / columns), 0.9 + 0.17 * -(-concepts // columns)


def _draw_controls(rows: pd.DataFrame, ax: "Axes") -> "Axes":
    plots.plot_controls(rows, ax=ax).set_xlim(0, 1)
    return ax


def _scores(tasks: Sequence[str]) -> str:
    """What the panels' rows show."""
    return " (top) and ".join(SCORE[t] for t in tasks) + (" (bottom)" if len(tasks) > 1 else "")


PLANS: tuple[Callable[[Tables], Iterator[Planned]], ...] = (
    _by_category,
    _subsets,
    _per_unit,
    _models,
    _distributions,
    planned_overlap,
    planned_comparison,
    planned_effects,
    _controls,
)
