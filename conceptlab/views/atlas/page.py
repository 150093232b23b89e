"""The activation atlas as a page: one standalone HTML file, from overview to single cells.

Carter, Armstrong, Schubert, Johnson & Olah 2019 ("Activation Atlas", Distill), as Nenavath &
Khatsuriya describe it in section 3.6: icons on a grid, and a class's attribution as opacity.
"""

import base64
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from conceptlab.analysis.atlas.grid import Grid
from conceptlab.analysis.atlas.icons import Icons
from conceptlab.analysis.atlas.layout import Atlas
from conceptlab.errors import InputError
from conceptlab.files import write_text
from conceptlab.given import checked

if TYPE_CHECKING:
    from markupsafe import Markup

TOP = 5  # classes and concepts that a cell lists
SHADES = 100  # steps of opacity
ICON, PATCH = 112, 64  # most pixels on a side; larger pictures are shrunk, so that pages stay small
SHEET = 4096  # most pixels on a side of a sheet of pictures: what every browser can draw
BLOCK = 16  # pixels of JPEG's colours; a picture that fills whole blocks shares none of them
QUALITY = 80  # of JPEG

Values = NDArray[np.float32]


@checked
def view_of(
    name: str,
    atlas: Atlas,
    icons: tuple[Icons, ...],
    *,
    model: str,
    layer: str,
    optimised: bool = False,
) -> dict[str, Any]:
    """One atlas, ready for a page: what JSON can hold, equal for equal inputs.

    A class or concept that is not among the first five of any cell is left out.

    Args:
        name: that the page's chooser shows.
        atlas: with at least one grid.
        icons: of each grid, coarsest first.
        model: name of the network, for people.
        layer: its layer.
        optimised: the icons were made by optimisation; else they are real patches.

    Raises:
        InputError: icons of another number of grids or cells, or a number that is not finite.
    """
    if not atlas.grids or len(icons) != len(atlas.grids):
        raise InputError(
            f"atlas {name!r} has {len(atlas.grids)} grids and icons for {len(icons)} of them: give "
            "it a grid, and one set of icons for each"
        )
    tables = [_tables(name, grid) for grid in atlas.grids]
    classes, concepts = (_listed(of_kind) for of_kind in zip(*tables, strict=True))
    return {
        "name": _text(name),
        "model": _text(model),
        "layer": _text(layer),
        "focus": _text(atlas.focus),
        "optimised": optimised,
        "vectors": len(atlas.sample),
        "classes": _names(atlas.classes, classes),
        "concepts": _names(atlas.concepts, concepts),
        "grids": [
            {
                **_cells(name, atlas, grid, own),
                "classes": _ranked(attributions, classes),
                "concepts": _ranked(scores, concepts),
            }
            for grid, own, (attributions, scores) in zip(atlas.grids, icons, tables, strict=True)
        ],
    }


@checked
def write_atlas(
    path: Path, views: Sequence[dict[str, Any]], title: str = "Activation atlas"
) -> Path:
    """Write a page of one or more atlases, whole or not at all; it needs no network.

    Args:
        path: of the HTML file.
        views: from `view_of`, or read back from JSON; of unequal names.
        title: of the page.

    Returns:
        The file.

    Raises:
        InputError: no view, or two of one name.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    names = [view["name"] for view in views]
    if not names or len(set(names)) < len(names):
        raise InputError(
            f"a page of atlases needs at least one, each with a name of its own; given: {names}"
        )
    environment = Environment(
        loader=PackageLoader("conceptlab.views"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    page = environment.get_template("atlas.html.j2").render(
        title=_text(title), views=views, tables=[_table(view) for view in views],
        data=_embedded(views),
    )  # fmt: skip
    write_text(Path(path), page)
    return Path(path)


def shades(values: Values) -> NDArray[np.int64]:
    """Opacity of each cell: its value as a share of the largest, in hundredths; negatives are 0.

    Args:
        values: (m, ...) attributions or scores; each column has its own largest.

    >>> shades(np.array([[-1.0], [1.0], [4.0]]))[:, 0].tolist()
    [0, 25, 100]
    """
    positive = np.clip(values.astype(np.float64), 0, None)
    most = positive.max(axis=0, keepdims=True)
    shown = SHADES * positive / np.where(most > 0, most, 1)
    return np.rint(shown).astype(np.int64)


def _text(name: str) -> str:
    """The name without what UTF-8 cannot hold: folders may have such names."""
    return str(name).encode("utf-8", "replace").decode()


def _names(names: Sequence[str], listed: NDArray[np.int64]) -> list[str]:
    """Names of the columns that are listed; two of one name are told apart by their number."""
    written = [_text(name) for name in names]
    return [f"{written[i]} ({i})" if written.count(written[i]) > 1 else written[i] for i in listed]


def _order(values: Values) -> NDArray[np.int64]:
    """(m, <=5) columns of each row's largest values, largest first; the first of equals wins."""
    return np.argsort(-values, axis=1, kind="stable")[:, :TOP]


