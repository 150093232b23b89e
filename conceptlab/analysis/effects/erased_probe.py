"""What concept erasure leaves of a concept for a linear classifier to find.

Pooled activations of an erased layer are linear in the pooled activations of the intact one, so no
network runs.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conceptlab.activations.labels import label_store
from conceptlab.analysis.effects.erasure_passes import require_pointwise, require_units, top_units
from conceptlab.errors import InputError
from conceptlab.given import checked, require_seed
from conceptlab.numerics.borders import best_border
from conceptlab.numerics.logistic import Whitening, balanced_weights, fit_logistic
from conceptlab.numerics.metrics import balanced_accuracy
from conceptlab.registry import near_matches
from conceptlab.vectors import ConceptVectors, qualified_names, unit_rows

if TYPE_CHECKING:
    from conceptlab.activations.store import Activations
    from conceptlab.data.base import ProbeDataset

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
PENALTY = 1.0  # of classifiers learned anew, where the vectors have none of their own
ROUNDING = 1e-12  # of a sum's terms: a smaller difference is none
COLUMNS = tuple(
    f"accuracy_{name}"
    for name in ("before", "after", "intact", "refit", "random", "units", "units_refit")
)


@dataclass(frozen=True)
class _Images:
    """Pooled activations x (n, K), and what the images show (n,) of one concept."""

    x: Floats
    shown: Flags


@checked
def erased_probe(
    activations: "Activations",
    data: "ProbeDataset",
    vectors: ConceptVectors,
    split: str = "val",
    *,
    units: int = 10,
    seed: int = 0,
) -> pd.DataFrame:
    """How well an image's pooled activations tell a concept, before and after it is erased.

    'after' is the concept's own vector, for which nothing is left of its direction: 0.5, by
    construction. 'refit' is what a classifier finds that is learned anew on what is left: high,
    where the concept is encoded more than once (one direction out of K is little; compare with
    'random'). Erasing is about the mean of the training images. All classifiers learned anew have
    the penalty of the concept's own vector where it has one, else 1, as in
    `conceptlab.ClassificationProbe`; accuracy_intact is theirs on intact activations.

    Vectors that were not learned on pooled activations (segmentation, over thresholded units) have
    no border there: theirs is the border that tells the training images best, before and after.

    Args:
        activations: of the layer that the vectors belong to.
        data: the probe data set.
        vectors: of concepts of the data set.
        split: 'train', 'val' or 'test', where accuracy is measured.
        units: how many of the concept's top units the other ablation sets to their mean.
        seed: of the random directions, one for each concept's name, of the layer's own variation.

    Returns:
        Columns concept, category, n (images of the split that show it), accuracy_before,
        accuracy_after, accuracy_intact, accuracy_refit, accuracy_random (learned anew with a random
        direction taken out), and with the top units at their means accuracy_units (the concept's
        vector) and accuracy_units_refit. Accuracy is balanced; NaN without a vector, or images of
        either kind on train or the split.

    Raises:
        InputError: numbers that do not fit, or concepts that the data set does not have.
        SpaceError: vectors of another network or layer.
    """
    require_seed(seed)
    _check(activations, vectors, units)
    store = label_store(activations, data)
    columns = _columns(store.concepts, vectors)
    rows = activations.rows("train"), activations.rows(split)
    pooled = [activations.read_pooled(part).astype(np.float64) for part in rows]
    known, present = store.image_label_known(), store.shown_native
    mean = pooled[0].mean(axis=0)
    found = []
    for place, (column, usable) in enumerate(zip(columns, vectors.usable, strict=True)):
        sides = [
            _Images(x[known[part, column]], present[part, column][known[part, column]])
            for x, part in zip(pooled, rows, strict=True)
        ]
        own = _ErasedConcept.of(vectors, place, pooled[0] - mean, units, seed)
        both = all(0 < side.shown.sum() < len(side.shown) for side in sides)
        values = own.accuracies(sides[0], sides[1], mean) if usable and both else {}
        found.append({"n": int(sides[1].shown.sum()), **dict.fromkeys(COLUMNS, np.nan), **values})
    table = vectors.concepts.assign(concept=vectors.names)[["concept", "category"]]
    return pd.concat([table.reset_index(drop=True), pd.DataFrame(found)], axis=1)


@dataclass(frozen=True)
class _ErasedConcept:
    """One concept: its vector, and what is taken out.

    Args:
        weights: (K,).
        bias: None where it is no border on pooled activations.
        penalty: of classifiers learned anew.
        chance: (K,) a random direction.
        units: (m,) its top units.
    """

    weights: Floats
    bias: float | None
    penalty: float
    chance: Floats
    units: NDArray[np.int64]

    @classmethod
    def of(
        cls, vectors: ConceptVectors, place: int, centred: Floats, units: int, seed: int
    ) -> "_ErasedConcept":
        """That of a row; its random direction depends on the name alone."""
        name = [ord(letter) for letter in vectors.names[place]]
        drawn = np.random.default_rng([seed, *name]).normal(size=len(centred))
        given = float(vectors.concepts["penalty"][place]) if "penalty" in vectors.concepts else 0.0
        return cls(
            vectors.weights[place],
            float(vectors.bias[place]) if vectors.kind == "classification" else None,
            given if given > 0 else PENALTY,
            unit_rows(drawn[None] @ centred)[0],
            top_units(vectors.weights[place], units),
        )

    def accuracies(self, train: _Images, judge: _Images, mean: Floats) -> dict[str, float]:
        """All columns of the table."""
        direction = unit_rows(self.weights[None])[0]

        def without(images: _Images, along: Floats) -> _Images:
            return _Images(images.x - np.outer((images.x - mean) @ along, along), images.shown)

        def levelled(images: _Images) -> _Images:
            x = images.x.copy()
            x[:, self.units] = mean[self.units]
            return _Images(x, images.shown)

        erased = without(train, direction), without(judge, direction)
        cut = levelled(train), levelled(judge)
        mixed = without(train, self.chance), without(judge, self.chance)
        return {
            "accuracy_before": self._told(train, judge),
            "accuracy_after": self._told(*erased),
            "accuracy_intact": self._learned(train, judge),
            "accuracy_refit": self._learned(*erased),
            "accuracy_random": self._learned(*mixed),
            "accuracy_units": self._told(*cut),
            "accuracy_units_refit": self._learned(*cut),
        }

    def _told(self, train: _Images, judge: _Images) -> float:
        """Accuracy of the concept's own vector."""
        values, fitted = judge.x @ self.weights, train.x @ self.weights
        size = np.abs(train.x) @ np.abs(self.weights)
        if np.ptp(fitted) <= ROUNDING * size.max():
            return 0.5  # the same for all images, so one kind is told rightly and the other is not
        if self.bias is not None:
            return balanced_accuracy((values + self.bias > 0) == judge.shown, judge.shown)
        images = balanced_weights(train.shown[None], np.ones((1, len(train.shown)), dtype=bool))[0]
        order = np.argsort(fitted, kind="stable")[:, None]
        signed = np.where(train.shown, -images, images)
        _, border, side, _ = best_border(fitted[:, None], order, signed)
        return balanced_accuracy((side * (values - border) > 0) == judge.shown, judge.shown)

    def _learned(self, train: _Images, judge: _Images) -> float:
        """Accuracy of a classifier learned anew."""
        white = Whitening.of(train.x)
        if not len(white.values):
            return 0.5
        images = balanced_weights(train.shown[None], np.ones((1, len(train.shown)), dtype=bool))
        found = fit_logistic(
            white.rotate(train.x), train.shown[None], images, np.array([self.penalty]),
            white.values, 1e-6,
        )  # fmt: skip
        logits = white.rotate(judge.x) @ found[0, :-1] + found[0, -1]
        return balanced_accuracy((logits > 0) == judge.shown, judge.shown)


def _check(activations: "Activations", vectors: ConceptVectors, units: int) -> None:
    """Refuse vectors of another layer, and numbers that do not fit."""
    require_pointwise(vectors)
    replace(vectors.space, inputs="raw").require_equal(activations.space("raw"))
    require_units(vectors, units)


def _columns(known: pd.DataFrame, vectors: ConceptVectors) -> list[int]:
    """Which concept of the data set each vector's is."""
    places = {pair: i for i, pair in enumerate(zip(known["category"], known["name"], strict=True))}
    columns = []
    for category, name in zip(vectors.concepts["category"], vectors.concepts["name"], strict=True):
        if (category, name) not in places:
            near = near_matches(name, qualified_names(known))
            raise InputError(f"the data set has no concept {category}/{name}; {near}")
        columns.append(places[category, name])
    return columns
