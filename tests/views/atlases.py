"""A small atlas made by hand: two grids, and a class on each side."""

import numpy as np

from conceptlab.activations.sample import Sample
from conceptlab.analysis.atlas.grid import Grid
from conceptlab.analysis.atlas.icons import Icons
from conceptlab.analysis.atlas.layout import Atlas
from conceptlab.space import Space

HOSTILE = "</script><script>alert(1)</script><!-- \u2028 \udcff &amp;"
CLASSES = ("west", HOSTILE, "never")
CONCEPTS = ("north", "west")
RED, BLUE = (220, 30, 30), (30, 30, 220)
SIDE = 24


def planted(resolutions=(4, 8), names=CLASSES, focus=""):
    """Class 0 speaks in the west half only, class 1 in the east; the north-west corner is empty.

    Attributions grow with the distance from the border between them; concept 0 in the north.
    """
    space = Space("net", "w" * 64, "conv", 3, "raw")
    labels = np.array([f"train/{i:03d}" for i in range(40)])
    sample = Sample(
        np.zeros((40, 3), np.float32), np.arange(40), np.zeros((40, 2), np.int64), labels, space
    )
    grids = tuple(_grid(r) for r in resolutions)
    return Atlas(sample, np.full((40, 2), 0.5), grids, names, CONCEPTS, focus)


def _grid(resolution):
    rows, columns = np.divmod(np.arange(1, resolution**2), resolution)
    x, y = (columns + 0.5) / resolution, (rows + 0.5) / resolution
    attributions = np.stack([0.5 - x, x - 0.5, np.full(len(x), -1.0)], axis=1)
    scores = np.stack([0.5 - y, np.full(len(x), np.nan)], axis=1)
    nearest = np.stack([np.arange(len(x)) % 40, np.where(rows % 2, -1, 7)], axis=1)
    return Grid(
        resolution, rows, columns, 5 + rows, np.zeros((len(x), 3), np.float32),
        attributions.astype(np.float32), scores.astype(np.float32), nearest,
    )  # fmt: skip


def icons_of(atlas):
    """Red icons in the west and blue ones in the east; the patches of cell i are grey, 4 i."""
    return tuple(_icons(grid) for grid in atlas.grids)


def _icons(grid):
    colors = np.array([RED if 2 * c < grid.resolution else BLUE for c in grid.columns], np.uint8)
    greys = (4 * np.arange(len(grid))).astype(np.uint8)[:, None, None, None, None]
    return Icons(
        np.broadcast_to(colors[:, None, None], (len(grid), SIDE, SIDE, 3)).copy(),
        np.broadcast_to(greys, (len(grid), 2, 16, 16, 3)).copy(),
    )
