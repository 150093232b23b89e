"""The pixel-wise problem that segmentation probes solve, and the counts that score any vectors."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conceptlab.activations.active import active_set
from conceptlab.activations.inputs import Inputs, RawMaps
from conceptlab.activations.labels import LabelStore, label_store
from conceptlab.activations.stream import Chunk, Stream
from conceptlab.errors import InputError, SpaceError
from conceptlab.numerics.intervals import mean_bounds, ratio_bounds
from conceptlab.numerics.metrics import iou, ratio
from conceptlab.numerics.pixelwise import BCE, chunk_counts, chunk_histogram, chunk_loss
from conceptlab.numerics.serial import effective_number
from conceptlab.vectors import ConceptVectors

if TYPE_CHECKING:
    from conceptlab.activations.store import Activations
    from conceptlab.data.base import ProbeDataset

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
BINS = 4096
GOLDEN = (5**0.5 - 1) / 2  # its multiples lie evenly in 0..1, modulo 1


@dataclass(frozen=True)
class PixelProblem:
    """Loss and gradient of all concepts' maps over chosen (image, concept) pairs.

    Args:
        stream: the images.
        trains: (N, C) over the rows of the labels: which pairs count.
        alpha: (C,) weight of a concept's pixels, 1 - alpha being that of the others (eq. 4).
        mode: which loss, see `conceptlab.numerics.pixelwise`.
    """

    stream: Stream
    trains: Flags
    alpha: NDArray[np.float32]
    mode: int = BCE

    def sums(
        self, weights: Floats, bias: Floats, trains: Flags, stride: int = 1
    ) -> tuple[Floats, Floats, Floats]:
        """Summed loss (C,), and gradients (C, K) and (C,), over some of the pairs.

        Args:
            weights: (C, K).
            bias: (C,).
            trains: (N, C) which pairs.
            stride: visit every stride-th row of pixels only, from another row in each image; sums
                are scaled to all rows.
        """
        xs, ys = self.stream.axes()
        groups = self.stream.labels.groups
        single, single_bias = weights.astype(np.float32), bias.astype(np.float32)
        count = len(bias)

        def one(chunk: Chunk) -> tuple[Floats, Floats, Floats]:
            pairs = chunk.pairs(trains)
            if not len(pairs[1]):
                return np.zeros(count), np.zeros(weights.shape), np.zeros(count)
            maps = chunk.inputs.maps(single, single_bias, pairs)
            first = _first_rows(chunk.images, min(stride, self.stream.labels.size[0]))
            rest = (self.alpha, xs, ys, self.mode, first, stride)
            loss, d_maps = _call(chunk_loss, maps, chunk, groups, pairs, rest)
            each = d_maps.sum(axis=1, dtype=np.float64)
            d_bias = np.bincount(pairs[1], each, count).astype(np.float64)
            return loss, chunk.inputs.gradient(d_maps, pairs, count), d_bias

        loss, d_weights, d_bias = np.zeros(len(bias)), np.zeros(weights.shape), np.zeros(len(bias))
        for part in self.stream.map(one):
            loss += part[0]
            d_weights += part[1]
            d_bias += part[2]
        return loss, d_weights, d_bias

    def histograms(self, weights: Floats, bias: Floats) -> NDArray[np.int64]:
        """(C, 2, BINS) pixels without and with the concept by predicted probability.

        Bin b holds probabilities above b / BINS, as a mask holds those above one half.
        """
        xs, ys = self.stream.axes()
        groups = self.stream.labels.groups
        single, single_bias = weights.astype(np.float32), bias.astype(np.float32)

        def one(chunk: Chunk) -> NDArray[np.int64]:
            pairs = chunk.pairs(self.trains)
            maps = chunk.inputs.maps(single, single_bias, pairs)
            part: NDArray[np.int64] = _call(
                chunk_histogram, maps, chunk, groups, pairs, (xs, ys, BINS)
            )
            return part

        total = np.zeros((len(bias), 2, BINS), dtype=np.int64)
        for part in self.stream.map(one):
            total += part
        return total

    def counts(
        self, weights: Floats, bias: Floats
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Pixels of every pair, in the order of the stream.

        Returns:
            (J,) rows of the activations, (J,) concepts, and (J, 3) pixels predicted and labelled,
            predicted, labelled.
        """
        xs, ys = self.stream.axes()
        groups = self.stream.labels.groups
        single, single_bias = weights.astype(np.float32), bias.astype(np.float32)

        def one(chunk: Chunk) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
            offsets, concepts = chunk.pairs(self.trains)
            pairs = offsets, concepts
            maps = chunk.inputs.maps(single, single_bias, pairs)
            counts = _call(chunk_counts, maps, chunk, groups, pairs, (xs, ys))
            return np.repeat(chunk.images, np.diff(offsets)), concepts, counts

        none = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, 3), np.int64))
        parts = zip(none, *self.stream.map(one), strict=True)
        rows, concepts, counts = (np.concatenate(part) for part in parts)
        return rows, concepts, counts

    def table(self, weights: Floats, bias: Floats) -> NDArray[np.int64]:
        """(n, C, 3) the same counts, a row for each image that has a pair."""
        images, concepts, counts = self.counts(weights, bias)
        place = np.unique(images, return_inverse=True)[1]
        table = np.zeros((place.max(initial=-1) + 1, len(bias), 3), dtype=np.int64)
        table[place, concepts] = counts
        return table


