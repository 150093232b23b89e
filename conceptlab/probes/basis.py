"""Coordinates in which weights over units are learned: the units as they are, or standardised."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from conceptlab.activations.inputs import MapSource
from conceptlab.numerics.logistic import spread_of
from conceptlab.numerics.parallel import ordered_map

if TYPE_CHECKING:
    from conceptlab.activations.active import ActiveSet

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
BLOCK = 16  # images read at once
SMALLEST = 1e-8  # of the eigenvalues' largest: directions below it do not vary


@dataclass(frozen=True)
class Basis:
    """Coordinates u of a unit's value a: u = axes^T (a - mean) / spread.

    Weights over u have the length that they have over standardised units, whatever the axes are.

    Args:
        mean: (K,).
        spread: (K,) standard deviations; infinite for a unit that does not vary.
        values: (R,) variance of each coordinate.
        axes: (K, R) orthonormal, or None for the units' own, which weights over some of the units
            only need.
    """

    mean: Floats
    spread: Floats
    values: Floats
    axes: Floats | None = None

    @classmethod
    def of_active(cls, active: "ActiveSet", images: NDArray[np.int64]) -> "Basis":
        """Thresholded units as they are; those that are never on in some images do not vary."""
        _, units, height, width = active.shape
        varying = np.zeros(units, dtype=bool)
        for image in images:
            own = active.index[active.offsets[image] : active.offsets[image + 1]]
            varying[own // (height * width)] = True
        spread = np.where(varying, 1.0, np.inf)
        return cls(np.zeros(units), spread, np.full(units, active.tau))

    @classmethod
    def of_raw(cls, source: MapSource, images: NDArray[np.int64], rotate: bool) -> "Basis":
        """Of a layer's values at every position of some images, streamed.

        Args:
            source: the layer's.
            images: (n,) which, ascending.
            rotate: to the principal axes, in which the loss is far better conditioned.
        """
        mean, square = _moments(source, images)
        spread = spread_of(mean, np.diagonal(square))
        inverse = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0)
        spread = np.where(spread > 0, spread, np.inf)
        if not rotate:
            return cls(mean, spread, (inverse > 0).astype(float))
        values, axes = np.linalg.eigh(square * np.outer(inverse, inverse))
        kept = values > SMALLEST * max(values.max(initial=0.0), SMALLEST)
        return cls(mean, spread, values[kept], axes[:, kept])

    @property
    def varying(self) -> Flags:
        """(K,) units that vary at all: no other gets a weight."""
        varying: Flags = np.isfinite(self.spread)
        return varying

    def stretch(self, penalty: Floats, curvature: Floats) -> Floats:
        """(C, R + 1) steps along each coordinate and the bias that change the loss equally much.

        Args:
            penalty: (C,).
            curvature: (C,) of the mean loss in a logit.
        """
        bend = curvature[:, None] * np.append(self.values, 1.0)
        bend[:, :-1] += penalty[:, None]
        found: Floats = 1.0 / np.sqrt(bend)
        return found

    def to_units(self, own: Floats, bias: Floats, allowed: Flags) -> tuple[Floats, Floats]:
        """Weights (C, K) and biases over units from those over coordinates (C, R)."""
        weights = own if self.axes is None else own @ self.axes.T
        weights = np.where(allowed, weights, 0.0) / self.spread
        return weights, bias - weights @ self.mean

    def from_units(self, weights: Floats, bias: Floats) -> tuple[Floats, Floats]:
        """The inverse of `to_units`."""
        own = np.where(self.varying, weights * np.where(self.varying, self.spread, 0.0), 0.0)
        turned = own if self.axes is None else own @ self.axes
        return turned, bias + weights @ self.mean

    def gradient(self, d_weights: Floats, d_bias: Floats, allowed: Flags) -> Floats:
        """(C, R) from the gradient over units (C, K) and biases (C,)."""
        own = np.where(allowed, d_weights - d_bias[:, None] * self.mean, 0.0) / self.spread
        return own if self.axes is None else own @ self.axes


def _moments(source: MapSource, images: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Mean (K,) and covariance (K, K) over the positions of some images."""
    units, cells = source.shape[1], source.shape[2] * source.shape[3]

    def read(start: int) -> NDArray[Any]:
        some = images[start : start + BLOCK]
        values = source.read(int(some[0]), int(some[-1]) + 1)[some - some[0]]
        maps: NDArray[Any] = values.astype(np.float32).transpose(1, 0, 2, 3).reshape(units, -1)
        return maps

    starts = range(0, len(images), BLOCK)
    number = len(images) * cells
    mean = np.zeros(units)
    for part in ordered_map(lambda s: read(s).sum(axis=1, dtype=np.float64), starts):
        mean += part
    mean /= number
    middle = mean.astype(np.float32)[:, None]

    def products(start: int) -> NDArray[Any]:
        away = read(start) - middle
        found: NDArray[Any] = away @ away.T
        return found

    square = np.zeros((units, units))
    for part in ordered_map(products, starts):
        square += part
    return mean, square / number
