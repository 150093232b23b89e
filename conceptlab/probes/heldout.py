"""Decisions of logistic regressions on images that they did not learn from."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from conceptlab.numerics.logistic import balanced_weights, decisions, fit_logistic
from conceptlab.probes.base import FOLDS, folds

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
TOLERANCE = 3e-5  # of a fold's loss; a strong penalty leaves it near that of no weights
STEEP = 1e-4  # penalty on the slope of held-out logits, which could be endless


def held_out(
    x: NDArray[Any], shown: Flags, known: Flags, penalties: Floats, scale: Floats
) -> Floats:
    """Logits of every image from fits without its fold.

    Args:
        x: (n, R) inputs that all concepts share, or (C, n, R).
        shown: (C, n) which images show each concept.
        known: (C, n) which images count.
        penalties: (V, C), largest first: each fit starts from the one before.
        scale: (R,) see `conceptlab.numerics.logistic.fit_logistic`.

    Returns:
        (V, C, n).
    """
    count, images = shown.shape
    fold = folds(images)
    part = np.arange(FOLDS)[:, None] == fold  # (FOLDS, n)
    labels = np.repeat(shown, FOLDS, axis=0)
    weights = balanced_weights(labels, (known[:, None] & ~part).reshape(-1, images))
    logits, found = np.zeros((len(penalties), count, images)), None
    for place, penalty in enumerate(penalties):
        found = fit_logistic(x, labels, weights, np.repeat(penalty, FOLDS), scale, TOLERANCE, found)
        every = decisions(x, found).reshape(count, FOLDS, images)
        logits[place] = every[:, fold, np.arange(images)]
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
