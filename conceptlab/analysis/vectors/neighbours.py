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

from conceptlab.analysis.vectors.unit_vectors import Directions, directions_of
from conceptlab.errors import InputError
from conceptlab.given import checked, require_number, require_seed
from conceptlab.numerics.parallel import ordered_map
from conceptlab.numerics.testing import benjamini_hochberg, permutation_p
from conceptlab.vectors import ConceptVectors, unit_rows

Floats = NDArray[np.float64]
CELLS = 2_000_000  # cosines held at a time
ROUNDED = 1e-12  # of the largest singular value: smaller ones are rounding
EVEN = 0.2  # of the variance of squared lengths that normal vectors have: less, and it was lost
SAME, JUDGED = 1e-9, 10  # the share for fewer vectors than this, which may be so even by chance
UNTESTED = "every rotation gives this cosine: there is nothing to test"
LENGTHS = (
    "the vectors are of one length, or nearly, and the test goes by lengths as a probe gives them: "
    "give the vectors before they were normalised"
)
SLOW = 2.0  # seconds after which a bar is worth showing


@checked
def neighbours(
    vectors: Any, k: int = 5, draws: int = 1000, seed: int = 0, *, center: bool = False
) -> pd.DataFrame:
    """The k nearest concepts of every concept, and whether they are nearer than chance.

    A rotation test (Wedderburn 1975; Langsrud 2005, "Rotation tests"). The null hypothesis: the
    vectors, lengths included, are independent draws of one normal law about the origin (about any
    mean with `center=True`), whatever its covariance. That is what probes give of concepts that
    have nothing to do with the images: one covariance, that of the layer. Units may then weigh as
    unequally and correlate as they will. Rotations of the concepts (the matrix of all vectors,
    multiplied from the left by a random orthogonal one) keep the vectors' second moments and, under
    that hypothesis, their law; so the p-value is exact, for any number of concepts and units. The
    statistic is the cosine of the r-th nearest among all others: having picked the best of many is
    part of the null. Phipson & Smyth 2010: the given vectors count as one draw.

    Lengths that differ more than normal vectors' do, as of probes with few and with many images,
    make the test conservative; those of vectors that were normalised, as CAVs are, are lost, and
    there is no p-value. See `analyses/benchmarks/permutation_levels.py`.

    Who is near and what chance gives are asked among the concepts given: with other concepts beside
    it, a concept has other neighbours and other p-values.

    Args:
        vectors: `ConceptVectors`, or an array (n, K); not at unit length.
        k: neighbours of each.
        draws: rotations; 0 for no test.
        seed: of these.
        center: see each concept from the mean of the other unit vectors. The cosine of a with b
            then need not be that of b with a.

    Returns:
        Columns concept, category, rank (from 1), neighbour, cosine, p_value, p_adjusted
        (Benjamini & Hochberg 1995, over the concepts, for each rank), note (why there is no
        p-value).

    Raises:
        InputError: fewer than two concepts (three where they are centred) with a vector.
    """
    require_number(k, "k", 1)
    require_seed(seed)
    require_number(draws, "draws", 0)
    space = directions_of(vectors, 3 if center else 2, "finding neighbours")
    k = min(k, len(space) - 1)
    places, cosines = _nearest(space.rows, k, center)
    given = space.rows * space.lengths[:, None]
    even = _are_even(given)
    why = "" if not draws else LENGTHS if even else UNTESTED
    chances = np.full(cosines.shape, np.nan)
    if draws and not even:
        order = space.order
        rotation = _Rotation.of(given[order], center)
        seeds = np.random.SeedSequence(seed).spawn(draws)
        drawn = ordered_map(lambda s: rotation.nearest(np.random.default_rng(s), k), seeds)
        null = np.stack(list(tqdm(drawn, "neighbours", draws, delay=SLOW, leave=False)))
        for place, concept in enumerate(order):
            chances[concept] = [
                permutation_p(float(cosines[concept, r]), null[:, place, r]) for r in range(k)
            ]
    return _neighbour_table(space, places, cosines, chances, why)


