"""What is read of a network to decompose a class: its gradient, and what adds up along it."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm.auto import tqdm

from conceptlab.activations.pictures import batches
from conceptlab.analysis.effects.basis import Basis, Candidates
from conceptlab.errors import ModelError
from conceptlab.models.outputs import Output
from conceptlab.models.probed import ProbedModel
from conceptlab.passes.edit import changing, on_grid
from conceptlab.passes.gradient import derivatives, scores

Floats = NDArray[np.float64]
EQUAL = 1e-6  # of the largest: numbers that differ by less are equal but for rounding
SIDE = 32  # pixels


class _NonlinearGradient(Exception):
    """The gradient is not the same for all pictures and positions."""


@dataclass(frozen=True)
class Question:
    """A class at a layer of a network: what is read of each picture.

    Args:
        model: the network.
        layer: its name there.
        column: of the class.
        output: see `conceptlab.models.outputs.scores_of`.
    """

    model: ProbedModel
    layer: str
    column: int
    output: Output

    @cached_property
    def uninformative_pictures(self) -> Any:
        """(2, 3, S, S) a black picture and one of noise: they share what all pictures do."""
        noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        return self.model.prepare([Image.new("RGB", (SIDE, SIDE)), Image.fromarray(noise)])

    def read(self, batch: Any) -> tuple[Floats, Any, Any]:
        """(n, classes) scores, (n, K, H, W) outputs of the layer and gradients at them.

        Raises:
            ModelError: outputs or gradients that are not finite.
        """
        columns = np.full((len(batch), 1), self.column)
        found = derivatives(self.model, batch, [self.layer], columns, self.output)
        at = found.layers[self.layer]
        if not (np.isfinite(at.gradients).all() and np.isfinite(at.values).all()):
            raise ModelError(
                f"layer {self.layer} of {self.model.name} gives NaN or infinite values for these "
                "pictures, or gradients that are"
            )
        return found.scores.astype(np.float64), at.values, at.gradients[0]

    def baselines(self, batch: Any) -> Floats:
        """(n,) logits where all that the layer says of the picture is zero."""
        empty = on_grid(lambda grid: grid.new_zeros(grid.shape))
        with changing(self.model, {self.layer: empty}):
            found = scores(self.model, batch, self.output)
        return found[:, self.column].astype(np.float64)


@dataclass(frozen=True)
class Passes:
    """The pictures of a class, in batches, as often as they are wanted.

    Args:
        model: whose input they become.
        pictures: see `conceptlab.activations.pictures.batches`.
        size: of a batch.
        bar: what to write beside a bar, or None for no bar.
    """

    model: ProbedModel
    pictures: Any
    size: int
    bar: str | None

    def __iter__(self) -> Iterator[Any]:
        """One pass over the batches (n, 3, S, S)."""
        with tqdm(
            desc=self.bar, total=len(self.pictures), leave=False, disable=self.bar is None
        ) as bar:
            for batch in batches(self.model, self.pictures, self.size):
                yield batch
                bar.update(len(batch))


@dataclass(frozen=True)
class ClassFound:
    """What was found of a class over n pictures.

    Args:
        weights: (K,) w.
        basis: of it.
        contributions: (n, F + 3), as `completed` gives them.
        right: (n,) whether the network puts a picture into the class.
    """

    weights: Floats
    basis: Basis
    contributions: Floats
    right: NDArray[np.bool_]


def of_class(question: Question, passes: Passes, concepts: Candidates) -> ClassFound:
    """The decomposition of a class over its pictures.

    Where the gradient is the same for all pictures and positions, as before a global average and a
    linear layer, one pass is enough: w is that of any picture, and each batch is checked against
    it. Else there are two: w is the mean over the pictures, and then its parts are read of each.
    """
    gradients = question.read(question.uninformative_pictures)[2]
    weights = summed(gradients) / len(gradients)
    try:
        _require_everywhere(gradients, weights)
        return _contributions(question, passes, concepts, weights, straight=True)
    except _NonlinearGradient:
        weights = _mean_weights(question, passes)
    return _contributions(question, passes, concepts, weights, straight=False)


def _require_everywhere(gradients: NDArray[np.floating], weights: Floats) -> None:
    """Raise unless gradients (n, K, H, W) are the H W-th part of w (K,) everywhere."""
    part = weights[:, None, None] / np.prod(gradients.shape[2:])
    if np.abs(gradients - part).max() > EQUAL * np.abs(part).max():
        raise _NonlinearGradient


def _mean_weights(question: Question, passes: Passes) -> Floats:
    """(K,) w as the mean over the pictures."""
    count, total = 0, np.array(0.0)
    for batch in passes:
        gradients = question.read(batch)[2]
        total = total + summed(gradients)
        count += len(gradients)
    return total / count


def _contributions(
    question: Question, passes: Passes, concepts: Candidates, weights: Floats, *, straight: bool
) -> ClassFound:
    """The parts of w (K,) in each picture; with `straight`, the gradients have to be w's."""
    basis = concepts.basis(weights)
    parts = concepts.parts(basis)
    rows: list[Floats] = []
    right: list[NDArray[np.bool_]] = []
    baseline: float | None = None
    for batch in passes:
        said, values, gradients = question.read(batch)
        if straight:
            _require_everywhere(gradients, weights)
        pooled = np.stack(
            [
                along(value, gradient, weights).sum(axis=(1, 2))
                for value, gradient in zip(values, gradients, strict=True)
            ]
        )
        own = question.baselines(batch) if baseline is None else np.full(len(batch), baseline)
        if not rows:
            baseline = _shared(own, question.baselines(question.uninformative_pictures))
        rows.append(completed(pooled @ parts.T, own, said[:, question.column]))
        right.append(said.argmax(axis=1) == question.column)
    return ClassFound(weights, basis, np.concatenate(rows), np.concatenate(right))


def _shared(first: Floats, others: Floats) -> float | None:
    """The baseline that all these pictures share, as where nothing passes the layer by."""
    every = np.append(first, others)
    return float(every[0]) if np.ptp(every) <= EQUAL * np.abs(every).max() else None


def summed(gradients: NDArray[np.floating]) -> Floats:
    """(K,) gradients (n, K, H, W) summed over pictures and positions."""
    return np.asarray(gradients.sum(axis=(0, 2, 3), dtype=np.float64))


def along(values: NDArray[np.floating], gradient: NDArray[np.floating], weights: Floats) -> Floats:
    """(K, H, W) outputs of a layer by c_p, what of the gradient at each position is along w (K,).

    Args:
        values: (K, H, W).
        gradient: (K, H, W).
        weights: w.
    """
    squared = float(weights @ weights)
    reach = np.tensordot(weights, gradient.astype(np.float64), axes=1)
    return np.asarray(values * (reach / squared if squared > 0 else reach))


def completed(parts: Floats, baselines: Floats, logits: Floats) -> Floats:
    """(n, F + 3) contributions of concepts and residual (n, F + 1), baseline, and remainder."""
    known = np.column_stack([parts, baselines])
    return np.column_stack([known, logits - known.sum(axis=1)])
