"""Least squares with a penalty on non-negative weights, from correlations alone."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from conceptlab.numerics.parallel import ordered_map, workers

Floats = NDArray[np.float64]
TOLERANCE = 1e-7  # change of a weight at which a descent ends
SWEEPS = 1000


def nonnegative_lasso(gram: Floats, products: Floats, penalty: Floats, start: Floats) -> Floats:
    """Weights that minimise w'Gw / 2 - w'q + penalty sum(w) over w >= 0, for many targets.

    Args:
        gram: (C, C) G, positive semi-definite.
        products: (C, K) q of every target.
        penalty: (K,).
        start: (C, K) weights to start from.

    Returns:
        (C, K).
    """
    pieces = np.array_split(np.arange(products.shape[1]), workers())

    def some(columns: NDArray[np.int64]) -> Floats:
        weights = np.ascontiguousarray(start[:, columns].T)
        _descend(gram, np.ascontiguousarray(products[:, columns].T), penalty[columns], weights)
        return weights.T

    parts = list(ordered_map(some, [p for p in pieces if len(p)]))
    return np.concatenate(parts, axis=1) if parts else np.zeros(products.shape)


@njit(cache=True, nogil=True)
def _descend(gram, products, penalty, weights):
    """Coordinate descent for each row of weights (K, C), in place."""
    for k in range(weights.shape[0]):
        own = weights[k]
        slope = products[k].copy()  # q - G w
        for c in range(len(own)):
            if own[c] != 0.0:
                slope -= gram[c] * own[c]
        for _ in range(SWEEPS):
            largest = 0.0
            for c in range(len(own)):
                if gram[c, c] <= 0.0 or (own[c] == 0.0 and slope[c] <= penalty[k]):
                    continue
                new = max(0.0, own[c] + (slope[c] - penalty[k]) / gram[c, c])
                change = new - own[c]
                if change != 0.0:
                    slope -= gram[c] * change
                    own[c] = new
                    largest = max(largest, abs(change))
            if largest < TOLERANCE:
                break
