"""P-values: of values against permutations or controls, and of many tests at once.

One rule for all: what is undefined has no p-value (NaN), nor has what no permutation and no control
could have made different; numbers that differ by rounding alone are equal.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
SMALLEST = float(np.finfo(np.float64).tiny)  # what a chance of 0 is called, so that it has a log
TIE = 1e-12  # of the size of what is compared: values that differ by less are equal


def permutation_p(
    value: float, null: NDArray[Any], *, greater: bool = True, size: float = 1.0
) -> float:
    """The share of permutations at least as extreme, counting the observed order as one.

    So a p-value is never 0, and the test keeps its level (Phipson & Smyth 2010).

    Args:
        value: observed.
        null: (R,) under permutation.
        greater: whether large values speak against chance.
        size: of the terms that the values are sums of, where it exceeds theirs.

    Returns:
        NaN where there is no permutation, the value or one of the null is undefined, or every
        permutation gives the value again, so that nothing was tested.
    """
    found = np.asarray(null, dtype=float)
    if not len(found) or not np.isfinite(value) or not np.isfinite(found).all():
        return float("nan")
    tie = TIE * max(abs(value), size)
    if np.abs(found - value).max() <= tie:
        return float("nan")
    extreme = found >= value - tie if greater else found <= value + tie
    return float((1 + extreme.sum()) / (1 + len(found)))


def prediction_p(observed: NDArray[Any], null: NDArray[Any], inflate: float = 1.0) -> Floats:
    """How likely controls are to give a value as far from their mean, on either side.

    The prediction test: if value and R controls come from one normal law, then
    (x - mean) / (sd sqrt(1 + 1 / R)) follows Student's t with R - 1 degrees of freedom. It is exact
    for few controls, and its p-values are not bounded by 1 / R, as those of ranks are.

    Args:
        observed: (T,) or any shape.
        null: (T, R), or (R,) controls that all share; the last axis is that of the controls.
        inflate: multiplies the standard deviation of the controls, where they vary less than the
            value would.

    Returns:
        p-values of the observed values' shape; NaN where a value or a control is undefined. Where
        all controls are equal up to rounding, NaN for a value that is equal too (nothing was
        tested), and else the smallest positive number.

    Raises:
        ValueError: fewer than two controls.
    """
    from scipy.stats import t as student

    value, controls = np.asarray(observed, dtype=float), np.asarray(null, dtype=float)
    count = controls.shape[-1]
    if count < 2:
        raise ValueError(f"a prediction test needs at least two controls; got {count}")
    spread = inflate * controls.std(axis=-1, ddof=1) * np.sqrt(1 + 1 / count)
    size = np.maximum(np.abs(value), np.abs(controls).max(axis=-1))
    spread = np.where(np.ptp(controls, axis=-1) > TIE * size, spread, 0.0)
    away = value - np.where(spread > 0, controls.mean(axis=-1), controls[..., 0])
    away = np.where(np.abs(away) > TIE * size, away, 0.0 * away)
    with np.errstate(divide="ignore", invalid="ignore"):
        chance = 2 * student.sf(np.abs(away) / spread, count - 1)  # 0 / 0 is NaN
    found: Floats = np.maximum(chance, SMALLEST)
    return found


def holm(chances: NDArray[Any]) -> Floats:
    """Adjusted p-values that bound the chance of any false finding (Holm 1979).

    Args:
        chances: (n,) p-values; NaN counts as no test and stays NaN.
    """
    given = np.asarray(chances, dtype=np.float64)
    found, known = np.full(given.shape, np.nan), np.flatnonzero(np.isfinite(given))
    order = known[np.argsort(given[known], kind="stable")]
    steps = np.arange(len(order), 0, -1)
    found[order] = np.minimum(np.maximum.accumulate(steps * given[order]), 1.0)
    return found


def benjamini_hochberg(chances: NDArray[Any]) -> Floats:
    """Adjusted p-values that bound the share of false findings (Benjamini & Hochberg 1995).

    Args:
        chances: (n,) p-values; NaN counts as no test and stays NaN.
    """
    from scipy.stats import false_discovery_control

    given = np.asarray(chances, dtype=np.float64)
    found, known = np.full(given.shape, np.nan), np.isfinite(given)
    if known.any():
        found[known] = false_discovery_control(given[known])
    return found
