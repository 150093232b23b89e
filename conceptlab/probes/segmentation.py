"""Combinations of units that segment concepts: Net2Vec's segmentation probe.

Fong & Vedaldi 2018, section 3.1.2, eq. 2-4: sigma(sum_k w_k 1[A_k > T_k] + b), upsampled before the
sigmoid, trained on the images that show the concept, its pixels weighing alpha and all others
1 - alpha. All concepts are trained together.
"""

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conceptlab.activations.active import active_set
from conceptlab.activations.labels import LabelStore, label_store
from conceptlab.activations.stream import Stream
from conceptlab.errors import InputError
from conceptlab.numerics.metrics import bootstrap_sums, iou
from conceptlab.numerics.pixelwise import BCE, NET2VEC
from conceptlab.numerics.solvers import minimise
from conceptlab.probes.base import (
    CONFIDENT,
    FOLDS,
    PROBES,
    SINGLE,
    TOO_FEW,
    described,
    folds,
    require_fitted,
)
from conceptlab.probes.pixels import PairCounts, PixelProblem, best_offset, pair_counts, split_rows
from conceptlab.probes.tally import unit_iou
from conceptlab.vectors import ConceptVectors

if TYPE_CHECKING:
    from conceptlab.activations.store import Activations
    from conceptlab.data.base import ProbeDataset

log = logging.getLogger(__name__)

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
LOSSES = {"bce": BCE, "net2vec": NET2VEC}
PENALTIES = (1e-3, 1e-4, 1e-5, 1e-6)
COARSE = 4  # rows of pixels per row visited, while far from the optimum
TOLERANCE = {COARSE: 2e-4, 1: 5e-5}
EVALUATIONS = 60  # passes over the images at most, for each solution
UNIT_BIAS = -0.5
DRAWS = 200  # bootstrap draws of held-out images


