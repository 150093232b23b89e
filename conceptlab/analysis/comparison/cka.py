"""Linear centred kernel alignment.

Kornblith, Norouzi, Lee & Hinton 2019, "Similarity of neural network representations revisited",
eq. 2-4; the debiased form takes HSIC_1 of Song et al. 2012, eq. 5.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conceptlab.analysis.comparison.items import SIDES, Items, Which
from conceptlab.analysis.comparison.measure import AgreementMeasure
from conceptlab.analysis.comparison.result import Agreement, Floats
from conceptlab.given import checked
from conceptlab.numerics.pairs import permuted_product
from conceptlab.numerics.rounding import varies

BLOCK = 2048  # items read at once, of many
CANCELLED = 1e-12  # of its terms, that a sum is made of rounding below

_Side = tuple[Floats, Floats]  # Gram matrix (n, n) and the sums of its rows (n,)

ADEQUATE = (
    "Adequate where there are many more items than units; blind to rotation, shift and scale of "
    "either side, not to a stretch of single directions: the directions of largest variance decide."
)
BIASED = " With fewer items than units it nears 1 for any two spaces; take debiased=True there."
DEBIASED = " Debiased: near 0 for unrelated spaces however few the items; can fall below 0."


class _Alignment:
    """CKA of centred Gram matrices."""

    def __init__(self, a: Items, b: Items, debiased: bool) -> None:
        self.debiased, self.size = debiased, 1.0
        first, second = (_gram(s, name) for s, name in zip((a, b), SIDES, strict=True))
        self.sides = self._side(first), self._side(second)
        self.same = np.arange(a.count)
        self.undefined = self._undefined()
        self.scale = self._scale(*self.sides)

    def _undefined(self) -> str:
        """Why there is nothing to align; '' where there is."""
        alike = "all items of {} are equally unlike" if self.debiased else "{} is the same for all"
        for side, which in zip(self.sides, SIDES, strict=True):
            if np.isnan(self._own(side)):
                return f"{alike.format(which)}, up to rounding, so nothing varies with the other"
        return ""

    def _side(self, gram: Floats) -> _Side:
        """A Gram matrix ready for HSIC: centred, or without couples of an item with itself."""
        if self.debiased:
            gram = np.where(np.eye(len(gram), dtype=bool), 0.0, gram)
        else:
            gram = _centred(gram)
        return gram, gram.sum(axis=1)

    def _scale(self, first: _Side, second: _Side) -> float:
        return float(np.sqrt(self._own(first) * self._own(second)))

    def _own(self, side: _Side) -> float:
        """HSIC of a side with itself; NaN where its terms cancel but for rounding."""
        found = self._hsic(side, side, side_order := np.arange(len(side[0])))
        terms = float(permuted_product(side[0], side[0], side_order))
        return found if found > CANCELLED * terms > 0 else float("nan")

    def _hsic(self, first: _Side, second: _Side, order: NDArray[np.int64]) -> float:
        """HSIC, up to a factor that all share."""
        (gram, rows), (other, others) = first, second
        product = float(permuted_product(gram, other, order))
        if not self.debiased:
            return product
        n = len(gram)
        mean = float(rows.sum() * others.sum()) / ((n - 1) * (n - 2))
        return product + mean - 2.0 / (n - 2) * float(rows @ others[order])

    def value(self) -> float:
        """Of the items as they are."""
        return self.permuted(self.same)

    def permuted(self, order: NDArray[np.int64]) -> float:
        """With the second side's items in another order."""
        return self._hsic(*self.sides, order) / self.scale

    def pairs(self) -> tuple[Floats, Floats]:
        """The U-centred Gram matrices, whose correlation over pairs the debiased form is.

        Szekely & Rizzo 2014, "Partial distance correlation with methods for dissimilarities".
        """
        first, second = (_u_centred(*side) for side in self.sides)
        return first, second

    def without(self, group: NDArray[np.int64]) -> float:
        """Without some of the items, centred anew; NaN where no two of the others differ."""
        kept = np.delete(self.same, group)
        first, second = (self._side(gram[np.ix_(kept, kept)]) for gram, _ in self.sides)
        order = np.arange(len(kept))
        return self._hsic(first, second, order) / self._scale(first, second)


def _gram(side: Items, name: str) -> Floats:
    """(n, n) products of centred rows."""
    rows = side.centred(name)
    found: Floats = rows @ rows.T
    return found


def _centred(gram: Floats) -> Floats:
    mean = gram.mean(axis=0)
    found: Floats = gram - mean - mean[:, None] + mean.mean()
    return found


