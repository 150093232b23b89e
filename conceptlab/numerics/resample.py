"""The only upsampling: separable bilinear interpolation, as small matrices or as taps."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from conceptlab.errors import InputError


@dataclass(frozen=True)
class Taps:
    """One axis of bilinear interpolation: output i is (1 - t[i]) in[low[i]] + t[i] in[high[i]].

    Args:
        low: (n_out,) index of the left neighbour, never decreasing.
        high: (n_out,) index of the right neighbour, low + 1 or, at the border, low.
        t: (n_out,) weight of the right neighbour, in 0..1.
        start: (n_in + 1,) outputs start[j]..start[j + 1] have low == j.
    """

    low: NDArray[np.int64]
    high: NDArray[np.int64]
    t: NDArray[np.float64]
    start: NDArray[np.int64]


def taps(n_in: int, n_out: int, align_corners: bool = False) -> Taps:
    """The neighbours and weights of one axis.

    Args:
        n_in: values along the axis.
        n_out: values wanted.
        align_corners: False puts the outer edges on one another (today's convention); True puts
            the centres of the outer values on one another (what torch 0.2-0.3, and so the code of
            Net2Vec, did).

    Raises:
        InputError: an empty axis.
    """
    if n_in < 1 or n_out < 1:
        raise InputError(f"cannot interpolate {n_in} values to {n_out}")
    out = np.arange(n_out, dtype=np.float64)
    if align_corners:
        source = out * ((n_in - 1) / (n_out - 1)) if n_out > 1 else np.zeros(1)
    else:
        source = np.maximum((out + 0.5) * (n_in / n_out) - 0.5, 0.0)
    low = np.minimum(source.astype(np.int64), n_in - 1)
    high = np.minimum(low + 1, n_in - 1)
    t = np.where(high > low, source - low, 0.0)
    return Taps(low, high, t, np.searchsorted(low, np.arange(n_in + 1)))


def interpolation_matrix(n_in: int, n_out: int, align_corners: bool = False) -> NDArray[np.float64]:
    """(n_out, n_in) matrix of one axis; its rows sum to 1.

    >>> interpolation_matrix(2, 4)
    array([[1.  , 0.  ],
           [0.75, 0.25],
           [0.25, 0.75],
           [0.  , 1.  ]])
    """
    axis = taps(n_in, n_out, align_corners)
    matrix = np.zeros((n_out, n_in))
    rows = np.arange(n_out)
    np.add.at(matrix, (rows, axis.low), 1.0 - axis.t)
    np.add.at(matrix, (rows, axis.high), axis.t)
    return matrix


def upsample(
    maps: NDArray[np.floating], size: tuple[int, int], align_corners: bool = False
) -> NDArray[np.float64]:
    """Maps brought to another size by bilinear interpolation.

    Args:
        maps: (..., H, W).
        size: (h, w).
        align_corners: see `taps`.

    Returns:
        (..., h, w).
    """
    rows = interpolation_matrix(maps.shape[-2], size[0], align_corners)
    columns = interpolation_matrix(maps.shape[-1], size[1], align_corners)
    result: NDArray[np.float64] = rows @ np.asarray(maps, dtype=np.float64) @ columns.T
    return result
