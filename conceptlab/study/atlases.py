"""The step of a study that makes activation atlases, and the page of all of them."""

import itertools
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

from conceptlab.analysis.atlas.class_attributions import ClassAttributions
from conceptlab.analysis.atlas.comparison import compare_atlases, compare_classes
from conceptlab.analysis.atlas.icons import Icons, patch_icons
from conceptlab.analysis.atlas.layout import Atlas, atlas
from conceptlab.analysis.atlas.optimised_icons import optimised_icons
from conceptlab.errors import InputError
from conceptlab.files import atomic_path
from conceptlab.keys import digest_chunks
from conceptlab.study.folder import Outputs, RunFolder, read_table, safe
from conceptlab.study.frames import joined, labelled
from conceptlab.study.same import Holds
from conceptlab.study.settings import AtlasSettings
from conceptlab.study.shown import drawn
from conceptlab.study.steps import SEED, Layer, made
from conceptlab.vectors import ConceptVectors

if TYPE_CHECKING:
    from conceptlab.models.outputs import Output
    from conceptlab.models.probed import ProbedModel

log = logging.getLogger(__name__)

STEP = "atlas"
PAGE = "atlas.html"
READS = (
    *(f"atlas.{f.name}" for f in fields(AtlasSettings) if f.name not in ("enabled", "classes")),
    SEED,
)
FOUND = 0.04  # IoU_set on train, as a detector has it
VIEW, PICTURE, PRINT = "view.json", "atlas.png", "atlas.pdf"


@dataclass(frozen=True)
class Territory:
    """What the atlases of a layer are made of.

    Args:
        layer: its activations, data and study.
        model: the network.
        vectors: a file of concept vectors of the layer, for concept scores; or none.
        output: where the scores are in what the network returns.
        classes: whose atlases are made too.
        progress: show bars.
    """

    layer: Layer
    model: "ProbedModel"
    classes: tuple[str, ...] = ()
    vectors: Path | None = None
    output: "Output" = None
    progress: bool = False

    @property
    def settings(self) -> AtlasSettings:
        """Those of the study's [atlas]."""
        return self.layer.study.atlas

    @property
    def focuses(self) -> tuple[tuple[str, ...], ...]:
        """The whole layer, each class, and the first two classes together."""
        classes = self.classes
        return (), *((name,) for name in classes), *([classes[:2]] if len(classes) > 1 else [])

    def require_classes(self) -> None:
        """Raise `InputError` unless the network has all classes."""
        if self.classes:
            known = ClassAttributions(
                self.model, self.layer.activations, self.layer.data, self.output
            )
            known.columns_of(self.classes)

    def atlas(self, focus: Sequence[str] = ()) -> Atlas:
        """The layer's atlas, or that of some classes."""
        known = None if self.vectors is None else ConceptVectors.load(self.vectors)
        if known is not None:
            found = known.usable
            if "train_score" in known.concepts:  # what the layer does not find is no concept of it
                found &= (known.concepts["train_score"] >= FOUND).to_numpy()
            known = known.select(lambda _: found) if found.any() else None
        return atlas(
            self.layer.activations, self.model, known, focus=focus or None,
            layout=self.settings.layout(self.layer.study.seed), data=self.layer.data,
            output=self.output, progress=self.progress,
        )  # fmt: skip

    def icons(self, found: Atlas) -> tuple[Icons, ...]:
        """A picture for each cell."""
        icons = patch_icons(found, self.layer.activations, self.layer.data)
        if self.settings.icons == "patches":
            return icons
        seed = self.layer.study.seed
        return optimised_icons(found, self.model, icons, seed=seed, progress=self.progress)

    def reading(self, *reads: str) -> Self:
        """The same for a step that reads some settings, and can read no others."""
        return replace(self, layer=self.layer.reading(*reads))

    def key(self, step: str) -> dict[str, Any]:
        """Everything that an atlas depends on."""
        file = self.vectors
        return self.layer.key(step) | {
            "output": str(self.output),
            "vectors": "" if file is None else digest_chunks([file.read_bytes()]),
        }

    @property
    def holds(self) -> Holds:
        """What results are of, for the run folder."""
        return self.layer.holds


def make_atlases(run: RunFolder, model: str, name: str, territory: Territory) -> None:
    """The atlas of a layer, and those of its classes there; one that fails leaves the others.

    Raises:
        InputError: an unknown class, before anything is made.
    """
    territory.require_classes()
    for focus in territory.focuses:
        with run.part(model, name, _step(focus)):
            make_atlas(run, model, name, territory, focus)


