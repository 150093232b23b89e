"""Whether made images do what they are made for: beside the best real images."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conceptlab.given import checked
from conceptlab.numerics.parallel import ordered_map

if TYPE_CHECKING:
    from conceptlab.activations.store import Activations
    from conceptlab.synthesis.visualize import Visualizations

BLOCK = 64
Values = tuple[list[int], NDArray[np.float32]]


@checked
def against_probe(visualizations: "Visualizations", activations: "Activations") -> pd.DataFrame:
    """Compare images made for units or directions of a layer with every image of a probe set.

    A `Unit`, and a `Direction` at all positions, are compared by their mean over the map, as they
    were optimised; a `Neuron` with the largest value at any position, which asks more of it than
    its own position would.

    Args:
        visualizations: of units, directions and neurons; for objectives of another kind or layer
            nothing is known.
        activations: of the layer, from the same network.

    Returns:
        The table of the visualizations with columns best (of the probe set), image ('split/NAME'
        that has it; '' where nothing is known), ratio (value / best; NaN where best is not
        positive) and beaten (whether value > best; missing where nothing is known).
    """
    own = [one if one.layers == (activations.layer,) else None for one in visualizations.objectives]
    count = len(own)
    best, image = np.full(count, np.nan), np.full(count, -1, dtype=np.int64)
    for rows, values in (_pooled(own, activations), _peaks(own, activations)):
        if len(rows):
            best[rows], image[rows] = values.max(axis=0), values.argmax(axis=0)
    table = visualizations.table
    value = table["value"].to_numpy()
    beaten = pd.array(value > best, dtype="boolean")
    beaten[np.isnan(best)] = pd.NA
    return table.assign(
        best=best,
        image=[str(activations.names[i]) if i >= 0 else "" for i in image],
        ratio=np.divide(value, best, out=np.full(count, np.nan), where=best > 0),
        beaten=beaten,
    )


def _pooled(own: Sequence[Any], activations: "Activations") -> Values:
    """Places of the units and directions, and the mean over the map of each in every image."""
    from conceptlab.synthesis.objectives import Direction, Unit

    rows, weights = [], []
    for place, one in enumerate(own):
        if isinstance(one, Unit):
            weights.append(np.eye(activations.shape[1], dtype=np.float32)[one.unit])
        elif isinstance(one, Direction) and one.position is None and not one.cosine:
            weights.append(np.asarray(one.vector, dtype=np.float32))
        else:
            continue
        rows.append(place)
    values = activations.pooled @ np.array(weights).T if rows else np.empty((0, 0), np.float32)
    return rows, values


def _peaks(own: Sequence[Any], activations: "Activations") -> Values:
    """Places of the neurons, and the largest value of each over the map of every image."""
    from conceptlab.synthesis.objectives import Neuron

    rows = [place for place, one in enumerate(own) if isinstance(one, Neuron)]
    if not rows:
        return rows, np.empty((0, 0), np.float32)
    units, total = [own[place].unit for place in rows], len(activations)

    def maxima(start: int) -> NDArray[np.float32]:
        block = activations.read(start, min(start + BLOCK, total))[:, units]
        peaks: NDArray[np.float32] = block.max(axis=(2, 3)).astype(np.float32)
        return peaks

    return rows, np.concatenate(list(ordered_map(maxima, range(0, total, BLOCK))))
