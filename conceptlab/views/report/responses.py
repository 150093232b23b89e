"""A report's section on what layers respond to: filters, maps, exemplars, images, atlases."""

from pathlib import Path
from typing import Any

import pandas as pd

from conceptlab.views.figures.panels import DPI
from conceptlab.views.report.concepts import data_uri
from conceptlab.views.style import slug

PIXELS = 96  # of a page, per inch of a figure: text is as large in all of them
PAGE = "atlas.html"
ALL = "all"  # of what concerns a network's layers alike
WIDEST = 1100  # pixels of a picture in the page


def look_of(run: Path, tables: dict[str, pd.DataFrame]) -> dict[str, Any] | None:
    """What the section shows; None for a run without such pictures.

    Args:
        run: the run folder.
        tables: by name, as `read_tables` gives them.
    """
    layers = _layers(run, tables.get("pictures"))
    atlases = _atlases(run, tables.get("cells"))
    if not layers and not atlases:
        return None
    return {
        "layers": layers,
        "reading": _reading(tables.get("images")),
        "atlases": atlases,
        "page": PAGE if (run / PAGE).is_file() else "",
    }


def _layers(run: Path, pictures: pd.DataFrame | None) -> list[dict[str, Any]]:
    """The pictures of each layer, in the order of their table; those that are gone are left out."""
    if pictures is None:
        return []
    there = pictures[[(run / p).is_file() for p in pictures["picture"]]]
    return [
        {
            "where": model if layer == ALL else f"{model}, {layer}",
            "pictures": [
                {"title": r.title, "caption": r.caption, **_shown(run / r.picture)}
                for r in rows.itertuples()
            ],
        }
        for (model, layer), rows in there.groupby(["model", "layer"], sort=False)
    ]


def _atlases(run: Path, cells: pd.DataFrame | None) -> list[dict[str, Any]]:
    if cells is None:
        return []
    found = []
    for (model, layer, focus), rows in cells.groupby(["model", "layer", "focus"], sort=False):
        names = [str(n) for n in (model, layer, focus) if n]
        path = run / "figures" / f"atlas-{slug('-'.join(names))}.png"
        if path.is_file():
            own = rows.groupby("resolution").size()
            cells = ", ".join(f"{n} of {side} x {side}" for side, n in own.items())
            found.append({"where": ", ".join(names), "cells": cells, **_shown(path)})
    return found


def _shown(path: Path) -> dict[str, Any]:
    """A picture for the page, and how wide it is there."""
    from PIL import Image

    with Image.open(path) as picture:
        resolution = picture.info.get("dpi", (DPI, DPI))[0]
        width = min(round(picture.width * PIXELS / resolution), WIDEST)
    return {"uri": data_uri(path), "width": width}


def _reading(images: pd.DataFrame | None) -> list[str]:
    """In words: do optimised images excite their units more than any picture does?"""
    if images is None:
        return []
    known = images.dropna(subset=["best"])
    return [
        f"{model}, {layer}: {int((rows['value'] > rows['best']).sum())} of {len(rows)} images by "
        "optimisation excite their unit more than any picture of the data set."
        for (model, layer), rows in known.groupby(["model", "layer"], sort=False)
    ]
