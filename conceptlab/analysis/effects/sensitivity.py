"""Directional derivatives of classes along many directions of some layers, summed over images."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from conceptlab.activations.pictures import batches, layer_outputs
from conceptlab.errors import InputError
from conceptlab.given import require_number
from conceptlab.numerics.rounding import precision
from conceptlab.probes.cav.bundle import Bundle
from conceptlab.probes.cav.result import FEWEST_RANDOM, CavGroup, Cavs
from conceptlab.probes.cav.sets import Roles
from conceptlab.vectors import ConceptVectors, unit_rows

if TYPE_CHECKING:
    from conceptlab.activations.pictures import Pictures
    from conceptlab.models.outputs import Output
    from conceptlab.models.probed import ProbedModel

Floats = NDArray[np.float64]
SLOW = 2.0  # seconds after which a bar is worth showing
LOOKED_AT = 200  # images whose pooled outputs say how a layer varies


@dataclass(frozen=True)
class Sums:
    """What one class's images say of P directions.

    Args:
        images: n, those whose gradients are finite.
        unknown: how many others there are, which are left out.
        positive: (P,) share of the images with a positive derivative.
        negative: (P,) share with a negative one.
        mean: (P,) mean derivative.
        up: (P,) mean of the positive derivatives, 0 for the others.
        total: (P,) mean absolute derivative.
        shares: for each group of concepts (C, Q, n): at each image, the share of a re-draw's
            directions with a positive derivative.

    What is no more than the rounding of a derivative counts as 0. Without any image all is NaN.
    """

    images: int
    unknown: int
    positive: Floats
    negative: Floats
    mean: Floats
    up: Floats
    total: Floats
    shares: tuple[NDArray[np.float32], ...]


def directional_derivatives(
    model: "ProbedModel",
    images: "Mapping[Any, Pictures]",
    cavs: Sequence[Cavs],
    output: "Output",
    batch_size: int,
    progress: bool,
) -> Iterator[tuple[str, list[Sums]]]:
    """For each class, the sums of all its images over the directions of each layer.

    One forward and one backward pass for each image, whatever the number of layers and directions.

    Args:
        model: the network.
        images: class to pictures.
        cavs: the directions; several may be of one layer.
        output: see `conceptlab.models.outputs.scores_of`.
        batch_size: pictures a pass.
        progress: show a bar.

    Yields:
        The class's name, and a `Sums` for each of `cavs`.
    """
    from conceptlab.models.outputs import class_name

    total = sum(len(pictures) for pictures in images.values())
    with tqdm(total=total, desc="TCAV", unit="image", delay=SLOW, disable=not progress) as bar:
        for which, pictures in images.items():
            running = [_Running(one) for one in cavs]
            for gradients in _gradients(model, which, pictures, cavs, (output, batch_size)):
                for one, gradient in zip(running, gradients, strict=True):
                    one.add(gradient)
                bar.update(len(gradients[0]))
            yield class_name(model, which), [one.sums() for one in running]


def _gradients(
    model: "ProbedModel",
    which: Any,
    pictures: "Pictures",
    cavs: Sequence[Cavs],
    how: "tuple[Output, int]",
) -> Iterator[list[NDArray[np.float32]]]:
    """(n, D) the derivatives of a class at each of `cavs`' layers, in the form that they have."""
    from conceptlab.models.outputs import class_columns
    from conceptlab.passes.gradient import derivatives

    output, batch_size = how
    layers = list(dict.fromkeys(one.vectors.space.layer for one in cavs))
    for batch in batches(model, pictures, batch_size):

        def columns(count: int, size: int = len(batch)) -> NDArray[np.int64]:
            return np.tile(class_columns(model, [which], count), (size, 1))

        found = derivatives(model, batch, layers, columns, output).layers
        yield [_shaped(found[c.vectors.space.layer].gradients[0], c.form) for c in cavs]


def _shaped(gradient: NDArray[Any], form: str) -> NDArray[np.float32]:
    """(n, K, H, W) derivatives as those along a change of all positions, or of each by itself."""
    if form == "flattened":
        return np.asarray(gradient.reshape(len(gradient), -1), dtype=np.float32)
    return np.asarray(gradient.sum(axis=(2, 3), dtype=np.float64), dtype=np.float32)


class _Running:
    """The sums of a class while its images pass."""

    def __init__(self, cavs: Cavs) -> None:
        self._cavs, self._images, self._unknown = cavs, 0, 0
        self._kept = np.zeros((4, len(cavs.bundle)))
        self._shares: list[list[NDArray[np.float32]]] = [[] for _ in cavs.groups]

    def add(self, gradient: NDArray[np.float32]) -> None:
        """Take in the gradients (n, D) of some images."""
        if gradient.shape[1] != self._cavs.bundle.features:
            raise InputError(
                f"layer {self._cavs.vectors.space.layer} gives {gradient.shape[1]} values, and the "
                f"vectors have {self._cavs.bundle.features}: they were learned at another size"
            )
        known = np.isfinite(gradient).all(axis=1)
        self._unknown += int((~known).sum())
        gradient = gradient[known]
        along = self._cavs.bundle.along(gradient)
        length = np.linalg.norm(gradient, axis=1)  # of gradients; directions have length 1
        along[np.abs(along) <= precision(gradient) * length] = 0.0
        ahead = along > 0
        self._images += len(gradient)
        self._kept[0] += ahead.sum(axis=1)
        self._kept[1] += (along < 0).sum(axis=1)
        self._kept[2] += np.where(ahead, along, 0.0).sum(axis=1, dtype=np.float64)
        self._kept[3] += np.abs(along).sum(axis=1, dtype=np.float64)
        for kept, group in zip(self._shares, self._cavs.groups, strict=True):
            roles = group.roles
            drawn = roles.redraws if roles.redraws.size else roles.draws[:, None]
            kept.append(ahead[drawn].mean(axis=2, dtype=np.float32))

    def sums(self) -> Sums:
        """The means and shares over all images so far; NaN without images."""
        none = np.full_like(self._kept, np.nan)
        positive, negative, up, total = self._kept / self._images if self._images else none
        shares = tuple(np.concatenate(kept, axis=2) for kept in self._shares)
        return Sums(
            self._images, self._unknown, positive, negative, 2 * up - total, up, total, shares
        )


