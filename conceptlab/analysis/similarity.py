"""Distances between embedding spaces, through the similarities of their concepts.

Fong & Vedaldi 2018, section 5.3: d(W) = W W^T over unit vectors; D_ij = ||d(W_i) - d(W_j)||^2 and,
for one concept, D_ijc = ||d(W_i)_c - d(W_j)_c||^2. The squared Frobenius norm, diagonal included.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conceptlab.errors import InputError
from conceptlab.vectors import ConceptVectors

Floats = NDArray[np.float64]


def shared_concepts(spaces: Mapping[str, ConceptVectors]) -> list[str]:
    """The names of concepts that have a vector in every space, in the order of the first."""
    sets = []
    for vectors in spaces.values():
        sets.append([n for n, ok in zip(vectors.names, vectors.usable, strict=True) if ok])
    return [name for name in sets[0] if all(name in other for other in sets[1:])]


def distance_tables(
    spaces: Mapping[str, ConceptVectors],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """D_ij of every pair of spaces, and the mean of D_ijc over the concepts of each category.

    D_ij grows with the number of concepts, so only distances over the same concepts compare; those
    that have a vector in every space are used.

    Args:
        spaces: name to vectors.

    Returns:
        Columns i, j, concepts (their number), distance; and columns i, j, category, distance. Both
        orders of a pair, and each space with itself.

    Raises:
        InputError: fewer than two concepts in common.
    """
    names = shared_concepts(spaces)
    if len(names) < 2:
        raise InputError(
            f"distances need two concepts that all of {', '.join(spaces)} have vectors of; "
            f"in common: {', '.join(names) or 'none'}"
        )
    chosen = {key: vectors.select(names) for key, vectors in spaces.items()}
    similarity = {key: vectors.similarity for key, vectors in chosen.items()}
    category = next(iter(chosen.values())).concepts["category"]
    whole, parts = [], []
    for i, mine in similarity.items():
        for j, theirs in similarity.items():
            per_concept = ((mine - theirs) ** 2).sum(axis=1)
            whole.append((i, j, len(names), float(per_concept.sum())))
            means = pd.Series(per_concept).groupby(category.to_numpy(), sort=False).mean()
            parts += [(i, j, str(name), float(value)) for name, value in means.items()]
    return (
        pd.DataFrame(whole, columns=["i", "j", "concepts", "distance"]),
        pd.DataFrame(parts, columns=["i", "j", "category", "distance"]),
    )
