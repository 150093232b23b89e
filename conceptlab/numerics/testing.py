"""P-values of many tests at once."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def holm(chances: NDArray[Any]) -> Floats:
    """Adjusted p-values that bound the chance of any false finding (Holm 1979).

    Args:
        chances: (n,) p-values; NaN counts as no test and stays NaN.
    """
    found, known, values, order = _sorted(chances)
    steps = np.arange(len(values), 0, -1)
    found[known[order]] = np.minimum(np.maximum.accumulate(steps * values), 1.0)
    return found


def benjamini_hochberg(chances: NDArray[Any]) -> Floats:
    """Adjusted p-values that bound the share of false findings (Benjamini & Hochberg 1995).

    Args:
        chances: (n,) p-values; NaN counts as no test and stays NaN.
    """
    found, known, values, order = _sorted(chances)
    steps = len(values) / np.arange(1, len(values) + 1)
    falling = np.minimum.accumulate((steps * values)[::-1])[::-1]
    found[known[order]] = np.minimum(falling, 1.0)
    return found


def _sorted(
    chances: NDArray[Any],
) -> tuple[Floats, NDArray[np.int64], Floats, NDArray[np.int64]]:
    """NaNs of the same length, places of what is known, its values by size, and their order."""
    given = np.asarray(chances, dtype=np.float64)
    known = np.flatnonzero(np.isfinite(given))
    order = np.argsort(given[known], kind="stable")
    return np.full(given.shape, np.nan), known, given[known][order], order
