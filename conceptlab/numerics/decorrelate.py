"""Axes in which the coordinates of a few vectors do not correlate, as far as these can tell."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
UNITS = 0.999  # shrinkage beyond which correlations are taken for noise altogether


def uncorrelated_axes(rows: NDArray[Any]) -> Floats | None:
    """(K, K) orthonormal axes as columns, or None for the coordinates as they are.

    The eigenvectors of the second moments, with correlations shrunk towards 0 by as much as their
    sampling errors ask for (Schaefer & Strimmer 2005, "A shrinkage approach to large-scale
    covariance matrix estimation", target D). Variances stay as they are: where correlations are
    noise, the axes are the coordinates and not a rotation that chance has drawn.

    Args:
        rows: (n, K) about the origin.
    """
    count, units = rows.shape
    if count < 3 or units < 2:
        return None
    spread = np.sqrt((rows**2).mean(axis=0))
    standard = np.divide(rows, spread, out=np.zeros(rows.shape), where=spread > 0)
    correlation = standard.T @ standard / count
    errors = ((standard**2).T @ standard**2 / count - correlation**2) / (count - 1)
    aside = ~np.eye(units, dtype=bool)
    squares = float((correlation[aside] ** 2).sum())
    shrink = min(float(errors[aside].sum()) / squares, 1.0) if squares > 0 else 1.0
    if shrink > UNITS:
        return None
    moments = (1 - shrink) * correlation
    np.fill_diagonal(moments, 1.0)
    axes: Floats = np.linalg.eigh(moments * np.outer(spread, spread))[1]
    return axes
