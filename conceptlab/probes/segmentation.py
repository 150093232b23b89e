"""Combinations of units that segment concepts: Net2Vec's segmentation probe.

Fong & Vedaldi 2018, section 3.1.2, eq. 2-4: sigma(sum_k w_k 1[A_k > T_k] + b), upsampled before the
sigmoid, trained on the images that show the concept, its pixels weighing alpha and all others
1 - alpha. All concepts are trained together.
"""

import logging
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conceptlab.activations.active import active_set
from conceptlab.activations.labels import LabelStore, label_store
from conceptlab.activations.stream import Stream
from conceptlab.errors import InputError
from conceptlab.numerics.metrics import iou
from conceptlab.numerics.pixelwise import BCE, NET2VEC
from conceptlab.numerics.solvers import minimise
from conceptlab.probes.base import PROBES, TOO_FEW, described, held_out, require_fitted
from conceptlab.probes.pixels import PairCounts, PixelProblem, best_offset, pair_counts, split_rows
from conceptlab.vectors import ConceptVectors

if TYPE_CHECKING:
    from conceptlab.activations.store import Activations
    from conceptlab.data.base import ProbeDataset

log = logging.getLogger(__name__)

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
LOSSES = {"bce": BCE, "net2vec": NET2VEC}
PENALTIES = (1e-2, 1e-3, 1e-4)
COARSE = 4


