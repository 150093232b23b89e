"""What is no more than rounding: numbers that differ by less do not differ.

A constant layer whose means come out one unit in the last place apart has no variation, and a score
that moves by as little has not moved: statistics of such differences are statistics of nothing.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
PLACES = 8.0  # units in the last place of the largest number, within which numbers are equal


def precision(values: NDArray[Any]) -> float:
    """The relative size of rounding in numbers of a type; of whole numbers that of double ones."""
    kind = values.dtype if values.dtype.kind == "f" else np.dtype(np.float64)
    return PLACES * float(np.finfo(kind).eps)


def varies(values: NDArray[Any], axis: int = 0) -> NDArray[np.bool_]:
    """Where numbers along an axis differ by more than the rounding of the largest of them.

    Args:
        values: finite, in the type that they were computed in.
        axis: along which they are compared.
    """
    low, high = values.min(axis=axis), values.max(axis=axis)
    size = np.maximum(np.abs(low), np.abs(high)).astype(np.float64)
    found: NDArray[np.bool_] = high.astype(np.float64) - low > precision(values) * size
    return found


def centred(rows: NDArray[Any]) -> Floats:
    """(n, K) columns less their means, over the largest of all; 0 where they do not vary.

    The division keeps squares within range: what is invariant to scale then is so at any scale.

    Args:
        rows: (n, K) finite.
    """
    varied = varies(rows)
    size = float(np.abs(rows).max(initial=0.0)) or 1.0
    scaled = rows.astype(np.float64) / size
    away = np.where(varied, scaled - scaled.mean(axis=0), 0.0)
    largest = float(np.abs(away).max(initial=0.0)) or 1.0
    found: Floats = away / largest
    return found


def settled(changes: NDArray[Any], rounding: float) -> Floats:
    """Changes of something, 0 where they are no more than its rounding; NaN stays."""
    found: Floats = np.where(np.abs(changes) <= rounding, 0.0, changes)
    return found
