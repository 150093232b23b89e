"""Decisions of logistic regressions on images that they did not learn from."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from conceptlab.numerics.logistic import balanced_weights, fit_logistic, rows_times
from conceptlab.probes.base import FOLDS, folds

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
TOLERANCE = 1e-3  # of a fold's fit, which decides no weight
STEEP = 1e-4  # penalty on the slope of held-out logits, which could be endless


def held_out(
    x: NDArray[Any],
    shown: Flags,
    known: Flags,
    penalty: Floats,
    scale: Floats,
    start: Floats | None = None,
) -> Floats:
    """Logits of every image from a fit without its fold.

    Args:
        x: (n, R) inputs that all concepts share, or (C, n, R).
        shown: (C, n) which images show each concept.
        known: (C, n) which images count.
        penalty: (C,).
        scale: (R,) see `conceptlab.numerics.logistic.fit_logistic`; so is start.
        start: see there.

    Returns:
        (C, n).
    """
    fold = folds(shown.shape[1])
    logits = np.zeros(shown.shape)
    for held in range(FOLDS):
        judge = fold == held
        weights = balanced_weights(shown, known & ~judge)
        found = fit_logistic(x, shown, weights, penalty, scale, TOLERANCE, start)
        own = x[judge] if x.ndim == 2 else x[:, judge]
        logits[:, judge] = rows_times(found[:, :-1], own, transposed=True) + found[:, -1:]
    return logits


def middle(logits: Floats, shown: Flags, weights: Floats) -> Floats:
    """What to add to each concept's logits so that 0 is where the two kinds are equally likely.

    Platt 1999: a logistic regression on the held-out logits alone, s logit + t, of which the border
    is at -t / s. Where it finds no slope, the border is the mean of the two kinds' means, which is
    its limit for a slope of nothing.

    Args:
        logits: (C, n) held out.
        shown: (C, n).
        weights: (C, n) of the images, each kind one half.

    Returns:
        (C,).
    """
    centre = (weights * logits).sum(axis=1)
    away = logits - centre[:, None]
    size = np.sqrt((weights * away**2).sum(axis=1))
    size = np.where(size > 0, size, 1.0)
    line = fit_logistic(
        (away / size[:, None])[:, :, None], shown, weights, np.full(len(logits), STEEP),
        np.ones(1), 1e-8,
    )  # fmt: skip
    slope, offset = line.T
    moved = np.divide(offset * size, slope, out=np.zeros(len(logits)), where=slope > 0)
    border: Floats = moved - centre
    return border
