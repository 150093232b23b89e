"""How measures of agreement are evaluated, tested and given an interval: one way for all."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from conceptlab.analysis.embedding import Items, Which, matched
from conceptlab.analysis.measured import Floats, Measured, drawn
from conceptlab.numerics.metrics import interval
from conceptlab.numerics.testing import permutation_p

LARGE = 2000  # items up to here have their (n, n) matrices held
SAMPLE = 1000  # of more items, so many stand for all in tests and intervals
UNTESTED = "every order of the items gives this value: there is nothing to test"
UNDEFINED = "undefined for these items"


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

    def resampled(self, times: NDArray[np.int64]) -> float:
        """With each item drawn so many times."""
        ...


@dataclass(frozen=True)
class Measure:
    """How a measure is computed, tested and bounded.

    Args:
        name: of the measure.
        adequate: when it says something, and when it does not.
        make: a statistic from two sides.
        whole: its value for more items than (n, n) matrices should be held of.
        greater: whether large values mean that the sides agree.
        bounds: the least and largest value.
        least: items that it needs.
        summed: whether it is a sum over pairs of items, and grows with their number.
    """

    name: str
    adequate: str
    make: Callable[[Items, Items], Statistic]
    whole: Callable[[Items, Items], float]
    greater: bool = True
    bounds: tuple[float, float] = (-1.0, 1.0)
    least: int = 3
    summed: bool = False

    def __call__(self, a: Any, b: Any, draws: int, seed: int, concepts: Which) -> Measured:
        """The value for two sides as `matched` takes them, with interval and test.

        The interval is that of a bootstrap over items, centred on the value: drawing an item twice
        makes most measures a little larger, in every draw alike. The test permutes the items of one
        side and asks whether the sides agree more than so. Of more than `LARGE` items, `SAMPLE`
        drawn by the seed stand for all in both, and the interval is narrowed accordingly.
        """
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
        null = drawn(
            draws, lambda g: statistic.permuted(g.permutation(tested)), seed, f"{self.name}: test"
        )
        spread = drawn(
            draws, lambda g: statistic.resampled(_times(g, tested)), seed, f"{self.name}: interval"
        )
        scale = float(np.sqrt(tested / count)) * ((count / tested) ** 2 if self.summed else 1.0)
        chance = permutation_p(observed, null, greater=self.greater, size=statistic.size)
        return Measured(
            measure=self.name,
            value=value,
            interval=self._about(value, spread, scale),
            p_value=chance,
            items=count,
            over=first.kind,
            draws=draws,
            adequate=self.adequate,
            note=UNTESTED if draws and np.isnan(chance) else "",
        )

    def _without(self, why: str, side: Items, draws: int) -> Measured:
        """What is said where the measure is undefined."""
        nothing = float("nan")
        return Measured(
            self.name, nothing, (nothing, nothing), nothing, side.count, side.kind, draws,
            self.adequate, f"{self.name}: {why}",
        )  # fmt: skip

    def _about(self, value: float, spread: Floats, scale: float) -> tuple[float, float]:
        finite = spread[np.isfinite(spread)]
        if not len(finite):
            return float("nan"), float("nan")
        low, high = interval(value + scale * (finite - finite.mean()))
        return max(low, self.bounds[0]), min(high, self.bounds[1])


def _few(count: int, seed: int) -> NDArray[np.int64]:
    """The items that tests and intervals look at."""
    if count <= LARGE:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, SAMPLE, replace=False))


def _times(generator: np.random.Generator, count: int) -> NDArray[np.int64]:
    """(n,) how often each item is drawn, with replacement."""
    return np.bincount(generator.integers(0, count, count), minlength=count)
