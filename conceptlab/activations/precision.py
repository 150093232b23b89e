"""Whether float16 holds a layer's values: it ends at 65504, and below 2^-14 it loses digits.

Between 2^-14 and 2^-24 float16 rounds to multiples of 2^-24, and below that to zero, so that the
values of a unit that lies there become a few steps, or nothing. What is judged is what a file
stores, so that a run that was killed and resumed comes to the same answer.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

LARGEST = 65504.0
NORMAL = 2.0**-14  # the smallest number that has all digits
LEAST = 64 * NORMAL  # of a unit's largest |value|: all digits down to 1/64 of it
MAGNITUDE = np.uint16(0x7FFF)  # all bits but the sign; as whole numbers they order as the values


class Peaks:
    """The largest |value| that is stored of each unit, gathered block by block.

    Args:
        units: K.
    """

    def __init__(self, units: int) -> None:
        self.largest = np.zeros(units, dtype=np.float16)
        self._alive = np.zeros(units, dtype=bool)

    def add(self, stored: NDArray[np.float16], pooled: NDArray[np.float32]) -> None:
        """Take in some images.

        Args:
            stored: (n, K, H, W), as rounded.
            pooled: (n, K) their means before rounding, which show whether a unit is ever active.
        """
        bits = (np.ascontiguousarray(stored).view(np.uint16) & MAGNITUDE).max(axis=(0, 2, 3))
        self.largest = np.maximum(self.largest, bits.view(np.float16))
        self._alive |= (pooled != 0).any(axis=0) | (bits > 0)

    def lost(self) -> NDArray[np.int64]:
        """Units that are active and that float16 does not hold; a unit of zeros loses nothing."""
        return np.flatnonzero(self._alive & (self.largest < LEAST))


def hopeless(grid: "torch.Tensor") -> bool:
    """Whether one image's output (K, H, W) shows that most active units are far too small."""
    peaks = grid.abs().amax((1, 2))
    active = peaks > 0
    return bool((active & (peaks < NORMAL)).sum() * 2 > active.sum())


def told(lost: NDArray[np.int64], peaks: Peaks) -> str:
    """What a layer is said to have."""
    first = int(lost[0])
    return (
        f"has {len(lost)} of {len(peaks.largest)} units below {LEAST:.2g}, where float16 loses "
        f"digits (unit {first}: at most {float(peaks.largest[first]):.2g})"
    )
