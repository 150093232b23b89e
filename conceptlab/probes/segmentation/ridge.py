"""The convex problem behind a segmentation probe: mean weighted log-loss plus a ridge.

Weights are learned in coordinates (a `Basis`) in which the problem is well conditioned, and given
back over the units as they are.
"""

import logging
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from conceptlab.numerics.solvers import minimise
from conceptlab.probes.base import folds
from conceptlab.probes.basis import Basis
from conceptlab.probes.segmentation.problem import PixelProblem, best_offset

log = logging.getLogger(__name__)

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Solution = tuple[Floats, Floats]  # weights (C, K) and biases (C,)

COARSE = 2  # rows of pixels per row visited, while far from the optimum
TOLERANCE = {COARSE: 2e-4, 1: 5e-5}
LEAST = 1e-4  # of alpha (1 - alpha), for concepts of hardly a pixel
EVALUATIONS = 60  # passes over the images at most, for each solution


@dataclass(frozen=True)
class Ridge:
    """Mean weighted log-loss plus penalty / 2 |w|^2, over the weights that are allowed.

    |w| is the length in the coordinates of the basis.

    Args:
        problem: the images and labels.
        allowed: (C, K) which units each concept may use; a row without any is left alone.
        bias: learn a bias.
        basis: the coordinates.
    """

    problem: PixelProblem
    allowed: Flags
    bias: bool
    basis: Basis

    @property
    def origin(self) -> Solution:
        """No weights: what an infinite penalty gives."""
        return np.zeros(self.allowed.shape), np.zeros(len(self.allowed))

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
        tolerance: float | None = None,
    ) -> Solution:
        """The optimum for some concepts at once; the others stay at the start.

        Args:
            penalty: (C,).
            start: weights and biases.
            stride: every which row of pixels is visited.
            which: (C,) concepts that move; all that may use a unit if not given.
            tolerance: see `conceptlab.numerics.solvers.minimise`; that of the stride if not given.
        """
        movable = self.allowed.any(axis=1)
        moves = np.flatnonzero(movable if which is None else movable & which)
        problem, basis = self.problem, self.basis
        count = len(self.allowed)
        area = problem.stream.labels.size[0] * problem.stream.labels.size[1]
        shown = problem.trains[problem.stream.label_rows].sum(axis=0)  # an image may stand twice
        pixels = np.maximum(shown, 1) * float(area)
        alpha = problem.alpha[moves].astype(np.float64)
        curvature = np.maximum(alpha * (1 - alpha), LEAST) / 2  # where every p is one half
        stretch = basis.stretch(penalty[moves], curvature)

        def objective(x: Floats, places: NDArray[np.int64]) -> tuple[Floats, Floats]:
            rows = moves[places]
            x = x * stretch[places]
            own = x[:, :-1]
            weights, bias = np.zeros(self.allowed.shape), np.zeros(count)
            weights[rows], bias[rows] = basis.to_units(own, x[:, -1], self.allowed[rows])
            moving = np.zeros(count, dtype=bool)
            moving[rows] = True
            loss, d_weights, d_bias = problem.sums(weights, bias, problem.trains & moving, stride)
            d_weights, d_bias = d_weights[rows] / pixels[rows, None], d_bias[rows] / pixels[rows]
            gradient = basis.gradient(d_weights, d_bias, self.allowed[rows])
            gradient += penalty[rows, None] * own
            squares = np.einsum("bk,bk->b", own, own)
            return (
                loss[rows] / pixels[rows] + penalty[rows] / 2 * squares,
                np.column_stack([gradient, d_bias * self.bias]) * stretch[places],
            )

        own, bias = basis.from_units(start[0][moves], start[1][moves])
        found = minimise(
            objective,
            np.column_stack([own, bias]) / stretch,
            tolerance=TOLERANCE[stride] if tolerance is None else tolerance,
            max_evaluations=EVALUATIONS,
        )
        log.debug("%d evaluations at stride %d", found.evaluations, stride)
        own = found.x * stretch
        weights, bias = start[0].copy(), start[1].copy()
        weights[moves], bias[moves] = basis.to_units(own[:, :-1], own[:, -1], self.allowed[moves])
        return weights, bias


def hold_out_fold(problem: PixelProblem, fold: int) -> tuple[PixelProblem, PixelProblem]:
    """The problem without a fold of its images, and on that fold alone."""
    rows = problem.stream.label_rows
    keep = np.zeros((len(problem.trains), 1), dtype=bool)
    keep[rows[folds(len(rows)) == fold]] = True
    learn = replace(problem, trains=problem.trains & ~keep)
    return learn, replace(problem, trains=problem.trains & keep)
