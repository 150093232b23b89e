"""Example pictures of a run put together as the paper's figures 1 and 8."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from PIL import Image

from conceptlab.files import atomic_path
from conceptlab.views.pictures.overlay import open_picture, stack, strip, upright
from conceptlab.views.style import slug

CONCEPTS = 8  # of figure 8


def write_mosaics(run: Path, examples: pd.DataFrame) -> list[Path]:
    """Draw figure 1 (top images of units) and figure 8 (images at deciles) of each layer.

    Args:
        run: the run folder.
        examples: as `read_examples` gives them.

    Returns:
        The files in `figures/`.
    """
    written = []
    for name, picture in mosaics(examples):
        path = run / "figures" / f"{name}.png"
        with atomic_path(path) as temporary:
            picture.save(temporary, "PNG")
        written.append(path)
    return written


def mosaics(examples: pd.DataFrame) -> Iterator[tuple[str, Image.Image]]:
    """Name and picture of figure 1 and of figure 8 for each layer that has examples.

    Args:
        examples: as `read_examples` gives them.
    """
    for (model, layer), rows in examples.groupby(["model", "layer"], sort=False):
        where = slug(f"{model}-{layer}")
        if rows["kind"].eq("top").any():
            yield f"figure1-{where}", _units(rows[rows["kind"] == "top"])
        if rows["kind"].eq("decile").any():
            yield f"figure8-{where}", _deciles(rows[rows["kind"] == "decile"])


def _units(rows: pd.DataFrame) -> Image.Image:
    """A row per unit, its images with the highest activation first."""
    parts = []
    for unit, own in rows.groupby("unit", sort=False):
        own = own.sort_values("rank")
        captions = [f"unit {unit}: {own['concept'].iloc[0]}", *[""] * (len(own) - 1)]
        parts.append(strip([open_picture(p) for p in own["file"]], captions))
    return stack(parts)


def _deciles(rows: pd.DataFrame) -> Image.Image:
    """For the concepts with the most pictures: labels, best unit and probe at each decile."""
    names = rows["concept"].value_counts(sort=False).sort_values(ascending=False, kind="stable")
    parts = []
    for name in names.index[:CONCEPTS]:
        own = rows[rows["concept"] == name].sort_values("decile")
        captions = [f"decile {d:.0f}" for d in own["decile"]]
        captions[0] = f"{name}, {captions[0]}"
        parts.append(strip([upright(open_picture(p)) for p in own["file"]], captions))
    return stack(parts)
