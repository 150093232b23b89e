"""Cluster count of a cloud of points: one, unless a test shows that there are more.

A group is split in two while the split is tighter than chance, as in Liu et al. 2008 ("SigClust")
and Kimes et al. 2017, but with references that have the data's own covariance to the last digit.
Scores on the first principal components are U S, with orthonormal columns U. For points of any one
Gaussian law, U given S is uniform over all such matrices (Langsrud 2005, "Rotation tests"), so
fresh U with the same S are an exact null, whatever the covariance and however few the points.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]
FEWEST = 4  # points of a cluster
SHARE = 0.1  # of all points, that a cluster holds at least
LEVEL = 0.05  # chance that one Gaussian cloud is split
DRAWS = 199  # references of each law
CHUNK = 40  # of them at a time
ENOUGH = 10  # references split as well; no p-value is then below 0.05
COMPONENTS = 5  # principal ones; k clusters differ in k - 1
ROUNDS = 8  # of 2-means
ROUNDING = 1e-9


@dataclass(frozen=True)
class Kinds:
    """Clusters of some points.

    Args:
        labels: (n,) from 0, the largest cluster first.
        p_value: of the first split, made or not, rough above 0.05; NaN with too few points, or
            points that are all the same.
    """

    labels: Integers
    p_value: float

    @property
    def count(self) -> int:
        """How many clusters; 0 without points."""
        return int(self.labels.max(initial=-1)) + 1


class KindCounter:
    """Counts clusters, with references that are drawn once for each number of points.

    Args:
        seed: of the references.
    """

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._drawn = cache(self._references)

    def count(self, products: Floats, most: int) -> Kinds:
        """Clusters of points, known by their inner products.

        A split is tested by the share of the sum of squares that lies between its two groups,
        against references from a uniform law (a continuum) and from a Gaussian one; both must be
        refuted. The whole is tested at 5 %, and a part of m of n points at 5 % (m - 1) / (n - 1),
        as Kimes et al. 2017 do, so that going on costs no more false splits. A cluster holds at
        least a tenth of the points, and four: what is less is no kind of its own.

        Args:
            products: (n, n) symmetric.
            most: clusters at most; the surest splits are made first.
        """
        total = len(products)
        if total < 2 * FEWEST:
            return Kinds(np.zeros(total, dtype=np.int64), float("nan"))
        fewest = max(FEWEST, math.ceil(SHARE * total))
        whole = np.arange(total)
        first = self._split(products, whole, fewest)
        groups, waiting = [whole], {0: first}
        while len(groups) < most:
            ready = [(s.p_value, g) for g, s in waiting.items() if s.significant(total)]
            if not ready:
                break
            _, place = min(ready)
            side = waiting.pop(place).side
            groups.append(groups[place][side])
            groups[place] = groups[place][~side]
            for part in (place, len(groups) - 1):
                waiting[part] = self._split(products, groups[part], fewest)
        labels = _refined(products, _labels(groups, total), fewest)
        return Kinds(labels, first.p_value)

    def _split(self, products: Floats, rows: Integers, fewest: int) -> "_Split":
        """The best split of some points, and how likely chance does as well."""
        count = len(rows)
        if count < 2 * fewest:
            return _Split(np.zeros(count, dtype=bool), float("nan"))
        scores, sizes = principal(products[np.ix_(rows, rows)], COMPONENTS)
        if not len(sizes):
            return _Split(np.zeros(count, dtype=bool), float("nan"))
        shares, sides = best_splits(scores[None], fewest)
        chance = 0.0
        for references in self._drawn(count, len(sizes)):
            chance = max(chance, _chance(float(shares[0]), references, sizes, fewest))
            if chance > LEVEL:
                break
        return _Split(sides[0], chance)

    def _references(self, count: int, components: int) -> tuple[Floats, Floats]:
        """(draws, n, d) orthonormal columns, from a uniform and from a Gaussian law."""
        rng = np.random.default_rng([self._seed, count, components])
        shape = (DRAWS, count, components)
        return orthonormal(rng.uniform(-1, 1, shape)), orthonormal(rng.standard_normal(shape))


@dataclass(frozen=True)
class _Split:
    """Two sides of a group, and the split's p-value."""

    side: Flags
    p_value: float

    def significant(self, total: int) -> bool:
        """Whether the split is to be made, in a whole of so many points."""
        return self.p_value * (total - 1) <= LEVEL * (len(self.side) - 1) * (1 + ROUNDING)


