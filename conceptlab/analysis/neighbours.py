"""Nearest concepts, whether they are nearer than chance, and the paper's tables 2 and 3.

Fong & Vedaldi 2018, section 5.3.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm.auto import tqdm

from conceptlab.analysis.directions import Directions, directions_of
from conceptlab.errors import InputError
from conceptlab.given import require_number, require_seed
from conceptlab.numerics.decorrelate import uncorrelated_axes
from conceptlab.numerics.parallel import ordered_map
from conceptlab.numerics.testing import benjamini_hochberg, permutation_p
from conceptlab.vectors import ConceptVectors, unit_rows

Floats = NDArray[np.float64]
CELLS = 2_000_000  # cosines of queries with other signs held at a time
FOLDS = 10  # of concepts at least: the axes of each are learned from the others
WORK = 20_000_000  # of K^3, that may be spent on more folds
UNTESTED = "no sign changes the cosine: there is nothing to test"
SLOW = 2.0  # seconds after which a bar is worth showing


def neighbours(
    vectors: Any, k: int = 5, draws: int = 1000, seed: int = 0, *, center: bool = False
) -> pd.DataFrame:
    """The k nearest concepts of every concept, and whether they are nearer than chance.

    The test holds the other vectors fixed and draws the query anew, in three ways; the p-value is
    the largest of the three, so that it holds where one of them does. Its statistic is the cosine
    of the r-th nearest among all others: having picked the best of many is part of the null. The
    query's coordinates get random signs, which keep the size of each, so units may weigh as
    unequally as they will, and tails be heavy: (1) along the units; (2) along the axes in which
    the other concepts do not correlate (`conceptlab.numerics.decorrelate`), the units again
    where concepts are too few to say otherwise. (3) It is normal along these axes, with the others'
    spread, which allows for axes that few concepts do not tell well. Unrelated vectors are so
    called near in 0.2 to 5 % of cases at 5 %: fewest where axes have to be learned from few
    concepts, see `analyses/benchmarks/permutation_levels.py`. A direction that all vectors share is
    such an axis, and its sign chance; `center=True` takes it out of the cosines as well. Phipson &
    Smyth 2010: the given vector counts as one draw.

    Args:
        vectors: `ConceptVectors`, or an array (n, K).
        k: neighbours of each.
        draws: of each kind for each query; 0 for no test.
        seed: of these.
        center: see each concept from the mean of the other unit vectors. The cosine of a with b
            then need not be that of b with a.

    Returns:
        Columns concept, category, rank (from 1), neighbour, cosine, p_value, p_adjusted
        (Benjamini & Hochberg 1995, over the concepts, for each rank), note (why there is no
        p-value: one-hot vectors of different units are at right angles whatever the signs).

    Raises:
        InputError: fewer than two concepts (three where they are centred) with a vector.
    """
    require_number(k, "k", 1)
    require_seed(seed)
    require_number(draws, "draws", 0)
    space = directions_of(vectors, 3 if center else 2, "finding neighbours")
    k = min(k, len(space) - 1)
    rng, shape = np.random.default_rng(seed), (draws, space.rows.shape[1])
    folds = _folds(space)
    search = _Search(
        space.rows, k, rng.choice([-1.0, 1.0], shape), rng.normal(size=shape), center, folds,
        _learned(space.rows, folds, center) if draws else [],
    )  # fmt: skip
    found = list(
        tqdm(ordered_map(search.around, range(len(space))), desc="neighbours", total=len(space),
             delay=SLOW, leave=False)
    )  # fmt: skip
    places, cosines, chances = (np.stack(part) for part in zip(*found, strict=True))
    return _neighbour_table(space, places, cosines, chances, draws > 0)


def _folds(space: Directions) -> NDArray[np.int64]:
    """(n,) the fold of each concept, by name: its axes are learned from the other folds."""
    count, units = space.rows.shape
    folds = np.empty(count, dtype=np.int64)
    folds[space.order] = np.arange(count) % min(count, max(FOLDS, WORK // units**3))
    return folds


@dataclass(frozen=True)
class _Spread:
    """How vectors spread.

    Args:
        axes: as columns (K, K), along which they do not correlate; None for the units themselves.
        sizes: (K,) root mean squares along these.
    """

    axes: Floats | None
    sizes: Floats

    def along(self, rows: Floats) -> Floats:
        """Coordinates of vectors (..., K)."""
        return rows if self.axes is None else rows @ self.axes


def _learned(rows: Floats, folds: NDArray[np.int64], center: bool) -> list[_Spread]:
    """What the queries of each fold are drawn from, learned from the concepts of the others."""
    found = []
    for fold in range(int(folds.max()) + 1):
        part = rows[folds != fold]
        if center:
            part = unit_rows(part - part.mean(axis=0))
        axes = uncorrelated_axes(part)
        along = part if axes is None else part @ axes
        found.append(_Spread(axes, np.sqrt((along**2).mean(axis=0))))
    return found


@dataclass(frozen=True)
class _Search:
    """Neighbours of one query, and how often it is as near when it is drawn anew.

    Args:
        rows: (n, K) at unit length.
        k: neighbours.
        signs: (R, K) drawn.
        normal: (R, K) drawn.
        center: see `neighbours`.
        folds: (n,) of each concept.
        learned: for the queries of each fold.
    """

    rows: Floats
    k: int
    signs: Floats
    normal: Floats
    center: bool
    folds: NDArray[np.int64]
    learned: list[_Spread]

    def around(self, place: int) -> tuple[NDArray[np.int64], Floats, Floats]:
        """(k,) places, (k,) cosines and (k,) chances of cosines as high, nearest first."""
        query, rows = self._seen_from_others(place)
        cosines = rows @ query
        cosines[place] = -np.inf
        nearest = np.argsort(-cosines, kind="stable")[: self.k]
        return nearest, cosines[nearest], self._chances(place, cosines[nearest])

    def _chances(self, place: int, observed: Floats) -> Floats:
        """(k,) of the r-th nearest being as near: the largest of three, NaN where one is."""
        if not len(self.signs):
            return np.full(self.k, np.nan)
        query, rows = self._seen_from_others(place)
        spread = self.learned[self.folds[place]]
        turned, seen = spread.along(query), spread.along(rows)
        found = [
            self._beyond(observed, lambda some: self.signs[some] * query, rows, place),
            self._beyond(
                observed, lambda some: unit_rows(self.normal[some] * spread.sizes), seen, place
            ),
        ]
        if spread.axes is not None:
            found.append(
                self._beyond(observed, lambda some: self.signs[some] * turned, seen, place)
            )
        chances: Floats = np.maximum.reduce(found)
        return chances

    def _beyond(
        self, observed: Floats, drawn: Callable[[slice], Floats], rows: Floats, place: int
    ) -> Floats:
        """(k,) share of drawn queries whose r-th nearest of rows is as near."""
        null = np.empty((len(self.signs), self.k))
        block = max(1, CELLS // max(rows.shape))
        for start in range(0, len(self.signs), block):
            some = slice(start, start + block)
            chance = drawn(some) @ rows.T
            chance[:, place] = -np.inf
            top = np.partition(chance, len(rows) - self.k, axis=1)[:, len(rows) - self.k :]
            null[some] = -np.sort(-top, axis=1)
        return np.array([permutation_p(float(c), null[:, r]) for r, c in enumerate(observed)])

    def _seen_from_others(self, place: int) -> tuple[Floats, Floats]:
        """The query and all rows; the mean that is taken off leaves the query out.

        Were the query in the mean, it would lean away from the others and never with other signs.
        """
        if not self.center:
            return self.rows[place], self.rows
        mean = (self.rows.sum(axis=0) - self.rows[place]) / (len(self.rows) - 1)
        centred = unit_rows(self.rows - mean)
        return centred[place], centred


def _neighbour_table(
    space: Directions, places: NDArray[np.int64], cosines: Floats, chances: Floats, tested: bool
) -> pd.DataFrame:
    k = places.shape[1]
    adjusted = np.column_stack([benjamini_hochberg(rank) for rank in chances.T])
    return pd.DataFrame(
        {
            "concept": np.repeat(space.names, k), "category": np.repeat(space.categories, k),
            "rank": np.tile(np.arange(1, k + 1), len(space)),
            "neighbour": np.array(space.names)[places.ravel()], "cosine": cosines.ravel(),
            "p_value": chances.ravel(), "p_adjusted": adjusted.ravel(),
            "note": np.where(np.isnan(chances.ravel()) & tested, UNTESTED, ""),
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
