"""Whether made images do what they are made for: beside the best real images."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conceptlab.errors import InputError
from conceptlab.numerics.parallel import ordered_map

if TYPE_CHECKING:
    from conceptlab.activations.store import Activations
    from conceptlab.synthesis.visualize import Visualizations

BLOCK = 64


def against_probe(visualizations: "Visualizations", activations: "Activations") -> pd.DataFrame:
    """Compare images made for units of a layer with every image of a probe set.

    A `Unit` is compared by its mean over the map, as it was optimised; a `Neuron` with the largest
    value at any position, which asks more of it than its own position would.

    Args:
        visualizations: of units and neurons; objectives of another kind or layer are left out.
        activations: of the layer, from the same network.

    Returns:
        Columns objective, layer, unit, value (of the made image), best (of the probe set), image
        ('split/NAME' that has it), ratio (value / best; NaN where best is not positive), beaten
        (whether value > best).

    Raises:
        InputError: no unit or neuron of this layer among the objectives.
    """
    from conceptlab.synthesis.objectives import Neuron, Unit

    rows = [
        (place, one.unit, isinstance(one, Unit))
        for place, one in enumerate(visualizations.objectives)
        if isinstance(one, Unit | Neuron) and one.layer == activations.layer
    ]
    if not rows:
        raise InputError(f"no image was made for a unit of {activations.layer}")
    places, units, pooled = (np.array(column) for column in zip(*rows, strict=True))
    best = np.empty(len(rows))
    image = np.empty(len(rows), dtype=np.int64)
    means = activations.pooled[:, units[pooled]]
    best[pooled], image[pooled] = _largest(means)
    if not pooled.all():
        best[~pooled], image[~pooled] = _largest(_peaks(activations, units[~pooled]))
    table = visualizations.table.iloc[places].reset_index(drop=True)
    value = table["value"].to_numpy()
    return pd.DataFrame(
        {
            "objective": table["objective"],
            "layer": table["layer"],
            "unit": units,
            "value": value,
            "best": best,
            "image": activations.names[image],
            "ratio": np.divide(value, best, out=np.full(len(best), np.nan), where=best > 0),
            "beaten": value > best,
        }
    )


def _largest(
    values: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The largest of each column (N, U), and its row."""
    rows: NDArray[np.int64] = values.argmax(axis=0)
    return values.max(axis=0), rows


def _peaks(activations: "Activations", units: NDArray[np.int64]) -> NDArray[np.float32]:
    """(N, U) the largest value of some units over the map of each image."""
    total = len(activations)

    def maxima(start: int) -> NDArray[np.float32]:
        block = activations.read(start, min(start + BLOCK, total))[:, units]
        peaks: NDArray[np.float32] = block.max(axis=(2, 3)).astype(np.float32)
        return peaks

    return np.concatenate(list(ordered_map(maxima, range(0, total, BLOCK))))