@PROBES.register("segment")
class SegmentationProbe:
    """Segment every concept by a weighted sum of thresholded units (eq. 2).

    By default the weighted log-loss, which is convex, is solved to its optimum. Its L2 penalty is
    chosen for each concept on a held-out fifth of the training images, and at the end the bias is
    moved to where IoU_set on the training images is largest: the weights alpha balance the two kinds
    of pixels, which places the mask's border where a balanced error is smallest, not where the
    overlap is largest. With `loss="net2vec"` everything is as in the paper: eq. 4 as printed, which
    has no logarithm, SGD, no bias, no penalty, no move.

    Args:
        loss: 'bce' or 'net2vec'.
        tau: share of activations above the threshold, see `conceptlab.probes.dissect.dissect`.
        bias: learn a bias b; by default for 'bce' and not for 'net2vec'.
        label_size: side of the label maps; half the input size if not given.
        align_corners: how maps are interpolated.
        min_examples: concepts that fewer training images show are not fitted, and say so.
        max_evaluations: passes over the training images, at most, for the final solution of 'bce'.
        shuffle: control: the label maps of the training images are permuted among them.
        seed: of the held-out part, the order of SGD's batches, and the permutation.

    Attributes:
        vectors: the fitted `ConceptVectors`, kind 'segmentation'; `concepts` has columns name,
            category, n_train, train_score (IoU_set on train), penalty, note.
    """

    #: Section 3.1.2: learning rate, momentum, batch size, epochs.
    SGD = (1e-4, 0.9, 64, 30)

    def __init__(
        self,
        loss: str = "bce",
        tau: float = 0.005,
        *,
        bias: bool | None = None,
        label_size: int | None = None,
        align_corners: bool = False,
        min_examples: int = 10,
        max_evaluations: int = 60,
        shuffle: bool = False,
        seed: int = 0,
    ) -> None:
        if loss not in LOSSES:
            raise InputError(f"loss is one of {', '.join(LOSSES)}; got {loss!r}")
        self.loss = loss
        self.tau = tau
        self.bias = (loss == "bce") if bias is None else bias
        self.label_size = label_size
        self.align_corners = align_corners
        self.min_examples = min_examples
        self.max_evaluations = max_evaluations
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
        labels = label_store(activations, data, self.label_size)
        problem = self._problem(activations, labels)
        counts = problem.trains.sum(axis=0)
        enough = counts >= self.min_examples
        shape = (len(counts), activations.shape[1])
        allowed = np.ones(shape, dtype=bool) if units is None else units
        if self.loss == "bce":
            weights, bias, penalty = self._solve(problem, allowed & enough[:, None])
        else:
            weights, bias = self._descend(problem, allowed & enough[:, None])
            penalty = np.zeros(len(bias))
        reached = _train_score(problem, weights, bias)
        concepts = labels.concepts[["name", "category"]].assign(
            n_train=counts,
            train_score=np.where(enough, reached, np.nan),
            penalty=penalty,
            note=np.where(enough, "", TOO_FEW),
        )
        self.vectors_ = ConceptVectors(
            weights=np.where(enough[:, None], weights, 0.0),
            bias=np.where(enough, bias, 0.0),
            concepts=concepts,
            kind="segmentation",
            space=activations.space(f"binary@{self.tau}"),
            thresholds=problem.stream.active.thresholds,
            provenance=described(self),
        )
        return self

    def counts(
        self, activations: "Activations", data: "ProbeDataset", split: str = "val"
    ) -> PairCounts:
        """Pixel counts of the fitted masks for every image and concept of a split."""
        return pair_counts(
            self.vectors, activations, data, split,
            label_size=self.label_size, align_corners=self.align_corners,
        )  # fmt: skip

    def score(
        self, activations: "Activations", data: "ProbeDataset", split: str = "val"
    ) -> pd.DataFrame:
        """Scores per concept: concept, category, n (images), iou_set (eq. 1), iou_ind (mean, eq. 3)."""
        return self.counts(activations, data, split).table()

    def per_image(
        self, activations: "Activations", data: "ProbeDataset", split: str = "val"
    ) -> pd.DataFrame:
        """IoU_ind (eq. 3) of every image with every concept that it shows.

        Returns:
            Columns image, concept, category, iou.
        """
        found = self.counts(activations, data, split)
        rows = found.concepts.iloc[found.concept].reset_index(drop=True)
        rows.insert(0, "image", activations.names[found.images])
        return rows.assign(iou=found.iou_ind())

    def _problem(self, activations: "Activations", labels: LabelStore) -> PixelProblem:
        images = split_rows(activations, "train")
        mixed = np.random.default_rng(self.seed).permutation(images) if self.shuffle else None
        trains = np.zeros_like(labels.shows())
        trains[images] = labels.shows()[images]
        stream = Stream(active_set(activations, self.tau), labels, images, mixed, self.align_corners)
        area = labels.size[0] * labels.size[1]
        shown = np.maximum(trains.sum(axis=0), 1)
        alpha = 1.0 - np.where(trains, labels.areas(), 0).sum(axis=0) / (shown * area)
        return PixelProblem(stream, trains, alpha.astype(np.float32), LOSSES[self.loss])

    def _solve(self, problem: PixelProblem, allowed: Flags) -> tuple[Floats, Floats, Floats]:
        penalty, weights, bias = self._choose(problem, allowed)
        weights, bias = self._minimise(
            problem, problem.trains, penalty, allowed, (weights, bias), COARSE
        )
        weights, bias = self._minimise(problem, problem.trains, penalty, allowed, (weights, bias), 1)
        if self.bias:
            bias = bias + best_offset(problem.histograms(weights, bias))[0]
        return weights, bias, penalty

    def _choose(self, problem: PixelProblem, allowed: Flags) -> tuple[Floats, Floats, Floats]:
        """The penalty of each concept by IoU_set on held-out training images, and its solution."""
        rows = problem.stream.images if problem.stream.label_images is None else (
            problem.stream.label_images
        )
        keep = np.zeros(len(problem.trains), dtype=bool)
        keep[held_out(rows, self.seed)] = True
        learn, judge = problem.trains & ~keep[:, None], problem.trains & keep[:, None]
        held = PixelProblem(problem.stream, judge, problem.alpha, problem.mode)
        weights, bias = np.zeros(allowed.shape), np.zeros(len(allowed))
        best = np.full(len(bias), -1.0)
        chosen = np.full(len(bias), PENALTIES[0])
        best_weights, best_bias = weights, bias
        for value in PENALTIES:
            penalty = np.full(len(bias), value)
            weights, bias = self._minimise(
                problem, learn, penalty, allowed, (weights, bias), COARSE
            )
            score = best_offset(held.histograms(weights, bias))[1]
            better = score > best
            best, chosen = np.where(better, score, best), np.where(better, value, chosen)
            best_weights = np.where(better[:, None], weights, best_weights)
            best_bias = np.where(better, bias, best_bias)
        return chosen, best_weights, best_bias

    def _minimise(
        self,
        problem: PixelProblem,
        trains: Flags,
        penalty: Floats,
        allowed: Flags,
        start: tuple[Floats, Floats],
        stride: int,
    ) -> tuple[Floats, Floats]:
        """Minimise the mean weighted log-loss plus penalty / 2 |w|^2, for all concepts at once."""
        area = problem.stream.labels.size[0] * problem.stream.labels.size[1]
        pixels = np.maximum(trains.sum(axis=0), 1) * float(area)
        free = np.concatenate([allowed, np.full((len(allowed), 1), self.bias)], axis=1)

        def objective(x: Floats, rows: NDArray[np.int64]) -> tuple[Floats, Floats]:
            weights, bias = np.zeros(allowed.shape), np.zeros(len(allowed))
            weights[rows], bias[rows] = x[:, :-1], x[:, -1]
            moving = np.zeros(len(allowed), dtype=bool)
            moving[rows] = True
            loss, d_weights, d_bias = problem.sums(weights, bias, trains & moving, stride)
            gradient = np.column_stack([d_weights, d_bias])[rows] / pixels[rows, None]
            gradient[:, :-1] += penalty[rows, None] * x[:, :-1]
            squares = np.einsum("bk,bk->b", x[:, :-1], x[:, :-1])
            return loss[rows] / pixels[rows] + penalty[rows] / 2 * squares, gradient * free[rows]

        found = minimise(
            objective,
            np.column_stack(start),
            tolerance=1e-4 if stride > 1 else 2e-5,
            max_evaluations=self.max_evaluations,
        )
        log.debug("%d evaluations at stride %d", found.evaluations, stride)
        return found.x[:, :-1], found.x[:, -1]

    def _descend(self, problem: PixelProblem, allowed: Flags) -> tuple[Floats, Floats]:
        """Section 3.1.2's SGD with momentum, every concept with batches of its own images."""
        rate, momentum, batch, epochs = self.SGD
        generator = np.random.default_rng(self.seed)
        units = allowed.shape[1]
        bound = 1.0 / np.sqrt(units)
        weights = np.where(allowed, generator.uniform(-bound, bound, allowed.shape), 0.0)
        bias = np.zeros(len(allowed))
        speed, bias_speed = np.zeros_like(weights), np.zeros_like(bias)
        trains = problem.trains & allowed.any(axis=1)
        stream = problem.stream
        partner = stream.images if stream.label_images is None else stream.label_images
        for _ in range(epochs):
            order = generator.permutation(len(stream.images))
            shown = trains[partner[order]]
            place = np.where(shown, (shown.cumsum(axis=0) - 1) // batch, -1)
            for step in range(place.max() + 1):
                chosen = place == step
                rows = np.flatnonzero(chosen.any(axis=1))
                part = Stream(
                    stream.active, stream.labels, stream.images[order[rows]],
                    partner[order[rows]], stream.align_corners,
                )  # fmt: skip
                pairs = np.zeros_like(trains)
                pairs[partner[order[rows]]] = chosen[rows]
                moving = chosen.any(axis=0)
                count = np.maximum(chosen.sum(axis=0), 1)
                now = PixelProblem(part, pairs, problem.alpha, problem.mode)
                _, d_weights, d_bias = now.sums(weights, bias, pairs)
                step_weights = momentum * speed + d_weights / count[:, None]
                speed = np.where(moving[:, None], step_weights * allowed, speed)
                weights = np.where(moving[:, None], weights - rate * speed, weights)
                if self.bias:
                    bias_speed = np.where(moving, momentum * bias_speed + d_bias / count, bias_speed)
                    bias = np.where(moving, bias - rate * bias_speed, bias)
        return weights, bias


def _train_score(problem: PixelProblem, weights: Floats, bias: Floats) -> Floats:
    """IoU_set of the masks (probability above one half) on the pairs of a problem."""
    counts = problem.histograms(weights, bias)
    half = counts.shape[2] // 2
    both, wrong = counts[:, 1, half:].sum(axis=1), counts[:, 0, half:].sum(axis=1)
    return iou(both, both + wrong, counts[:, 1].sum(axis=1))
