"""What a layer gives for a few fixed inputs, small enough to keep, and compared within rounding.

A fingerprint says what a network is made of; two networks of one fingerprint may still compute
different things (another number of heads, a hook, an attribute that no weight shows). A sketch says
what it does.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FIXED = ("noise", "shapes", "white", "black")  # inputs that are the same for all networks
CELLS = 4  # on a side: a map is kept as the mean and the root mean square of so many cells
UNIT, LAYER = 1e-4, 5e-5  # rounding of float32, of the unit's own scale and of the layer's mean one
EPSILON = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}
HALF = 8.0  # roundings of a coarser type that add up on the way to a layer


@dataclass(frozen=True, eq=False)
class Sketch:
    """A layer's outputs for n fixed inputs, cell by cell.

    A change of one value by a tenth of its unit's scale shows where a cell has under 1,000 places.
    Unseen stay changes that no input makes visible (a unit that is silent for all of them), and
    those below rounding: 1e-4 of the unit's scale plus 5e-5 of the layer's mean scale in float32.

    Args:
        values: (n, 2, K, h, w) mean and root mean square of every cell, h and w at most `CELLS`.
        dtype: of the layer's outputs, such as 'float32'.
        inputs: (n,) what the inputs are called.
    """

    values: NDArray[np.float32]
    dtype: str
    inputs: tuple[str, ...]

    def __post_init__(self) -> None:
        """Check what may come from a file."""
        shape = self.values.shape
        if len(shape) != 5 or shape[:2] != (len(self.inputs), 2) or self.dtype not in EPSILON:
            raise ValueError(f"a sketch of {shape} {self.dtype} for {len(self.inputs)} inputs")

    def head(self, count: int) -> "Sketch":
        """The sketch of the first inputs alone."""
        return Sketch(self.values[:count], self.dtype, self.inputs[:count])

    def difference(self, other: "Sketch") -> str:
        """How another sketch differs beyond rounding, in words; '' if it does not.

        Inputs that only one of the two has are left out.
        """
        count = min(len(self.values), len(other.values))
        mine, theirs = self.values[:count], other.values[:count]
        if mine.shape != theirs.shape:
            return f"{_shape(mine)} instead of {_shape(theirs)}"
        if self.dtype != other.dtype:
            return f"{self.dtype} values instead of {other.dtype}"
        scale = np.maximum(_scales(mine), _scales(theirs))
        unit = max(UNIT, HALF * EPSILON[self.dtype])
        allowed = unit * (scale + LAYER / UNIT * (scale.mean() if len(scale) else 0.0))
        with np.errstate(invalid="ignore", over="ignore"):
            away = np.abs(mine.astype(np.float64) - theirs)
        same = (mine == theirs) | (np.isnan(mine) & np.isnan(theirs))
        away[same] = 0.0
        away[~np.isfinite(away)] = np.inf
        excess = away - allowed[:, None, None]
        if not (excess > 0).any():
            return ""
        place = np.unravel_index(int(excess.argmax()), excess.shape)
        number, k = int(place[0]), int(place[2])
        units = int((excess > 0).any(axis=(0, 1, 3, 4)).sum())
        share = away[place] / scale[k] if scale[k] > 0 else np.inf
        return (
            f"unit {k} by {share:.2g} of its scale for the input {self.inputs[number]!r}, "
            f"{units} of {len(scale)} units in all"
        )


def _scales(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """(K,) the largest root mean square of each unit in any cell."""
    finite = np.where(np.isfinite(values[:, 1]), values[:, 1], 0.0).astype(np.float64)
    scales: NDArray[np.float64] = finite.max(axis=(0, 2, 3), initial=0.0)
    return scales


def _shape(values: NDArray[np.float32]) -> str:
    return f"{values.shape[2]} units on {values.shape[3]} x {values.shape[4]} cells"
