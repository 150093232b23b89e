"""Sums over pairs of items: compiled kernels behind comparisons of similarity matrices.

All take square matrices over n items, or the n (n - 1) / 2 pairs i > j in the order of
`numpy.tril_indices(n, -1)`.
"""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def permuted_product(a, b, order):
    """Sum of a[i, j] * b[order[i], order[j]] over all i, j of symmetric matrices.

    Args:
        a: (n, n).
        b: (n, n).
        order: (n,) a permutation.
    """
    total = 0.0
    for i in range(len(order)):
        row = b[order[i]]
        own = a[i]
        part = 0.0
        for j in range(i):
            part += own[j] * row[order[j]]
        total += 2.0 * part + own[i] * row[order[i]]
    return total


@njit(cache=True, nogil=True)
def pair_weights(times):
    """(P,) how often each pair is drawn when its items are drawn `times` (n,) each."""
    n = len(times)
    weights = np.empty(n * (n - 1) // 2)
    place = 0
    for i in range(n):
        for j in range(i):
            weights[place] = times[i] * times[j]
            place += 1
    return weights


@njit(cache=True, nogil=True)
def weighted_ranks(levels, order, weights):
    """(P,) mid-ranks of values that count as often as their weights say.

    Args:
        levels: (P,) place of each value among the distinct ones.
        order: (P,) values by rising level.
        weights: (P,).
    """
    ranks = np.empty(len(levels))
    below, start = 0.0, 0
    while start < len(order):
        stop, own = start, 0.0
        while stop < len(order) and levels[order[stop]] == levels[order[start]]:
            own += weights[order[stop]]
            stop += 1
        for place in range(start, stop):
            ranks[order[place]] = below + 0.5 * own
        below += own
        start = stop
    return ranks


@njit(cache=True, nogil=True)
def weighted_correlation(x, y, weights):
    """Pearson's correlation of values that count as often as their weights say; NaN for none."""
    total = weights.sum()
    if total <= 0:  # all draws were of one item, which makes no pair
        return np.nan
    mean_x, mean_y = (weights * x).sum() / total, (weights * y).sum() / total
    xy, xx, yy = 0.0, 0.0, 0.0
    for p in range(len(x)):
        dx, dy = x[p] - mean_x, y[p] - mean_y
        xy += weights[p] * dx * dy
        xx += weights[p] * dx * dx
        yy += weights[p] * dy * dy
    return xy / np.sqrt(xx * yy) if xx > 0 and yy > 0 else np.nan


@njit(cache=True, nogil=True)
def _prefix(tree, place):
    """Sum of the first `place` entries of a Fenwick tree."""
    total = 0.0
    while place > 0:
        total += tree[place]
        place -= place & -place
    return total


@njit(cache=True, nogil=True)
def _add(tree, place, weight):
    """Add to entry `place`, from 1."""
    while place < len(tree):
        tree[place] += weight
        place += place & -place


@njit(cache=True, nogil=True)
def weighted_tau(order, levels_x, levels_y, weights):
    """Kendall's tau-a: concordant less discordant couples of pairs, over all couples.

    A Fenwick tree over the levels of y holds the weights of the pairs whose x is lower.

    Args:
        order: (P,) pairs by rising x.
        levels_x: (P,) place of each x among the distinct ones.
        levels_y: (P,) likewise.
        weights: (P,) how often each pair counts; couples of one pair with itself do not.
    """
    tree = np.zeros(levels_y.max() + 2)
    seen, score, start = 0.0, 0.0, 0
    while start < len(order):
        stop = start
        while stop < len(order) and levels_x[order[stop]] == levels_x[order[start]]:
            stop += 1
        for pair in order[start:stop]:
            below = _prefix(tree, levels_y[pair])
            above = seen - _prefix(tree, levels_y[pair] + 1)
            score += weights[pair] * (below - above)
        for pair in order[start:stop]:
            _add(tree, levels_y[pair] + 1, weights[pair])
            seen += weights[pair]
        start = stop
    couples = (seen * seen - (weights * weights).sum()) / 2
    return score / couples if couples > 0 else np.nan


@njit(cache=True, nogil=True)
def pair_moments(x, y, first, shift_x, shift_y):
    """Sums of x, y, xx, yy, xy over the pairs of some rows, and their number.

    Args:
        x: (B, n) values of items first..first + B - 1 with all; only pairs j < i count.
        y: (B, n) likewise.
        first: number of the first row.
        shift_x: taken off every x, so that squares do not cancel.
        shift_y: taken off every y.
    """
    sums = np.zeros(6)
    for b in range(len(x)):
        for j in range(first + b):
            p, q = x[b, j] - shift_x, y[b, j] - shift_y
            sums[0] += p
            sums[1] += q
            sums[2] += p * p
            sums[3] += q * q
            sums[4] += p * q
        sums[5] += first + b
    return sums


@njit(cache=True, nogil=True)
def joint_histogram(x, y, edges_x, edges_y, counts, first):
    """Add the pairs of some rows to a table of counts.

    Args:
        x: (B, n) values of items first..first + B - 1 with all; only pairs j < i count.
        y: (B, n) likewise.
        edges_x: (L - 1,) rising inner edges.
        edges_y: (L - 1,) likewise.
        counts: (L, L), changed in place.
        first: number of the first row.
    """
    for b in range(len(x)):
        for j in range(first + b):
            p = np.searchsorted(edges_x, x[b, j])
            q = np.searchsorted(edges_y, y[b, j])
            counts[p, q] += 1


@njit(cache=True, nogil=True)
def binned_rank_correlation(x, y, times, bins):
    """Spearman's correlation of pairs whose items are drawn `times` (n,) each.

    Args:
        x: (P,) the bin of each pair's value, 0..bins - 1, for pairs i > j row by row.
        y: (P,) likewise.
        times: (n,) how often each item is drawn.
        bins: their number; values of one bin share their mean rank.
    """
    count_x, count_y = np.zeros(bins), np.zeros(bins)
    place = 0
    for i in range(len(times)):
        for j in range(i):
            weight = times[i] * times[j]
            count_x[x[place]] += weight
            count_y[y[place]] += weight
            place += 1
    total = count_x.sum()
    if total <= 0:
        return np.nan
    rank_x, rank_y = np.cumsum(count_x) - count_x / 2, np.cumsum(count_y) - count_y / 2
    rank_x -= (count_x * rank_x).sum() / total
    rank_y -= (count_y * rank_y).sum() / total
    product, place = 0.0, 0
    for i in range(len(times)):
        for j in range(i):
            product += times[i] * times[j] * rank_x[x[place]] * rank_y[y[place]]
            place += 1
    squares = (count_x * rank_x**2).sum() * (count_y * rank_y**2).sum()
    return product / np.sqrt(squares) if squares > 0 else np.nan
