"""Scores from counts."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def ratio(part: NDArray[Any], whole: NDArray[Any]) -> Floats:
    """Part / whole, NaN where whole is 0."""
    result = np.full(np.broadcast_shapes(np.shape(part), np.shape(whole)), np.nan)
    np.divide(part, whole, out=result, where=np.asarray(whole) > 0)
    return result


def iou(both: NDArray[Any], predicted: NDArray[Any], labelled: NDArray[Any]) -> Floats:
    """Intersection over union from pixel counts; NaN without a pixel on either side.

    Net2Vec eq. 1 for counts summed over images (IoU_set), eq. 3 for those of one (IoU_ind).

    >>> iou(np.array([2]), np.array([3]), np.array([4]))
    array([0.4])
    """
    return ratio(both, np.asarray(predicted) + labelled - both)


def bootstrap_sums(values: NDArray[Any], draws: int, generator: np.random.Generator) -> Floats:
    """Sums over images drawn with replacement.

    Args:
        values: (n, Q), a row of counts per image.
        draws: R.
        generator: the source of chance.

    Returns:
        (R, Q).
    """
    n = len(values)
    sums = np.empty((draws, values.shape[1]))
    for draw in range(draws):  # one at a time: memory does not grow with the number of draws
        times = np.bincount(generator.integers(0, n, n), minlength=n)
        sums[draw] = times @ values
    return sums


def balanced_accuracy(right: NDArray[np.bool_], shown: NDArray[np.bool_]) -> float:
    """The mean of the accuracies on either kind of images; NaN where a kind is missing.

    Args:
        right: (n,) whether each image is classified rightly.
        shown: (n,) its kind.
    """
    if shown.all() or not shown.any():
        return float("nan")
    return float((right[shown].mean() + right[~shown].mean()) / 2)
