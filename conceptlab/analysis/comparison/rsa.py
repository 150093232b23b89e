"""Representational similarity analysis: do two spaces call the same items alike?

Kriegeskorte, Mur & Bandettini 2008, "Representational similarity analysis - connecting the branches
of systems neuroscience". Dissimilarities are 1 - cosine; the pairs of different items are compared.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from conceptlab.analysis.comparison.items import SIDES, Items, Which, without_cosines
from conceptlab.analysis.comparison.measure import AgreementMeasure
from conceptlab.analysis.comparison.result import Agreement, Floats
from conceptlab.errors import InputError
from conceptlab.given import checked
from conceptlab.numerics.pairs import (
    binned_rank_correlation,
    joint_histogram,
    pair_moments,
    pair_weights,
    permuted_product,
    weighted_correlation,
    weighted_ranks,
    weighted_tau,
)
from conceptlab.numerics.rounding import precision

BLOCK = 512  # items whose pairs are held at once, of many
LEVELS = 1024  # ranks told apart, of many pairs
MANY = 600  # items above which resampled ranks are told apart in LEVELS alone
PROBED = 400_000  # pairs that say where levels begin
DIGITS = 12  # of a dissimilarity that are no rounding
ROUNDED = 10.0**-DIGITS

ADEQUATE = (
    "Adequate where the pattern of similarities matters, and units need not correspond; blind to "
    "rotation and scale of either space, not to a shift (cosines are about the origin). With fewer "
    "than about 10 items it says little; pairs share items, so only the permutation test, and no "
    "table of correlations, says what is significant."
)
ABOUT = {
    "pearson": "Pearson: similarities agree up to scale and offset; a few close pairs can decide.",
    "spearman": "Spearman: the order of similarities agrees; ties share their mean rank.",
    "kendall": "Kendall's tau-a: the order agrees; right where one side has many ties, such as "
    "WordNet, for ties count as no agreement.",
}


class _Correlation:
    """Pearson's correlation of values of pairs, which may be ranks."""

    def __init__(self, a: Items, b: Items, ranked: bool) -> None:
        self.values = _pairs(a), _pairs(b)
        self.undefined, self.size = _undefined((a, b), self.values), 1.0
        self.count, self.ranked = a.count, ranked
        if self.undefined:
            return
        if ranked:
            self.sorted = _levels(self.values[0]), _levels(self.values[1])
        self.bins = tuple(map(_bins, self.values)) if ranked and self.count > MANY else ()
        first, second = self._scores(None)
        self.squares = _standard_square(first, a.count), _standard_square(second, a.count)

    def _scores(self, weights: Floats | None) -> tuple[Floats, Floats]:
        if not self.ranked:
            return self.values
        weights = np.ones(len(self.values[0])) if weights is None else weights
        first, second = (weighted_ranks(*levels, weights) for levels in self.sorted)
        return first, second

    def value(self) -> float:
        """Of the pairs as they are."""
        return self.permuted(np.arange(self.count))

    def permuted(self, order: NDArray[np.int64]) -> float:
        """With the second side's items in another order."""
        return float(permuted_product(*self.squares, order)) / 2

    def pairs(self) -> tuple[Floats, Floats]:
        """Both sides, standardised."""
        return self.squares

    def without(self, group: NDArray[np.int64]) -> float:
        """Without some of the items, and ranks taken anew."""
        times = np.ones(self.count)
        times[group] = 0.0
        if self.bins:
            return float(binned_rank_correlation(self.bins[0], self.bins[1], times, LEVELS))
        weights = pair_weights(times)
        return float(weighted_correlation(*self._scores(weights), weights))


