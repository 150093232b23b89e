"""Linear classifiers of two classes, many at once.

All minimise  sum_i l(y_i f(x_i)) + penalty / 2 ||w||^2  with  f(x) = w.x + b,  b unpenalised:
'ridge' l(m) = (1 - m)^2 / 2, 'logistic' l(m) = log(1 + e^-m), 'svm' l(m) = max(0, 1 - m)^2 / 2
(the squared hinge). 'difference' is the difference of the two means. With n samples of D features,
w lies in the span of the samples, w = sum_i a_i x_i; so where n is below D, everything is solved
for the n numbers a_i, and all problems over the same samples share one Gram matrix. Newton's
method, which for these losses is a short sequence of weighted ridge problems.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from conceptlab.errors import InputError
from conceptlab.numerics.parallel import ordered_map

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
CLASSIFIERS = ("ridge", "logistic", "svm", "difference")
RIDGE, LOGISTIC, SVM = range(3)  # the same, for compiled code
TOGETHER = 32  # problems that a thread solves at a time
STEPS = 60
TOLERANCE = 1e-9  # relative change of the loss
NEAR = 1e-4  # of decisions: Newton's next step would be of the order of its square
SMALLEST = 1e-12  # of curvature


def require_classifier(name: str) -> None:
    """Raise unless a classifier of that name exists.

    Raises:
        InputError: with the names that there are.
    """
    if name not in CLASSIFIERS:
        raise InputError(f"classifier is one of {', '.join(CLASSIFIERS)}; got {name!r}")


def fit_in_samples(
    gram: NDArray[Any], index: Ints, labels: Floats, classifier: str, penalty: float | Floats
) -> tuple[Floats, Floats, Floats]:
    """Solve P problems, each over n of S samples, for the coefficients of the samples.

    Args:
        gram: (S, S) inner products of the samples.
        index: (P, n) the samples of each problem; a sample may stand there twice.
        labels: (n,) 1 or -1, the same for all.
        classifier: see the module.
        penalty: see the module; one for all, or (P,) one for each.

    Returns:
        (P, n) coefficients a, (P,) biases b: f(x) = sum_i a_i x_i.x + b; and (P,) lengths ||w||.
    """
    require_classifier(classifier)
    if classifier == "difference":
        return _difference(gram, index, labels)
    found, bias, squares = np.zeros(index.shape), np.zeros(len(index)), np.zeros(len(index))
    kind = CLASSIFIERS.index(classifier)
    penalties = np.broadcast_to(np.asarray(penalty, dtype=np.float64), len(index))

    def part(start: int) -> None:
        own = slice(start, start + TOGETHER)
        _solve(gram, index[own], labels, kind, penalties[own], found[own], bias[own], squares[own])

    for _ in ordered_map(part, range(0, len(index), TOGETHER)):
        pass
    return found, bias, np.sqrt(squares)


@njit(nogil=True, cache=True)
def spreads(gram, index):
    """(P,) mean squared distance of each problem's samples (P, n) from their mean."""
    problems, n = index.shape
    found = np.empty(problems)
    for p in range(problems):
        own, every = 0.0, 0.0
        for i in range(n):
            own += gram[index[p, i], index[p, i]]
            for j in range(n):
                every += gram[index[p, i], index[p, j]]
        found[p] = own / n - every / n**2
    return found


def fit_in_features(
    x: NDArray[Any], labels: Floats, classifier: str, penalty: float
) -> tuple[Floats, float]:
    """Solve one problem of many samples and few features for the weights themselves.

    Args:
        x: (n, D).
        labels: (n,) 1 or -1.
        classifier: see the module.
        penalty: see the module.

    Returns:
        (D,) weights w and the bias b.
    """
    require_classifier(classifier)
    if classifier == "difference":
        yes, no = (x[labels == sign].mean(axis=0, dtype=np.float64) for sign in (1.0, -1.0))
        weights: Floats = yes - no
        return weights, float(-(weights @ (yes + no)) / 2)
    kind = CLASSIFIERS.index(classifier)
    wide = np.hstack([x, np.ones((len(x), 1), dtype=x.dtype)])
    ridge = np.append(np.full(x.shape[1], penalty), SMALLEST)  # a bias that no sample pulls at
    point, value = np.zeros(wide.shape[1]), np.inf
    decide = np.zeros(len(x))
    for _ in range(1 if classifier == "ridge" else STEPS):
        curvature, pull = _newton(decide, labels, kind)
        matrix = (wide.T @ (wide * curvature[:, None].astype(x.dtype))).astype(np.float64)
        target = (wide.T @ (curvature * decide + pull).astype(x.dtype)).astype(np.float64)
        new = np.linalg.solve(matrix + np.diag(ridge), target)
        while True:
            decide = (wide @ new.astype(x.dtype)).astype(np.float64)
            now = _total(decide, labels, kind) + penalty / 2 * float(new[:-1] @ new[:-1])
            if now <= value * (1 + 1e-6) or np.abs(new - point).max() < SMALLEST:
                break
            new = (new + point) / 2
        point, gain, value = new, value - now, now
        if gain <= TOLERANCE * abs(now):
            break
    return point[:-1], float(point[-1])


def fit_by_moments(square: Floats, pull: Floats, penalty: float) -> tuple[Floats, float]:
    """Solve 'ridge' for samples of which only sums are known.

    Args:
        square: (D + 1, D + 1) sum over the samples of z z^T, z being x with a 1 at its end.
        pull: (D + 1,) sum of y z.
        penalty: see the module.

    Returns:
        (D,) weights w and the bias b.
    """
    ridge = np.append(np.full(len(pull) - 1, penalty), SMALLEST)
    point: Floats = np.asarray(np.linalg.solve(square + np.diag(ridge), pull), dtype=np.float64)
    return point[:-1], float(point[-1])


