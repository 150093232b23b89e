"""Combinations of units that segment concepts: Net2Vec's segmentation probe.

Fong & Vedaldi 2018, section 3.1.2, eq. 2-4: sigma(sum_k w_k 1[A_k > T_k] + b), upsampled before the
sigmoid, trained on the images that show the concept, its pixels weighing alpha and all others
1 - alpha. All concepts are trained together.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conceptlab.activations.active import active_set
from conceptlab.activations.labels import LabelStore, label_store
from conceptlab.activations.stream import Stream
from conceptlab.errors import InputError
from conceptlab.numerics.metrics import iou
from conceptlab.numerics.pixelwise import BCE, NET2VEC
from conceptlab.probes.base import PROBES, SINGLE, TOO_FEW, BaseProbe
from conceptlab.probes.choice import PENALTIES, choose
from conceptlab.probes.descent import descend
from conceptlab.probes.pixels import PairCounts, PixelProblem, pair_counts, split_rows
from conceptlab.probes.ridge import COARSE, Ridge, best_units
from conceptlab.vectors import ConceptVectors

if TYPE_CHECKING:
    from conceptlab.activations.store import Activations
    from conceptlab.data.base import ProbeDataset

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
LOSSES = {"bce": BCE, "net2vec": NET2VEC}


@PROBES.register("segment")
class SegmentationProbe(BaseProbe):
    """Segment every concept by a weighted sum of thresholded units (eq. 2).

    By default the weighted log-loss, which is convex, is solved to its optimum. Its L2 penalty
    draws towards the best single unit and is chosen for each concept on a held-out fifth of the
    training images. At the end the bias is moved to where IoU_set on the training images is
    largest: the weights alpha balance the two kinds of pixels, which places the mask's border where
    a balanced error is smallest, not where the overlap is largest. Where no combination beats the
    best single unit on held-out images (one-sided, 5 %), the unit is the answer (note 'single
    unit').

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
            return self._finish(
                activations, problem, *descend(problem, allowed, self.bias, self.seed)
            )
        choice = choose(problem, allowed, self.bias, self.seed)
        ridge = Ridge.about_units(problem, allowed, self.bias)
        weights, bias = ridge.solve(choice.penalty, choice.start)
        penalty = choice.penalty
        if self.bias:
            unit, half = ridge.single
            weights = np.where(choice.alone[:, None], unit, weights)
            bias = np.where(choice.alone, half, bias)
            penalty = np.where(choice.alone, np.nan, penalty)
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
            return probe._finish(
                activations, problem, *descend(problem, allowed, self.bias, self.seed)
            )
        chosen = self.vectors.concepts["penalty"].to_numpy(dtype=np.float64)
        penalty = np.where(np.isfinite(chosen), chosen, PENALTIES[-1])
        start = np.where(allowed, self.vectors.weights, 0.0), self.vectors.bias.copy()
        weights, bias = Ridge.about_units(problem, allowed, self.bias).solve(penalty, start)
        return probe._finish(activations, problem, weights, bias, penalty)

    def redrawing(
        self, activations: "Activations", data: "ProbeDataset"
    ) -> Callable[[NDArray[np.int64]], Floats]:
        """A function from training images, drawn with repeats, to the weights learned from them.

        Penalties, the units that they draw to and the decision for a single unit are this probe's
        own; every fourth row of pixels is visited.

        Args:
            activations: that this probe was fitted on.
            data: likewise.

        Returns:
            Takes rows of the activations, gives weights (C, K): zero for concepts without a
            vector, NaN for those that none of the images shows.

        Raises:
            InputError: a probe with the paper's loss, whose solution is no optimum.
        """
        if self.loss != "bce":
            raise InputError("only probes with loss='bce' can be resampled: they reach an optimum")
        problem = self._problem(activations, label_store(activations, data, self.label_size))
        partner = dict(zip(problem.stream.images, problem.stream.label_rows, strict=True))
        chosen = self.vectors.concepts["penalty"].to_numpy(dtype=np.float64)
        usable = self.vectors.usable
        alone, combined = usable & np.isnan(chosen), usable & ~np.isnan(chosen)
        allowed = np.repeat(combined[:, None], activations.shape[1], axis=1)
        ridge = Ridge.about_units(problem, allowed, self.bias)
        start = np.where(allowed, self.vectors.weights, 0.0), self.vectors.bias.copy()

        def weights_of(images: NDArray[np.int64]) -> Floats:
            rows = np.array([partner[image] for image in images])
            stream = replace(problem.stream, images=images, label_images=rows)
            now = replace(problem, stream=stream)
            found, _ = replace(ridge, problem=now).minimise(np.nan_to_num(chosen), start, COARSE)
            if alone.any():
                whole = np.repeat(alone[:, None], activations.shape[1], axis=1)
                found = np.where(alone[:, None], best_units(now, whole), found)
            seen = problem.trains[rows].any(axis=0) | ~usable
            return np.where(seen[:, None], found, np.nan)

        return weights_of

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
            provenance=self.described(),
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
        self, activations: "Activations", data: "ProbeDataset", split: str = "val",
        intervals: bool = False,
    ) -> pd.DataFrame:  # fmt: skip
        """Scores: concept, category, n (images), iou_set (eq. 1), iou_ind (mean of eq. 3).

        Args:
            activations: of the layer.
            data: the probe data set.
            split: 'train', 'val' or 'test'.
            intervals: whether to give 95 % intervals of both over images, columns low, high,
                ind_low, ind_high.
        """
        return self.counts(activations, data, split).table(intervals)

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


def _train_score(problem: PixelProblem, weights: Floats, bias: Floats) -> Floats:
    """IoU_set of the masks (probability above one half) on the pairs of a problem."""
    counts = problem.histograms(weights, bias)
    half = counts.shape[2] // 2
    both, wrong = counts[:, 1, half:].sum(axis=1), counts[:, 0, half:].sum(axis=1)
    return iou(both, both + wrong, counts[:, 1].sum(axis=1))
