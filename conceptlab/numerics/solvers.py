"""Many small convex problems solved together: L-BFGS over a batch of rows.

Nocedal & Wright 2006, algorithms 7.4 and 7.5, with a backtracking line search. Each row is a
problem of its own, with its own step and its own end; one call of the function serves all rows that
are still moving, so that they share the pass over the data.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
Objective = Callable[[Floats, Rows], tuple[Floats, Floats]]

ARMIJO = 1e-4
SMALLEST_STEP = 1e-10


@dataclass(frozen=True)
class Minimum:
    """Where the rows ended.

    Args:
        x: (B, D).
        loss: (B,).
        gradient: (B, D).
        evaluations: calls of the objective.
        converged: (B,) whether the tolerance was reached before the limit on calls.
    """

    x: Floats
    loss: Floats
    gradient: Floats
    evaluations: int
    converged: NDArray[np.bool_]


class _History:
    """The last steps and gradient changes of the rows that move; a slot with rho 0 does nothing.

    Rows that have ended are let go once half have, and where all that are left move nothing is
    copied: reading the history is a large part of a step.
    """

    def __init__(self, rows: int, width: int, memory: int) -> None:
        self.steps = np.zeros((memory, rows, width))
        self.changes = np.zeros((memory, rows, width))
        self.rho = np.zeros((memory, rows))
        self.scale = np.ones(rows)
        self.slot = 0
        self.kept = np.arange(rows)

    def keep(self, rows: Rows) -> None:
        """Let go of all other rows, if they are many."""
        if 2 * len(rows) > len(self.kept):
            return
        places = np.searchsorted(self.kept, rows)
        self.steps, self.changes = self.steps[:, places], self.changes[:, places]
        self.rho, self.scale, self.kept = self.rho[:, places], self.scale[places], rows

    def _places(self, rows: Rows) -> Rows | slice:
        """Where rows stand; a slice where they are all that stand here."""
        return slice(None) if len(rows) == len(self.kept) else np.searchsorted(self.kept, rows)

    def add(self, rows: Rows, steps: Floats, changes: Floats) -> None:
        """Remember the rows that moved; pairs without curvature are left out."""
        rows = np.searchsorted(self.kept, rows)
        curvature = np.einsum("bd,bd->b", steps, changes)
        good = curvature > 1e-12 * np.einsum("bd,bd->b", changes, changes)
        rows, curvature = rows[good], curvature[good]
        self.rho[self.slot] = 0.0
        self.rho[self.slot, rows] = 1.0 / curvature
        self.steps[self.slot, rows] = steps[good]
        self.changes[self.slot, rows] = changes[good]
        self.scale[rows] = curvature / np.einsum("bd,bd->b", changes[good], changes[good])
        self.slot = (self.slot + 1) % len(self.rho)

    def direction(self, rows: Rows, gradient: Floats) -> Floats:
        """-H g by the two-loop recursion."""
        memory, places = len(self.rho), self._places(rows)
        order = [(self.slot - 1 - i) % memory for i in range(memory)]
        q = gradient.copy()
        alphas = []
        for slot in order:
            alpha = self.rho[slot, places] * np.einsum("bd,bd->b", self.steps[slot, places], q)
            q -= alpha[:, None] * self.changes[slot, places]
            alphas.append(alpha)
        q *= self.scale[places, None]
        for slot, alpha in zip(reversed(order), reversed(alphas), strict=True):
            beta = self.rho[slot, places] * np.einsum("bd,bd->b", self.changes[slot, places], q)
            q += (alpha - beta)[:, None] * self.steps[slot, places]
        return -q


def minimise(
    objective: Objective,
    start: Floats,
    *,
    tolerance: float = 1e-6,
    max_evaluations: int = 200,
    memory: int = 10,
) -> Minimum:
    """Minimise B smooth convex functions of D variables at once.

    Args:
        objective: takes x (b, D) and the rows (b,) that it belongs to; gives loss (b,) and gradient
            (b, D).
        start: (B, D).
        tolerance: a row ends when an accepted step lowers its loss by less than this share of it,
            twice in a row, or its gradient vanishes.
        max_evaluations: calls of the objective at most.
        memory: steps remembered per row.

    Returns:
        The last accepted point of each row, which is its best: steps only go down.
    """
    x = np.array(start, dtype=np.float64)
    rows = np.arange(len(x))
    loss, gradient = objective(x, rows)
    evaluations = 1
    history = _History(len(x), x.shape[1], memory)
    history.scale = 1.0 / np.maximum(np.linalg.norm(gradient, axis=1), 1e-30)
    step = np.ones(len(x))
    direction = np.zeros_like(x)
    patience = np.zeros(len(x), dtype=int)
    fresh = np.ones(len(x), dtype=bool)
    moving = np.abs(gradient).max(axis=1, initial=0.0) > 1e-12
    while moving.any() and evaluations < max_evaluations:
        rows = np.flatnonzero(moving)
        history.keep(rows)
        new = rows[fresh[rows]]
        direction[new] = history.direction(new, gradient[new])
        slope = np.einsum("bd,bd->b", direction[rows], gradient[rows])
        trial = x[rows] + step[rows, None] * direction[rows]
        trial_loss, trial_gradient = objective(trial, rows)
        evaluations += 1
        enough = trial_loss <= loss[rows] + ARMIJO * step[rows] * slope
        good = rows[enough]
        gain = loss[good] - trial_loss[enough]
        small = gain <= tolerance * np.abs(trial_loss[enough])
        patience[good] = np.where(small, patience[good] + 1, 0)
        history.add(good, trial[enough] - x[good], trial_gradient[enough] - gradient[good])
        x[good], loss[good], gradient[good] = (
            trial[enough],
            trial_loss[enough],
            trial_gradient[enough],
        )
        step[good] = 1.0
        bad = rows[~enough]
        step[bad] *= _shrink(step[bad], slope[~enough], trial_loss[~enough] - loss[bad])
        fresh[rows] = enough
        flat = np.abs(gradient).max(axis=1) <= 1e-12
        moving &= (patience < 2) & (step > SMALLEST_STEP) & ~flat
    return Minimum(x, loss, gradient, evaluations, ~moving)


def _shrink(step: Floats, slope: Floats, rise: Floats) -> Floats:
    """The share of a step that minimises the parabola through what is known, within 0.1..0.5."""
    with np.errstate(divide="ignore", invalid="ignore"):
        share = -slope * step / (2.0 * (rise - slope * step))
    return np.clip(np.where(np.isfinite(share), share, 0.1), 0.1, 0.5)
