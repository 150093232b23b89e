"""Weighted logistic regressions, many at once, over inputs that they share."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conceptlab.numerics.solvers import minimise

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
ROWS = 512  # images read at once
ROUNDING = 1e-6  # of a unit's size: a spread below it is float32's own, and the unit is constant


@dataclass(frozen=True)
class Whitening:
    """Coordinates in which the units of the training images are standardised and uncorrelated.

    The penalised log-loss of every concept is far better conditioned in them, and one
    eigendecomposition serves all concepts and penalties.

    Args:
        mean: (K,).
        spread: (K,) standard deviations; 1 for a unit that never varies.
        axes: (K, R) eigenvectors of the correlation matrix.
        values: (R,) its eigenvalues.
    """

    mean: Floats
    spread: Floats
    axes: Floats
    values: Floats

    @classmethod
    def of(cls, x: NDArray[np.floating[Any]]) -> "Whitening":
        """From inputs (n, K), read in pieces."""
        units = x.shape[1]
        total, square = np.zeros(units), np.zeros((units, units))
        for start in range(0, len(x), ROWS):
            part = x[start : start + ROWS].astype(np.float64)
            total += part.sum(axis=0)
        mean = total / len(x)
        for start in range(0, len(x), ROWS):
            part = x[start : start + ROWS] - mean
            square += part.T @ part
        spread = spread_of(mean, np.diagonal(square) / len(x))
        inverse = np.divide(1.0, spread, out=np.zeros(units), where=spread > 0)
        values, axes = np.linalg.eigh(square / len(x) * np.outer(inverse, inverse))
        kept = values > 1e-10 * max(values.max(initial=0.0), 1e-30)
        return cls(mean, np.where(spread > 0, spread, 1.0), axes[:, kept], values[kept])

    def rotate(self, x: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """(n, K) inputs to (n, R) coordinates, read in pieces."""
        plain = self.axes / self.spread[:, None]
        shift = self.mean @ plain
        rotated = np.empty((len(x), plain.shape[1]), dtype=np.float32)
        for start in range(0, len(x), ROWS):
            rotated[start : start + ROWS] = x[start : start + ROWS] @ plain - shift
        return rotated

    def back(self, weights: Floats, bias: Floats) -> tuple[Floats, Floats]:
        """Weights (C, R) and bias (C,) over coordinates to those over the units."""
        plain = (weights @ self.axes.T) / self.spread
        return plain, bias - plain @ self.mean


def spread_of(mean: Floats, variance: Floats) -> Floats:
    """Standard deviations of units; 0 for one that varies by no more than rounding."""
    return np.where(variance > (ROUNDING * mean) ** 2, np.sqrt(variance), 0.0)


def balanced_weights(labels: Flags, counts: NDArray[Any]) -> Floats:
    """(C, n) weights that give either side of each concept half of the total, 1.

    Args:
        labels: (C, n) whether the image shows the concept.
        counts: (C, n) whether the image counts for it at all, or how often.
    """
    yes, no = labels * counts, ~labels * counts
    weights: Floats = 0.5 * yes / np.maximum(yes.sum(axis=1, keepdims=True), 1)
    weights += 0.5 * no / np.maximum(no.sum(axis=1, keepdims=True), 1)
    return weights


def fit_logistic(
    x: NDArray[Any],
    labels: Flags,
    weights: Floats,
    penalty: Floats,
    scale: Floats,
    tolerance: float,
    start: Floats | None = None,
) -> Floats:
    """Solve P weighted logistic regressions.

    Args:
        x: (n, R) inputs that all share, in the type to multiply in; or (S, n, R), each shared by
            P / S problems, which follow one another.
        labels: (P, n).
        weights: (P, n) of the images.
        penalty: (P,) on squared weights, not on the bias.
        scale: (R,) curvature of the loss along each coordinate, for conditioning.
        tolerance: see `conceptlab.numerics.solvers.minimise`.
        start: (P, R + 1) weights and bias to start from; zeros if not given.

    Returns:
        (P, R + 1) weights and bias.
    """
    stretch = 1.0 / np.sqrt(0.25 * scale[None, :] + penalty[:, None])
    target = weights * labels
    times = partial(_times, x, len(labels))

    def objective(u: Floats, rows: NDArray[np.int64]) -> tuple[Floats, Floats]:
        w = u[:, :-1] * stretch[rows]
        z = times(w, rows, transposed=True) + u[:, -1:]
        e = np.exp(-np.abs(z))
        share = np.where(z >= 0, 1.0, e) / (1.0 + e)
        loss = weights[rows] * (np.maximum(z, 0.0) + np.log1p(e)) - target[rows] * z
        g = weights[rows] * share - target[rows]
        d_w = times(g, rows, transposed=False) + penalty[rows, None] * w
        squares = np.einsum("br,br->b", w, w)
        total = loss.sum(axis=1) + penalty[rows] / 2 * squares
        return total, np.column_stack([d_w * stretch[rows], g.sum(axis=1)])

    first = np.zeros((len(labels), x.shape[-1] + 1)) if start is None else start.copy()
    first[:, :-1] /= stretch
    found = minimise(objective, first, tolerance=tolerance, max_evaluations=300).x
    found[:, :-1] *= stretch
    return found


def decisions(x: NDArray[Any], found: Floats) -> Floats:
    """(P, n) logits of problems that `fit_logistic` has solved, on their inputs or others.

    Args:
        x: as there, of any n.
        found: (P, R + 1) weights and bias.
    """
    places = np.arange(len(found))
    return _times(x, len(found), found[:, :-1], places, transposed=True) + found[:, -1:]


def _times(
    x: NDArray[Any], count: int, rows: Floats, places: NDArray[np.int64], *, transposed: bool
) -> Floats:
    """(B, R) or (B, n) of some of `count` problems times each one's own x, or its transpose."""
    if x.ndim == 2:
        product: Floats = (rows.astype(x.dtype) @ (x.T if transposed else x)).astype(np.float64)
        return product
    among = count // len(x)
    sets, own = np.unique(places // among, return_inverse=True)
    full = np.zeros((len(sets), among, rows.shape[1]), dtype=x.dtype)
    full[own, places % among] = rows
    some = x if len(sets) == len(x) else x[sets]
    found: Floats = np.matmul(full, some.transpose(0, 2, 1) if transposed else some)
    return found[own, places % among].astype(np.float64)


def logits_of(x: NDArray[np.float32], weights: Floats, bias: Floats) -> Floats:
    """(n, C) logits of eq. 5 for pooled units (n, K), in float64, a few images at a time."""
    logits = np.empty((len(x), len(bias)))
    for start in range(0, len(x), ROWS):
        logits[start : start + ROWS] = x[start : start + ROWS] @ weights.T + bias
    return logits
