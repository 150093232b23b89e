"""The best border on a single unit: a decision stump over every unit at once."""

import numpy as np
from numba import njit


@njit(nogil=True, cache=True, error_model="numpy")
def best_border(values, order, signed):
    """The unit, border and direction that tell most, by exhaustive search.

    Args:
        values: (n, K).
        order: (n, K) the rows that sort each unit's values.
        signed: (n,) an image's weight, negative where it shows the concept.

    Returns:
        unit, border, direction (1: the concept lies above), and the difference of the weights on
        the right and on the wrong side, which is 2 accuracy - 1 for weights that add up to 1.
    """
    images, units = values.shape
    total = signed.sum()
    best, best_unit, border, direction = -1.0, 0, 0.0, 1.0
    for unit in range(units):
        below = 0.0
        for place in range(images - 1):
            row, following = order[place, unit], order[place + 1, unit]
            below += signed[row]
            if values[following, unit] > values[row, unit]:
                gain = abs(2.0 * below - total)
                if gain > best:
                    best, best_unit = gain, unit
                    border = (np.float64(values[row, unit]) + values[following, unit]) / 2.0
                    direction = 1.0 if 2.0 * below > total else -1.0
    return best_unit, border, direction, best
