"""Nearest concepts, whether they are nearer than chance, and the paper's tables 2 and 3.

Fong & Vedaldi 2018, section 5.3.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm.auto import tqdm

from conceptlab.analysis.directions import Directions, directions_of, require_number
from conceptlab.errors import InputError
from conceptlab.numerics.parallel import ordered_map
from conceptlab.vectors import ConceptVectors, unit_rows

Floats = NDArray[np.float64]
CELLS = 2_000_000  # cosines of permuted queries held at a time
SLOW = 2.0  # seconds after which a bar is worth showing
EQUAL = 1e-12  # cosines that differ by less are equal


def neighbours(
    vectors: Any, k: int = 5, draws: int = 1000, seed: int = 0, *, center: bool = False
) -> pd.DataFrame:
    """The k nearest concepts of every concept, and whether they are nearer than chance.

    The test permutes the query's coordinates among the units and holds the other vectors fixed;
    its statistic is the cosine of the r-th nearest among all others, so that having picked the
    best of many is part of the null. All concepts share one set of permutations. It assumes units
    that are exchangeable under the null: where some weigh more than others in every concept, or
    all vectors share a direction, that counts as similarity. `center=True` takes the shared
    direction out. Phipson & Smyth 2010: the given order counts as one permutation.

    Args:
        vectors: `ConceptVectors`, or an array (n, K).
        k: neighbours of each.
        draws: permutations of each query; 0 for no test.
        seed: of the permutations.
        center: see each concept from the mean of the other unit vectors. The cosine of a with b
            then need not be that of b with a.

    Returns:
        Columns concept, category, rank (from 1), neighbour, cosine, p_value, p_adjusted
        (Benjamini & Hochberg 1995, over the concepts, for each rank).

    Raises:
        InputError: fewer than two concepts (three where they are centred) with a vector.
    """
    require_number(k, "k", 1)
    require_number(draws, "draws", 0)
    space = directions_of(vectors, 3 if center else 2, "finding neighbours")
    k = min(k, len(space) - 1)
    units = np.tile(np.arange(space.rows.shape[1]), (draws, 1))
    orders = np.random.default_rng(seed).permuted(units, axis=1)
    search = _Search(space.rows, k, orders, center)
    found = list(
        tqdm(ordered_map(search.around, range(len(space))), desc="neighbours", total=len(space),
             delay=SLOW, leave=False)
    )  # fmt: skip
    places, cosines, above = (np.stack(part) for part in zip(*found, strict=True))
    chances = (1 + above) / (1 + draws) if draws else np.full(cosines.shape, np.nan)
    return _neighbour_table(space, places, cosines, chances)


@dataclass(frozen=True)
class _Search:
    """Neighbours of one query, and how often those of its permutations are as near."""

    rows: Floats
    k: int
    orders: NDArray[np.int64]
    center: bool

    def around(self, place: int) -> tuple[NDArray[np.int64], Floats, NDArray[np.int64]]:
        """(k,) places, (k,) cosines and (k,) numbers of permutations as near, nearest first."""
        query, rows = self._seen_from_others(place)
        cosines = rows @ query
        cosines[place] = -np.inf
        nearest = np.argsort(-cosines, kind="stable")[: self.k]
        above = np.zeros(self.k, dtype=np.int64)
        block = max(1, CELLS // max(rows.shape))
        for start in range(0, len(self.orders), block):
            chance = query[self.orders[start : start + block]] @ rows.T
            chance[:, place] = -np.inf
            top = np.partition(chance, len(rows) - self.k, axis=1)[:, len(rows) - self.k :]
            above += (-np.sort(-top, axis=1) >= cosines[nearest] - EQUAL).sum(axis=0)
        return nearest, cosines[nearest], above

    def _seen_from_others(self, place: int) -> tuple[Floats, Floats]:
        """The query and all rows; the mean that is taken off leaves the query out.

        Were the query in the mean, it would lean away from the others and never from its own
        permutations.
        """
        if not self.center:
            return self.rows[place], self.rows
        mean = (self.rows.sum(axis=0) - self.rows[place]) / (len(self.rows) - 1)
        centred = unit_rows(self.rows - mean)
        return centred[place], centred


def _neighbour_table(
    space: Directions, places: NDArray[np.int64], cosines: Floats, chances: Floats
) -> pd.DataFrame:
    from scipy.stats import false_discovery_control

    k = places.shape[1]
    tested = np.isfinite(chances).all()
    adjusted = false_discovery_control(chances, axis=0) if tested else chances
    return pd.DataFrame(
        {
            "concept": np.repeat(space.names, k), "category": np.repeat(space.categories, k),
            "rank": np.tile(np.arange(1, k + 1), len(space)),
            "neighbour": np.array(space.names)[places.ravel()], "cosine": cosines.ravel(),
            "p_value": chances.ravel(), "p_adjusted": adjusted.ravel(),
        }
    )  # fmt: skip


def nearest_table(
    segmentation_vectors: ConceptVectors,
    classification_vectors: ConceptVectors,
    names: Sequence[str],
    k: int = 5,
) -> pd.DataFrame:
    """Table 2: the nearest concepts in both embeddings, side by side.

    Args:
        segmentation_vectors: of the left sub-column of each concept.
        classification_vectors: of the right one.
        names: the concepts, a column each.
        k: rows.

    Returns:
        Rows rank 1..k; columns (concept, 'segmentation' | 'classification'); cells such as
        'cat (0.81)', and 'n/a' where a concept has no vector (a scene has no segmentation).

    Raises:
        InputError: a concept that neither embedding has a vector of.
    """
    sides = {"segmentation": segmentation_vectors, "classification": classification_vectors}
    _require_list(names, "names", "concept names")
    require_number(k, "k", 1)
    columns: dict[tuple[str, str], list[str]] = {}
    for name in names:
        known = {side: _has_vector(vectors, name) for side, vectors in sides.items()}
        for side, vectors in sides.items():
            if known[side] or not any(known.values()):  # the latter says what is wrong
                columns[name, side] = _cells(vectors.nearest(name, k), k)
            else:
                columns[name, side] = ["n/a"] * k
    index = pd.RangeIndex(1, k + 1, name="rank")
    table = pd.DataFrame(columns, index=index)
    table.columns = pd.MultiIndex.from_tuples(table.columns, names=["concept", "task"])
    return table


def arithmetic_table(vectors: ConceptVectors, sums: Sequence[str], k: int = 5) -> pd.DataFrame:
    """Table 3: the concepts nearest to sums of unit vectors.

    Args:
        vectors: the embedding.
        sums: such as 'grass + blue - green'; a column each.
        k: rows.

    Returns:
        Rows rank 1..k; columns the sums; cells such as 'sky (0.17)'.

    Raises:
        InputError: a term that is unknown or has no vector.
    """
    _require_list(sums, "sums", "sums such as 'grass + blue - green'")
    require_number(k, "k", 1)
    columns = {text: _cells(vectors.arithmetic(*parse_sum(text), k), k) for text in sums}
    return pd.DataFrame(columns, index=pd.RangeIndex(1, k + 1, name="rank"))


def _has_vector(vectors: ConceptVectors, name: str) -> bool:
    """Whether a name stands for concepts that have a vector (one, or several to choose from)."""
    concepts = vectors.concepts
    full = concepts["category"].astype(str) + "/" + concepts["name"].astype(str)
    hits = (concepts["name"] == name) | (full == name)
    return bool(vectors.usable[hits.to_numpy()].any())


def _require_list(given: Sequence[str], name: str, of: str) -> None:
    if isinstance(given, str) or not len(given):
        raise InputError(f"{name} is a list of {of}, with at least one; got {given!r}")


def _cells(found: pd.DataFrame, k: int) -> list[str]:
    cells = [
        f"{concept} ({cosine:.2f})"
        for concept, cosine in zip(found["concept"], found["cosine"], strict=True)
    ]
    return cells + [""] * (k - len(cells))


def parse_sum(text: str) -> tuple[list[str], list[str]]:
    """The terms added and taken away; signs stand between spaces, so names may hold hyphens.

    >>> parse_sum("grass + blue - green")
    (['grass', 'blue'], ['green'])
    """
    plus: list[str] = []
    minus: list[str] = []
    target = plus
    words: list[str] = []
    for token in [*text.split(), "+"]:
        if token in ("+", "-") and words:
            target.append(" ".join(words))
            words = []
        if token in ("+", "-"):
            target = plus if token == "+" else minus
        else:
            words.append(token)
    return plus, minus
