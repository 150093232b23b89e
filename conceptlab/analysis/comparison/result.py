"""A measure with its interval and the outcome of its permutation test; how both are drawn."""

import html
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from conceptlab.numerics.parallel import ordered_map

Floats = NDArray[np.float64]
SLOW = 2.0  # seconds after which a bar is worth showing


@dataclass(frozen=True)
class Agreement:
    """What a measure says of two sides.

    Args:
        measure: its name.
        value: what it says; NaN where it is undefined.
        interval: 95 %, over items drawn anew; NaN where none was asked for, or there is no value.
        p_value: share of permutations that are as extreme, the given order among them; NaN where
            no test was asked for, or there is nothing to test.
        items: how many were compared.
        over: 'concepts', 'images' or 'rows'.
        draws: permutations, and resamples, behind p_value and interval.
        adequate: when the measure says something, and when it does not.
        note: why there is no value or no p-value, where one was asked for; else ''.
    """

    measure: str
    value: float
    interval: tuple[float, float]
    p_value: float
    items: int
    over: str
    draws: int
    adequate: str
    note: str = ""

    def __repr__(self) -> str:
        low, high = self.interval
        return (
            f"<{self.measure} {self.value:.4g}, 95 % {low:.4g} to {high:.4g}, "
            f"p = {self.p_value:.3g}, {self.items} {self.over}"
            + (f"; {self.note}>" if self.note else ">")
        )

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(repr(self)[1:-1])}<br><small>{html.escape(self.adequate)}</small>"

    def row(self) -> dict[str, object]:
        """The same as a row of a table."""
        return {
            "measure": self.measure, "value": self.value, "low": self.interval[0],
            "high": self.interval[1], "p_value": self.p_value, "items": self.items,
            "over": self.over, "draws": self.draws, "note": self.note,
        }  # fmt: skip


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
    seeds = np.random.SeedSequence(seed).spawn(draws)
    values = ordered_map(lambda s: draw(np.random.default_rng(s)), seeds)
    return np.array(
        list(tqdm(values, desc=title, total=draws, delay=SLOW, leave=False, disable=None))
    )
