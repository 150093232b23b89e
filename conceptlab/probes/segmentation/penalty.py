"""Which penalty a segmentation probe takes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from conceptlab.numerics.metrics import iou
from conceptlab.probes.basis import Basis
from conceptlab.probes.segmentation.problem import PixelProblem
from conceptlab.probes.segmentation.ridge import (
    COARSE,
    Flags,
    Floats,
    Ridge,
    Solution,
    hold_out_fold,
)

NEAR = 1e-3  # near enough to an optimum to judge its penalty


@dataclass(frozen=True)
class Choice:
    """What did best by IoU_set on held-out training images.

    Args:
        penalty: (C,).
        start: weights and biases to start from.
    """

    penalty: Floats
    start: Solution


def choose(
    problem: PixelProblem, allowed: Flags, bias: bool, basis: Basis, penalties: tuple[float, ...]
) -> Choice:
    """Try penalties from stiff to loose, for each concept as long as it helps."""
    learn, held = hold_out_fold(problem, 0)
    ridge = Ridge(learn, allowed, bias, basis)
    now = kept = ridge.origin
    chosen, best = np.full(len(allowed), penalties[0]), np.full(len(allowed), -1.0)
    moving: Flags = np.any(allowed, axis=1)
    for value in penalties:
        now = ridge.minimise(np.full(len(allowed), value), now, COARSE, moving, NEAR)
        score = _iou(held.table(*ridge.moved(now)).sum(axis=0))
        better: Flags = moving & (score > best)
        best, chosen = np.where(better, score, best), np.where(better, value, chosen)
        kept = (
            np.where(better[:, None], now[0], kept[0]),
            np.where(better, now[1], kept[1]),
        )
        moving = better
    return Choice(chosen, kept)


def _iou(sums: NDArray[np.int64]) -> Floats:
    """(C,) of (C, 3) sums; 0 where there is nothing."""
    scores: Floats = np.nan_to_num(iou(*np.moveaxis(sums, -1, 0)))
    return scores
