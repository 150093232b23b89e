"""Combinations of units that tell whether an image shows a concept: the classification probe.

Fong & Vedaldi 2018, section 3.2, eq. 5: sigma(b + sum_k w_k mean_ij A_ijk), images with and without
the concept weighing equally in training, accuracy measured on as many of one as of the other.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conceptlab.activations.labels import LabelStore, label_store
from conceptlab.numerics.metrics import mean_interval
from conceptlab.numerics.solvers import minimise
from conceptlab.probes.base import PROBES, TOO_FEW, described, held_out, require_fitted
from conceptlab.probes.pixels import split_rows
from conceptlab.vectors import ConceptVectors

if TYPE_CHECKING:
    from conceptlab.activations.store import Activations
    from conceptlab.data.base import ProbeDataset

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
PENALTIES = (1.0, 1e-1, 1e-2, 1e-3, 1e-4)
ROWS = 4096


@dataclass(frozen=True)
class Whitening:
    """Coordinates in which the units of the training images are standardised and uncorrelated.

    The penalised log-loss of every concept is far better conditioned in them, and one
    eigendecomposition serves all concepts and penalties.

    Args:
        mean: (K,).
        spread: (K,) standard deviations; 1 for a unit that never varies.
        axes: (K, R) eigenvectors of the correlation matrix.
        values: (R,) its eigenvalues.
    """

    mean: Floats
    spread: Floats
    axes: Floats
    values: Floats

    @classmethod
    def of(cls, x: NDArray[np.floating[Any]]) -> "Whitening":
        """From inputs (n, K), read in pieces."""
        units = x.shape[1]
        total, square = np.zeros(units), np.zeros((units, units))
        for start in range(0, len(x), ROWS):
            part = x[start : start + ROWS].astype(np.float64)
            total += part.sum(axis=0)
        mean = total / len(x)
        for start in range(0, len(x), ROWS):
            part = x[start : start + ROWS] - mean
            square += part.T @ part
        variance = np.diagonal(square) / len(x)
        spread = np.sqrt(np.where(variance > 1e-12, variance, 1.0))
        values, axes = np.linalg.eigh(square / len(x) / np.outer(spread, spread))
        kept = values > 1e-10 * max(values.max(initial=0.0), 1e-30)
        return cls(mean, spread, axes[:, kept], values[kept])

    def rotate(self, x: NDArray[np.floating[Any]]) -> Floats:
        """(n, K) inputs to (n, R) coordinates."""
        rotated: Floats = ((x - self.mean) / self.spread) @ self.axes
        return rotated

    def back(self, weights: Floats, bias: Floats) -> tuple[Floats, Floats]:
        """Weights (C, R) and bias (C,) over coordinates to those over the units."""
        plain = (weights @ self.axes.T) / self.spread
        return plain, bias - plain @ self.mean


def balanced_weights(labels: Flags, counts: Flags) -> Floats:
    """(C, n) weights that give either side of each concept half of the total, 1.

    Args:
        labels: (C, n) whether the image shows the concept.
        counts: (C, n) whether the image counts for it at all.
    """
    yes, no = labels & counts, ~labels & counts
    weights = np.where(yes, 0.5 / np.maximum(yes.sum(axis=1, keepdims=True), 1), 0.0)
    return weights + np.where(no, 0.5 / np.maximum(no.sum(axis=1, keepdims=True), 1), 0.0)


def fit_logistic(
    x: Floats, labels: Flags, weights: Floats, penalty: Floats, scale: Floats, start: Floats
) -> Floats:
    """Solve C weighted logistic regressions over the same inputs.

    Args:
        x: (n, R).
        labels: (C, n).
        weights: (C, n) of the images.
        penalty: (C,) on squared weights, not on the bias.
        scale: (R,) curvature of the loss along each coordinate, for conditioning.
        start: (C, R + 1) weights and bias.

    Returns:
        (C, R + 1).
    """
    stretch = 1.0 / np.sqrt(0.25 * scale[None, :] + penalty[:, None])
    target = weights * labels

    def objective(u: Floats, rows: NDArray[np.int64]) -> tuple[Floats, Floats]:
        w = u[:, :-1] * stretch[rows]
        z = w @ x.T + u[:, -1:]
        e = np.exp(-np.abs(z))
        share = np.where(z >= 0, 1.0, e) / (1.0 + e)
        loss = weights[rows] * (np.maximum(z, 0.0) + np.log1p(e)) - target[rows] * z
        g = weights[rows] * share - target[rows]
        d_w = g @ x + penalty[rows, None] * w
        squares = np.einsum("br,br->b", w, w)
        total = loss.sum(axis=1) + penalty[rows] / 2 * squares
        return total, np.column_stack([d_w * stretch[rows], g.sum(axis=1)])

    begin = start.copy()
    begin[:, :-1] /= stretch
    found = minimise(objective, begin, tolerance=1e-7, max_evaluations=300).x
    found[:, :-1] *= stretch
    return found


@PROBES.register("classify")
class ClassificationProbe:
    """Tell images that show a concept from those that do not, by their pooled units (eq. 5).

    The balanced log-loss is solved to its optimum on standardised inputs; the L2 penalty is chosen
    for each concept on a held-out fifth of the training images. Weights are given over the raw
    activations, as in eq. 5.

    Args:
        min_examples: concepts that fewer training images show, or fewer do not show, are not
            fitted, and say so.
        label_size: side of the label maps, which decides no score here but which store is read.
        shuffle: control: the labels of the training images are permuted among them.
        seed: of the held-out part, the balanced evaluation set and the permutation.

    Attributes:
        vectors: the fitted `ConceptVectors`, kind 'classification'; `concepts` has columns name,
            category, n_train, train_score (balanced accuracy on train), penalty, note.
    """

    def __init__(
        self,
        *,
        min_examples: int = 10,
        label_size: int | None = None,
        shuffle: bool = False,
        seed: int = 0,
    ) -> None:
        self.min_examples = min_examples
        self.label_size = label_size
        self.shuffle = shuffle
        self.seed = seed

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The settings, as scikit-learn wants them."""
        del deep
        return {k: v for k, v in vars(self).items() if not k.endswith("_")}

    @property
    def vectors(self) -> ConceptVectors:
        """The fitted vectors."""
        return require_fitted(self, "vectors_")

    def fit(
        self,
        activations: "Activations",
        data: "ProbeDataset",
        units: NDArray[np.bool_] | None = None,
    ) -> Self:
        """Learn all concepts from the training images.

        Args:
            activations: a layer's cached outputs.
            data: the probe data set that they were made from.
            units: (C, K) which units each concept may use; all if not given (section 3.2.2).
        """
        store = label_store(activations, data, self.label_size)
        rows = split_rows(activations, "train")
        x = activations.pooled[rows]
        shown, known = store.present[rows].T, store.judged()[rows].T
        if self.shuffle:
            mixed = np.random.default_rng(self.seed).permutation(len(rows))
            shown, known = shown[:, mixed], known[:, mixed]
        yes, no = (shown & known).sum(axis=1), (~shown & known).sum(axis=1)
        enough = np.minimum(yes, no) >= self.min_examples
        weights, bias, penalty = _fit(x, shown, known, enough, units, self.seed)
        correct = ((x @ weights.T + bias).T > 0) == shown
        score = (balanced_weights(shown, known) * correct).sum(axis=1)
        self.vectors_ = ConceptVectors(
            weights=weights,
            bias=bias,
            concepts=store.concepts[["name", "category"]].assign(
                n_train=yes,
                train_score=np.where(enough, score, np.nan),
                penalty=penalty,
                note=np.where(enough, "", TOO_FEW),
            ),
            kind="classification",
            space=activations.space("raw"),
            provenance=described(self),
        )
        return self

    def score(
        self, activations: "Activations", data: "ProbeDataset", split: str = "val"
    ) -> pd.DataFrame:
        """Accuracy per concept on balanced images of a split.

        Returns:
            Columns concept, category, n (images that show it), accuracy.
        """
        return accuracies(self.vectors, activations, data, split, self.seed, self.label_size)


