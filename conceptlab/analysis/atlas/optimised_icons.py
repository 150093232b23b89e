"""Icons of an atlas's cells by optimisation: the picture that has the cell's average activation."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from conceptlab.analysis.atlas.icons import Icons
from conceptlab.errors import ModelError
from conceptlab.given import checked
from conceptlab.space import ACTIVATIONS
from conceptlab.synthesis.objectives import Direction
from conceptlab.synthesis.settings import Synthesis
from conceptlab.synthesis.visualize import visualize

if TYPE_CHECKING:
    from conceptlab.analysis.atlas.layout import Atlas
    from conceptlab.models.probed import ProbedModel

COSINE = 2.0  # power of the cosine: the average's direction, and not whatever is strong
SMALL = 128  # pixels of the picture that is optimised, where a network takes that
STEPS = 96


@checked
def optimised_icons(
    atlas: "Atlas",
    model: "ProbedModel",
    icons: tuple[Icons, ...],
    *,
    steps: int = STEPS,
    seed: int = 0,
    progress: bool = False,
) -> tuple[Icons, ...]:
    """Icons made by optimisation, in the place of others.

    For each cell the picture that maximises its average (Carter et al. 2019): the product with it
    at every position, times the square of the cosine. Pictures of 128 pixels are enough for icons,
    and cheaper than the network's own size.

    Args:
        atlas: whose cells.
        model: the network.
        icons: of the atlas, for their patches and size.
        steps: of each picture.
        seed: of the starts.
        progress: show steps done and the time left.

    Raises:
        SpaceError: a network that the atlas is not of.
    """
    space = atlas.sample.space
    space.require_model(model, of=ACTIVATIONS)
    wanted = []
    for grid in atlas.grids:
        cells = grid.vectors(space)
        wanted += [
            Direction(space.layer, row, None, COSINE, name, space)
            for row, name in zip(cells.weights, cells.names, strict=True)
        ]
    size = model.preprocessing.geometry.size
    settings = Synthesis(size=min(size, SMALL), steps=steps)
    try:
        made = visualize(model, wanted, settings, seed=seed, progress=progress)
    except ModelError:
        if size <= SMALL:
            raise
        own = replace(settings, size=size)  # it takes no other
        made = visualize(model, wanted, own, seed=seed, progress=progress)
    found, start = [], 0
    for grid_icons in icons:
        stop, side = start + len(grid_icons.icons), grid_icons.icons.shape[1]
        small = [
            np.asarray(Image.fromarray(i).resize((side, side), Image.Resampling.LANCZOS))
            for i in made.images[start:stop]
        ]
        found.append(replace(grid_icons, icons=np.stack(small)))
        start = stop
    return tuple(found)