@PROBES.register("segment")
class SegmentationProbe:
    """Segment every concept by a weighted sum of thresholded units (eq. 2).

    By default the weighted log-loss, which is convex, is solved to its optimum. Its L2 penalty is
    chosen for each concept on a held-out fifth of the training images, and at the end the bias is
    moved to where IoU_set on the training images is largest: the weights alpha balance the two
    kinds of pixels, which places the mask's border where a balanced error is smallest, not where
    the overlap is largest. Where no combination beats the best single unit on held-out images
    (one-sided, 5 %), the unit is the answer (note 'single unit').

    With `loss="net2vec"` everything is as in the paper: eq. 4 as printed, which has no logarithm,
    SGD, no bias, no penalty, no move.

    Args:
        loss: 'bce' or 'net2vec'.
        tau: share of activations above the threshold, see `conceptlab.probes.dissect.dissect`.
        bias: learn a bias b; by default for 'bce' and not for 'net2vec'.
        label_size: side of the label maps; half the input size if not given.
        align_corners: how maps are interpolated.
        min_examples: concepts that fewer training images show are not fitted, and say so.
        shuffle: control: the label maps of the training images are permuted among them.
        seed: of the order of SGD's batches, and of the permutation.

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
        self.shuffle = shuffle
        self.seed = seed

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The settings, as scikit-learn wants them."""
        del deep
        return {k: v for k, v in vars(self).items() if not k.endswith("_")}

    @property
    def vectors(self) -> ConceptVectors:
        """The fitted vectors."""
        return require_fitted(self)

    def fit(self, activations: "Activations", data: "ProbeDataset") -> Self:
        """Learn all concepts from the training images.

        Args:
            activations: a layer's cached outputs.
            data: the probe data set that they were made from.
        """
        problem = self._problem(activations, label_store(activations, data, self.label_size))
        enough = problem.trains.sum(axis=0) >= self.min_examples
        allowed = np.repeat(enough[:, None], activations.shape[1], axis=1)
        if self.loss == "net2vec":
            return self._finish(activations, problem, *self._descend(problem, allowed))
        penalty, start, alone = self._choose(problem, allowed)
        weights, bias = self._solve(problem, allowed, penalty, start)
        if self.bias and alone.any():
            one, half = _best_units(problem)
            weights[alone], bias[alone], penalty[alone] = one[alone], half[alone], np.nan
        return self._finish(activations, problem, weights, bias, penalty)

    def refit(
        self, activations: "Activations", data: "ProbeDataset", units: NDArray[np.bool_]
    ) -> "SegmentationProbe":
        """A new probe over some units only, learned anew with this one's penalties (3.2.2).

        Args:
            activations: that this probe was fitted on.
            data: likewise.
            units: (C, K) which units each concept may use.
        """
        probe = SegmentationProbe(**self.get_params())
        problem = probe._problem(activations, label_store(activations, data, self.label_size))
        enough = problem.trains.sum(axis=0) >= self.min_examples
        allowed = units & enough[:, None]
        if self.loss == "net2vec":
            return probe._finish(activations, problem, *probe._descend(problem, allowed))
        chosen = self.vectors.concepts["penalty"].to_numpy(dtype=np.float64)
        penalty = np.where(np.isfinite(chosen), chosen, PENALTIES[-1])
        start = np.where(allowed, self.vectors.weights, 0.0), self.vectors.bias.copy()
        weights, bias = probe._solve(problem, allowed, penalty, start)
        return probe._finish(activations, problem, weights, bias, penalty)

    def _finish(
        self,
        activations: "Activations",
        problem: PixelProblem,
        weights: Floats,
        bias: Floats,
        penalty: Floats | None = None,
    ) -> Self:
        counts = problem.trains.sum(axis=0)
        enough = counts >= self.min_examples
        none = np.full(len(counts), np.nan)
        alone = self.loss == "bce" and penalty is not None and ~np.isfinite(penalty) & enough
        concepts = problem.stream.labels.concepts[["name", "category"]].assign(
            n_train=counts,
            train_score=np.where(enough, _train_score(problem, weights, bias), np.nan),
            penalty=none if penalty is None else np.where(enough, penalty, np.nan),
            note=np.select([~enough, alone & enough], [TOO_FEW, SINGLE], ""),
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
        """Scores: concept, category, n (images), iou_set (eq. 1), iou_ind (mean of eq. 3)."""
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
        stream = Stream(
            active_set(activations, self.tau), labels, images, mixed, self.align_corners
        )
        area = labels.size[0] * labels.size[1]
        shown = np.maximum(trains.sum(axis=0), 1)
        alpha = 1.0 - np.where(trains, labels.areas(), 0).sum(axis=0) / (shown * area)
        return PixelProblem(stream, trains, alpha.astype(np.float32), LOSSES[self.loss])

    def _solve(
        self,
        problem: PixelProblem,
        allowed: Flags,
        penalty: Floats,
        start: tuple[Floats, Floats],
    ) -> tuple[Floats, Floats]:
        """The optimum on all training images, every pixel counted, with the bias moved."""
        rows = np.flatnonzero(allowed.any(axis=1))
        for stride in (COARSE, 1):
            start = self._minimise(problem, penalty, allowed, start, stride, rows)
        weights, bias = start
        return weights, bias + self._shift(problem, weights, bias)

    def _choose(
        self, problem: PixelProblem, allowed: Flags
    ) -> tuple[Floats, tuple[Floats, Floats], Flags]:
        """What does best by IoU_set on held-out training images.

        Returns:
            (C,) penalties, weights and biases to start from, and (C,) whether none is confidently
            better than the best single unit.
        """
        learn, held = _parted(problem, 0)
        weights, bias = np.zeros(allowed.shape), np.zeros(len(allowed))
        kept = weights, bias
        best, best_counts = np.full(len(allowed), -1.0), held.table(weights, bias)
        chosen = np.full(len(allowed), PENALTIES[0])
        moving = allowed.any(axis=1)
        for value in PENALTIES:  # from stiff to loose, as long as it helps
            weights, bias = self._minimise(
                learn, np.full(len(bias), value), allowed, (weights, bias), COARSE,
                np.flatnonzero(moving),
            )  # fmt: skip
            counts = held.table(weights, bias + self._shift(learn, weights, bias))
            score = np.nan_to_num(iou(*counts.sum(axis=0).T))
            better = moving & (score > best)
            best, chosen = np.where(better, score, best), np.where(better, value, chosen)
            best_counts = np.where(better[:, None], counts, best_counts)
            kept = np.where(better[:, None], weights, kept[0]), np.where(better, bias, kept[1])
            moving = better
        single = held.table(*_best_units(learn))
        doubt = allowed.any(axis=1) & ~self._beats(best_counts, single)
        if self.bias and doubt.any():
            doubt &= ~self._second_look(problem, chosen, allowed, doubt, best_counts, single)
        return chosen, kept, doubt

    def _second_look(
        self,
        problem: PixelProblem,
        penalty: Floats,
        allowed: Flags,
        doubt: Flags,
        first: NDArray[np.int64],
        first_single: NDArray[np.int64],
    ) -> Flags:
        """(C,) whether the combination beats the unit after all, over all folds together."""
        combined, single = [first], [first_single]
        some = replace(problem, trains=problem.trains & doubt)
        for fold in range(1, FOLDS):
            learn, held = _parted(some, fold)
            start = np.zeros(allowed.shape), np.zeros(len(allowed))
            weights, bias = self._minimise(
                learn, penalty, allowed, start, COARSE, np.flatnonzero(doubt)
            )
            combined.append(held.table(weights, bias + self._shift(learn, weights, bias)))
            single.append(held.table(*_best_units(learn)))
        return self._beats(np.concatenate(combined), np.concatenate(single))

    def _beats(self, counts: NDArray[np.int64], single: NDArray[np.int64]) -> Flags:
        """(C,) whether the first of two (n, C, 3) counts has the higher IoU_set, confidently."""
        gains = [
            np.nan_to_num(iou(*np.moveaxis(sums, -1, 0)))
            for sums in (
                bootstrap_sums(
                    both.reshape(len(both), -1), DRAWS, np.random.default_rng(self.seed)
                ).reshape(DRAWS, -1, 3)
                for both in (counts, single)
            )
        ]
        total = [np.nan_to_num(iou(*both.sum(axis=0).T)) for both in (counts, single)]
        better: Flags = total[0] - total[1] > CONFIDENT * (gains[0] - gains[1]).std(axis=0)
        return better

    def _shift(self, learn: PixelProblem, weights: Floats, bias: Floats) -> Floats:
        """(C,) what the bias has to move by; nothing where there is none."""
        if not self.bias:
            return np.zeros(len(bias))
        return best_offset(learn.histograms(weights, bias))[0]

    def _minimise(
        self,
        problem: PixelProblem,
        penalty: Floats,
        allowed: Flags,
        start: tuple[Floats, Floats],
        stride: int,
        which: NDArray[np.int64],
    ) -> tuple[Floats, Floats]:
        """Minimise the mean weighted log-loss plus penalty / 2 |w|^2 of some concepts at once."""
        area = problem.stream.labels.size[0] * problem.stream.labels.size[1]
        pixels = np.maximum(problem.trains.sum(axis=0), 1) * float(area)
        free = np.concatenate([allowed, np.full((len(allowed), 1), self.bias)], axis=1)

        def objective(x: Floats, places: NDArray[np.int64]) -> tuple[Floats, Floats]:
            rows = which[places]
            weights, bias = np.zeros(allowed.shape), np.zeros(len(allowed))
            weights[rows], bias[rows] = x[:, :-1], x[:, -1]
            moving = np.zeros(len(allowed), dtype=bool)
            moving[rows] = True
            loss, d_weights, d_bias = problem.sums(weights, bias, problem.trains & moving, stride)
            gradient = np.column_stack([d_weights, d_bias])[rows] / pixels[rows, None]
            gradient[:, :-1] += penalty[rows, None] * x[:, :-1]
            squares = np.einsum("bk,bk->b", x[:, :-1], x[:, :-1])
            return loss[rows] / pixels[rows] + penalty[rows] / 2 * squares, gradient * free[rows]

        found = minimise(
            objective,
            np.column_stack(start)[which],
            tolerance=TOLERANCE[stride],
            max_evaluations=EVALUATIONS,
        )
        log.debug("%d evaluations at stride %d", found.evaluations, stride)
        weights, bias = start[0].copy(), start[1].copy()
        weights[which], bias[which] = found.x[:, :-1], found.x[:, -1]
        return weights, bias

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
        partner = stream.label_rows
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
                    bias_speed = np.where(
                        moving, momentum * bias_speed + d_bias / count, bias_speed
                    )
                    bias = np.where(moving, bias - rate * bias_speed, bias)
        return weights, bias


def _parted(problem: PixelProblem, fold: int) -> tuple[PixelProblem, PixelProblem]:
    """The problem without a fold of its images, and on that fold alone."""
    rows = problem.stream.label_rows
    keep = np.zeros((len(problem.trains), 1), dtype=bool)
    keep[rows[folds(len(rows)) == fold]] = True
    learn = replace(problem, trains=problem.trains & ~keep)
    return learn, replace(problem, trains=problem.trains & keep)


def _best_units(problem: PixelProblem) -> tuple[Floats, Floats]:
    """The best unit of each concept as a one-hot row (C, K), and its bias (C,)."""
    scores = np.nan_to_num(unit_iou(problem.stream, problem.trains), nan=-1.0)
    weights = np.zeros(scores.T.shape)
    weights[np.arange(len(weights)), scores.argmax(axis=0)] = 1.0
    return weights, np.full(len(weights), UNIT_BIAS)


def _train_score(problem: PixelProblem, weights: Floats, bias: Floats) -> Floats:
    """IoU_set of the masks (probability above one half) on the pairs of a problem."""
    counts = problem.histograms(weights, bias)
    half = counts.shape[2] // 2
    both, wrong = counts[:, 1, half:].sum(axis=1), counts[:, 0, half:].sum(axis=1)
    return iou(both, both + wrong, counts[:, 1].sum(axis=1))
