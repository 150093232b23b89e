"""Permutation test over run labels: how far apart two networks would be by chance.

The training runs of both networks are dealt out to them in every other way.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from conceptlab.numerics.testing import permutation_p

Floats = NDArray[np.float64]
ENOUGH = 20  # different deals: with fewer no p-value below 0.05 is possible
MOST = 2000  # deals that are looked at, the given one among them
SLACK = 1e-12  # excesses that differ by less are equal


@dataclass(frozen=True)
class Relabelling:
    """The ways to deal R runs out to two networks of given sizes.

    Args:
        between: (G, R, R) weights of the distances between the networks, the given deal first;
            each sums to 1.
        within: (G, R, R) those between runs of one network; the networks that have two runs weigh
            alike. Zero where none has.
    """

    between: Floats
    within: Floats

    @property
    def baseline(self) -> bool:
        """Whether any network has a second run."""
        return bool(self.within.any())

    @property
    def enough(self) -> bool:
        """Whether whole runs can be dealt out, and still give small p-values."""
        return len(self.between) >= ENOUGH

    def parts(self, distances: Floats) -> tuple[Floats, Floats]:
        """(C,) distances between and within the networks as they are; within NaN without runs.

        Args:
            distances: (R, R, C) of every two runs.
        """
        between: Floats = np.einsum("rs,rsc->c", self.between[0], distances)
        within: Floats = np.einsum("rs,rsc->c", self.within[0], distances)
        return between, within if self.baseline else np.full_like(within, np.nan)

    def statistics(self, distances: Floats) -> Floats:
        """(G, C) between less within for every deal, the given one first.

        Args:
            distances: (R, R, C) of every two runs.
        """
        weights = (self.between - self.within).reshape(len(self.between), -1)
        found: Floats = weights @ distances.reshape(weights.shape[1], -1)
        return found

    def concept_chances(self, distances: Floats) -> Floats:
        """(C,) chances of each concept's excess, among the excesses of all concepts by other deals.

        An excess counts as a share of the concept's mean distance over all runs, which no deal
        changes: runs differ in some concepts by more than in others. Where there are enough deals,
        the given one is among them: then concepts may depend on one another, and the share of
        concepts below a level is on average that level.

        Args:
            distances: (R, R, C) of every two runs.
        """
        mean = distances.sum(axis=(0, 1)) / (len(distances) * (len(distances) - 1))
        each = self.statistics(distances) / np.where(mean > 0, mean, 1.0)
        pool = np.sort(each[0 if self.enough else 1 :].ravel())
        slack = SLACK * np.maximum(1.0, np.abs(each[0]))
        above = pool.size - np.searchsorted(pool, each[0] - slack)
        itself = 0 if self.enough else 1
        chances: Floats = (itself + above) / (itself + pool.size)
        known = np.isfinite(pool).all() and np.ptp(pool) > SLACK * max(1.0, np.abs(pool).max())
        return chances if known else np.full_like(chances, np.nan)

    def group_chances(
        self,
        distances: Floats,
        groups: Sequence[NDArray[np.int64]],
        draws: int,
        rng: np.random.Generator,
    ) -> list[float]:
        """The chance of each group's mean excess.

        Whole runs are dealt out where there are enough of them, else those of each concept apart.
        Each similarity belongs to two concepts, so the latter is widened as if all similarities of
        a concept moved together: a test that errs on the side of no difference.

        Args:
            distances: (R, R, C) of every two runs.
            groups: places of their concepts.
            draws: random deals, where concepts are dealt apart.
            rng: their source.
        """
        each = self.statistics(distances)
        others = max(1, each.shape[1] - 1)
        chances = []
        for rows in groups:
            if self.enough:
                null = each[1:, rows].sum(axis=1)
            else:
                picks = rng.integers(len(each), size=(draws, len(rows)))
                null = each[picks, rows].sum(axis=1) * (1 + (len(rows) - 1) / others)
            chances.append(permutation_p(float(each[0, rows].sum()), null))
        return chances


def relabelling(first: int, second: int) -> Relabelling:
    """The different ways to deal out runs, the given one first; at most MOST, the same each time.

    Args:
        first: runs of the first network, which stand first.
        second: runs of the second one.
    """
    runs = first + second
    given = tuple(range(first))
    deals: Iterator[tuple[int, ...]] = itertools.combinations(range(runs), first)
    if first == second:  # both networks swapped are the same deal
        deals = (deal for deal in deals if 0 in deal)
    chosen = list(itertools.islice(deals, 100 * MOST))
    chosen.remove(given)
    if len(chosen) >= MOST:
        keep = np.random.default_rng(0).choice(len(chosen), MOST - 1, replace=False)
        chosen = [chosen[k] for k in keep]
    member = np.zeros((1 + len(chosen), runs), dtype=bool)
    for row, deal in enumerate([given, *chosen]):
        member[row, list(deal)] = True
    between = (member[:, :, None] != member[:, None, :]).astype(float)
    between /= between.sum(axis=(1, 2), keepdims=True)
    inside = [
        (side[:, :, None] & side[:, None, :] & ~np.eye(runs, dtype=bool)).astype(float)
        for side in (member, ~member)
    ]
    known = [part / part.sum(axis=(1, 2), keepdims=True) for part in inside if part[0].any()]
    within = np.mean(known, axis=0) if known else np.zeros_like(between)
    return Relabelling(between, within)