def _are_even(rows: Floats) -> bool:
    """Whether lengths differ by much less than those of normal vectors of the same covariance.

    The squared length of such a vector varies by 2 tr(S^2); of n vectors, tr(S^2) is estimated
    without the bias tr(S)^2 / n.
    """
    count = len(rows)
    sizes = np.linalg.svd(rows, compute_uv=False) ** 2 / count
    varied = ((sizes**2).sum() - sizes.sum() ** 2 / count) / (1 + 1 / count)
    share = EVEN if count >= JUDGED else SAME
    rounding = SAME * sizes.sum() ** 2
    return bool(np.var((rows**2).sum(axis=1), ddof=1) <= max(share * 2 * varied, rounding * SAME))


@dataclass(frozen=True)
class _Rotation:
    """Vectors that were rotated among one another, in no more dimensions than they span.

    Args:
        count: n vectors.
        middle: (m,) their mean, or 0 where they are taken about the origin.
        moments: (r, m) principal axes of what is rotated, times their singular values.
        center: whether there is a mean.
    """

    count: int
    middle: Floats
    moments: Floats
    center: bool

    @classmethod
    def of(cls, rows: Floats, center: bool) -> "_Rotation":
        reduced = np.asarray(np.linalg.qr(rows.T, mode="r")).T  # (n, m): cosines stay
        middle = reduced.mean(axis=0) * center
        _, sizes, axes = np.linalg.svd(reduced - middle, full_matrices=False)
        kept = sizes > ROUNDED * sizes.max(initial=0.0)
        return cls(len(rows), middle, sizes[kept, None] * axes[kept], center)

    def nearest(self, generator: np.random.Generator, k: int) -> Floats:
        """(n, k) cosines of the nearest of each vector, after one rotation."""
        normal = generator.normal(size=(self.count, len(self.moments)))
        if self.center:  # their mean stays where it is
            normal -= normal.mean(axis=0)
        frame, triangle = np.linalg.qr(normal)
        frame *= np.sign(np.diagonal(triangle))  # uniform among all frames (Mezzadri 2007)
        return _nearest(unit_rows(frame @ self.moments + self.middle), k, self.center)[1]


def _nearest(rows: Floats, k: int, center: bool) -> tuple[NDArray[np.int64], Floats]:
    """(n, k) places and (n, k) cosines of the nearest of each unit vector, nearest first."""
    step = max(1, CELLS // len(rows))
    blocks = [slice(start, start + step) for start in range(0, len(rows), step)]
    found = []
    for block in blocks:
        cosines = _from_the_mean(rows, block) if center else rows[block] @ rows.T
        here = np.arange(len(rows))[block]
        cosines[here - block.start, here] = -np.inf
        places = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
        found.append((places, np.take_along_axis(cosines, places, axis=1)))
    places, nearest = (np.concatenate(part) for part in zip(*found, strict=True))
    return places, nearest


def _from_the_mean(rows: Floats, block: slice) -> Floats:
    """(B, n) cosines with the queries of a block, all seen from the mean of the query's others.

    Were the query in the mean, it would lean away from the others and never after a rotation. About
    the mean of all, that of the others is -q / (n - 1).
    """
    away = rows - rows.mean(axis=0)
    share = 1 / (len(rows) - 1)
    squares = np.einsum("nk,nk->n", away, away)
    products, own = away[block] @ away.T, squares[block, None]
    lengths = own * np.maximum(squares + 2 * share * products + share**2 * own, 0.0)
    found: Floats = np.divide(
        products + share * own, np.sqrt(lengths), out=np.zeros_like(products), where=lengths > 0
    )
    return found


def _neighbour_table(
    space: Directions, places: NDArray[np.int64], cosines: Floats, chances: Floats, why: str
) -> pd.DataFrame:
    k = places.shape[1]
    adjusted = np.column_stack([benjamini_hochberg(rank) for rank in chances.T])
    return pd.DataFrame(
        {
            "concept": np.repeat(space.names, k), "category": np.repeat(space.categories, k),
            "rank": np.tile(np.arange(1, k + 1), len(space)),
            "neighbour": np.array(space.names)[places.ravel()], "cosine": cosines.ravel(),
            "p_value": chances.ravel(), "p_adjusted": adjusted.ravel(),
            "note": np.where(np.isnan(chances.ravel()), why, ""),
        }
    )  # fmt: skip


@checked
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


@checked
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
