"""The part of a picture around a position of a layer's map."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from conceptlab.errors import InputError
from conceptlab.models.picture import network_view
from conceptlab.numerics.parallel import ordered_map

if TYPE_CHECKING:
    from conceptlab.activations.store import Activations
    from conceptlab.data.base import Fingerprints, ProbeDataset

SHARE = 1 / 3  # of the input's side, where no side is given


def patches(
    activations: "Activations",
    data: "ProbeDataset",
    images: NDArray[np.int64],
    places: NDArray[np.int64],
    side: float | None = None,
) -> list[NDArray[np.uint8]]:
    """Square patches of what the network saw, each around a position of the layer's map.

    A patch that would reach beyond the picture is moved inside.

    Args:
        activations: of the layer.
        data: the probe data set that they were extracted from.
        images: (n,) rows of both.
        places: (n, 2) row and column in the map.
        side: pixels of the network's input, at most its size; a third of it if not given.

    Returns:
        n arrays (s, s, 3).

    Raises:
        InputError: another data set.
    """
    require_pictures(activations, data)
    size = activations.input_size
    pixels = int(np.clip(round(size * SHARE if side is None else side), 1, size))
    centres = (np.asarray(places) + 0.5) * size / np.array(activations.shape[2:])
    corners = np.clip(np.round(centres - pixels / 2), 0, size - pixels).astype(np.int64)

    def cut(place: int) -> NDArray[np.uint8]:
        seen = network_view(data.image(int(images[place])), activations.geometry)
        top, left = corners[place]
        return np.ascontiguousarray(seen[top : top + pixels, left : left + pixels])

    return list(ordered_map(cut, range(len(images))))


def require_pictures(activations: "Activations", data: "ProbeDataset") -> "Fingerprints":
    """Refuse a data set that activations were not extracted from.

    Returns:
        Its fingerprints of that moment.

    Raises:
        InputError: it is another.
    """
    prints = data.fingerprints()
    if activations.data_fingerprint != prints.pictures:
        raise InputError(
            f"these activations were made from other pictures ({activations.data_fingerprint[:8]}) "
            f"than the data set given ({data.spec}, {prints.pictures[:8]}): give theirs"
        )
    return prints