def _chance(share: float, references: Floats, sizes: Floats, fewest: int) -> float:
    """How likely references are split as well; stops early where they often are.

    A sequential Monte Carlo p-value: h / l where the h-th reference that does as well is the l-th,
    valid as any (Besag & Clifford 1991).
    """
    better = np.empty(0, dtype=bool)
    for start in range(0, len(references), CHUNK):
        null, _ = best_splits(references[start : start + CHUNK] * sizes, fewest)
        better = np.append(better, null >= share - ROUNDING)
        if better.sum() >= ENOUGH:
            return ENOUGH / float(np.flatnonzero(better)[ENOUGH - 1] + 1)
    return float((1 + better.sum()) / (1 + len(better)))


def principal(products: Floats, most: int) -> tuple[Floats, Floats]:
    """Scores on the first principal components, from inner products.

    Args:
        products: (n, n), not centred.
        most: components at most; fewer where the points vary in fewer.

    Returns:
        (n, d) scores, and (d,) their lengths.
    """
    means = products.mean(axis=0)
    centred = products - means[:, None] - means + means.mean()
    values, vectors = np.linalg.eigh(centred)
    kept = np.arange(len(values) - 1, max(len(values) - 1 - most, -1), -1)
    scale = float(np.diagonal(products).sum())
    kept = kept[values[kept] > ROUNDING * scale]
    sizes: Floats = np.sqrt(values[kept])
    return vectors[:, kept] * sizes, sizes


def orthonormal(draws: Floats) -> Floats:
    """(R, n, d) centred columns made orthonormal, with no direction preferred (polar factor)."""
    centred = draws - draws.mean(axis=1, keepdims=True)
    values, vectors = np.linalg.eigh(np.swapaxes(centred, 1, 2) @ centred)
    root = (vectors / np.sqrt(values)[:, None, :]) @ np.swapaxes(vectors, 1, 2)
    found: Floats = centred @ root
    return found


def best_splits(points: Floats, fewest: int) -> tuple[Floats, Flags]:
    """The best split in two of each of many clouds: 2-means, started along each component.

    Args:
        points: (B, n, d) centred.
        fewest: points on a side; the nearest to the border change sides where there are fewer.

    Returns:
        (B,) the share of the sum of squares that lies between the sides, and (B, n) the sides.
    """
    total = np.einsum("bnd,bnd->b", points, points)
    best, side = np.full(len(points), -1.0), np.zeros(points.shape[:2], dtype=bool)
    for start in range(points.shape[2]):
        for share, up in _descend(points, points[:, :, start], fewest):
            better = share > best * (1 + ROUNDING)
            best = np.where(better, share, best)
            side = np.where(better[:, None], up, side)
    return best / total, side


def _descend(points: Floats, score: Floats, fewest: int) -> Iterator[tuple[Floats, Flags]]:
    """Sums of squares between the sides and the sides, round by round of 2-means."""
    count = points.shape[1]
    for _ in range(ROUNDS):
        above = np.clip((score > 0).sum(axis=1), fewest, count - fewest)
        order = np.argsort(score, axis=1, kind="stable")
        up = np.empty(score.shape, dtype=bool)
        np.put_along_axis(up, order, np.arange(count) >= (count - above)[:, None], axis=1)
        high = np.matmul(up[:, None, :].astype(np.float64), points)[:, 0]  # sum; the rest is -high
        over, under = 1 / above[:, None], 1 / (count - above)[:, None]
        yield ((high**2).sum(axis=1) * (over + under)[:, 0], up)
        away, middle = high * (over + under), high * (over - under) / 2
        score = np.matmul(points, away[:, :, None])[:, :, 0] - (away * middle).sum(1)[:, None]


def _refined(products: Floats, labels: Integers, fewest: int) -> Integers:
    """Labels after k-means from where they are: an early split may part what belongs together."""
    for _ in range(ROUNDS):
        member = (labels == np.arange(labels.max(initial=0) + 1)[:, None]).astype(np.float64)
        member /= member.sum(axis=1, keepdims=True)
        to = member @ products  # (k, n) of each centre with each point
        nearest = (np.einsum("kn,kn->k", to, member)[:, None] - 2 * to).argmin(axis=0)
        if (nearest == labels).all() or np.bincount(nearest, minlength=len(to)).min() < fewest:
            break
        labels = nearest
    return _labels([np.flatnonzero(labels == k) for k in range(labels.max() + 1)], len(labels))


def _labels(groups: list[Integers], total: int) -> Integers:
    """A number for each point, the largest group's 0; of equal ones, the first point's."""
    labels = np.full(total, -1)
    for number, rows in enumerate(sorted(groups, key=lambda g: (-len(g), int(g.min())))):
        labels[rows] = number
    return labels
