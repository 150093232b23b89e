"""The convex problem behind a segmentation probe: log-loss plus a ridge about the best single unit.

The penalty draws a concept's weights towards those of its best unit alone, fitted by itself, and
not towards zero. However stiff it is, the probe is then no worse than the unit on what it learns
from, and where the data says little, the unit is what remains.
"""

import logging
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from conceptlab.numerics.solvers import minimise
from conceptlab.probes.base import folds
from conceptlab.probes.pixels import PixelProblem, best_offset
from conceptlab.probes.tally import unit_iou

log = logging.getLogger(__name__)

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Solution = tuple[Floats, Floats]  # weights (C, K) and biases (C,)

COARSE = 4  # rows of pixels per row visited, while far from the optimum
TOLERANCE = {COARSE: 2e-4, 1: 5e-5}
EVALUATIONS = 60  # passes over the images at most, for each solution
UNIT_BIAS = -0.5
FREE = 1e-8  # the penalty of one weight alone, which keeps it finite
GUESS = (4.0, -0.5)  # a weight and bias to start from


@dataclass(frozen=True)
class Ridge:
    """Mean weighted log-loss plus penalty / 2 |w - anchor|^2, over the weights that are allowed.

    Args:
        problem: the images and labels.
        allowed: (C, K) which units each concept may use; a row without any is left alone.
        bias: learn a bias.
        units: (C, K) the best of each concept's allowed units, by IoU_set, as a one-hot row.
        anchor: (C, K) where the penalty draws to: the unit, with the weight that fits best alone.
        start: (C,) the biases that fit the anchor.
    """

    problem: PixelProblem
    allowed: Flags
    bias: bool
    units: Floats
    anchor: Floats
    start: Floats

    @staticmethod
    def about_units(problem: PixelProblem, allowed: Flags, bias: bool) -> "Ridge":
        """The ridge about each concept's best unit."""
        units = best_units(problem, allowed)
        weights, biases = GUESS[0] * units, np.full(len(units), GUESS[1] * bias)
        alone = Ridge(problem, units > 0, bias, units, np.zeros(units.shape), biases)
        free = np.full(len(units), FREE)
        anchor, start = alone.minimise(free, (weights, biases), COARSE)
        return Ridge(problem, allowed, bias, units, anchor, start)

    @property
    def origin(self) -> Solution:
        """The anchor and its biases: what an infinite penalty gives."""
        return self.anchor, self.start

    @property
    def single(self) -> Solution:
        """The units as weights and biases whose masks are the units' own."""
        return self.units, np.full(len(self.units), UNIT_BIAS)

    def solve(self, penalty: Floats, start: Solution) -> Solution:
        """The optimum over every pixel, with the bias moved to where IoU_set is largest."""
        for stride in (COARSE, 1):
            start = self.minimise(penalty, start, stride)
        return self.moved(start)

    def moved(self, solution: Solution) -> Solution:
        """A solution whose bias is moved to where IoU_set on the problem's images is largest."""
        weights, bias = solution
        if not self.bias:
            return weights, bias
        return weights, bias + best_offset(self.problem.histograms(weights, bias))[0]

    def minimise(
        self,
        penalty: Floats,
        start: Solution,
        stride: int,
        which: Flags | None = None,
    ) -> Solution:
        """The optimum for some concepts at once; the others stay at the start.

        Args:
            penalty: (C,).
            start: weights and biases.
            stride: every which row of pixels is visited.
            which: (C,) concepts that move; all that may use a unit if not given.
        """
        movable = self.allowed.any(axis=1)
        moves = np.flatnonzero(movable if which is None else movable & which)
        problem, anchor = self.problem, self.anchor
        area = problem.stream.labels.size[0] * problem.stream.labels.size[1]
        shown = problem.trains[problem.stream.label_rows].sum(axis=0)  # an image may stand twice
        pixels = np.maximum(shown, 1) * float(area)
        free = np.column_stack([self.allowed, np.full(len(anchor), self.bias)])

        def objective(x: Floats, places: NDArray[np.int64]) -> tuple[Floats, Floats]:
            rows = moves[places]
            weights, bias = np.zeros(anchor.shape), np.zeros(len(anchor))
            weights[rows], bias[rows] = x[:, :-1], x[:, -1]
            moving = np.zeros(len(anchor), dtype=bool)
            moving[rows] = True
            loss, d_weights, d_bias = problem.sums(weights, bias, problem.trains & moving, stride)
            gradient = np.column_stack([d_weights, d_bias])[rows] / pixels[rows, None]
            away = x[:, :-1] - anchor[rows]
            gradient[:, :-1] += penalty[rows, None] * away
            squares = np.einsum("bk,bk->b", away, away)
            return loss[rows] / pixels[rows] + penalty[rows] / 2 * squares, gradient * free[rows]

        found = minimise(
            objective,
            np.column_stack(start)[moves],
            tolerance=TOLERANCE[stride],
            max_evaluations=EVALUATIONS,
        )
        log.debug("%d evaluations at stride %d", found.evaluations, stride)
        weights, bias = start[0].copy(), start[1].copy()
        weights[moves], bias[moves] = found.x[:, :-1], found.x[:, -1]
        return weights, bias


def best_units(problem: PixelProblem, allowed: Flags) -> Floats:
    """(C, K) the best of each concept's allowed units, by IoU_set, as a one-hot row."""
    scores = np.nan_to_num(unit_iou(problem.stream, problem.trains), nan=0.0).T
    scores = np.where(allowed, scores, -1.0)
    one_hot = np.zeros(scores.shape)
    one_hot[np.arange(len(scores)), scores.argmax(axis=1)] = 1.0
    return np.where(allowed, one_hot, 0.0)


def parted(problem: PixelProblem, fold: int) -> tuple[PixelProblem, PixelProblem]:
    """The problem without a fold of its images, and on that fold alone."""
    rows = problem.stream.label_rows
    keep = np.zeros((len(problem.trains), 1), dtype=bool)
    keep[rows[folds(len(rows)) == fold]] = True
    learn = replace(problem, trains=problem.trains & ~keep)
    return learn, replace(problem, trains=problem.trains & keep)
