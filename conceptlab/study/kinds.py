"""The step of a study that says how many kinds of image each unit answers to."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from PIL import Image

from conceptlab.analysis.units.polysemanticity import Polysemanticity, polysemanticity
from conceptlab.keys import digest_chunks
from conceptlab.probes.units.packing import Packing
from conceptlab.study.folder import Outputs, RunFolder, read_table
from conceptlab.study.shown import Shown, gathered, image_files
from conceptlab.study.steps import SEED, made
from conceptlab.synthesis.objectives import Unit
from conceptlab.synthesis.settings import Synthesis
from conceptlab.synthesis.visualize import visualize

if TYPE_CHECKING:
    from conceptlab.study.look import Look

STEP = "kinds"
REPEATS = 3  # images by optimisation of a unit
APART = 20.0  # weight of their diversity


def make_kinds(run: RunFolder, name: str, look: "Look") -> Path:
    """The kinds of image that the units of a layer answer to, with the packed concepts if known."""
    layer = look.layer.activations.layer
    places = [path for model, own, path in run.steps("pack") if (model, own) == (name, layer)]
    files = [p for place in places for p in (place / "units.csv", place / "table.csv")]
    known = [p for p in files if p.is_file()]
    packing = Packing(*map(read_table, known)) if len(known) == 2 else None
    return made(
        run, (name, layer, STEP), look, lambda own: kinds_step(own, packing),
        ("look.exemplars", "look.units", "look.steps", SEED),
        packing=digest_chunks(path.read_bytes() for path in known),
    )  # fmt: skip


def kinds_step(look: "Look", packing: Packing | None) -> Outputs:
    """A table of all units; pictures of the most single-minded and the most many-minded ones."""
    from conceptlab.views.plots.polysemanticity import plot_polysemanticity

    layer = look.layer.activations.layer
    found = polysemanticity(
        look.layer.activations, count=look.settings.exemplars, packing=packing, seed=look.seed,
        progress=look.progress,
    )  # fmt: skip
    units = extremes(found.units, look.settings.units)
    members, pictures = _patches(look, found, units)
    images, made = _images(look, units)
    shown = Shown.none()
    shown.add(
        "kinds", f"Single-minded and many-minded units: {look.model.name}, {layer}",
        "Units by the number of clusters that their strongest images form in the layer.",
        plot_polysemanticity(found.units),
    )  # fmt: skip
    tables = {"units": found.units, "members": members, "images": images, "shown": shown.table}
    return Outputs(tables, {}, pictures | made | shown.pictures)


def extremes(units: pd.DataFrame, count: int) -> list[int]:
    """The most single-minded units and the most many-minded ones, so many of either.

    Args:
        units: columns unit, clusters, similarity.
        count: of each.
    """
    alive = units[units["clusters"] > 0]
    ranked = alive.sort_values(["clusters", "similarity"], ascending=[True, False], kind="stable")
    ends = pd.concat([ranked.head(count), ranked.tail(count)])
    return [int(unit) for unit in ends["unit"].drop_duplicates()]


def _patches(
    look: "Look", found: Polysemanticity, units: list[int]
) -> tuple[pd.DataFrame, dict[str, bytes]]:
    """The patches of some units, by kind."""
    from conceptlab.views.report.polysemanticity import write_exemplars

    some = replace(found, members=found.members[found.members["unit"].isin(units)])
    with tempfile.TemporaryDirectory() as folder:
        table = write_exemplars(some, look.layer.activations, look.layer.data, Path(folder))
        return table, {name: (Path(folder) / name).read_bytes() for name in table["picture"]}


def _images(look: "Look", units: list[int]) -> tuple[pd.DataFrame, dict[str, bytes]]:
    """Diverse images of some units, where the study makes images."""
    if not look.settings.steps:
        return pd.DataFrame(), {}
    layer = look.layer.activations.layer
    wanted = [Unit(layer, unit) for unit in units for _ in range(REPEATS)]
    settings = Synthesis(steps=look.settings.steps, diversity=APART)
    found = visualize(look.model, wanted, settings, seed=look.seed, progress=look.progress)
    pictures = image_files(map(Image.fromarray, found.images))
    return pd.DataFrame({"unit": [u.unit for u in wanted], "picture": list(pictures)}), pictures


def write_kinds(run: RunFolder) -> None:
    """Write the tables of a run on the kinds of image of its units, pictures by their paths."""
    run.table("polysemanticity", run.gather(STEP, "units"))
    run.table("polysemanticity_members", gathered(run, STEP, "members"))
    run.table("polysemanticity_pictures", gathered(run, STEP, "images"))
