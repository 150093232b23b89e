"""The steps of a study that show what a layer responds to: filters, maps, exemplars, kinds."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

from conceptlab.analysis.units.exemplars import CHOICES, Exemplars, exemplars
from conceptlab.analysis.units.receptive_field import empirical_field
from conceptlab.keys import digest_chunks
from conceptlab.models.filters import filters
from conceptlab.models.grid import part_of
from conceptlab.models.picture import network_view
from conceptlab.study.folder import Outputs, RunFolder
from conceptlab.study.images import images_step
from conceptlab.study.kinds import make_kinds
from conceptlab.study.same import Holds
from conceptlab.study.settings import LookSettings
from conceptlab.study.shown import Shown
from conceptlab.study.steps import SEED, Layer, made
from conceptlab.synthesis.objectives import Unit
from conceptlab.synthesis.settings import Synthesis
from conceptlab.synthesis.visualize import visualize
from conceptlab.vectors import ConceptVectors

if TYPE_CHECKING:
    from conceptlab.analysis.units.receptive_field import Fields
    from conceptlab.analysis.units.targets import By
    from conceptlab.models.probed import ProbedModel

ALL = "all"  # the folder of what concerns all layers
SIDE = 112  # pixels of a picture in a row
#: How the pictures of each choice are shown, and what they are.
WAYS = {
    "top": ("masked", "Most active: the images with the highest values, grey where the unit is "
            "below its threshold"),
    "diverse": ("patch", "Diverse: strong images that differ from one another, the part around the "
                "peak"),
    "range": ("whole", "Across the range: images at evenly spaced quantiles of the values, lowest "
              "first"),
}  # fmt: skip


@dataclass(frozen=True)
class Look:
    """What the steps of a layer work on.

    Args:
        layer: its activations, data and study.
        model: the network.
        of: the units that are shown, or vectors over them.
        progress: show bars.
    """

    layer: Layer
    model: "ProbedModel"
    of: tuple[int, ...] | ConceptVectors
    progress: bool = False

    @property
    def settings(self) -> LookSettings:
        """Those of the study's [look]."""
        return self.layer.study.look

    @property
    def seed(self) -> int:
        """Of everything left to chance."""
        return self.layer.study.seed

    def reading(self, *reads: str) -> Self:
        """The same for a step that reads some settings, and can read no others."""
        return replace(self, layer=self.layer.reading(*reads))

    def key(self, step: str) -> dict[str, Any]:
        """Everything that a step's outputs depend on."""
        return self.layer.key(step) | {"of": _identity(self.of)}

    @property
    def holds(self) -> Holds:
        """What results are of, for the run folder."""
        return self.layer.holds


def _identity(of: tuple[int, ...] | ConceptVectors) -> Any:
    """What identifies units or vectors, as a JSON value."""
    if isinstance(of, tuple):
        return list(of)
    return of.names, digest_chunks([of.weights.tobytes(), of.bias.tobytes()])


def make_looks(
    run: RunFolder, name: str, model: "ProbedModel", layers: Mapping[str, Layer],
    units: Mapping[str, Sequence[int]], progress: bool = False,
) -> None:  # fmt: skip
    """All that a study's [look] asks of a network.

    Args:
        run: the run folder.
        name: of the network in this run.
        model: the network.
        layers: name to layer.
        units: name of a layer to the units that are shown.
        progress: show bars.
    """
    with run.part(name, ALL, "filters"):
        make_filters(run, name, model, list(layers.values()))
    for key, layer in layers.items():
        if not units.get(key):
            continue
        look = Look(layer, model, tuple(units[key]), progress)
        with run.part(name, key, "exemplars"):
            make_exemplars(run, name, key, look)
        if look.settings.steps:
            with run.part(name, key, "images-optimised"):
                make_unit_images(run, name, key, look)
        if look.settings.exemplars:
            with run.part(name, key, "kinds"):
                make_kinds(run, name, look)


def make_filters(run: RunFolder, name: str, model: "ProbedModel", layers: Sequence[Layer]) -> Path:
    """The filters of a network's convolutions, and the maps of one picture, for some layers."""
    names = [layer.activations.layer for layer in layers]

    def make(_: Layer) -> Outputs:
        return filters_step(model, [layer.reading() for layer in layers])

    return made(run, (name, ALL, "filters"), layers[0], make, (), layers=names)


