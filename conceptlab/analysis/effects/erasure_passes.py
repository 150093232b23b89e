"""The passes behind concept erasure: what edits of a layer do to classes' scores."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from conceptlab.activations.pictures import Pictures, batches
from conceptlab.errors import InputError
from conceptlab.given import require_number
from conceptlab.models.outputs import Output, class_columns
from conceptlab.numerics.rounding import settled
from conceptlab.passes.ablation import (
    exactness,
    pooled,
    project_out,
    scores_changed,
    scores_intact,
    set_to_mean,
    squared_displacement,
    squared_distance,
)
from conceptlab.passes.rest import Edit, Rest
from conceptlab.vectors import ConceptVectors

if TYPE_CHECKING:
    from conceptlab.models.probed import ProbedModel

Floats = NDArray[np.float64]
FLATTENED = "flattened"
CONSTANT = 1e-6  # a unit that varies by a smaller share of its size is constant
NEAR = 8  # units of about the same spread at least, of which a control takes one


@dataclass(frozen=True)
class LayerStatistics:
    """A layer over some images, intact.

    Args:
        mean: (K,).
        spread: (K,) standard deviations of the units' pooled outputs, 0 for constant ones.
        directions: (R, K) random directions, at unit length.
    """

    mean: Floats
    spread: Floats
    directions: Floats


@dataclass(frozen=True)
class Ablations:
    """All edits: of concepts, two each, and of controls.

    Args:
        concepts: 2 C edits; all directions, then all sets of units.
        controls: 2 C R edits; along random directions, then of random units.
        mean: (K,) about which they are.
    """

    concepts: list[Edit]
    controls: list[Edit]
    mean: Floats

    @classmethod
    def of(
        cls, rows: Floats, seen: LayerStatistics, units: int, generator: np.random.Generator
    ) -> "Ablations":
        """Those of unit vectors (C, K), in whatever order they come."""
        own = [top_units(row, units) for row in rows]
        seed = int(generator.integers(2**32))
        concepts = [project_out(row, row, seen.mean) for row in rows]
        concepts += [set_to_mean(top, seen.mean) for top in own]
        controls = [project_out(row, other, seen.mean) for row in rows for other in seen.directions]
        for top in own:
            draw = np.random.default_rng([seed, *sorted(top)])
            controls += [
                set_to_mean(alike_units(top, seen.spread, draw), seen.mean) for _ in seen.directions
            ]
        return cls(concepts, controls, seen.mean)

    def by_concept(self, values: Floats) -> Floats:
        """(2, C, R) of one value per control."""
        return values.reshape(2, len(self.concepts) // 2, -1)


def top_units(row: Floats, units: int) -> NDArray[np.int64]:
    """The units of largest weight in a vector (K,), of those that weigh anything."""
    order = np.argsort(-np.abs(row), kind="stable")[:units]
    weighty: NDArray[np.int64] = order[row[order] != 0]
    return weighty


def alike_units(
    top: NDArray[np.int64], spread: Floats, draw: np.random.Generator
) -> NDArray[np.int64]:
    """As many units that vary about as much, drawn at random.

    Units of large weight are often those that vary most, and those that vary more do more: random
    units of any kind would make every concept look important. A unit may stand in for itself: were
    the concept's own left out, a set drawn just like the controls would still differ from them.

    Args:
        top: (m,) the units to be stood in for.
        spread: (K,) how much each varies.
        draw: decides.
    """
    free = np.flatnonzero(spread > 0)
    others = free if len(free) >= len(top) else np.arange(len(spread))
    near = max(NEAR, len(others) // 10)
    chosen = []
    for unit in draw.permutation(top):
        nearest = np.argsort(np.abs(spread[others] - spread[unit]), kind="stable")[:near]
        place = int(draw.choice(nearest))
        chosen.append(others[place])
        others = np.delete(others, place)
    return np.array(chosen, dtype=np.int64)


@dataclass(frozen=True)
class ClassEffect:
    """What erasing does to one class's own score, per ablation and concept.

    Args:
        column: the class's.
        score: (n,) intact.
        right: (n,) whether it is the highest of the image's scores, intact; NaN if the only one.
        change: (2, C, n) of the score.
        after: (2, C) share of images that score highest in it.
        removed: (2, C) RMS displacement, over the RMS distance from the mean.
        mean: (2, C) of the change.
        tested: (2, C) mean change over the images that the controls ran on.
        controls: (2, C, R) mean change under each control.
        control_right: (2, C, R) mean change of that share.
    """

    column: int
    score: Floats
    right: Floats
    change: Floats
    after: Floats
    removed: Floats
    mean: Floats
    tested: Floats
    controls: Floats
    control_right: Floats


@dataclass(frozen=True)
class ErasureRun:
    """The forward passes of an erasure: intact, with a concept erased, and with controls erased.

    Args:
        model: the network.
        rest: of the layer.
        output: see `conceptlab.models.outputs.scores_of`.
        batch_size: images a pass.
        bar: counts images.
    """

    model: "ProbedModel"
    rest: Rest
    output: Output
    batch_size: int
    bar: Any

    def columns(self, images: Mapping[str | int, Pictures]) -> NDArray[np.int64]:
        """(T,) of the classes, in the network's scores.

        Raises:
            InputError: an unknown class, or one that stands twice.
        """
        pictures = next(iter(images.values()))
        one: Any = pictures[:1] if hasattr(pictures, "ndim") else [pictures[0]]
        (batch,) = batches(self.model, one, 1)
        count = scores_intact(self.rest, batch, self.output).shape[1]
        classes = list(images)
        columns = class_columns(self.model, classes, count)
        for place, column in enumerate(columns):
            if column in columns[:place]:
                raise InputError(
                    f"class {classes[place]} stands twice among the images (column {column})"
                )
        return columns

    def look(
        self, pictures: Pictures, controls: int, generator: np.random.Generator
    ) -> LayerStatistics:
        """A pass over pictures that say how the layer varies, nothing changed.

        Raises:
            InputError: a layer that never varies.
        """
        count = 0
        total, square, mixed, share = (np.zeros(s) for s in ((1,), (1,), (1, 1), (controls,)))
        low, high = np.full(1, np.inf), np.full(1, -np.inf)
        for batch in self._batches(pictures):
            self.rest.intact(batch)
            x = pooled(self.rest)
            drawn = generator.normal(size=(len(x), controls))
            count, total = count + len(x), total + x.sum(axis=0)
            square = square + np.square(x).sum(axis=0)
            mixed, share = mixed + drawn.T @ x, share + drawn.sum(axis=0)
            low, high = np.minimum(low, x.min(axis=0)), np.maximum(high, x.max(axis=0))
        mean = total / count
        varies = high - low > CONSTANT * np.maximum(np.abs(low), np.abs(high))
        if not varies.any():
            raise InputError(
                "the layer gives the same for all images, so there is no variation to draw random "
                "directions from; give other images or another layer"
            )
        directions = np.where(varies, mixed - np.outer(share, mean), 0.0)
        spread = np.sqrt(np.maximum(square / count - mean**2, 0.0))
        return LayerStatistics(
            mean, np.where(varies, np.maximum(spread, 1e-300), 0.0),
            directions / np.linalg.norm(directions, axis=1, keepdims=True),
        )  # fmt: skip

    def outcome(
        self, pictures: Pictures, column: int, variants: Ablations, control_images: int | None
    ) -> ClassEffect:
        """What all edits do to one class on its own pictures."""
        chosen = spaced(len(pictures), control_images)
        before, after, squares, controls, small = [], [], [], [], []
        start = 0
        for batch in self._batches(pictures):
            mine = chosen[start : start + len(batch)]
            start += len(batch)
            own, sizes = self._intact(batch, column)
            before.append(own)
            small.append(sizes)
            after.append(self._changed(variants.concepts, column, own, sizes))
            squares.append(self._squares(variants))
            if mine.any():
                if not mine.all():
                    own, sizes = self._intact(batch[np.flatnonzero(mine)], column)
                some = self._changed(variants.controls, column, own, sizes)
                controls.append((some - own).sum(axis=1))
        base, found = np.concatenate(before), np.concatenate(after, axis=1)
        found = found.reshape(2, len(variants.concepts) // 2, *base.shape)
        change, square = found[..., 0] - base[:, 0], np.sum(squares, axis=0)
        sums = np.sum(controls, axis=0) / chosen.sum()
        rounding = float(np.concatenate(small).mean())  # means cancel where the rest is linear
        return ClassEffect(
            column=column, score=base[:, 0], right=base[:, 1], change=change,
            after=found[..., 1].mean(axis=2),
            removed=np.sqrt(square[1:] / max(square[0], 1e-300)).reshape(2, -1),
            mean=settled(change.mean(axis=2), rounding),
            tested=settled(change[..., chosen].mean(axis=2), rounding),
            controls=settled(variants.by_concept(sums[:, 0]), rounding),
            control_right=variants.by_concept(sums[:, 1]),
        )  # fmt: skip

    def _batches(self, pictures: Pictures) -> Iterator[Any]:
        for batch in batches(self.model, pictures, self.batch_size):
            yield batch
            self.bar.update(len(batch))

    def _intact(self, batch: Any, column: int) -> tuple[Floats, Floats]:
        """(n, 2) see `_own`, and (n,) below which a change of the score is rounding."""
        scores = scores_intact(self.rest, batch, self.output)
        return _own(scores, column), exactness(self.model) * np.abs(scores).max(axis=1)

    def _changed(
        self, edits: Sequence[Edit], column: int, before: Floats, rounding: Floats
    ) -> Floats:
        """(E, n, 2) under each edit; a score that moves by rounding alone has not moved."""
        found = np.stack(
            [_own(scores_changed(self.rest, edit, self.output), column) for edit in edits]
        )
        still = np.abs(found[..., 0] - before[:, 0]) <= rounding
        found[..., 0] = np.where(still, before[:, 0], found[..., 0])
        return found

    def _squares(self, variants: Ablations) -> Floats:
        """(1 + 2 C,) squared distances from the mean, and squared displacements, summed."""
        parts = [squared_distance(self.rest, variants.mean)]
        parts += [squared_displacement(self.rest, edit) for edit in variants.concepts]
        return np.array([part.sum() for part in parts])


def require_pointwise(vectors: ConceptVectors) -> None:
    """Refuse vectors that are no direction at a position.

    Raises:
        InputError: vectors over flattened maps.
    """
    if vectors.space.inputs == FLATTENED:
        raise InputError(
            "vectors over flattened maps are no directions at a position; learn them on pooled "
            "activations or on positions"
        )


def require_units(vectors: ConceptVectors, units: int) -> None:
    """Refuse to take out fewer units than one, or more than there are.

    Raises:
        InputError: naming the layer and how many it has.
    """
    require_number(units, "units", 1)
    if units > vectors.space.units:
        raise InputError(
            f"layer {vectors.space.layer} has {vectors.space.units} units; cannot take out {units}"
        )


def spaced(count: int, most: int | None) -> NDArray[np.bool_]:
    """(n,) which of the images the controls run on: at most so many, evenly spaced."""
    chosen = np.zeros(count, dtype=bool)
    kept = count if most is None else min(count, most)
    chosen[np.linspace(0, count - 1, kept).round().astype(int)] = True
    return chosen


def _own(scores: Floats, column: int) -> Floats:
    """(n, 2) a class's scores, and whether each is the image's highest."""
    alone = scores.shape[1] == 1
    right = np.full(len(scores), np.nan) if alone else scores.argmax(axis=1) == column
    return np.stack([scores[:, column], right], axis=1)
