"""Cross-validated linear predictivity: how much of one side a linear map of the other explains.

The measure of model and brain comparisons (Yamins et al. 2014), with ridge regression: on held-out
items, the share of the variance of all units together that is explained.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conceptlab.analysis.comparison.items import SIDES, Items, Which
from conceptlab.analysis.comparison.measure import AgreementMeasure
from conceptlab.analysis.comparison.result import Agreement, Floats
from conceptlab.given import checked
from conceptlab.numerics.intervals import MISSED

FOLDS = 5
TOLD = 50  # items that an interval needs: of 20, which keeps the fits, 95 % covers 79 %
PENALTIES = 10.0 ** np.arange(-6, 5)  # times the mean squared singular value

ADEQUATE = (
    "Adequate where it matters what can be read out linearly; not symmetric: it says how well the "
    "first side predicts the second. Blind to rotation, shift and scale of either side, and to "
    "directions of the first side that nothing needs. With few items it is low however alike the "
    "sides are, and below 0 where the prediction is worse than the mean."
)


@dataclass(frozen=True)
class _Fold:
    """A ridge regression ready for any targets.

    Args:
        train: (m,) items learned from.
        test: (t,) items held out.
        basis: (m, R) left singular vectors of the centred inputs.
        values: (R,) squared singular values.
        onward: (t, R) held-out inputs in the same coordinates.
    """

    train: NDArray[np.int64]
    test: NDArray[np.int64]
    basis: Floats
    values: Floats
    onward: Floats

    @classmethod
    def of(cls, x: Floats, test: NDArray[np.int64]) -> "_Fold":
        train = np.setdiff1d(np.arange(len(x)), test)
        mean = x[train].mean(axis=0)
        u, s, v = np.linalg.svd(x[train] - mean, full_matrices=False)
        # of the whole: what varies among the held-out items alone is rounding here
        kept = s > 1e-10 * max(float(s.max(initial=0.0)), float(np.linalg.norm(x)))
        u, s, v = u[:, kept], s[kept], v[kept]
        return cls(train, test, u, s**2, (x[test] - mean) @ v.T / s)

    def errors(self, y: Floats) -> tuple[Floats, Floats]:
        """(t,) squared errors of the predictions, and (t,) of the mean, at the best penalty."""
        mean = y[self.train].mean(axis=0)
        away = y[self.train] - mean
        onto = self.basis.T @ away  # (R, K)
        shrink = self._shrink(onto, float((away**2).sum()))
        wanted = y[self.test] - mean
        missed = wanted - (self.onward * shrink) @ onto
        return (missed**2).sum(axis=1), (wanted**2).sum(axis=1)

    def _shrink(self, onto: Floats, total: float) -> Floats:
        """(R,) of the penalty whose generalised cross-validation on the learned items is least."""
        penalty = PENALTIES[:, None] * self.values.mean() if len(self.values) else np.ones((1, 1))
        shrink = self.values / (self.values + penalty)  # (penalties, R)
        squares = (onto**2).sum(axis=1)
        left = total - (2 * shrink - shrink**2) @ squares
        freedom = np.maximum(len(self.train) - 1 - shrink.sum(axis=1), 1e-9)
        best: Floats = shrink[np.argmin(left / freedom**2)]
        return best


class _Prediction:
    """Shares of variance explained on held-out items."""

    def __init__(self, a: Items, b: Items) -> None:
        x, self.y = (s.centred(name) for s, name in zip((a, b), SIDES, strict=True))
        self.size = 1.0
        still = [w for w, rows in zip(SIDES, (x, self.y), strict=True) if not rows.any()]
        self.undefined = f"{still[0]} is the same for all, up to rounding" if still else ""
        count = a.count
        folds = min(FOLDS, count)
        mixed = np.random.default_rng(0).permutation(count)
        # neighbouring images are often alike, and must not be learned from: folds are runs of them
        place = np.arange(count) if a.kind == "images" else mixed
        self.folds = [_Fold.of(x, np.sort(part)) for part in np.array_split(place, folds)]
        self.missed, self.total = self._errors(self.y)

    def _errors(self, y: Floats) -> tuple[Floats, Floats]:
        missed, total = np.empty(len(y)), np.empty(len(y))
        for fold in self.folds:
            missed[fold.test], total[fold.test] = fold.errors(y)
        return missed, total

    def value(self) -> float:
        """Of the items as they are."""
        return _explained(self.missed, self.total)

    def permuted(self, order: NDArray[np.int64]) -> float:
        """With the second side's items in another order, learned anew."""
        return _explained(*self._errors(self.y[order]))

    def without(self, group: NDArray[np.int64]) -> float:
        """Without some of the held-out items, the fits as they are."""
        return _explained(np.delete(self.missed, group), np.delete(self.total, group))


def _explained(missed: Floats, total: Floats) -> float:
    whole = float(total.sum())
    return 1.0 - float(missed.sum()) / whole if whole > 0 else float("nan")


MEASURE = AgreementMeasure(
    name="predictivity",
    adequate=ADEQUATE,
    make=_Prediction,
    whole=lambda a, b: _Prediction(a, b).value(),
    scale=MISSED,
    least=4,
    told=TOLD,
)


@checked
def predictivity(
    x: Any, y: Any, *, draws: int = 1000, seed: int = 0, concepts: Which = "same"
) -> Agreement:
    """The share of y's variance, all units together, that ridge regression on x explains.

    Five folds (runs of neighbouring images, or concepts at random); the penalty is chosen by
    generalised cross-validation within the four that are learned from. When it is adequate stands
    in the result. The interval is over held-out items, with the fits as they are; of fewer than 50
    items it is NaN, with a note.

    Args:
        x: `ConceptVectors`, `Activations` (their pooled form, an item is an image) or (n, K).
        y: the same items; the number of units may differ.
        draws: permutations of the items; 0 leaves out the test, and the interval.
        seed: of these.
        concepts: 'same' or 'shared', see `conceptlab.analysis.comparison.items.matched`.

    Raises:
        InputError: sides that do not match, or a side without coordinates.
    """
    return MEASURE(x, y, draws, seed, concepts)