@njit(nogil=True, cache=True)
def _newton(decide, labels, kind):
    """Curvature of the losses in the decisions, and minus their slopes, both (n,)."""
    curvature, pull = np.empty(len(decide)), np.empty(len(decide))
    for i in range(len(decide)):
        curvature[i], pull[i] = _bend(labels[i] * decide[i], labels[i], kind)
    return curvature, pull


@njit(nogil=True, cache=True)
def _total(decide, labels, kind):
    """Sum of the losses."""
    total = 0.0
    for i in range(len(decide)):
        total += _loss(labels[i] * decide[i], kind)
    return total


@njit(nogil=True, cache=True)
def _solve(gram, index, labels, kind, penalty, coefficients, bias, squares):
    """Newton's method for each problem; fills (p, n) coefficients, (p,) biases and ||w||^2.

    Each step is a weighted ridge: minimise  sum_i h_i / 2 (f_i - z_i)^2 + penalty / 2 a'Ka.  Its
    symmetric form  a = s B^-1 (s z - b s),  B = penalty + s K s,  s = sqrt(h),  stands also where
    some h vanish; the bias is the one at which the coefficients sum to zero.
    """
    problems, n = index.shape
    kernel, matrix = np.empty((n, n)), np.empty((n, n))
    decide, new = np.empty(n), np.empty(n)
    root, scaled, a = np.empty(n), np.empty(n), np.empty(n)
    for p in range(problems):
        decay = penalty[p]
        for i in range(n):
            for j in range(n):
                kernel[i, j] = gram[index[p, i], index[p, j]]
        decide[:] = 0.0
        value = np.inf
        old, old_bias = np.zeros(n), 0.0
        for _ in range(1 if kind == RIDGE else STEPS):
            for i in range(n):
                h, pull = _bend(labels[i] * decide[i], labels[i], kind)
                root[i] = np.sqrt(h)
                scaled[i] = root[i] * decide[i] + (pull / root[i] if h > 0 else 0.0)
            for i in range(n):
                for j in range(n):
                    matrix[i, j] = root[i] * kernel[i, j] * root[j]
                matrix[i, i] += decay
            lower = np.linalg.cholesky(matrix)
            _substitute(lower, scaled)
            weight = root.copy()
            _substitute(lower, weight)
            bottom = np.dot(root, weight)
            b = np.dot(root, scaled) / bottom if bottom > 0 else 0.0
            a[:] = root * (scaled - b * weight)
            share = 1.0
            while True:  # rarely more than once: Newton from afar may overshoot
                inner = np.dot(kernel, a)
                now = decay / 2 * np.dot(a, inner)
                moved = 0.0
                for i in range(n):
                    new[i] = inner[i] + b
                    now += _loss(labels[i] * new[i], kind)
                    moved = max(moved, abs(new[i] - decide[i]))
                if now <= value or share < 1e-4:
                    break
                share /= 2
                a[:] = (a + old) / 2
                b = (b + old_bias) / 2
            small = value - now <= TOLERANCE * abs(now) or moved < NEAR
            old[:] = a
            old_bias, value = b, now
            decide[:] = new
            if small:
                break
        coefficients[p] = old
        bias[p] = old_bias
        squares[p] = max(np.dot(old, np.dot(kernel, old)), 0.0)


@njit(nogil=True, cache=True)
def _substitute(lower, vector):
    """Solve L L' x = v in place."""
    n = len(vector)
    for i in range(n):
        vector[i] = (vector[i] - np.dot(lower[i, :i], vector[:i])) / lower[i, i]
    for i in range(n - 1, -1, -1):
        vector[i] /= lower[i, i]
        for j in range(i):
            vector[j] -= lower[i, j] * vector[i]


@njit(nogil=True, cache=True)
def _bend(margin, label, kind):
    """Curvature of the loss in the decision, and minus its slope."""
    if kind == RIDGE:
        return 1.0, label * (1.0 - margin)
    if kind == SVM:
        return (1.0, label * (1.0 - margin)) if margin < 1.0 else (0.0, 0.0)
    missing = 1.0 / (1.0 + np.exp(min(margin, 500.0)))  # 1 - p of the right class
    return max(missing * (1.0 - missing), SMALLEST), label * missing


@njit(nogil=True, cache=True)
def _loss(margin, kind):
    if kind == LOGISTIC:
        return max(-margin, 0.0) + np.log1p(np.exp(-abs(margin)))
    gap = 1.0 - margin
    return gap * gap / 2 if kind == RIDGE or gap > 0 else 0.0


def _difference(gram: NDArray[Any], index: Ints, labels: Floats) -> tuple[Floats, Floats, Floats]:
    signs = np.where(labels > 0, 1.0 / (labels > 0).sum(), -1.0 / (labels < 0).sum())
    middle = np.abs(signs) / 2  # halfway between the two means
    bias, squares = np.zeros(len(index)), np.zeros(len(index))
    for p, own in enumerate(index):
        towards = signs @ gram[np.ix_(own, own)].astype(np.float64)
        bias[p], squares[p] = -(towards @ middle), max(float(towards @ signs), 0.0)
    return np.tile(signs, (len(index), 1)), bias, np.sqrt(squares)
