"""Whether one method scores above another on the same images: a randomisation test."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
DRAWS = 1000


def swap_test(
    first: Floats,
    second: Floats,
    score: Callable[[Floats], Floats],
    worth: float,
    seed: int = 0,
) -> float:
    """The chance of a difference as large, if it did not matter which method is which.

    Noreen 1989, "Computer-intensive methods for testing hypotheses": the two methods' results on an
    image change sides at random, runs of neighbouring images together where those are alike, so the
    level holds for any score, sums that divide sums among them, and for few images.

    Args:
        first: (n, Q) what the score is made of, a row per image, of one method.
        second: likewise of the other.
        score: of (R, Q) sums over images, (R,).
        worth: how many independent images they are, see `conceptlab.numerics.serial`.
        seed: of the changes.

    Returns:
        Two-sided, above 0; NaN where either score is undefined, or where every change of sides
        gives as large a difference (of one image, or one run of them), so that nothing was tested.

    >>> ones, none = np.ones((12, 1)), np.zeros((12, 1))
    >>> swap_test(ones, none, lambda sums: sums[:, 0], 12) < 0.01
    True
    """
    middle = (first + second).sum(axis=0) / 2
    half = (first - second) / 2
    run = max(1, round(len(half) / max(worth, 1.0)))
    runs = np.add.reduceat(half, np.arange(0, len(half), run), axis=0) if len(half) else half
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], (DRAWS, len(runs)))
    away = np.vstack([runs.sum(axis=0), signs @ runs])
    found = score(middle + away) - score(middle - away)
    if not np.isfinite(found).all():
        return float("nan")
    away = np.abs(found)
    slack = 1e-9 * max(away[0], 1e-300)
    if np.ptp(away) <= slack:
        return float("nan")
    return float((1 + (away[1:] >= away[0] - slack).sum()) / (1 + DRAWS))
