"""The step of a study that makes activation atlases, and the page of all of them."""

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from conceptlab.analysis.atlas import Atlas, atlas
from conceptlab.analysis.cell_images import optimised_icons
from conceptlab.analysis.icons import Icons, patch_icons
from conceptlab.errors import InputError
from conceptlab.files import atomic_path
from conceptlab.keys import digest_chunks
from conceptlab.study.folder import Outputs, RunFolder, read_table, safe
from conceptlab.study.settings import AtlasSettings
from conceptlab.study.steps import Layer
from conceptlab.vectors import ConceptVectors

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from conceptlab.models.outputs import Output
    from conceptlab.models.probed import ProbedModel

STEP = "atlas"
PAGE = "atlas.html"
VIEW, PICTURE, PRINT = "view.json", "atlas.png", "atlas.pdf"


@dataclass(frozen=True)
class Territory:
    """What the atlases of a layer are made of.

    Args:
        layer: its activations, data and study.
        model: the network.
        vectors: a file of concept vectors of the layer, for concept scores; or none.
        output: where the scores are in what the network returns.
        progress: show bars.
    """

    layer: Layer
    model: "ProbedModel"
    vectors: Path | None = None
    output: "Output" = None
    progress: bool = False

    @property
    def settings(self) -> AtlasSettings:
        """Those of the study's [atlas]."""
        return self.layer.study.atlas

    def atlas(self, focus: str = "") -> Atlas:
        """The layer's atlas, or that of a class."""
        known = None if self.vectors is None else ConceptVectors.load(self.vectors)
        if known is not None:
            usable = known.usable
            known = known.select(lambda _: usable) if usable.any() else None
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

    def key(self, focus: str) -> dict[str, Any]:
        """Everything that an atlas depends on."""
        own = {k: v for k, v in asdict(self.settings).items() if k not in ("enabled", "classes")}
        file = self.vectors
        return self.layer.key(STEP) | {
            "atlas": own, "focus": focus, "output": str(self.output),
            "vectors": "" if file is None else digest_chunks([file.read_bytes()]),
        }  # fmt: skip


def make_atlas(
    run: RunFolder, model: str, name: str, territory: Territory, focus: str = ""
) -> Path:
    """The atlas of a layer, or of a class there."""
    step = f"{STEP}-{safe(focus)}" if focus else STEP

    def make() -> Outputs:
        return atlas_step(territory, focus, ", ".join(filter(None, (model, name, focus))))

    return run.step(model, name, step, territory.key(focus), make)


def atlas_step(territory: Territory, focus: str, title: str) -> Outputs:
    """An atlas: its cells as a table and as vectors, and its pictures."""
    from conceptlab.views.atlas import view_of
    from conceptlab.views.plots_atlas import plot_atlas

    found = territory.atlas(focus)
    icons = territory.icons(found)
    model, layer = territory.model.name, territory.layer.activations.layer
    view = view_of(
        title, found, icons, model=model, layer=layer,
        optimised=territory.settings.icons == "optimised",
    )  # fmt: skip
    figure = plot_atlas(found, icons).get_figure(root=True)
    if figure is None:
        raise RuntimeError("axes without a figure")
    pictures = {
        VIEW: json.dumps(view, ensure_ascii=False).encode(),
        PICTURE: _drawn(figure, "png"), PRINT: _drawn(figure, "pdf"),
    }  # fmt: skip
    cells = found.grids[-1].vectors(found.sample.space)
    return Outputs({"cells": found.cells}, {"cells": cells}, pictures)


def _drawn(figure: "Figure", kind: str) -> bytes:
    """A figure as a file; the same bytes whenever it is drawn."""
    from conceptlab.views.panels import DPI

    file = io.BytesIO()
    dated: Mapping[str, Any] = {"CreationDate": None} if kind == "pdf" else {}
    figure.savefig(file, dpi=2 * DPI, format=kind, metadata=dict(dated))
    return file.getvalue()


def write_atlases(run: RunFolder) -> Path | None:
    """Put the atlases of a run together: `atlas.html`, `tables/cells.csv`, `figures/atlas-*`.

    Returns:
        The page; None where there is no atlas.
    """
    from conceptlab.views.atlas import write_atlas
    from conceptlab.views.style import slug

    tables, views, page = [], [], run.path / PAGE
    for model, layer, step in run.steps(f"{STEP}*"):
        views.append(_view(step))
        focus = views[-1]["focus"]
        table = read_table(step / "cells.csv")
        table.insert(0, "focus", focus)
        table.insert(0, "layer", layer)
        table.insert(0, "model", model)
        tables.append(table)
        name = slug("-".join(filter(None, (model, layer, focus))))
        for file in (PICTURE, PRINT):
            with atomic_path(run.path / "figures" / f"atlas-{name}{Path(file).suffix}") as place:
                place.write_bytes((step / file).read_bytes())
    run.table("cells", pd.concat(tables, ignore_index=True) if tables else pd.DataFrame())
    if not views:
        page.unlink(missing_ok=True)
        return None
    return write_atlas(page, views)


def _view(step: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((step / VIEW).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot read {step / VIEW} ({error}); delete {step} and run the same command again"
        ) from error
    return found
