"""How measures of agreement are evaluated, tested and given an interval: one way for all."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import islice, permutations
from math import factorial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from conceptlab.analysis.comparison.items import Items, Which, matched
from conceptlab.analysis.comparison.result import Agreement, drawn
from conceptlab.given import require_number, require_seed
from conceptlab.numerics.intervals import FISHER, Scale, jackknife_bounds
from conceptlab.numerics.parallel import ordered_map
from conceptlab.numerics.serial import effective_number
from conceptlab.numerics.testing import permutation_p

LARGE = 2000  # items up to here have their (n, n) matrices held
SAMPLE = 1000  # of more items, so many stand for all in tests and intervals
GROUPS = 100  # items, or groups of neighbours, that are left out of the interval in turn
LEAST = 10  # items that an interval needs: of fewer none covers what it says
FEW = "too few items for an interval: it takes {}"
UNTESTED = "every order of the items gives this value: there is nothing to test"
UNDEFINED = "undefined for these items"
UNASKED = (float("nan"), float("nan"))
SAME = 1e-9  # of a measure's terms: a smaller change is none


class Statistic(Protocol):
    """A measure of two sides with the same n items, ready to be evaluated many times.

    Attributes:
        undefined: why the measure says nothing of these sides; '' where it does.
        size: of the terms that the values are sums of; what differs by its rounding is equal.
    """

    undefined: str
    size: float

    def value(self) -> float:
        """Of the items as they are."""
        ...

    def permuted(self, order: NDArray[np.int64]) -> float:
        """With the second side's items in another order."""
        ...

    def without(self, group: NDArray[np.int64]) -> float:
        """Without some of the items."""
        ...


