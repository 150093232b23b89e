"""Units from single-minded to many-minded: a page of its own, and a section of the report."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from PIL import Image

from conceptlab.files import atomic_path, write_text
from conceptlab.views.report.cells import chance_text, is_chance
from conceptlab.views.report.concepts import data_uri

if TYPE_CHECKING:
    from conceptlab.activations.store import Activations
    from conceptlab.analysis.units.polysemanticity import Polysemanticity
    from conceptlab.data.base import ProbeDataset

PIXELS = 84  # of a patch's file
QUALITY = 85
KEYS = ["model", "layer"]
CELLS = (
    ("clusters", "kinds"),
    ("similarity", "similarity"),
    ("p_value", "p"),
    ("packed", "packed"),
)


def write_exemplars(
    found: "Polysemanticity",
    activations: "Activations",
    data: "ProbeDataset",
    folder: Path,
    *,
    each: int = 6,
    side: float | None = None,
) -> pd.DataFrame:
    """Write the patches around the strongest peaks of every unit and cluster.

    Args:
        found: of the layer.
        activations: of the layer.
        data: that they were extracted from.
        folder: for the pictures.
        each: patches of a cluster, its strongest first.
        side: pixels of the network's input, see `conceptlab.activations.patches.patches`.

    Returns:
        The rows of `found.members` that have a patch, with columns share (of the unit's
        exemplars, that are in its cluster) and picture (the name of its file).
    """
    from conceptlab.activations.patches import patches

    members = found.members
    clusters = members.groupby(["unit", "cluster"])["rank"]
    shares = clusters.transform("size") / members.groupby("unit")["rank"].transform("size")
    chosen = members.assign(share=shares)[clusters.cumcount() < each].reset_index(drop=True)
    cut = patches(
        activations, data, chosen["row"].to_numpy(), chosen[["y", "x"]].to_numpy(), side
    )  # fmt: skip
    names = [f"unit{r.unit}-{r.rank}.jpg" for r in chosen.itertuples()]
    folder.mkdir(parents=True, exist_ok=True)
    for pixels, name in zip(cut, names, strict=True):
        small = Image.fromarray(pixels).resize((PIXELS, PIXELS), Image.Resampling.LANCZOS)
        with atomic_path(folder / name) as temporary:
            small.save(temporary, "JPEG", quality=QUALITY)
    return chosen.assign(picture=names)


def polysemanticity_page(
    path: Path,
    units: pd.DataFrame,
    members: pd.DataFrame | None = None,
    pictures: pd.DataFrame | None = None,
    *,
    title: str = "Units, from single-minded to many-minded",
) -> Path:
    """Write a page that ranks units by how many kinds of image they answer to; needs no network.

    Args:
        path: of the page; pictures are read from its folder, and are in the page itself.
        units: as `Polysemanticity.units` has them.
        members: as `write_exemplars` gives them, with `picture` relative to the page's folder.
        pictures: images made by optimisation, side by side: columns unit, picture.
        title: of the page.

    Returns:
        The file.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("conceptlab.views"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    content = {
        "reading": [_reading("", units)],
        "layers": [_layer(path.parent, "", units, _there(path.parent, members),
                          _there(path.parent, pictures))],
    }  # fmt: skip
    template = environment.get_template("polysemanticity_page.html.j2")
    write_text(path, template.render(title=title, polysemanticity=content))
    return path


def polysemanticity_of(run: Path, tables: dict[str, pd.DataFrame]) -> dict[str, Any] | None:
    """What the report's section shows; None for a run without polysemanticity.

    Args:
        run: the run folder, which pictures are relative to.
        tables: by name; used are polysemanticity (as `Polysemanticity.units`), and where there are,
            polysemanticity_members (as `write_exemplars` gives them) and polysemanticity_pictures
            (unit, picture), each with model and layer. Where some units have pictures, the section
            lists those.
    """
    units = tables.get("polysemanticity")
    if units is None:
        return None
    members = _there(run, tables.get("polysemanticity_members"))
    pictures = _there(run, tables.get("polysemanticity_pictures"))
    reading, layers = [], []
    for (model, layer), own in units.groupby(KEYS, sort=False):
        where = f"{model}, {layer}"
        parts = [_of(table, str(model), str(layer)) for table in (members, pictures)]
        pictured = own["unit"].isin([u for part in parts for u in part.get("unit", ())])
        shown = own[pictured] if pictured.any() else own
        reading.append(_reading(where, own))
        layers.append(_layer(run, where, shown, *parts))
    return {"reading": reading, "layers": layers}


def _of(table: pd.DataFrame, model: str, layer: str) -> pd.DataFrame:
    """The rows of one layer."""
    if not len(table):
        return table
    return table[(table["model"] == model) & (table["layer"] == layer)]


def _there(folder: Path, table: pd.DataFrame | None) -> pd.DataFrame:
    """The rows whose pictures are there."""
    if table is None:
        return pd.DataFrame()
    return table[[(folder / str(name)).is_file() for name in table["picture"]]]


def _reading(where: str, units: pd.DataFrame) -> str:
    """A layer in a sentence."""
    alive = units[units["clusters"] > 0]
    many = int((alive["clusters"] > 1).sum())
    text = (
        f"{many} of {len(alive)} units answer to more than one kind of image, "
        f"{alive['clusters'].mean():.2f} kinds on average"
    )
    never = len(units) - len(alive)
    text += f"; {never} never fire" if never else ""
    return f"{where}: {text}." if where else f"{text}."


def _layer(
    folder: Path, where: str, units: pd.DataFrame, members: pd.DataFrame, pictures: pd.DataFrame
) -> dict[str, Any]:
    """A layer's units, from single-minded to many-minded; those that never fire come last."""
    packed = "packed" in units and bool(units["packed"].notna().any())
    ranked = units.assign(dead=units["clusters"] == 0).sort_values(
        ["dead", "clusters", "similarity"], ascending=[True, True, False], kind="stable"
    )
    patches, seen = _kinds(folder, members), _seen(folder, pictures)
    cells = [(column, name) for column, name in CELLS if packed or column != "packed"]
    return {
        "where": where,
        "packed": packed,
        "patches": bool(patches),
        "seen": bool(seen),
        "rows": [
            {
                "unit": int(r["unit"]),
                "cells": [{"name": name, **_cell(r[column], column)} for column, name in cells],
                "names": str(r.get("names", "")),
                "largest": "" if pd.isna(r["largest"]) else float(r["largest"]),
                "kinds": patches.get(r["unit"], []),
                "seen": seen.get(r["unit"], []),
            }
            for r in ranked.to_dict("records")
        ],
    }


def _cell(value: Any, column: str) -> dict[str, str]:
    """A number as text, and to sort by."""
    if pd.isna(value):
        return {"text": "-", "value": ""}
    if is_chance(column):
        return {"text": chance_text(value), "value": repr(float(value))}
    whole = column in ("clusters", "packed")
    return {"text": f"{value:.0f}" if whole else f"{value:.3f}", "value": repr(float(value))}


def _kinds(folder: Path, members: pd.DataFrame) -> dict[Any, list[dict[str, Any]]]:
    """Unit to its clusters with their patches, the largest first."""
    found: dict[Any, list[dict[str, Any]]] = {}
    if not len(members):
        return found
    for (unit, _), own in members.groupby(["unit", "cluster"]):
        shown = [
            {"uri": data_uri(folder / r.picture), "title": f"{r.rank}: {r.image}, {r.value:.3g}"}
            for r in own.sort_values("rank").itertuples()
        ]
        found.setdefault(unit, []).append(
            {"share": f"{own['share'].iloc[0]:.0%}", "patches": shown}
        )  # fmt: skip
    return found


def _seen(folder: Path, pictures: pd.DataFrame) -> dict[Any, list[str]]:
    """Unit to its images by optimisation, in the order of their table."""
    if not len(pictures):
        return {}
    return {
        unit: [data_uri(folder / str(name)) for name in own["picture"]]
        for unit, own in pictures.groupby("unit")
    }
