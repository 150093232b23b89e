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
from conceptlab.activations.inputs import KEPT, RawMaps
from conceptlab.activations.labels import LabelStore, label_store
from conceptlab.activations.stream import Stream
from conceptlab.errors import InputError
from conceptlab.given import checked, require_number, require_seed
from conceptlab.numerics.parallel import one_blas_thread
from conceptlab.numerics.pixelwise import BCE, NET2VEC
from conceptlab.probes.base import CONSTANT, PROBES, TOO_FEW, BaseProbe, require_map
from conceptlab.probes.basis import Basis
from conceptlab.probes.segmentation.penalty import choose
from conceptlab.probes.segmentation.problem import (
    PairCounts,
    PixelProblem,
    iou_set,
    pair_counts,
    training_problem,
)
from conceptlab.probes.segmentation.ridge import Ridge
from conceptlab.probes.segmentation.sgd import descend
from conceptlab.vectors import ConceptVectors

if TYPE_CHECKING:
    from conceptlab.activations.store import Activations
    from conceptlab.data.base import ProbeDataset

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
LOSSES = {"bce": BCE, "net2vec": NET2VEC}
INPUTS = ("binary", "raw")
PENALTIES = {"binary": (1e-2, 1e-3, 1e-4, 1e-5, 1e-6), "raw": (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)}


