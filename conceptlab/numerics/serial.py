"""How many independent images neighbouring ones are worth: serial correlation, measured."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from conceptlab.numerics.metrics import ratio

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
LAGS = 200  # places apart at most
ROUNDS = 10  # of a fixed point
FAINT = 0.005  # correlation of which more need not be counted
FALL = 0.9  # from lag to lag at the least, where none is measured
MOST = 0.97  # correlation of neighbours that is believed
OWN = 50.0  # pairs at which a series' own correlation counts as much as that of all together


def effective_number(values: NDArray[Any], series: Integers, places: Integers) -> Floats:
    """How many independent values each series is worth, for its mean.

    Images lie in the order of their names, and frames of one drive are alike. The correlation of
    values so many places apart is measured over all series together, so that short ones are not
    judged by their own noise, and is drawn towards a series' own where that is long; values of a
    series that are all the same do not tell theirs. Lags count up
    to the first at which the common correlation is not above its standard error (an initial
    positive sequence, Geyer 1992, "Practical Markov chain Monte Carlo", section 3.3); from there it
    is taken to fall on as it fell up to there. They count for no less than those of a first-order
    autoregression, which few images would hide. A mean of n then varies as that of
    n / (1 + 2 sum of correlations) independent values does.

    Args:
        values: (J,) scores, or their influence on a score, of all series.
        series: (J,) which series each belongs to, from 0: such as the concept.
        places: (J,) the row of its image; none twice in a series.

    Returns:
        (S,) from 1 to the number of values; 0 for a series without any.

    >>> values = np.repeat([0.0, 1.0, 0.0, 1.0, 1.0, 0.0], 20)  # twenty frames alike
    >>> effective_number(values, np.zeros(120, int), np.arange(120)).round()
    array([4.])
    """
    order = np.lexsort((places, series))
    values, series = np.asarray(values, dtype=np.float64)[order], series[order]
    places = places[order] - places.min(initial=0)
    count = np.bincount(series).astype(np.float64)
    scores = _standard(values, series, count)
    varied = np.bincount(series, scores**2) > 0
    span = int(places.max(initial=-1)) + 1
    keys = series * 2 * span + places  # so far apart that no lag leads from one series to another
    product, weight, least = np.zeros(len(count)), np.zeros(len(count)), np.ones(len(count))
    beyond, shared = np.zeros(len(count)), _Decay(float((count**2).sum() / max(count.sum(), 1.0)))
    for lag in range(1, min(LAGS, span // 2) + 1):
        after = np.searchsorted(keys, keys + lag)
        first = np.flatnonzero(keys[np.minimum(after, len(keys) - 1)] == keys + lag)
        number = np.bincount(series[first], minlength=len(count))
        pairs = np.nan_to_num(2 * ratio(number, count))
        first = first[varied[series[first]]]
        products = scores[first] * scores[after[first]]
        own = None if shared.over else _correlations(products, series[first], places[first], count)
        if own is None:
            if (level := shared.onward()) < FAINT:
                break
            beyond += pairs * level
            continue
        shared.found.append(float(products.mean()))
        if lag == 1:
            neighbours = number / np.maximum(count - 1, 1)
            common = shared.found[0]
            least += neighbours * (_persistent(common, count[varied & (count > 0)], count) - 1)
        product += np.nan_to_num(pairs * own)
        weight += pairs * (number > 0)
    # means that are estimated take as much out of every product as they vary themselves
    factor = (1 + product) / np.maximum(1 + (product - weight) / np.maximum(count, 1), 1e-3)
    factor += beyond
    found: Floats = np.clip(np.maximum(factor, least), 1.0, np.maximum(count, 1.0))
    return np.asarray(count / found)


class _Decay:
    """Correlations that all series share, lag by lag, and how they fall on unseen.

    Args:
        length: of the series; as their means are estimated, correlations show lower than they are.
    """

    def __init__(self, length: float) -> None:
        self.length = length
        self.found: list[float] = []
        self.unseen = 0

    @property
    def over(self) -> bool:
        """Whether the last lag was no longer told from 0."""
        return self.unseen > 0

    def onward(self) -> float:
        """That of the next lag, by the mean fall from the first to the last that was found."""
        self.unseen += 1
        if len(self.found) < 2:  # one alone says nothing of a fall
            return 0.0
        taken = min((1 + 2 * sum(self.found)) / self.length, 0.5)
        first, last = (value + taken * (1 - value) for value in (self.found[0], self.found[-1]))
        fall = max(last / first, 0.0) ** (1 / (len(self.found) - 1))
        return last * float(min(fall, FALL)) ** self.unseen


def _persistent(found: float, lengths: Floats, count: Floats) -> Floats:
    """(S,) factor of the variance of a mean of so many values of a first-order autoregression.

    Its correlation is the one that, on average, shows as `found` in series of such lengths, whose
    means are estimated.
    """

    def factor(correlation: float, n: Floats) -> Floats:
        sure = np.maximum(n, 1.0)
        tail = 2 * correlation * (1 - correlation**sure) / (sure * (1 - correlation) ** 2)
        grown: Floats = (1 + correlation) / (1 - correlation) - tail
        return grown

    length = np.array([(lengths**2).sum() / lengths.sum()])
    correlation = max(found, 0.0)
    for _ in range(ROUNDS):
        taken = float(min(factor(correlation, length)[0] / length[0], 0.9))
        correlation = min(max(found * (1 - taken) + taken, 0.0), MOST)
    return factor(correlation, count)


def effective_rows(values: NDArray[Any]) -> Floats:
    """The same for series (S, n) of as many neighbouring images each."""
    count, n = values.shape
    series, places = np.repeat(np.arange(count), n), np.tile(np.arange(n), count)
    return effective_number(values.ravel(), series, places)


def _standard(values: Floats, series: Integers, count: Floats) -> Floats:
    """(J,) values with mean 0 and variance 1 in each series; 0 where they are all the same."""
    mean = ratio(np.bincount(series, values), count)
    away = values - mean[series]
    spread = np.sqrt(ratio(np.bincount(series, away**2), count))[series]
    scores: Floats = np.divide(
        away, spread, out=np.zeros_like(away), where=spread > 1e-12 * np.abs(values)
    )
    return scores


def _correlations(
    products: Floats, series: Integers, places: Integers, count: Floats
) -> Floats | None:
    """(S,) correlation at one lag, or None where that of all series is within its standard error.

    Products at one place depend on one another: the error is that of their sums over places.
    """
    if not len(products):
        return None
    common = float(products.mean())
    unbiased = products + 1 / count[series]
    level = float(unbiased.mean())
    sums = np.bincount(places, unbiased - level)
    if level <= np.sqrt((sums**2).sum()) / len(products):
        return None
    own = np.bincount(series, products, minlength=len(count))
    number = np.bincount(series, minlength=len(count))
    found: Floats = (own + OWN * common) / (number + OWN)
    return found
