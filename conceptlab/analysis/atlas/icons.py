"""A picture for each cell of an atlas: its nearest real patches, or an image by optimisation."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from conceptlab.activations.patches import patches
from conceptlab.given import checked

if TYPE_CHECKING:
    from conceptlab.activations.store import Activations
    from conceptlab.analysis.atlas.layout import Atlas
    from conceptlab.data.base import ProbeDataset

GREY = 128


@dataclass(frozen=True)
class Icons:
    """Pictures of the m cells of one grid.

    Args:
        icons: (m, s, s, 3) one per cell.
        patches: (m, p, t, t, 3) of its nearest vectors, as `Grid.nearest` lists them; grey where
            there is none.
    """

    icons: NDArray[np.uint8]
    patches: NDArray[np.uint8]


@checked
def patch_icons(
    atlas: "Atlas",
    activations: "Activations",
    data: "ProbeDataset",
    side: float | None = None,
    size: int = 64,
    small: int = 48,
) -> tuple[Icons, ...]:
    """Icons out of real pictures: the patch around each cell's nearest vector.

    Args:
        atlas: whose cells.
        activations: that it was made of.
        data: the probe data set that they were extracted from.
        side: of a patch, see `conceptlab.activations.patches.patches`.
        size: pixels of an icon.
        small: pixels of each of the nearest patches.

    Returns:
        One for each grid of the atlas.

    Raises:
        SpaceError: activations of another network or layer.
        InputError: another data set.
    """
    atlas.sample.space.require_equal(activations.space())
    rows = np.unique(np.concatenate([grid.nearest.ravel() for grid in atlas.grids]))
    rows = rows[rows >= 0]
    images, places = atlas.sample.images[rows], atlas.sample.places[rows]
    seen = [Image.fromarray(p) for p in patches(activations, data, images, places, side)]
    large, little = (_scaled(seen, pixels) for pixels in (size, small))
    found = []
    for grid in atlas.grids:
        place = np.where(grid.nearest >= 0, np.searchsorted(rows, grid.nearest), len(rows))
        found.append(Icons(large[place[:, 0]], little[place]))
    return tuple(found)


def _scaled(seen: list[Image.Image], pixels: int) -> NDArray[np.uint8]:
    """(n + 1, pixels, pixels, 3) patches of one size, and a grey one."""
    result = np.full((len(seen) + 1, pixels, pixels, 3), GREY, dtype=np.uint8)
    for place, patch in enumerate(seen):
        result[place] = np.asarray(patch.resize((pixels, pixels), Image.Resampling.BILINEAR))
    return result