class _Tau:
    """Kendall's tau-a of values of pairs."""

    def __init__(self, a: Items, b: Items) -> None:
        values = _pairs(a), _pairs(b)
        self.undefined, self.size = without_cosines(a, b), 1.0  # of equal pairs it is 0
        self.sorted = _levels(values[0]), _levels(values[1])
        (self.x, self.order), (self.y, _) = self.sorted
        self.square = np.zeros((a.count, a.count), dtype=np.int64)
        self.places = np.tril_indices(a.count, -1)
        self.square[self.places] = self.y
        self.square += self.square.T
        self.once = np.ones(len(self.x))

    def value(self) -> float:
        """Of the pairs as they are."""
        return float(weighted_tau(self.order, self.x, self.y, self.once))

    def permuted(self, order: NDArray[np.int64]) -> float:
        """With the second side's items in another order."""
        y = self.square[order][:, order][self.places]
        return float(weighted_tau(self.order, self.x, y, self.once))

    def pairs(self) -> tuple[Floats, Floats]:
        """Both sides' ranks, standardised: pairs count for tau as they do for their correlation."""
        first, second = (
            _standard_square(weighted_ranks(*levels, self.once), len(self.square))
            for levels in self.sorted
        )
        return first, second

    def without(self, group: NDArray[np.int64]) -> float:
        """Without some of the items."""
        times = np.ones(len(self.square))
        times[group] = 0.0
        return float(weighted_tau(self.order, self.x, self.y, pair_weights(times)))


def _pairs(side: Items) -> Floats:
    """(P,) 1 - similarity of every two different items."""
    found: Floats = 1.0 - side.similarity()[np.tril_indices(side.count, -1)]
    return np.round(found, DIGITS)  # equal up to rounding is a tie


def _undefined(sides: tuple[Items, Items], values: tuple[Floats, Floats]) -> str:
    """Why dissimilarities cannot be correlated; '' where they can.

    Args:
        sides: the items.
        values: (P,) dissimilarities of the pairs on either side.
    """
    if silent := without_cosines(*sides):
        return silent
    for side, which, pairs in zip(sides, SIDES, values, strict=True):
        exact = ROUNDED if side.rows is None else max(precision(side.rows), ROUNDED)
        # a cosine moves by the angle times what the angle moves
        if np.ptp(pairs) <= exact * np.sqrt(2 * max(float(pairs.max()), exact)):
            return f"all pairs of {which} are equally alike, so nothing can agree with them"
    return ""