def filters_step(model: "ProbedModel", layers: Sequence[Layer]) -> Outputs:
    """Filters of the first convolution and of those that lead to the layers; feature maps."""
    from conceptlab.views.plots.filters import plot_feature_maps, plot_filters

    names = [layer.activations.layer for layer in layers]
    shown = Shown.none()
    for name in convolutions(model, names):
        weights = filters(model, name)
        shown.add(
            f"filters-{name}", f"Filters of {name}",
            f"What the {len(weights)} filters of {name} weigh, over {weights.shape[1]} input "
            "channels.",
            plot_filters(weights),
        )  # fmt: skip
    data = layers[0].data
    row = int(np.flatnonzero(data.splits != "train")[0]) if (data.splits != "train").any() else 0
    picture = data.picture(row)
    for name, maps in model.activations(picture, names).items():
        shown.add(
            f"maps-{name}", f"Feature maps of {name}",
            f"What the most active units of {name} make of {data.names[row]}.",
            plot_feature_maps(maps[0], picture=network_view(picture, model.preprocessing.geometry)),
        )  # fmt: skip
    return Outputs({"shown": shown.table}, {}, shown.pictures)


def convolutions(model: "ProbedModel", layers: Sequence[str]) -> list[str]:
    """The first convolution of a network, and the last one at or before the end of each layer.

    Args:
        model: the network.
        layers: names, as `ProbedModel.resolve` gives them.
    """
    order, parts = model.executed(), dict(model.module.named_modules())
    plain = [layer for layer in order if type(parts[layer]).__name__ == "Conv2d"]
    if not plain:
        return []
    ends = sorted(order.index(part_of(layer)) for layer in layers)
    before = [[layer for layer in plain if order.index(layer) <= end] for end in ends]
    return list(dict.fromkeys([plain[0], *(found[-1] for found in before if found)]))


def make_exemplars(
    run: RunFolder, model: str, name: str, look: Look, by: "By" = "max",
    ways: Sequence[str] = CHOICES,
) -> Path:  # fmt: skip
    """The images that the units of a layer, or some vectors, respond to."""
    return made(
        run, (model, name, "exemplars"), look, lambda own: exemplars_step(own, by, ways),
        ("look.count", "look.fields", "dissect.tau"), by=by, ways=list(ways),
    )  # fmt: skip


def exemplars_step(look: Look, by: "By", ways: Sequence[str]) -> Outputs:
    """Tables of exemplars and of empirical receptive fields; rows of pictures."""
    from conceptlab.views.plots.exemplars import draw_exemplars

    shown, where = Shown.none(), f"{look.model.name}, {look.layer.activations.layer}"
    fields = _fields(look, by)
    tables = []
    if isinstance(look.of, tuple):
        tables = [_chosen(look, None, by, "top").table.assign(way="top")]
    for way in ways:
        found, (show, text) = _chosen(look, look.of, by, way), WAYS[way]
        picture = draw_exemplars(found, look.layer.data, show=show, fields=fields, side=SIDE)
        caption = f"{text}. Below each picture its value and its name."
        shown.add(f"exemplars-{way}", f"Exemplars, {way}: {where}", caption, picture)
        if way != "top" or not tables:
            tables.append(found.table.assign(way=way))
    kept = {"exemplars": pd.concat(tables, ignore_index=True), "shown": shown.table}
    if fields is not None:
        kept["fields"] = fields.table
    return Outputs(kept, {}, shown.pictures)


def _chosen(look: Look, of: Any, by: "By", way: str, count: int = 0) -> Exemplars:
    settings, study = look.settings, look.layer.study
    some = list(of) if isinstance(of, tuple) else of
    return exemplars(
        look.layer.activations, some, by=by, count=count or settings.count, choose=way,
        tau=study.dissect.tau, progress=look.progress,
    )  # fmt: skip


def _fields(look: Look, by: "By") -> "Fields | None":
    """The empirical receptive fields of what is shown; of means, which have no peak, none."""
    if by == "mean" or not look.settings.fields:
        return None
    found = _chosen(look, look.of, by, "top", look.settings.fields)
    return empirical_field(look.model, look.layer.data, found, progress=look.progress)


def make_unit_images(run: RunFolder, model: str, name: str, look: Look) -> Path:
    """An image by optimisation for each unit that is shown."""

    def make(own: Look) -> Outputs:
        units = own.of if isinstance(own.of, tuple) else ()
        wanted = [Unit(own.layer.activations.layer, unit) for unit in units]
        settings = Synthesis(steps=own.settings.steps)
        found = visualize(own.model, wanted, settings, seed=own.seed, progress=own.progress)
        return images_step("optimised", found, own.layer.activations)

    names = model, name, "images-optimised"
    return made(run, names, look, make, ("look.steps", SEED), how=asdict(Synthesis()))