@PROBES.register("segment")
class SegmentationProbe(BaseProbe):
    """Segment every concept by a weighted sum of thresholded units (eq. 2).

    By default the weighted log-loss, which is convex, is solved to its optimum. Its L2 penalty is
    chosen for each concept on a held-out fifth of the training images: runs of neighbours in the
    data set's order, so that the same images under other names may get another penalty, and scores
    that differ by as much as that choice is uncertain. At the end the bias is moved to where
    IoU_set on the training images is largest: the weights alpha balance the two kinds of pixels,
    which places the mask's border where a balanced error is smallest, not where the overlap is
    largest.

    With `inputs="raw"` the units are not thresholded: sigma(sum_k w_k A_k + b). The penalty is then
    on weights over standardised units; weights are given over the units as they are.

    With `loss="net2vec"` everything is as in the paper: eq. 4 as printed, which has no logarithm,
    SGD, no bias, no penalty, no move.

    Args:
        loss: 'bce' or 'net2vec'.
        inputs: 'binary', thresholded as in the paper, or 'raw'.
        tau: share of activations above the threshold, see
            `conceptlab.probes.units.dissection.dissect`.
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

    @checked
    def __init__(  # noqa: PLR0913 (an estimator's settings)
        self,
        loss: str = "bce",
        tau: float = 0.005,
        *,
        inputs: str = "binary",
        bias: bool | None = None,
        label_size: int | None = None,
        align_corners: bool = False,
        min_examples: int = 10,
        shuffle: bool = False,
        seed: int = 0,
    ) -> None:
        if loss not in LOSSES:
            raise InputError(f"loss is one of {', '.join(LOSSES)}; got {loss!r}")
        if inputs not in INPUTS:
            raise InputError(f"inputs is one of {', '.join(INPUTS)}; got {inputs!r}")
        if (loss, inputs) == ("net2vec", "raw"):
            raise InputError("loss='net2vec' is the paper's, of thresholded units: inputs='binary'")
        require_seed(seed)
        require_number(min_examples, "min_examples", 1)
        self.loss = loss
        self.inputs = inputs
        self.tau = tau
        self.bias = (loss == "bce") if bias is None else bias
        self.label_size = label_size
        self.align_corners = align_corners
        self.min_examples = min_examples
        self.shuffle = shuffle
        self.seed = seed

    @one_blas_thread()
    def fit(self, activations: "Activations", data: "ProbeDataset") -> Self:
        """Learn all concepts from the training images.

        Args:
            activations: a layer's cached outputs.
            data: the probe data set that they were made from.

        Raises:
            InputError: a layer of one vector a picture, as a class token; other activations' data.
        """
        require_map(activations, "take probe classify, or a layer with a map")
        problem = self._problem(activations, label_store(activations, data, self.label_size))
        every = np.ones((problem.trains.shape[1], activations.shape[1]), dtype=bool)
        basis = self._basis(activations, problem, every)
        allowed = self._allowed(problem, every, basis)
        if self.loss == "net2vec":
            found = descend(problem, allowed, self.bias, self.seed)
            return self._finish(activations, problem, *found)
        choice = choose(problem, allowed, self.bias, basis, PENALTIES[self.inputs])
        weights, bias = Ridge(problem, allowed, self.bias, basis).solve(
            choice.penalty, choice.start
        )
        return self._finish(activations, problem, weights, bias, choice.penalty)

    @one_blas_thread()
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
        basis = self._basis(activations, problem, units)
        allowed = self._allowed(problem, units, basis)
        if self.loss == "net2vec":
            found = descend(problem, allowed, self.bias, self.seed)
            return probe._finish(activations, problem, *found)
        chosen = self.vectors.concepts["penalty"].to_numpy(dtype=np.float64)
        penalty = np.where(np.isfinite(chosen), chosen, PENALTIES[self.inputs][0])
        start = np.where(allowed, self.vectors.weights, 0.0), self.vectors.bias.copy()
        weights, bias = Ridge(problem, allowed, self.bias, basis).solve(penalty, start)
        return probe._finish(activations, problem, weights, bias, penalty)

    def redrawing(
        self, activations: "Activations", data: "ProbeDataset"
    ) -> Callable[[NDArray[np.int64]], Floats]:
        """A function from training images, drawn with repeats, to the weights learned from them.

        Penalties and the scale of the units are this probe's own. Every row of pixels is visited:
        of some rows a small concept has another optimum.

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
        penalty = np.nan_to_num(self.vectors.concepts["penalty"].to_numpy(dtype=np.float64))
        usable = self.vectors.usable
        units = np.repeat(usable[:, None], activations.shape[1], axis=1)
        basis = self._basis(activations, problem, units)
        ridge = Ridge(problem, self._allowed(problem, units, basis), self.bias, basis)
        start = self.vectors.weights.copy(), self.vectors.bias.copy()

        @one_blas_thread()
        def weights_of(images: NDArray[np.int64]) -> Floats:
            rows = np.array([partner[image] for image in images])
            stream = replace(problem.stream, images=images, label_images=rows)
            now = replace(problem, stream=stream)
            found, _ = replace(ridge, problem=now).minimise(penalty, start, 1)
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
        used = weights.any(axis=1)
        none = np.full(len(counts), np.nan)
        concepts = problem.stream.labels.concepts[["name", "category"]].assign(
            n_train=counts,
            train_score=np.where(used, _train_score(problem, weights, bias), np.nan),
            penalty=none if penalty is None else np.where(used, penalty, np.nan),
            note=np.select([~enough, ~used], [TOO_FEW, CONSTANT], ""),
        )
        binary = self.inputs == "binary"
        self.vectors_ = ConceptVectors(
            weights=weights,
            bias=np.where(used, bias, 0.0),
            concepts=concepts,
            kind="segmentation",
            space=activations.space(f"binary@{self.tau}" if binary else "raw"),
            thresholds=activations.thresholds(self.tau) if binary else None,
            provenance=self.described(),
        )
        return self

    @checked
    def counts(
        self, activations: "Activations", data: "ProbeDataset", split: str = "val"
    ) -> PairCounts:
        """Pixel counts of the fitted masks for every image and concept of a split."""
        return pair_counts(
            self.vectors, activations, data, split,
            label_size=self.label_size, align_corners=self.align_corners,
        )  # fmt: skip

    @checked
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

    @checked
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
        images = activations.rows("train")
        mixed = np.random.default_rng(self.seed).permutation(images) if self.shuffle else None
        binary = self.inputs == "binary"
        inputs = active_set(activations, self.tau) if binary else RawMaps(activations, KEPT)
        stream = Stream(inputs, labels, images, mixed, self.align_corners)
        return training_problem(stream, LOSSES[self.loss])

    def _basis(self, activations: "Activations", problem: PixelProblem, units: Flags) -> Basis:
        """The coordinates to learn in: turned ones only where concepts may use all units."""
        images = problem.stream.images
        if self.inputs == "binary":
            return Basis.of_active(active_set(activations, self.tau), images)
        return Basis.of_raw(activations, images, rotate=bool(units[units.any(axis=1)].all()))

    def _allowed(self, problem: PixelProblem, units: Flags, basis: Basis) -> Flags:
        """(C, K) units that vary, for concepts that enough training images show."""
        enough = problem.trains.sum(axis=0) >= self.min_examples
        allowed: Flags = units & basis.varying & enough[:, None]
        return allowed


def _train_score(problem: PixelProblem, weights: Floats, bias: Floats) -> Floats:
    """IoU_set of the masks on the pairs of a problem, counted as `score` counts them."""
    _, concepts, counts = problem.counts(weights, bias)
    return iou_set(concepts, counts, len(bias))