def accuracies(
    vectors: ConceptVectors,
    activations: "Activations",
    data: "ProbeDataset",
    split: str = "val",
    seed: int = 0,
    label_size: int | None = None,
    draws: int = 0,
) -> pd.DataFrame:
    """Accuracy of vectors over pooled activations on a balanced set (section 3.2.1).

    Of the images that show a concept and those that do not, the larger group is thinned to the size
    of the smaller with a fixed seed.

    Args:
        vectors: one per concept of the data set.
        activations: of the layer that they belong to.
        data: the probe data set.
        split: 'train', 'val' or 'test'.
        seed: of the choice of images, and of the bootstrap.
        label_size: which label store to read.
        draws: bootstrap samples over images for 95 % intervals, columns low and high; 0 leaves them
            out.

    Returns:
        Columns concept, category, n (images of the split that show it), accuracy (NaN for a concept
        without a vector, or without images of either kind).
    """
    vectors.space.require_equal(activations.space("raw"))
    store = label_store(activations, data, label_size)
    rows = split_rows(activations, split)
    logits = activations.pooled[rows] @ vectors.weights.T + vectors.bias
    table = vectors.concepts.assign(concept=vectors.names)[["concept", "category"]].copy()
    found = []
    for c in range(len(vectors)):
        generator = np.random.default_rng([seed, c])
        chosen = balanced_rows(store, rows, c, generator)
        right = (logits[chosen, c] > 0) == store.present[rows[chosen], c]
        usable = len(chosen) > 0 and vectors.weights[c].any()
        row = {
            "n": int((store.present & store.judged())[rows, c].sum()),
            "accuracy": float(right.mean()) if usable else float("nan"),
        }
        if draws:
            interval = mean_interval(right, draws, generator) if usable else (np.nan, np.nan)
            row["low"], row["high"] = interval
        found.append(row)
    return pd.concat([table.reset_index(drop=True), pd.DataFrame(found)], axis=1)