def _step(focus: Sequence[str]) -> str:
    """The name of the step that makes an atlas."""
    return "-".join([STEP, *map(safe, focus)])


def make_atlas(
    run: RunFolder, model: str, name: str, territory: Territory, focus: Sequence[str]
) -> Path:
    """One atlas: of a layer, of a class there, or of two classes together."""
    step = _step(focus)
    title = ", ".join(filter(None, (model, name, " and ".join(focus))))
    return made(
        run, (model, name, step), territory, lambda own: atlas_step(own, focus, title), READS,
        focus=list(focus),
    )  # fmt: skip


def atlas_step(territory: Territory, focus: Sequence[str], title: str) -> Outputs:
    """An atlas: its cells as a table and as vectors, and its pictures."""
    from conceptlab.views.atlas.page import view_of
    from conceptlab.views.figures.panels import DPI
    from conceptlab.views.plots.atlas import plot_atlas, plot_atlas_classes

    found = territory.atlas(focus)
    icons = territory.icons(found)
    view = view_of(
        title, found, icons, model=territory.model.name, layer=found.sample.space.layer,
        optimised=territory.settings.icons == "optimised",
    )  # fmt: skip
    tables = {"cells": found.cells, "partition": found.partition}
    if len(focus) == 2:
        a, b = (c if c in found.classes else found.classes[int(c)] for c in focus)
        tables["classes"] = labelled(compare_classes(found, a, b), {"class_a": a, "class_b": b})
        ax = plot_atlas_classes(found, icons, a, b, printed(found))
    else:
        ax = plot_atlas(found, icons, printed(found))
    pictures = {VIEW: json.dumps(view, ensure_ascii=False).encode()}
    pictures |= {PICTURE: drawn(ax, "png", 2 * DPI), PRINT: drawn(ax, "pdf", 2 * DPI)}
    return Outputs(tables, {"cells": found.grids[-1].vectors(found.sample.space)}, pictures)


def printed(found: Atlas) -> int:
    """The resolution of the grid that a figure shows: some four vectors a cell, were all full."""
    wanted = np.sqrt(len(found.sample)) / 2
    return min((grid.resolution for grid in found.grids), key=lambda side: abs(side - wanted))


def write_atlases(run: RunFolder, seed: int = 0) -> Path | None:
    """Put the atlases of a run together: `atlas.html`, `figures/atlas-*`, and tables.

    These are cells.csv, atlas_classes.csv (what cells say for the first two classes) and
    atlas_comparison.csv (how two layers or networks part the same images).

    Args:
        run: the run folder.
        seed: of the comparisons' tests.

    Returns:
        The page; None where there is no atlas.
    """
    from conceptlab.views.atlas.page import write_atlas
    from conceptlab.views.style import slug

    tables, views, page = [], [], run.path / PAGE
    for model, layer, step in run.steps(f"{STEP}*"):
        views.append(_view(step))
        focus = views[-1]["focus"]
        at = {"model": model, "layer": layer, "focus": focus}
        tables.append(labelled(read_table(step / "cells.csv"), at))
        name = slug("-".join(filter(None, (model, layer, focus))))
        for file in (PICTURE, PRINT):
            with atomic_path(run.path / "figures" / f"atlas-{name}{Path(file).suffix}") as place:
                place.write_bytes((step / file).read_bytes())
    run.table("cells", joined(tables))
    run.table("atlas_classes", run.gather(f"{STEP}-*", "classes"))
    run.table("atlas_comparison", _compared(run, seed))
    if not views:
        page.unlink(missing_ok=True)
        return None
    return write_atlas(page, views)


def _compared(run: RunFolder, seed: int) -> pd.DataFrame:
    """Every two atlases of whole layers over the same images."""
    found = [
        ({"model": model, "layer": layer}, read_table(step / "partition.csv"))
        for model, layer, step in run.steps(STEP)
    ]
    tables = []
    for (one, a), (other, b) in itertools.combinations(found, 2):
        pair = {f"{k}_i": v for k, v in one.items()} | {f"{k}_j": v for k, v in other.items()}
        try:
            measures = compare_atlases(a, b, seed=seed).measures
        except InputError as error:
            log.info("%s, %s beside %s, %s: %s", *pair.values(), error)
            continue
        tables.append(labelled(measures, pair))
    return joined(tables)


def _view(step: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((step / VIEW).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot read {step / VIEW} ({error}); delete {step} and run the same command again"
        ) from error
    return found
