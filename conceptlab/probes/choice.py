"""Which penalty a segmentation probe takes, and whether it beats the best single unit at all."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from conceptlab.numerics.metrics import bootstrap_sums, iou
from conceptlab.probes.base import CONFIDENT, FOLDS
from conceptlab.probes.pixels import PixelProblem
from conceptlab.probes.ridge import (
    COARSE,
    Flags,
    Floats,
    Ridge,
    Solution,
    parted,
)

PENALTIES = (1e-3, 1e-4, 1e-5, 1e-6)
DRAWS = 200  # bootstrap draws of held-out images

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Choice:
    """What did best by IoU_set on held-out training images.

    Args:
        penalty: (C,).
        start: weights and biases to start from.
        alone: (C,) no combination is confidently better than the best single unit.
    """

    penalty: Floats
    start: Solution
    alone: Flags


def choose(problem: PixelProblem, allowed: Flags, bias: bool, seed: int) -> Choice:
    """Try penalties from stiff to loose, for each concept as long as it helps."""
    learn, held = parted(problem, 0)
    ridge = Ridge.about_units(learn, allowed, bias)
    now = kept = ridge.origin
    count = len(allowed)
    chosen, best = np.full(count, PENALTIES[0]), np.full(count, -1.0)
    best_counts = held.table(*now)
    moving: Flags = np.any(allowed, axis=1)
    for value in PENALTIES:
        now = ridge.minimise(np.full(count, value), now, COARSE, moving)
        counts = held.table(*ridge.moved(now))
        score = _iou(counts.sum(axis=0))
        better: Flags = moving & (score > best)
        best, chosen = np.where(better, score, best), np.where(better, value, chosen)
        best_counts = np.where(better[:, None], counts, best_counts)
        kept = (
            np.where(better[:, None], now[0], kept[0]),
            np.where(better, now[1], kept[1]),
        )
        moving = better
    single = held.table(*ridge.single)
    doubt = allowed.any(axis=1) & ~_beats(best_counts, single, seed)
    if bias and doubt.any():
        doubt &= ~_second_look(problem, chosen, allowed, doubt, (best_counts, single), seed)
    return Choice(chosen, kept, doubt)


def _second_look(
    problem: PixelProblem, penalty: Floats, allowed: Flags, doubt: Flags,
    first: tuple[Counts, Counts], seed: int,
) -> Flags:  # fmt: skip
    """(C,) whether the combination beats the unit after all, over all folds together."""
    pairs = [first]
    some = replace(problem, trains=problem.trains & doubt)
    allowed = allowed & doubt[:, None]
    for fold in range(1, FOLDS):
        learn, held = parted(some, fold)
        ridge = Ridge.about_units(learn, allowed, bias=True)
        found = ridge.moved(ridge.minimise(penalty, ridge.origin, COARSE))
        pairs.append((held.table(*found), held.table(*ridge.single)))
    combined, single = (np.concatenate(tables) for tables in zip(*pairs, strict=True))
    return _beats(combined, single, seed)


def _beats(counts: Counts, single: Counts, seed: int) -> Flags:
    """(C,) whether the first of two (n, C, 3) counts has the higher IoU_set, confidently."""
    drawn = []
    for table in (counts, single):
        generator = np.random.default_rng(seed)  # the same images for both
        sums = bootstrap_sums(table.reshape(len(table), -1), DRAWS, generator)
        drawn.append(_iou(sums.reshape(DRAWS, -1, 3)))
    gain = _iou(counts.sum(axis=0)) - _iou(single.sum(axis=0))
    better: Flags = gain > CONFIDENT * (drawn[0] - drawn[1]).std(axis=0)
    return better


def _iou(sums: NDArray[np.float64] | Counts) -> Floats:
    """(..., C) of (..., C, 3) sums; 0 where there is nothing."""
    scores: Floats = np.nan_to_num(iou(*np.moveaxis(sums, -1, 0)))
    return scores
