"""Figures of an activation atlas for papers: icons at their cells, and two classes compared."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from conceptlab.analysis.atlas.grid import Grid
from conceptlab.analysis.atlas.icons import Icons
from conceptlab.analysis.atlas.layout import Atlas
from conceptlab.errors import InputError
from conceptlab.registry import near_matches
from conceptlab.views.atlas.page import SHADES, shades, shrunk
from conceptlab.views.style import axes_or_new, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FAINT = 0.06  # opacity of a cell that speaks against the class
WHOLE, FRAMED = 0.94, 0.72  # share of a cell's side that its icon takes
SIDE = 5.4  # inches of a new figure
PIXELS = 3200  # on a side of the picture, at most: some 600 to an inch

Floats = NDArray[np.float64]


def plot_atlas(
    atlas: Atlas,
    icons: tuple[Icons, ...],
    resolution: int | None = None,
    *,
    focus: str | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Icons at their cells; opacity is a class's attribution or a concept's score (003, 3.6).

    In a PDF the icons have the resolution that `savefig` is given as `dpi`.

    Args:
        atlas: the atlas.
        icons: of each of its grids.
        resolution: of the grid to draw; None: the finest.
        focus: a class or a concept, a class where both have that name; None: all icons alike.
        ax: where to draw.

    Returns:
        The axes, x and y from 0 to 1 and y downwards.

    Raises:
        InputError: no grid of that resolution, a class or concept that the atlas does not know,
            or icons of another atlas.
    """
    grid, own = _grid(atlas, icons, resolution)
    opacity = None
    if focus is not None:
        opacity = (
            FAINT
            + (1 - FAINT) * shades(_values(grid, focus, atlas.classes, atlas.concepts)) / SHADES
        )
    ax = _plane(atlas, ax)
    _draw(ax, grid, own.icons, opacity=opacity)
    if focus is not None:
        ax.set_title(plain(f"{_title(atlas)}: {focus}"), fontsize=9, loc="left")
    return ax


def plot_atlas_classes(
    atlas: Atlas,
    icons: tuple[Icons, ...],
    a: str,
    b: str,
    resolution: int | None = None,
    *,
    ax: "Axes | None" = None,
) -> "Axes":
    """Which cells speak for one class rather than for another: icons framed by the difference.

    Two classes side by side are two calls of `plot_atlas`, each with its `focus`.

    Args:
        atlas: the atlas.
        icons: of each of its grids.
        a: a class.
        b: another.
        resolution: of the grid to draw; None: the finest.
        ax: where to draw.

    Returns:
        The axes; a colour bar beside them tells the attribution to `a` minus that to `b`.

    Raises:
        InputError: no grid of that resolution, a class that the atlas does not know, or icons of
            another atlas.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    grid, own = _grid(atlas, icons, resolution)
    first, second = (_values(grid, name, atlas.classes) for name in (a, b))
    most = float(np.abs(first - second).max()) or 1.0
    colors = ScalarMappable(Normalize(-most, most), "PuOr_r")
    frames = colors.to_rgba(first - second, bytes=True)[:, :3]
    ax = _plane(atlas, ax, wider=0.9)
    _draw(ax, grid, own.icons, frames=np.asarray(frames))
    bar = ax.figure.colorbar(colors, ax=ax, shrink=0.7)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)
    bar.set_label(f"attribution to {plain(a)} minus that to {plain(b)}", fontsize=9)
    return ax


def _grid(atlas: Atlas, icons: tuple[Icons, ...], resolution: int | None) -> tuple[Grid, Icons]:
    known = [grid.resolution for grid in atlas.grids]
    place = len(known) - 1 if resolution is None else _place(known, resolution)
    grid = atlas.grids[place]
    if len(icons) != len(known) or len(icons[place].icons) != len(grid):
        raise InputError(
            f"these icons are not of this atlas: it has grids of {known} cells on a side, "
            f"{len(grid)} cells in that of {grid.resolution}; make the icons from it"
        )
    return grid, icons[place]


def _place(known: list[int], resolution: int) -> int:
    if resolution not in known:
        raise InputError(f"the atlas has no grid of {resolution} cells on a side, only of {known}")
    return known.index(resolution)


def _values(
    grid: Grid, name: str, classes: tuple[str, ...], concepts: tuple[str, ...] = ()
) -> NDArray[np.float32]:
    """(m,) attributions to a class, or scores of a concept; 0 where there is none."""
    for names, values in ((classes, grid.attributions), (concepts, grid.scores)):
        if values is not None and name in names:
            return np.where(np.isnan(values), 0, values)[:, names.index(name)]
    what = "class or concept" if concepts else "class"
    raise InputError(
        f"the atlas has no {what} {name!r}; {near_matches(name, [*classes, *concepts])}"
    )


def _title(atlas: Atlas) -> str:
    space = atlas.sample.space
    return f"{space.model}, {space.layer}" + (f", for {atlas.focus}" if atlas.focus else "")


def _plane(atlas: Atlas, ax: "Axes | None", wider: float = 0.0) -> "Axes":
    """Axes of the atlas's plane: a square without ticks or frame."""
    ax = axes_or_new(ax, (SIDE + wider, SIDE + 0.3))
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    ax.set_title(plain(_title(atlas)), fontsize=9, loc="left")
    return ax


def _draw(
    ax: "Axes",
    grid: Grid,
    icons: NDArray[np.uint8],
    *,
    opacity: Floats | None = None,
    frames: NDArray[np.uint8] | None = None,
) -> None:
    """All icons as one picture, since a PDF viewer takes seconds over one for each cell.

    Args:
        ax: where to draw.
        grid: of m cells.
        icons: (m, s, s, 3).
        opacity: (m,) on white; None: all opaque.
        frames: (m, 3) colour around each icon; None: a narrow white one.
    """
    share = WHOLE if frames is None else FRAMED
    side = min(icons.shape[1], int(PIXELS * share) // grid.resolution)
    cell = round(side / share)
    start = (cell - side) // 2
    inside = slice(start, start + side)
    whole = np.full((grid.resolution, cell, grid.resolution, cell, 3), 255, dtype=np.uint8)
    for i, (row, column) in enumerate(zip(grid.rows, grid.columns, strict=True)):
        if frames is not None:
            whole[row, :, column] = frames[i]
        alpha = 1.0 if opacity is None else opacity[i]
        icon = 255 + alpha * (shrunk(icons[i], side).astype(np.float64) - 255)
        whole[row, inside, column, inside] = np.rint(icon)
    pixels = grid.resolution * cell
    ax.imshow(whole.reshape(pixels, pixels, 3), extent=(0, 1, 1, 0))
