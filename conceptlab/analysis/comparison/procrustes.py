"""Orthogonal Procrustes: the angle between two configurations after the best rotation.

Williams, Kunz, Kornblith & Linderman 2021, "Generalized shape metrics on neural representations",
section 3: a metric on configurations up to rotation, shift and scale.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from conceptlab.analysis.comparison.items import SIDES, Items, Which
from conceptlab.analysis.comparison.measure import AgreementMeasure
from conceptlab.analysis.comparison.result import Agreement, Floats
from conceptlab.given import checked
from conceptlab.numerics.intervals import PLAIN

NEAR = 1 - 1e-6  # of a cosine, beyond which an arccosine loses more than ten digits
ROUNDED = 1e-13  # of a distance between configurations of length 1

ADEQUATE = (
    "Adequate where there are many more items than units; a metric, so distances of several spaces "
    "can be clustered or projected. Blind to rotation, reflection, shift and scale of either side. "
    "With fewer items than units a rotation fits nearly anything: judge by the permutation test. "
    "The angle grows with the number of items: compare values, and read intervals, at one number."
)


class _Rotation:
    """The angle between two configurations, in coordinates of at most n dimensions."""

    def __init__(self, a: Items, b: Items) -> None:
        first, second = (_reduced(s, name) for s, name in zip((a, b), SIDES, strict=True))
        self.rows, self.size = (first, second), 1.0
        still = [w for w, rows in zip(SIDES, self.rows, strict=True) if np.isnan(rows).any()]
        self.undefined = f"{still[0]} is the same for all, up to rounding" if still else ""

    def value(self) -> float:
        """Of the items as they are."""
        return _angle(*self.rows)

    def permuted(self, order: NDArray[np.int64]) -> float:
        """With the second side's items in another order."""
        return _angle(self.rows[0], self.rows[1][order])

    def without(self, group: NDArray[np.int64]) -> float:
        """Without some of the items, centred anew."""
        kept = [np.delete(rows, group, axis=0) for rows in self.rows]
        first, second = (_unit(rows - rows.mean(axis=0)) for rows in kept)
        return _angle(first, second)


def _reduced(side: Items, name: str) -> Floats:
    """(n, R) centred rows of Frobenius norm 1, turned into as few dimensions as they span."""
    rows = side.centred(name)
    if rows.shape[1] > rows.shape[0]:
        u, s, _ = np.linalg.svd(rows, full_matrices=False)
        rows = u * s
    return _unit(rows)


def _unit(rows: Floats) -> Floats:
    length = np.linalg.norm(rows)
    found: Floats = rows / length if length > 0 else np.full_like(rows, np.nan)
    return found


def _angle(a: Floats, b: Floats) -> float:
    """The arccosine of the nuclear norm of a^T b, in radians.

    Of small angles it is taken from what the rotation leaves: an arccosine near 1 is half lost to
    rounding, and equal permutations would differ.
    """
    product = a.T @ b
    if not np.isfinite(product).all():
        return float("nan")
    nuclear = float(np.linalg.svd(product, compute_uv=False).sum())
    if nuclear < NEAR:
        return float(np.arccos(nuclear))
    u, _, v = np.linalg.svd(product, full_matrices=False)
    first, second = a @ u, b @ v.T
    apart = (first - second, a - first @ u.T, b - second @ v)
    miss = float(np.sqrt(sum(float((part**2).sum()) for part in apart)))
    return 2 * float(np.arcsin(min(miss / 2, 1.0))) if miss > ROUNDED else 0.0


MEASURE = AgreementMeasure(
    name="procrustes",
    adequate=ADEQUATE,
    make=_Rotation,
    whole=lambda a, b: _Rotation(a, b).value(),
    greater=False,
    scale=PLAIN,
)


@checked
def procrustes(
    x: Any, y: Any, *, draws: int = 1000, seed: int = 0, concepts: Which = "same"
) -> Agreement:
    """The Procrustes angle, in radians: 0 for the same configuration, up to pi / 2.

    arccos ||X^T Y||_* of centred X and Y of Frobenius norm 1; `scipy.spatial.procrustes` gives the
    square of its sine. Symmetric, and the triangle inequality holds. When it is adequate stands in
    the result.

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