def _levels(values: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(P,) place of each value among the distinct ones, and (P,) the order that sorts them."""
    levels = np.unique(values, return_inverse=True)[1].reshape(-1)
    return levels, np.argsort(levels, kind="stable")


def _bins(values: Floats) -> NDArray[np.uint16]:
    """(P,) which of LEVELS about equal shares of the pairs each value lies in."""
    edges = np.unique(np.quantile(values, np.arange(1, LEVELS) / LEVELS))
    return np.searchsorted(edges, values, side="right").astype(np.uint16)


def _standard_square(values: Floats, count: int) -> Floats:
    """(n, n) symmetric, of values whose mean is 0 and whose squares add up to 1; no diagonal."""
    away = values - values.mean()
    length = np.sqrt((away**2).sum())
    square = np.zeros((count, count))
    square[np.tril_indices(count, -1)] = away / length if length > 1e-12 else np.nan
    return square + square.T


def _streamed(a: Items, b: Items, method: str) -> float:
    """The value for many items, a block of rows at a time; no (n, n) matrix."""
    if without_cosines(a, b):
        return float("nan")
    x, y = a.unit(), b.unit()
    edges = _edges(x, a), _edges(y, b)
    counts, sums = np.zeros((LEVELS, LEVELS), dtype=np.int64), np.zeros(6)
    shift = tuple(float(np.median(e)) for e in edges)
    for first in range(0, len(x), BLOCK):
        stop = min(first + BLOCK, len(x))
        p = 1.0 - (x[first:stop] @ x[:stop].T if a.rows is not None else x[first:stop, :stop])
        q = 1.0 - (y[first:stop] @ y[:stop].T if b.rows is not None else y[first:stop, :stop])
        if method == "pearson":
            sums += pair_moments(p, q, first, *shift)
        else:
            joint_histogram(p, q, *edges, counts, first)
    if method == "pearson":
        mean_x, mean_y, xx, yy, xy = sums[:5] / sums[5]
        return float((xy - mean_x * mean_y) / np.sqrt((xx - mean_x**2) * (yy - mean_y**2)))
    return _rank_correlation(counts, method)


def _edges(unit: Floats, side: Items) -> Floats:
    """(LEVELS - 1,) dissimilarities that part the pairs into levels of about equal number."""
    generator = np.random.default_rng(0)
    i = generator.integers(0, len(unit), PROBED)
    j = (i + generator.integers(1, len(unit), PROBED)) % len(unit)
    if side.rows is None:
        values = unit[i, j]
    else:
        step = 1 << 14
        values = np.concatenate(
            [
                np.einsum("pk,pk->p", unit[i[s : s + step]], unit[j[s : s + step]])
                for s in range(0, PROBED, step)
            ]
        )
    return np.unique(np.quantile(1.0 - values, np.arange(1, LEVELS) / LEVELS))


def _rank_correlation(counts: NDArray[np.int64], method: str) -> float:
    """Spearman's or Kendall's correlation of a table of counts of pairs (L, L)."""
    whole = counts.astype(np.float64)
    rows, columns = whole.sum(axis=1), whole.sum(axis=0)
    if method == "spearman":
        x, y = (np.cumsum(n) - n / 2 for n in (rows, columns))
        x, y = x - (rows @ x) / rows.sum(), y - (columns @ y) / rows.sum()
        return float(x @ whole @ y / np.sqrt((rows @ x**2) * (columns @ y**2)))
    below = np.zeros_like(whole)
    below[1:] = np.cumsum(whole, axis=0)[:-1]  # pairs of lower x, by their y
    less = np.cumsum(below, axis=1) - below
    more = below.sum(axis=1, keepdims=True) - less - below
    score = (whole * (less - more)).sum()
    # pairs of one level are not tied, their order is unknown: they do not count at all
    couples = [(rows.sum() ** 2 - (n**2).sum()) / 2 for n in (rows, columns)]
    return float(score / np.sqrt(couples[0] * couples[1]))


def _measure(method: str) -> AgreementMeasure:
    def make(a: Items, b: Items) -> _Tau | _Correlation:
        return _Tau(a, b) if method == "kendall" else _Correlation(a, b, method == "spearman")

    return AgreementMeasure(
        name=f"rsa-{method}",
        adequate=f"{ADEQUATE} {ABOUT[method]}",
        make=make,
        whole=lambda a, b: _streamed(a, b, method),
        pairs=lambda statistic: statistic.pairs(),
    )


MEASURES = {method: _measure(method) for method in ABOUT}


@checked
def rsa(
    a: Any,
    b: Any,
    method: str = "spearman",
    *,
    draws: int = 1000,
    seed: int = 0,
    concepts: Which = "same",
) -> Agreement:
    """Correlation of the dissimilarities, 1 - cosine, of all pairs of different items.

    Symmetric; 1 for a space with itself, and with itself rotated or scaled; between -1 and 1. When
    it is adequate stands in the result. Of more than 2,000 items no (n, n) matrix is held: the
    ranks of 'spearman' and 'kendall' are then told apart in about 1,000 levels, an error below
    0.001, and 1,000 items drawn by the seed stand for all in the test and the interval. Of more
    than 600 items the ranks behind the interval of 'spearman' are such levels, too.

    Args:
        a: `ConceptVectors`, `ConceptSimilarities`, `Activations` (an item is an image) or (n, K).
        b: the same items, in any space.
        method: 'spearman', 'pearson' or 'kendall' (tau-a).
        draws: permutations of the items; 0 leaves out the test, and the interval.
        seed: of these.
        concepts: 'same' or 'shared', see `conceptlab.analysis.comparison.items.matched`.

    Raises:
        InputError: sides that do not match, fewer than three items, an unknown method.
    """
    if method not in MEASURES:
        raise InputError(f"method is one of {', '.join(MEASURES)}; got {method!r}")
    return MEASURES[method](a, b, draws, seed, concepts)
