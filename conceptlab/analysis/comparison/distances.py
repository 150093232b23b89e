"""Distances between embedding spaces, through the similarities of their concepts.

Fong & Vedaldi 2018, section 5.3: d(W) = W W^T over unit vectors; D_ij = ||d(W_i) - d(W_j)||^2 and,
for one concept, D_ijc = ||d(W_i)_c - d(W_j)_c||^2. The squared Frobenius norm, diagonal included.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conceptlab.analysis.comparison.items import Items, Which, matched, without_cosines
from conceptlab.analysis.comparison.measure import AgreementMeasure
from conceptlab.errors import InputError
from conceptlab.given import checked
from conceptlab.numerics.intervals import LOGARITHM
from conceptlab.numerics.pairs import permuted_product
from conceptlab.numerics.parallel import ordered_map
from conceptlab.vectors import ConceptVectors, qualified_names

Floats = NDArray[np.float64]
BLOCK_BYTES = 64e6  # similarities held at once
ROWS = 16  # concepts compared at once: what fits a processor's cache


@dataclass(frozen=True)
class EmbeddingDistances:
    """D_ij and D_ijc of every two embeddings of the same concepts.

    D grows with the number of concepts, so only distances over the same concepts compare.

    Args:
        names: (M,) of the embeddings.
        concepts: (C,) rows concept, category.
        per_concept: (M, M, C) D_ijc.
    """

    names: list[str]
    concepts: pd.DataFrame
    per_concept: Floats

    @cached_property
    def matrix(self) -> pd.DataFrame:
        """(M, M) D_ij, with the embeddings' names."""
        return pd.DataFrame(self.per_concept.sum(axis=2), index=self.names, columns=self.names)

    @property
    def table(self) -> pd.DataFrame:
        """Both orders of every pair, and each with itself: i, j, concepts (number), distance."""
        i, j = self._pairs()
        return pd.DataFrame(
            {"i": i, "j": j, "concepts": len(self.concepts),
             "distance": self.matrix.to_numpy().ravel()}
        )  # fmt: skip

    @property
    def by_category(self) -> pd.DataFrame:
        """Mean of D_ijc over the concepts of each category: i, j, category, distance."""
        codes, categories = pd.factorize(self.concepts["category"])
        member = np.eye(len(categories))[codes]  # (C, categories)
        means = self.per_concept @ (member / member.sum(axis=0))
        i, j = self._pairs()
        return pd.DataFrame(
            {"i": i.repeat(len(categories)), "j": j.repeat(len(categories)),
             "category": np.tile(np.asarray(categories, dtype=object), len(i)),
             "distance": means.ravel()}
        )  # fmt: skip

    def of(self, i: str, j: str) -> pd.DataFrame:
        """The concepts that differ most between two embeddings: concept, category, distance.

        Raises:
            InputError: no such embedding.
        """
        for name in (i, j):
            if name not in self.names:
                raise InputError(f"no embedding {name!r} here; there are {', '.join(self.names)}")
        values = self.per_concept[self.names.index(i), self.names.index(j)]
        table = self.concepts.assign(distance=values)
        return table.sort_values("distance", ascending=False, kind="stable", ignore_index=True)

    def _repr_html_(self) -> str:
        html: str = self.matrix.to_html(float_format="{:.4g}".format, escape=True)
        return html

    def _pairs(self) -> tuple[NDArray[Any], NDArray[Any]]:
        names = np.array(self.names, dtype=object)
        return names.repeat(len(names)), np.tile(names, len(names))


@checked
def embedding_distance(
    spaces: Mapping[str, Any] | Sequence[Any], *, concepts: Which = "same"
) -> EmbeddingDistances:
    """D_ij and D_ijc between embeddings of the same concepts (section 5.3, figure 10).

    Adequate for embeddings of the same concepts, whatever their units; cosines of all concepts
    weigh alike, so a space in which all vectors point the same way is far from every other. For
    agreement in order alone take `rsa`.

    Args:
        spaces: two or more, by name or in a list: `ConceptVectors`, `ConceptSimilarities` or arrays
            (C, K). Time and memory are near those of one (C, C) product each; no (C, C) matrix of
            vectors is held.
        concepts: 'same' or 'shared', see `conceptlab.analysis.comparison.items.matched`.

    Raises:
        InputError: fewer than two embeddings; concepts that differ; a row of zeros, which has no
            cosine.
    """
    named = name_spaces(spaces)
    if len(named) < 2:
        raise InputError(f"distances are between two embeddings or more; got {len(named)}")
    sides = list(matched(named, concepts, least=2).values())
    for name, side in zip(named, sides, strict=True):
        if why := without_cosines(side):
            raise InputError(why.replace("the first side", name, 1))
    return EmbeddingDistances(list(named), _labels(sides), _per_concept(sides))