@dataclass(frozen=True)
class AgreementMeasure:
    """How a measure is computed, tested and bounded.

    Args:
        name: of the measure.
        adequate: when it says something, and when it does not.
        make: a statistic from two sides.
        whole: its value for more items than (n, n) matrices should be held of.
        greater: whether large values mean that the sides agree.
        scale: on which its error is nearly normal.
        least: items that it needs.
        told: items that its interval needs.
        summed: whether it is a sum over pairs of items, and grows with their number.
        pairs: of a statistic that is a correlation over pairs of items, both sides as `pair_share`
            takes them; its jackknife's variance is corrected.
    """

    name: str
    adequate: str
    make: Callable[[Items, Items], Statistic]
    whole: Callable[[Items, Items], float]
    greater: bool = True
    scale: Scale = FISHER
    least: int = 3
    told: int = LEAST
    summed: bool = False
    pairs: Callable[[Any], tuple[NDArray[np.float64], NDArray[np.float64]]] | None = None

    def __call__(self, a: Any, b: Any, draws: int, seed: int, concepts: Which) -> Agreement:
        """The value for two sides as `matched` takes them, with interval and test.

        The interval is the jackknife's (see `conceptlab.numerics.intervals.jackknife_bounds`), of
        what other items of the same kind and number would give; of many items, groups of neighbours
        are left out together. Images are worth as many independent ones as their order says
        (`conceptlab.numerics.serial.effective_number`). The test permutes the items of one side and
        asks whether the sides agree more than so; all orders where there are no more than draws,
        and the p-value is exact. Of more than `LARGE` items, `SAMPLE` drawn by the
        seed stand for all in both, and the interval is narrowed accordingly.
        """
        require_number(draws, "draws", 0)
        require_seed(seed)
        sides = matched({"the first": a, "the second": b}, concepts, self.least)
        first, second = sides.values()
        count = first.count
        few = _few(count, seed)
        statistic = self.make(first.at(few), second.at(few))
        if statistic.undefined:
            return self._without(statistic.undefined, first, draws)
        observed, tested = statistic.value(), len(few)
        value = self.whole(first, second) if tested < count else observed
        if not np.isfinite(value):
            return self._without(UNDEFINED, first, draws)
        null = self._null(statistic, tested, draws, seed)
        chance = permutation_p(observed, null, greater=self.greater, size=statistic.size)
        return Agreement(
            measure=self.name,
            value=value,
            interval=self._about(statistic, value, first, tested) if draws else UNASKED,
            p_value=chance,
            items=count,
            over=first.kind,
            draws=draws,
            adequate=self.adequate,
            note=self._note(count, chance) if draws else "",
        )

    def _null(self, statistic: Statistic, count: int, draws: int, seed: int) -> NDArray[np.float64]:
        """The values of other orders of the items: of all of them, where they are no more."""
        if factorial(count) <= draws:
            orders = islice(permutations(range(count)), 1, None)
            return np.array([statistic.permuted(np.array(order)) for order in orders])
        label = f"{self.name}: test"
        return drawn(draws, lambda g: statistic.permuted(g.permutation(count)), seed, label)

    def _without(self, why: str, side: Items, draws: int) -> Agreement:
        """What is said where the measure is undefined."""
        nothing = float("nan")
        return Agreement(
            self.name, nothing, (nothing, nothing), nothing, side.count, side.kind, draws,
            self.adequate, f"{self.name}: {why}",
        )  # fmt: skip

    def _note(self, count: int, chance: float) -> str:
        """What is missing, and why."""
        few = FEW.format(self.told) if count < self.told else ""
        return "; ".join(filter(None, (UNTESTED if np.isnan(chance) else "", few)))

    def _about(
        self, statistic: Statistic, value: float, side: Items, tested: int
    ) -> tuple[float, float]:
        """The interval, from values without each group of items."""
        if tested < self.told:
            return UNASKED
        groups = np.array_split(np.arange(tested), min(tested, GROUPS))
        one = partial(self._without_group, statistic, tested)
        left_out = np.array(list(ordered_map(one, groups)))
        whole = statistic.value()
        if np.ptp(np.append(left_out, whole)) <= SAME * statistic.size:
            return value, value  # sides that agree, or differ, whatever the items
        if self.pairs is not None:
            excess = pair_share(*self.pairs(statistic))
            left_out = whole + (left_out - whole) * np.sqrt(1 - excess)
        worth = len(groups) * side.count / tested
        if side.kind == "images":
            order = np.arange(len(groups))
            influence = np.nan_to_num(whole - left_out)
            worth *= effective_number(influence, 0 * order, order)[0] / len(groups)
        return jackknife_bounds(whole, left_out, worth, self.scale, about=value)

    def _without_group(self, statistic: Statistic, count: int, group: NDArray[np.int64]) -> float:
        found, left = statistic.without(group), count - len(group)
        return found * (count * (count - 1)) / (left * (left - 1)) if self.summed else found


def _few(count: int, seed: int) -> NDArray[np.int64]:
    """The items that tests and intervals look at."""
    if count <= LARGE:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, SAMPLE, replace=False))


def pair_share(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Excess variance: the share of the jackknife's, of a correlation over pairs, that is too much.

    Such a correlation is nearly a mean over pairs of their influence, which is a part of either
    item and a part of the pair's own. The jackknife counts the last twice (Efron & Stein 1981, "The
    jackknife estimate of variance"), and of unrelated spaces there is no other. With p the pairs'
    share of the variance the excess is p / 2; p^2 / 2 is given, for a small p is not known well
    (chosen for coverage, see `analyses/benchmarks/interval_coverage.py`).

    Args:
        first: (n, n) symmetric, 0 on the diagonal; over pairs the mean is 0, squares add up to 1.
        second: likewise.

    Returns:
        0 to 1/2.
    """
    n = len(first)
    correlation = (first * second).sum() / 2
    influence = first * second - correlation / 2 * (first**2 + second**2)  # adds up to 0
    of_item = influence.sum(axis=1)
    own = influence - (of_item[:, None] + of_item) / (n - 2)
    np.fill_diagonal(own, 0.0)
    variance, squares = (own**2).sum() / (n * (n - 3)), (of_item**2).sum()
    if squares <= 0:  # every pair agrees as it can
        return 0.0
    share = variance * (n - 2) ** 2 / squares  # of the jackknife's variance that is the pairs'
    return float(min(share, 1.0) ** 2 / 2)