def training_problem(stream: Stream, mode: int = BCE) -> PixelProblem:
    """The problem of section 3.1.2: every image of a stream trains the concepts that it shows.

    Args:
        stream: the training images.
        mode: which loss, see `conceptlab.numerics.pixelwise`.
    """
    labels = stream.labels
    shows = labels.shown()
    trains = np.zeros_like(shows)
    trains[stream.images] = shows[stream.images]
    shown = np.maximum(trains.sum(axis=0), 1)
    area = labels.size[0] * labels.size[1]
    alpha = 1.0 - np.where(trains, labels.areas(), 0).sum(axis=0) / (shown * area)
    return PixelProblem(stream, trains, alpha.astype(np.float32), mode)


def best_offset(histogram: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """The shift of each concept's logits that makes IoU_set of the masks largest.

    Args:
        histogram: (C, 2, B) from `PixelProblem.histograms`.

    Returns:
        (C,) to add to the bias, and (C,) the IoU_set reached.
    """
    bins = histogram.shape[2]
    above = histogram[:, :, ::-1].cumsum(axis=2)[:, :, ::-1].astype(np.float64)
    score = above[:, 1] / np.maximum(above[:, 1, :1] + above[:, 0], 1.0)
    score[:, 0] = -1.0  # the threshold 0 has no logit
    place = score.argmax(axis=1)
    share = place / bins
    return np.log1p(-share) - np.log(share), score[np.arange(len(score)), place]


@dataclass(frozen=True)
class PairCounts:
    """Pixel counts of every image with every concept that it shows.

    Args:
        concepts: (C,) rows concept, category.
        shown: (C,) images that show each concept, whether or not it has a vector.
        images: (J,) rows of the activations.
        concept: (J,) rows of `concepts`.
        counts: (J, 3) pixels predicted and labelled, predicted, labelled.
    """

    concepts: pd.DataFrame
    shown: NDArray[np.int64]
    images: NDArray[np.int64]
    concept: NDArray[np.int64]
    counts: NDArray[np.int64]

    def of(self, concept: int) -> NDArray[np.int64]:
        """(n, 3) the counts of one concept, a row per image."""
        rows: NDArray[np.int64] = self.counts[self.concept == concept]
        return rows

    def iou_ind(self) -> Floats:
        """(J,) IoU_ind of every pair (eq. 3)."""
        return iou(*self.counts.T)

    def table(self, intervals: bool = False) -> pd.DataFrame:
        """Scores per concept: n (images that show it), iou_set (eq. 1), iou_ind (mean of eq. 3).

        Intervals are over images, of as many independent ones as neighbouring ones are worth
        (`conceptlab.numerics.serial.effective_number`).

        Args:
            intervals: whether to give 95 % intervals of both, columns low, high, ind_low, ind_high.
        """
        count = len(self.concepts)
        single = self.iou_ind()
        judged = np.bincount(self.concept, minlength=count)
        together = iou_set(self.concept, self.counts, count)
        mean = ratio(np.bincount(self.concept, single, minlength=count), judged)
        names = self.concepts[["concept", "category"]].reset_index(drop=True)
        table = names.assign(n=self.shown, iou_set=together, iou_ind=mean)
        if intervals:
            bounds = self._bounds(single, together)
            table[["low", "high", "ind_low", "ind_high"]] = bounds
        return table

    def _bounds(self, single: Floats, together: Floats) -> Floats:
        """(C, 4) lower and upper bounds of IoU_set and of the mean IoU_ind."""
        bounds = np.full((len(self.concepts), 4), np.nan)
        union = self.counts[:, 1] + self.counts[:, 2] - self.counts[:, 0]
        influence = self.counts[:, 0] - np.nan_to_num(together)[self.concept] * union
        of_set, of_mean = (
            effective_number(values, self.concept, self.images) for values in (influence, single)
        )
        order = np.argsort(self.concept, kind="stable")
        first = np.flatnonzero(np.diff(self.concept[order], prepend=-1))
        for own in np.split(order, first)[1:]:
            concept = self.concept[own[0]]
            bounds[concept, :2] = ratio_bounds(self.counts[own, 0], union[own], of_set[concept])
            bounds[concept, 2:] = mean_bounds(single[own], of_mean[concept], within=True)
        return bounds


def iou_set(concept: NDArray[np.int64], counts: NDArray[np.int64], number: int) -> Floats:
    """(C,) eq. 1: of each concept's pairs together.

    Args:
        concept: (J,) of each pair, below `number`.
        counts: (J, 3) see `PairCounts`.
        number: of concepts, C.
    """
    return iou(*(np.bincount(concept, part, minlength=number) for part in counts.T))


def pair_counts(
    vectors: ConceptVectors,
    activations: "Activations",
    data: "ProbeDataset",
    split: str,
    *,
    label_size: int | None = None,
    align_corners: bool = False,
) -> PairCounts:
    """Compare the masks of vectors with the labels of a split.

    Args:
        vectors: one per concept of the data set; single units are one-hot rows.
        activations: of the layer that the vectors belong to.
        data: the probe data set.
        split: 'train', 'val' or 'test'.
        label_size: see `conceptlab.probes.units.dissection.dissect`.
        align_corners: see there.

    Raises:
        SpaceError: vectors of another layer or network.
        InputError: vectors over flattened maps, or of other concepts than the data set's.
    """
    vectors.space.require_equal(activations.space(vectors.space.inputs))
    labels = label_store(activations, data, label_size)
    _require_concepts(vectors, labels)
    images = activations.rows(split)
    stream = Stream(inputs_of(vectors, activations), labels, images, align_corners=align_corners)
    shows = labels.shown()
    problem = PixelProblem(stream, shows & vectors.usable, np.zeros(len(vectors), np.float32))
    found = problem.counts(np.nan_to_num(vectors.weights), np.nan_to_num(vectors.bias))
    names = vectors.concepts.assign(concept=vectors.names)[["concept", "category"]]
    return PairCounts(names, shows[images].sum(axis=0), *found)


def inputs_of(vectors: ConceptVectors, activations: "Activations") -> Inputs:
    """What vectors weigh at every position: units as they are, or thresholded.

    Raises:
        InputError: vectors over flattened maps.
    """
    kind, _, tau = vectors.space.inputs.partition("@")
    if kind == "raw":
        return RawMaps(activations)
    if kind == "binary":
        return active_set(activations, float(tau))
    raise InputError(
        f"{vectors.kind} vectors are over {vectors.space.inputs} activations; masks need vectors "
        "over units"
    )


def _require_concepts(vectors: ConceptVectors, labels: LabelStore) -> None:
    have = list(zip(vectors.concepts["name"], vectors.concepts["category"], strict=True))
    want = list(zip(labels.concepts["name"], labels.concepts["category"], strict=True))
    if have != want:
        raise SpaceError(
            f"these vectors are of {len(have)} concepts and the data set has {len(want)}; "
            "score them on the data set that they were learned from"
        )


def _first_rows(images: NDArray[np.int64], stride: int) -> NDArray[np.int64]:
    """(n,) a first row below the stride for each image, always the same one.

    What lies between the rows that are visited in one image is seen in others, so that no concept
    is missed. Rows are scattered: images may alternate, as those of two cameras do.
    """
    golden = images * GOLDEN % 1.0
    first: NDArray[np.int64] = (golden * stride).astype(np.int64)
    return first


def _call(
    kernel: Callable[..., Any],
    maps: NDArray[np.float32],
    chunk: Chunk,
    groups: NDArray[np.int64],
    pairs: tuple[NDArray[np.int64], NDArray[np.int64]],
    rest: tuple[Any, ...],
) -> Any:
    """Run a kernel of `conceptlab.numerics.pixelwise` on a chunk."""
    labels = chunk.labels
    return kernel(
        maps, labels.plane_offsets, labels.planes, labels.pattern, labels.labelled, groups,
        *pairs, *rest,
    )  # fmt: skip