def balanced_rows(
    store: LabelStore,
    rows: NDArray[np.int64],
    concept: int,
    generator: np.random.Generator,
) -> NDArray[np.int64]:
    """Places in `rows` of as many images with a concept as without, chosen by chance."""
    known = store.judged()[rows, concept]
    yes = np.flatnonzero(known & store.present[rows, concept])
    no = np.flatnonzero(known & ~store.present[rows, concept])
    size = min(len(yes), len(no))
    pick = [generator.permutation(side)[:size] for side in (yes, no)]
    return np.sort(np.concatenate(pick))


def _fit(
    x: NDArray[np.float32],
    shown: Flags,
    known: Flags,
    enough: Flags,
    units: Flags | None,
    seed: int,
) -> tuple[Floats, Floats, Floats]:
    """Weights (C, K), bias (C,) and penalty (C,), zero for concepts that are not fitted."""
    weights, bias = np.zeros((len(shown), x.shape[1])), np.zeros(len(shown))
    penalty = np.full(len(shown), np.nan)
    fitted = np.flatnonzero(enough)
    if units is None:
        if len(fitted):
            weights[fitted], bias[fitted], penalty[fitted] = _chosen(
                x, shown[fitted], known[fitted], seed
            )
        return weights, bias, penalty
    for c in fitted:
        own = np.flatnonzero(units[c])
        one = slice(c, c + 1)
        w, b, p = _chosen(x[:, own], shown[one], known[one], seed)
        weights[c, own], bias[c], penalty[c] = w[0], b[0], p[0]
    return weights, bias, penalty


def _chosen(
    x: NDArray[np.float32], shown: Flags, known: Flags, seed: int
) -> tuple[Floats, Floats, Floats]:
    """The solution with the penalty that does best on held-out images, refitted on all."""
    judge = held_out(np.arange(len(x)), seed)
    learn = np.setdiff1d(np.arange(len(x)), judge)
    white = Whitening.of(x)
    z = white.rotate(x)
    train = balanced_weights(shown[:, learn], known[:, learn])
    test = balanced_weights(shown[:, judge], known[:, judge])
    start = np.zeros((len(shown), z.shape[1] + 1))
    best = np.full(len(shown), np.inf)
    chosen = np.full(len(shown), PENALTIES[0])
    keep = start.copy()
    for value in PENALTIES:
        penalty = np.full(len(shown), value)
        start = fit_logistic(z[learn], shown[:, learn], train, penalty, white.values, start)
        logits = start[:, :-1] @ z[judge].T + start[:, -1:]
        signed = np.where(shown[:, judge], -logits, logits)
        loss = (test * np.logaddexp(0.0, signed)).sum(axis=1)
        better = loss < best
        best, chosen = np.where(better, loss, best), np.where(better, value, chosen)
        keep = np.where(better[:, None], start, keep)
    every = balanced_weights(shown, known)
    found = fit_logistic(z, shown, every, chosen, white.values, keep)
    return *white.back(found[:, :-1], found[:, -1]), chosen