def _per_concept(sides: Sequence[Items]) -> Floats:
    """(M, M, C) D_ijc, from the similarities of a block of concepts at a time."""
    count = sides[0].count
    size = int(np.clip(BLOCK_BYTES / (8 * len(sides) * count), 1, count))
    found, held = np.empty((count, len(sides), len(sides))), np.empty((len(sides), size, count))
    for start in range(0, count, size):
        now = held[:, : min(size, count - start)]
        for side, similar in zip(sides, now, strict=True):
            unit = side.unit()
            part = unit[start : start + size]
            if side.rows is None:
                similar[:] = part
            else:
                np.matmul(part, unit.T, out=similar)
        pieces = [now[:, i : i + ROWS] for i in range(0, now.shape[1], ROWS)]
        np.concatenate(list(ordered_map(_squared, pieces)), out=found[start : start + size])
    return found.transpose(1, 2, 0)


def _squared(rows: Floats) -> Floats:
    """(B, M, M) squared distances of every two embeddings' similarities (M, B, C) of B concepts.

    The mean over embeddings is taken out first: differences are the same, and rounding is that of
    the differences, not of the similarities.
    """
    away = (rows - rows.mean(axis=0)).transpose(1, 0, 2)
    gram = away @ away.transpose(0, 2, 1)
    squares = np.diagonal(gram, axis1=1, axis2=2)
    found = np.maximum(squares[:, :, None] + squares[:, None, :] - 2 * gram, 0.0)
    found[:, np.arange(len(rows)), np.arange(len(rows))] = 0.0
    return np.asarray((found + found.transpose(0, 2, 1)) / 2)


def _labels(sides: Sequence[Items]) -> pd.DataFrame:
    """Name and category of what is compared; numbers where nothing has names."""
    tables = [side.concepts for side in sides if side.concepts is not None]
    if not tables:
        return pd.DataFrame({"concept": [str(i) for i in range(sides[0].count)], "category": ""})
    richest = max(tables, key=lambda table: bool((table["category"].astype(str) != "").any()))
    return pd.DataFrame(
        {"concept": qualified_names(richest), "category": list(richest["category"])}
    )


class _Distance:
    """D_ij of two sides whose similarities are held."""

    def __init__(self, a: Items, b: Items) -> None:
        self.first, self.second = a.similarity(), b.similarity()
        self.undefined = without_cosines(a, b)
        self.squares = self.size = float((self.first**2).sum() + (self.second**2).sum())
        self.apart = (self.first - self.second) ** 2

    def value(self) -> float:
        """Of the items as they are."""
        return float(self.apart.sum())

    def permuted(self, order: NDArray[np.int64]) -> float:
        """With the second side's items in another order."""
        return float(self.squares - 2 * permuted_product(self.first, self.second, order))

    def without(self, group: NDArray[np.int64]) -> float:
        """Without some of the items."""
        times = np.ones(len(self.apart))
        times[group] = 0.0
        return float(times @ self.apart @ times)


def _whole(a: Items, b: Items) -> float:
    return float("nan") if without_cosines(a, b) else float(_per_concept([a, b])[0, 1].sum())


MEASURE = AgreementMeasure(
    name="distance",
    adequate=(
        "Adequate where both sides embed the same concepts, whatever their units. It grows with "
        "the number of concepts, so only distances over the same concepts compare. All cosines "
        "weigh alike: a space in which all vectors point the same way is far from every other. "
        "Blind to rotation and scale of either side, not to a shift."
    ),
    make=_Distance,
    whole=_whole,
    greater=False,
    scale=LOGARITHM,
    summed=True,
)


def name_spaces(spaces: Mapping[str, Any] | Sequence[Any]) -> dict[str, Any]:
    """Embeddings by name; those of a list are called after network, layer and kind, or numbered.

    >>> list(name_spaces([np.eye(3), np.eye(3)]))
    ['0', '1']
    """
    if isinstance(spaces, Mapping):
        return {str(name): space for name, space in spaces.items()}
    if isinstance(spaces, str | bytes) or not isinstance(spaces, Iterable):
        raise InputError(
            f"spaces are embeddings by name, or a list of them; got a {type(spaces).__name__}"
        )
    named: dict[str, Any] = {}
    for place, space in enumerate(spaces):
        name = str(place)
        if isinstance(space, ConceptVectors):
            name = f"{space.space.model} {space.space.layer} {space.kind}"
        named[name if name not in named else f"{name} {place}"] = space
    return named