def _listed(tables: Sequence[Values | None]) -> NDArray[np.int64]:
    """Columns that are among the first five, and above 0, in some cell of some grid."""
    found: set[int] = set()
    for values in tables:
        if values is not None and values.size:
            order = _order(values)
            found.update(order[np.take_along_axis(values, order, axis=1) > 0].tolist())
    return np.array(sorted(found), dtype=np.int64)


def _tables(name: str, grid: Grid) -> tuple[Values | None, Values | None]:
    """(m, C) attributions and (m, Q) scores; a concept that says the same of all cells scores 0."""
    scores = None if grid.scores is None else np.where(np.isnan(grid.scores), 0, grid.scores)
    for what, values in (("attributions", grid.attributions), ("scores", scores)):
        if values is not None and not np.isfinite(values).all():
            raise InputError(
                f"atlas {name!r} has {what} that are not finite in its grid of {grid.resolution} "
                f"x {grid.resolution}: look for NaN in the activations or gradients"
            )
    return grid.attributions, scores


def _cells(name: str, atlas: Atlas, grid: Grid, icons: Icons) -> dict[str, Any]:
    if not len(grid) == len(icons.icons) == len(icons.patches) > 0:
        raise InputError(
            f"the grid of {grid.resolution} x {grid.resolution} of atlas {name!r} has {len(grid)} "
            f"cells, but {len(icons.icons)} icons: make the icons from this atlas"
        )
    flat = icons.patches.reshape(-1, *icons.patches.shape[2:])
    return {
        "resolution": int(grid.resolution),
        "rows": grid.rows.tolist(),
        "columns": grid.columns.tolist(),
        "counts": grid.counts.tolist(),
        "images": [[_text(atlas.sample.names[i]) for i in row if i >= 0] for row in grid.nearest],
        "icons": _sheets(icons.icons, ICON),
        "patches": {"each": int(icons.patches.shape[1]), **_sheets(flat, PATCH)},
    }


def _ranked(values: Values | None, listed: NDArray[np.int64]) -> dict[str, Any]:
    """Each cell's first columns with their values, and the opacities of every column."""
    if values is None or not len(listed):
        return {"top": [], "shades": []}
    own = values[:, listed]
    top = [
        [[int(i), float(f"{row[i]:.3g}")] for i in order if row[i] > 0]
        for row, order in zip(own, _order(own), strict=True)
    ]
    return {"top": top, "shades": shades(own).T.tolist()}


def _sheets(pictures: NDArray[np.uint8], most: int) -> dict[str, Any]:
    """Pictures side by side in few large ones.

    Args:
        pictures: (n, s, s, 3).
        most: pixels on a side of a picture, at most.

    Returns:
        Side of a picture, distance from one to the next, pictures in a line and in a sheet, and
        the sheets as data URIs.
    """
    size = min(pictures.shape[1], most)
    pitch = -(-size // BLOCK) * BLOCK
    line = min(SHEET // pitch, int(np.ceil(np.sqrt(len(pictures)))) or 1)
    whole = line * (SHEET // pitch)
    parts = [pictures[i : i + whole] for i in range(0, len(pictures), whole)]
    return {
        "size": size, "pitch": pitch, "line": line, "sheet": whole,
        "uris": [_sheet(part, size, pitch, line) for part in parts],
    }  # fmt: skip


def _sheet(pictures: NDArray[np.uint8], size: int, pitch: int, line: int) -> str:
    lines = -(-len(pictures) // line)
    tiles = np.full((lines * line, pitch, pitch, 3), 255, dtype=np.uint8)
    border = (0, pitch - size)
    for tile, picture in zip(tiles, pictures, strict=False):
        tile[:] = np.pad(shrunk(picture, size), (border, border, (0, 0)), mode="edge")
    whole = tiles.reshape(lines, line, pitch, pitch, 3).swapaxes(1, 2)
    return _jpeg(whole.reshape(lines * pitch, line * pitch, 3))


def shrunk(picture: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """A square picture with that many pixels on a side.

    Args:
        picture: (s, s, 3).
        size: pixels.
    """
    from PIL import Image

    if len(picture) == size:
        return picture
    return np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.LANCZOS))


def _jpeg(pixels: NDArray[np.uint8]) -> str:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def _embedded(views: Sequence[dict[str, Any]]) -> "Markup":
    """The views as JSON that no name in them can end, open or turn into markup."""
    from markupsafe import Markup

    text = json.dumps(list(views), separators=(",", ":"), allow_nan=False)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)  # no sign of markup is left in it


def _table(view: dict[str, Any]) -> list[dict[str, Any]]:
    """The cells of the coarsest grid in words, for readers without a canvas."""
    grid = view["grids"][0]
    said = {kind: _said(grid[kind]["top"], view[kind]) for kind in ("classes", "concepts")}
    return [
        {"row": row + 1, "column": column + 1, "count": count,
         **{kind: said[kind][i] if said[kind] else "" for kind in said}}
        for i, (row, column, count) in enumerate(
            zip(grid["rows"], grid["columns"], grid["counts"], strict=True)
        )
    ]  # fmt: skip


def _said(top: list[list[tuple[int, float]]], names: list[str]) -> list[str]:
    return [", ".join(f"{names[i]} {value:g}" for i, value in cell) for cell in top]
