"""A measure with its interval and the outcome of its permutation test; how both are drawn."""

import html
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from conceptlab.errors import InputError
from conceptlab.numerics.parallel import ordered_map

Floats = NDArray[np.float64]
SLOW = 2.0  # seconds after which a bar is worth showing


@dataclass(frozen=True)
class Measured:
    """What a measure says of two sides.

    Args:
        measure: its name.
        value: what it says.
        interval: 95 %, over items drawn anew; NaN where none was asked for.
        p_value: share of permutations that are as extreme, the given order among them; NaN where
            no test was asked for.
        items: how many were compared.
        over: 'concepts', 'images' or 'rows'.
        draws: permutations, and resamples, behind p_value and interval.
        adequate: when the measure says something, and when it does not.
    """

    measure: str
    value: float
    interval: tuple[float, float]
    p_value: float
    items: int
    over: str
    draws: int
    adequate: str

    def __repr__(self) -> str:
        low, high = self.interval
        return (
            f"<{self.measure} {self.value:.4g}, 95 % {low:.4g} to {high:.4g}, "
            f"p = {self.p_value:.3g}, {self.items} {self.over}>"
        )

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(repr(self)[1:-1])}<br><small>{html.escape(self.adequate)}</small>"

    def row(self) -> dict[str, object]:
        """The same as a row of a table."""
        return {
            "measure": self.measure, "value": self.value, "low": self.interval[0],
            "high": self.interval[1], "p_value": self.p_value, "items": self.items,
            "over": self.over, "draws": self.draws,
        }  # fmt: skip


def p_value(value: float, null: Floats, *, greater: bool = True) -> float:
    """The share of permutations at least as extreme, counting the observed order as one.

    So a p-value is never 0, and the test keeps its level (Phipson & Smyth 2010).

    Args:
        value: observed.
        null: (R,) under permutation; empty gives NaN.
        greater: whether large values speak against chance.
    """
    if not len(null):
        return float("nan")
    tolerance = 1e-12 * max(1.0, abs(value))  # equal up to rounding is equal
    extreme = null >= value - tolerance if greater else null <= value + tolerance
    return float((1 + extreme.sum()) / (1 + len(null)))


def drawn(
    draws: int, draw: Callable[[np.random.Generator], float], seed: int, title: str
) -> Floats:
    """(draws,) values, each from a generator of its own seed, with a bar if it takes long.

    Args:
        draws: R; 0 gives none.
        draw: one value; called from several threads.
        seed: of all.
        title: of the bar.

    Raises:
        InputError: a negative number.
    """
    if draws < 0:
        raise InputError(f"draws is a number of permutations, 0 for none; got {draws}")
    seeds = np.random.SeedSequence(seed).spawn(draws)
    values = ordered_map(lambda s: draw(np.random.default_rng(s)), seeds)
    return np.array(
        list(tqdm(values, desc=title, total=draws, delay=SLOW, leave=False, disable=None))
    )