def _u_centred(gram: Floats, rows: Floats) -> Floats:
    """(n, n) a Gram matrix without diagonal whose rows add up to 0, and squares of pairs to 1."""
    n = len(gram)
    found: Floats = gram - (rows[:, None] + rows) / (n - 2) + rows.sum() / ((n - 1) * (n - 2))
    np.fill_diagonal(found, 0.0)
    found /= np.sqrt((found**2).sum() / 2)
    return found


def _streamed(a: Items, b: Items, debiased: bool) -> float:
    """The value for many items, from products of units; no (n, n) matrix."""
    sides = [_Columns.of(side, name) for side, name in zip((a, b), SIDES, strict=True)]
    parts = [np.zeros((len(p), len(q))) for p, q in _couples(*(side.mean for side in sides))]
    totals, sums = np.zeros(3), np.zeros(2)
    for first in range(0, a.count, BLOCK):
        rows = [side.centred(first, first + BLOCK) for side in sides]
        for place, (p, q) in enumerate(_couples(*rows)):
            parts[place] += p.T @ q
        squares = [np.einsum("nk,nk->n", r, r) for r in rows]
        totals += [float(p @ q) for p, q in _couples(*squares)]
        sums += [s.sum() for s in squares]
    hsic = np.array([float((part**2).sum()) for part in parts])
    if debiased:
        # centred rows add up to 0, so a row of the Gram matrix without its diagonal adds up to
        # minus the diagonal
        n = a.count
        mean = np.array([sums[0] * sums[1], sums[0] ** 2, sums[1] ** 2]) / ((n - 1) * (n - 2))
        hsic = hsic - totals + mean - 2.0 / (n - 2) * totals
    own = float(hsic[1] * hsic[2])
    return float(hsic[0]) / float(np.sqrt(own)) if own > 0 else float("nan")


@dataclass(frozen=True)
class _Columns:
    """A side whose columns are centred in blocks of rows, as `Items.centred` does as a whole."""

    rows: NDArray[Any]
    mean: Floats
    scale: Floats

    @classmethod
    def of(cls, side: Items, name: str) -> "_Columns":
        rows = side.coordinates(name) if side.rows is None else side.rows
        size = float(np.abs(rows).max(initial=0.0)) or 1.0
        return cls(rows, rows.mean(axis=0, dtype=np.float64), np.where(varies(rows), 1 / size, 0.0))

    def centred(self, start: int, stop: int) -> Floats:
        """(B, K) of some rows."""
        found: Floats = (self.rows[start:stop] - self.mean) * self.scale
        return found


def _couples(a: Any, b: Any) -> tuple[tuple[Any, Any], ...]:
    return (a, b), (a, a), (b, b)


def _measure(debiased: bool) -> AgreementMeasure:
    return AgreementMeasure(
        name="cka-debiased" if debiased else "cka",
        adequate=ADEQUATE + (DEBIASED if debiased else BIASED),
        make=lambda a, b: _Alignment(a, b, debiased),
        whole=lambda a, b: _streamed(a, b, debiased),
        least=4 if debiased else 3,
        pairs=_Alignment.pairs if debiased else None,
    )


PLAIN, UNBIASED = _measure(False), _measure(True)


@checked
def linear_cka(
    x: Any,
    y: Any,
    *,
    debiased: bool = False,
    draws: int = 1000,
    seed: int = 0,
    concepts: Which = "same",
) -> Agreement:
    """Linear CKA: the squared covariance of two sides, over that of each with itself.

    Symmetric; 1 for a side with itself, shifted, rotated or scaled as a whole. When it is adequate
    stands in the result. Of more than 2,000 items no (n, n) matrix is held, the value is exact, and
    1,000 items drawn by the seed stand for all in the test and the interval. Of 20 to 50 items with
    heavy tails (Student's t of 3 degrees of freedom) a 95 % interval holds the truth in 91 to 92 %
    of cases; of 10 to 20 items of unrelated spaces in 97 to 99 %.

    Args:
        x: `ConceptVectors`, `Activations` (their pooled form, an item is an image) or (n, K).
        y: the same items; the number of units may differ.
        debiased: HSIC without its bias, for few items.
        draws: permutations of the items; 0 leaves out the test, and the interval.
        seed: of these.
        concepts: 'same' or 'shared', see `conceptlab.analysis.comparison.items.matched`.

    Raises:
        InputError: sides that do not match, or a side without coordinates.
    """
    return (UNBIASED if debiased else PLAIN)(x, y, draws, seed, concepts)
