"""95 % confidence intervals: of accuracies, means, ratios of sums and other smooth statistics.

All are closed forms, so that they need no seed and no time. Which of them covers what they say, for
which numbers of images and which tails, is printed by `analyses/benchmarks/interval_coverage.py`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from conceptlab.numerics.metrics import ratio
from conceptlab.numerics.rounding import varies

Floats = NDArray[np.float64]
Bounds = tuple[Floats, Floats]
LEVEL = 0.95
UNIT = (0.0, 1.0)
MIDST = 0.5
LONG = 0.25  # of the way from Jeffreys' bound to Hall's
ROUNDING = 1e-6  # of the largest value, that of float32: a smaller spread is none
FLAT = 1e-9  # skewness that is none


def jeffreys(right: ArrayLike, count: ArrayLike) -> Bounds:
    """Jeffreys' interval of a proportion: equal tails of its posterior.

    Brown, Cai & DasGupta 2001, "Interval estimation for a binomial proportion", section 4.3: the
    bound is 0 where none are right, and 1 where all are.

    Args:
        right: of `count`; any shape, and no whole number where images count for less than one.
        count: of trials.

    Returns:
        Lower and upper bounds, of the broadcast shape; NaN without a trial.

    >>> [round(float(bound), 3) for bound in jeffreys(10, 10)]
    [0.783, 1.0]
    """
    from scipy.special import betaincinv

    right, count = np.asarray(right, dtype=np.float64), np.asarray(count, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        a, b = right + 0.5, count - right + 0.5
        tail = (1 - LEVEL) / 2
        low = np.where(right <= 0, 0.0, betaincinv(a, b, tail))
        high = np.where(right >= count, 1.0, betaincinv(a, b, 1 - tail))
    return np.where(count > 0, low, np.nan), np.where(count > 0, high, np.nan)


def discounted(count: ArrayLike, effective: ArrayLike) -> Floats:
    """How many trials a proportion's interval may count on, the effective number being estimated.

    Korn & Graubard 1998, "Confidence intervals for proportions with small expected number of
    positive counts estimated from survey data": times the square of the ratio of Student's t
    quantiles, of as many degrees of freedom as trials and as effective ones. None are taken where
    all count.

    Args:
        count: of trials; infinite where a mean's own variance is estimated, and not a proportion's.
        effective: how many independent ones they are worth, see `effective_number`.
    """
    from scipy.special import stdtrit

    count, effective = np.asarray(count, dtype=np.float64), np.asarray(effective, dtype=np.float64)
    known, found = (stdtrit(np.maximum(n - 1, 1.0), (1 + LEVEL) / 2) for n in (count, effective))
    factor: Floats = np.minimum(known / found, 1.0) ** 2
    return effective * factor


def balanced_bounds(
    right: ArrayLike, count: ArrayLike, effective: ArrayLike | None = None
) -> Bounds:
    """An interval of the mean of two independent proportions, such as a balanced accuracy.

    Jeffreys' intervals of both, brought together by the square-and-add rule (Newcombe 1998,
    "Interval estimation for the difference between independent proportions", method 10).

    Args:
        right: (..., 2) of either side.
        count: (..., 2) trials.
        effective: (..., 2) how many independent ones they are worth; all where left out.

    Returns:
        (...) lower and upper bounds; NaN where a side has no trial.
    """
    share = ratio(np.asarray(right, dtype=np.float64), np.asarray(count))
    worth = np.asarray(count) if effective is None else discounted(count, effective)
    low, high = jeffreys(np.nan_to_num(share) * worth, worth)
    middle = share.mean(axis=-1)
    return (
        middle - np.sqrt(((share - low) ** 2).sum(axis=-1)) / 2,
        middle + np.sqrt(((high - share) ** 2).sum(axis=-1)) / 2,
    )


def mean_bounds(
    values: ArrayLike, effective: ArrayLike | None = None, *, within: bool = False
) -> Bounds:
    """An interval of means.

    Hall's transformation of Student's t, which allows for skewness, see `studentised`. Of values
    within 0..1 Jeffreys' interval of a proportion, of as many trials as give its mean the variance
    of this one (Korn & Graubard 1998, see `discounted`): exactly Jeffreys' where all are 0 or 1.
    That takes values to be as skewed as a proportion's; where they are not, the bound on the long
    side, towards 1/2, lies a quarter of the way to Hall's on the scale of the arcsine of the root
    (a share that was chosen for coverage, see the benchmark).

    Args:
        values: (..., n), the last axis being the sample.
        effective: (...) how many independent values they are worth, see `effective_number`; n where
            left out.
        within: whether values, and so their mean, lie within 0..1.

    Returns:
        (...) lower and upper bounds; NaN for fewer than two values, or where all are the same.
    """
    values = np.asarray(values, dtype=np.float64)
    number = np.asarray(values.shape[-1] if effective is None else effective, dtype=np.float64)
    number = np.broadcast_to(number, values.shape[:-1])
    if values.shape[-1] < 2:
        nothing = np.full(values.shape[:-1], np.nan)
        return nothing, nothing.copy()
    middle = values.mean(axis=-1)
    if not within:
        return studentised(middle, values, number)
    flags = ((values == 0) | (values == 1)).all(axis=-1)
    trials = _trials(values, middle, number, flags)
    low, high = jeffreys(middle * trials, trials)
    others = (ARCSINE.back(bound) for bound in _skewed(*_on_arcsine(values, middle), number))
    for bound, other, long in zip(
        (low, high), others, (middle > MIDST, middle < MIDST), strict=True
    ):
        np.copyto(bound, bound + LONG * (other - bound), where=long & ~flags & np.isfinite(other))
    return low, high


def _on_arcsine(values: Floats, middle: Floats) -> Bounds:
    """(...) means on that scale, and (..., n) what each value adds to its own by the jackknife."""
    count = values.shape[-1]
    left_out = np.clip((count * middle[..., None] - values) / (count - 1), *UNIT)
    to = ARCSINE.to(middle)
    return to, (count - 1) * (to[..., None] - ARCSINE.to(left_out))


def _trials(values: Floats, middle: Floats, number: Floats, flags: NDArray[np.bool_]) -> Floats:
    """(...) trials that a mean of values within 0..1 is worth; NaN where all are the same.

    Args:
        values: (..., n).
        middle: (...) their means.
        number: (...) how many independent ones they are worth.
        flags: (...) whether all are 0 or 1.
    """
    known = discounted(np.maximum(number, values.shape[-1]), number)
    more = ratio(middle * (1 - middle), np.where(varies(values, -1), values.var(-1, ddof=1), 0))
    estimated = more * discounted(np.inf, number)
    return np.where(flags, known, np.where(more > 0, estimated, np.nan))


def ratio_bounds(
    part: ArrayLike, whole: ArrayLike, effective: float | None = None
) -> tuple[float, float]:
    """An interval of a ratio of two sums over images, within 0..1, such as IoU_set.

    The jackknife (Tukey 1958; Quenouille 1956) on the scale of the arcsine of the root, where its
    spread depends least on the ratio; large images count for more, so degrees of freedom are those
    of their shares of the whole, 1 / sum of their squares (Satterthwaite 1946).

    Args:
        part: (n,) at most the whole.
        whole: (n,).
        effective: see `mean_bounds`.

    Returns:
        NaN for fewer than two images with a whole.
    """
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    if effective is None:
        effective = float(len(part))
    there = whole > 0
    if there.sum() < 2:
        return float("nan"), float("nan")
    effective *= float(there.mean())
    part, whole = part[there], whole[there]
    total, every = part.sum(), whole.sum()
    shares = whole / every
    if total <= 0 or total >= every:
        number = min(effective, 1 / float((shares**2).sum()))
        low, high = jeffreys(number if total > 0 else 0.0, number)
        return float(low), float(high)
    left_out = np.clip((total - part) / (every - whole), *UNIT)
    freedom = effective / len(part) / float((shares**2).sum())
    return jackknife_bounds(total / every, left_out, effective, ARCSINE, freedom=freedom)


@dataclass(frozen=True)
class Scale:
    """A scale on which a statistic is taken to be nearer to normal.

    Args:
        to: onto the scale.
        back: from it, for whatever number.
    """

    to: Any
    back: Any


def _fisher(value: ArrayLike) -> Floats:
    found: Floats = np.arctanh(np.clip(value, -1 + 1e-12, 1 - 1e-12))
    return found


PLAIN = Scale(lambda value: np.asarray(value, dtype=np.float64), lambda value: value)
ARCSINE = Scale(
    lambda value: np.arcsin(np.sqrt(value)), lambda value: np.sin(np.clip(value, 0, np.pi / 2)) ** 2
)
FISHER = Scale(_fisher, np.tanh)
LOGARITHM = Scale(np.log, np.exp)
MISSED = Scale(lambda value: -np.log1p(-value), lambda value: -np.expm1(-value))  # 1 - value


def jackknife_bounds(
    value: float,
    left_out: ArrayLike,
    effective: float | None = None,
    scale: Scale = PLAIN,
    *,
    freedom: float | None = None,
    about: float | None = None,
) -> tuple[float, float]:
    """An interval of any smooth statistic, from its values without one item (or group) each.

    Args:
        value: of all items.
        left_out: (n,) without each.
        effective: how many independent ones they are worth; n where left out.
        scale: on which it is reckoned.
        freedom: degrees of freedom, where they are fewer.
        about: the value to put the interval about, where that of all items is another.

    Returns:
        NaN where one is not finite, there are fewer than two, or all are the same.
    """
    without = np.asarray(left_out, dtype=np.float64)
    if not np.isfinite(value) or not np.isfinite(without).all() or len(without) < 2:
        return float("nan"), float("nan")
    number = float(len(without)) if effective is None else effective
    influence = (len(without) - 1) * (scale.to(value) - scale.to(without))
    middle = scale.to(value if about is None else about)
    low, high = studentised(middle, influence, number, freedom=freedom)
    return float(scale.back(low)), float(scale.back(high))


def studentised(
    middle: Any,
    values: Floats,
    effective: ArrayLike,
    *,
    freedom: ArrayLike | None = None,
) -> Bounds:
    """An interval about an estimate whose error is that of a mean of values.

    Student's t, and Hall's monotone transformation of it (Hall 1992, "On the removal of skewness by
    transformation", section 2), with t quantiles: on either side the wider of the two, since
    skewness is not known well in few values, and symmetric heavy tails pass for it.

    Args:
        middle: (...) the estimate.
        values: (..., n).
        effective: (...) how many independent values they are worth.
        freedom: (...) degrees of freedom, where they are fewer than `effective` - 1.

    Returns:
        (...) lower and upper bounds, NaN where all values are the same.
    """
    number = np.maximum(np.asarray(effective, dtype=np.float64), 2.0)
    spread, reach = _spread(values, number), _reach(number, freedom)
    low, high = _skewed(middle, values, effective, freedom=freedom)
    return np.fmin(low, middle - spread * reach), np.fmax(high, middle + spread * reach)


def _skewed(
    middle: Any, values: Floats, effective: ArrayLike, *, freedom: ArrayLike | None = None
) -> Bounds:
    """Hall's interval alone; see `studentised`."""
    number = np.maximum(np.asarray(effective, dtype=np.float64), 2.0)
    spread, reach = _spread(values, number), _reach(number, freedom)
    away = values - values.mean(axis=-1, keepdims=True)
    cube = np.einsum("...n,...n,...n->...", away, away, away) / values.shape[-1]
    skew = cube / spread**3 * number**2 / ((number - 1) * np.maximum(number - 2, 1.0))
    more, less = (_untransformed(side * reach, skew, number) for side in (1, -1))
    return middle - spread * more, middle - spread * less


def _spread(values: Floats, number: Floats) -> Floats:
    """(...) standard deviation of so many independent values; NaN where it is rounding."""
    away = values - values.mean(axis=-1, keepdims=True)
    square = np.einsum("...n,...n->...", away, away) / values.shape[-1]
    known = np.sqrt(square) > ROUNDING * np.abs(values).max(axis=-1)
    found: Floats = np.sqrt(np.where(known, square * number / (number - 1), np.nan))
    return found


def _reach(number: Floats, freedom: ArrayLike | None) -> Floats:
    """(...) Student's quantile over the root of the number."""
    from scipy.special import stdtrit

    degrees = number - 1 if freedom is None else np.clip(freedom, 1.0, number - 1)
    found: Floats = stdtrit(degrees, (1 + LEVEL) / 2) / np.sqrt(number)
    return found


def _untransformed(quantile: Floats, skew: Floats, number: Floats) -> Floats:
    """The t (in standard deviations) whose transform g(t) is a quantile.

    g(t) = t + skew t^2 / 3 + skew^2 t^3 / 27 + skew / 6n, which is a cube and can be solved.
    """
    shifted = quantile - skew / (6 * number)
    safe = np.where(np.abs(skew) > FLAT, skew, 1.0)
    found: Floats = np.where(
        np.abs(skew) > FLAT, 3 / safe * (np.cbrt(1 + safe * shifted) - 1), shifted
    )
    return found