def with_random(
    model: "ProbedModel",
    images: "Mapping[Any, Pictures]",
    vectors: Cavs | ConceptVectors,
    random: int | Cavs | ConceptVectors,
    how: tuple[int, int],
) -> Cavs:
    """Vectors with something to test against: their own counterparts, or random directions.

    Args:
        model: the network.
        images: class to pictures, which say how the layer varies.
        vectors: with or without counterparts.
        random: a number of random directions, or vectors to be taken for random.
        how: pictures a batch, and the seed of random directions.
    """
    if isinstance(vectors, Cavs):
        return vectors
    if vectors.space.inputs == "flattened":
        raise InputError(
            "vectors over flattened maps are tested with their counterparts only: give the Cavs "
            "that they belong to (CavProbe.cavs)"
        )
    places = np.flatnonzero(vectors.usable)
    rows = unit_rows(vectors.weights[places])
    null = _null_rows(model, images, vectors, random, how)
    _require_enough(len(null))
    numbers = np.arange(len(rows) + len(null))
    draws = numbers[: len(rows), None]
    against = numbers[len(rows) :].reshape(1, -1, 1)
    signs = np.ones(against.shape, np.int8)
    roles = Roles(draws, draws[:, None], draws, against, signs, shared=False)
    bundle = Bundle.of(np.concatenate([rows, null]))
    groups = (CavGroup(places, roles),) if len(places) else ()
    return Cavs(vectors, bundle, groups, "pooled")


def _null_rows(
    model: "ProbedModel",
    images: "Mapping[Any, Pictures]",
    vectors: ConceptVectors,
    random: int | Cavs | ConceptVectors,
    how: tuple[int, int],
) -> Floats:
    """(R, K) random directions at unit length."""
    if not isinstance(random, Cavs | ConceptVectors):
        require_number(random, "random", 0)
        _require_enough(random)
        return random_like(model, images, vectors.space.layer, random, how)
    given = random.vectors if isinstance(random, Cavs) else random
    if (given.space.weights, given.space.layer) != (vectors.space.weights, vectors.space.layer):
        raise InputError(
            f"the vectors taken for random are of {given.space.model} {given.space.layer}, the "
            f"others of {vectors.space.model} {vectors.space.layer}"
        )
    if isinstance(random, Cavs):
        return random_rows(random)
    if given.space.inputs == "flattened":
        raise InputError("vectors over flattened maps are no random ones for vectors over units")
    return unit_rows(given.weights[given.usable])


def _require_enough(count: int) -> None:
    if count < FEWEST_RANDOM:
        raise InputError(
            f"{count} random vectors cannot say what random vectors reach: take at least "
            f"{FEWEST_RANDOM}, and better 100"
        )


def random_rows(cavs: Cavs) -> Floats:
    """(E, K) the CAVs of random sets against one another, at unit length, no set in two of them.

    Raises:
        InputError: CAVs over flattened maps, or of no concept at all.
    """
    if cavs.form == "flattened":
        raise InputError("CAVs over flattened maps are no random directions for vectors over units")
    if not cavs.groups:
        raise InputError("none of these concepts has a CAV (too few examples to fit one)")
    return unit_rows(cavs.bundle.sums(_independent(cavs)))


def _independent(cavs: Cavs) -> NDArray[np.int64]:
    """(E, 1) pairs of random sets of which no set is in two."""
    roles = max((group.roles for group in cavs.groups), key=lambda r: r.null.shape[1])
    if roles.shared:  # element i is set i, against each other set in order
        even = np.arange(0, roles.null.shape[1] - 1, 2)
        return np.asarray(roles.null[0, even, even][:, None])
    return np.asarray(roles.null[0, :, :1])


def random_like(
    model: "ProbedModel",
    images: "Mapping[Any, Pictures]",
    layer: str,
    count: int,
    how: tuple[int, int],
) -> Floats:
    """(R, K) random directions at unit length that vary as the layer does.

    Random sums of the centred pooled outputs of up to 200 of the images: as a difference between
    two random sets of images would be. Isotropic directions would mostly leave the layer's own
    variation, where no network is sensitive, and make everything look important beside them.

    Raises:
        InputError: fewer than four pictures in all.
    """
    batch_size, seed = how
    share = max(2, LOOKED_AT // len(images))
    parts = []
    for which in sorted(images, key=str):  # the order of classes changes nothing
        few = _first(images[which], share)
        parts += [part.mean(axis=(2, 3)) for part in layer_outputs(model, few, layer, batch_size)]
    pooled = np.concatenate(parts).astype(np.float64)
    if len(pooled) < FEWEST_RANDOM:
        raise InputError(
            f"{len(pooled)} pictures do not say how layer {layer} varies: give at least "
            f"{FEWEST_RANDOM}, or vectors to be taken for random (random=)"
        )
    pooled -= pooled.mean(axis=0)
    mix = np.random.default_rng([seed, 2]).normal(size=(count, len(pooled)))
    return unit_rows(mix @ pooled)


def _first(pictures: "Pictures", count: int) -> Any:
    """The first of some pictures; a tensor's stay a tensor."""
    if hasattr(pictures, "ndim"):
        return pictures[:count]
    return [pictures[i] for i in range(min(count, len(pictures)))]
