"""Analogies a : b = c : d between concepts, how well they hold, and whether better than chance.

Mikolov, Yih & Zweig 2013 (Linguistic regularities in continuous space word representations): the
answer is the concept nearest to b - a + c by cosine, the three terms left out. Fong & Vedaldi 2018,
section 5.3, see it between concepts ('grass' - 'green' and 'sky' - 'blue').
"""

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm.auto import tqdm

from conceptlab.analysis.vectors.unit_vectors import Directions, directions_of
from conceptlab.errors import InputError
from conceptlab.given import checked, require_number, require_seed
from conceptlab.numerics.intervals import ARCSINE, jackknife_bounds, mean_bounds
from conceptlab.numerics.parallel import ordered_map

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Within = Literal["category", "all"]
CELLS = 100_000  # cosines held at a time
SLOW = 2.0  # seconds after which a bar is worth showing
EQUAL = 1e-12  # what differs by less is equal
LEAST_UNITS = 3  # pairs or analogies that an interval needs


@dataclass(frozen=True)
class Analogies:
    """How well an embedding solves a list of analogies.

    Args:
        table: a row per analogy; columns a, b, c, expected, rank (of the expected answer; ties get
            their mean rank), candidates, answer (empty where several are equally near), cosine (of
            the answer), cosine_expected, rank_near_c (of the expected answer among the neighbours
            of c alone: where it is as good, no relation is needed to explain the answer; Linzen
            2016, arXiv:1606.07736), note (why there is no answer).
        value: mean reciprocal rank of the expected answers, 1 at best.
        interval: 95 % of `value`, over pairs, or over analogies where none share a pair.
            NaN where there are fewer than three.
        p_value: share of permutations with a mean log rank as low, the given order among them. NaN
            where none was asked for, or none changes the ranks and cosines of the expected answers.
        top1: share of analogies whose expected answer is first.
        top5: likewise among the first five.
        draws: permutations.
        within: what was permuted: vectors within a 'category', or among 'all' concepts.
    """

    table: pd.DataFrame
    value: float
    interval: tuple[float, float]
    p_value: float
    top1: float
    top5: float
    draws: int
    within: str

    def __repr__(self) -> str:
        low, high = self.interval
        return (
            f"<{len(self.table)} analogies: mean reciprocal rank {self.value:.3f}, 95 % "
            f"{low:.3f} to {high:.3f}, p = {self.p_value:.3g}, first {self.top1:.0%}, "
            f"among five {self.top5:.0%}>"
        )

    def _repr_html_(self) -> str:
        table = self.table.to_html(max_rows=20, escape=True)
        return f"<p>{html.escape(repr(self)[1:-1])}</p>{table}"


@checked
def analogies(
    vectors: Any,
    pairs: Sequence[Sequence[str]],
    draws: int = 1000,
    seed: int = 0,
    *,
    within: Within = "category",
) -> Analogies:
    """How well b - a + c of unit vectors finds d, over many analogies a : b = c : d.

    The test gives the vectors to other names at random, within each category, so that an answer
    that is right in its category alone counts as chance; its statistic is the mean log rank of the
    expected answers (equal ones are told apart by their cosine). It assumes that under the null the
    concepts of a category are exchangeable, so it also rejects where a and b, or c and d, are
    merely alike: compare `rank` with `rank_near_c`. Concepts that are alone in their category
    stay as they are, and a category of very few can give no small p-value.

    Args:
        vectors: `ConceptVectors`, or an array (n, K) whose rows are called '0', '1', ...
        pairs: either pairs (a, b) that share one relation, every ordered two of which make an
            analogy (those that share a term do not), or analogies (a, b, c, d).
        draws: permutations; 0 for no test.
        seed: of these.
        within: 'category', or 'all' to permute over all concepts.

    Raises:
        InputError: an unknown concept, one without a vector, pairs that make no analogy.
    """
    require_seed(seed)
    require_number(draws, "draws", 0)
    if within not in ("category", "all"):
        raise InputError(f"within is 'category' or 'all'; got {within!r}")
    space = directions_of(vectors, 5, "solving analogies")
    terms = _terms(space, pairs)
    cosines = space.rows @ space.rows.T
    ranks, expected = _ranks(cosines, terms)
    groups = space.categories if within == "category" else [""] * len(space)
    orders = _orders(groups, draws, np.random.default_rng(np.random.SeedSequence(seed).spawn(1)[0]))
    table = _table(space, cosines, terms).assign(rank=ranks, cosine_expected=expected)
    table.loc[table["note"] == VANISHES, ["cosine", "cosine_expected"]] = np.nan
    return Analogies(
        table=table[COLUMNS],
        value=float((1 / ranks).mean()),
        interval=_interval(1 / ranks, terms),
        p_value=_chance(cosines, terms, orders),
        top1=float((ranks <= 1).mean()),
        top5=float((ranks <= 5).mean()),
        draws=draws,
        within=within,
    )


COLUMNS = [
    "a", "b", "c", "expected", "rank", "candidates", "answer", "cosine", "cosine_expected",
    "rank_near_c", "note",
]  # fmt: skip
VANISHES, TIED = "b - a + c vanishes: it is near to nothing", "concepts are equally near: no answer"


def _terms(space: Directions, pairs: Sequence[Sequence[str]]) -> Integers:
    """(A, 4) rows of a, b, c, d of each analogy."""
    pairs = list(pairs) if isinstance(pairs, Iterable) and not isinstance(pairs, str) else [""]
    if any(isinstance(pair, str) or not hasattr(pair, "__len__") for pair in pairs):
        raise InputError("pairs is a list of (a, b) or of (a, b, c, d), not of single names")
    sizes = {len(pair) for pair in pairs}
    if sizes not in ({2}, {4}):
        raise InputError(
            "pairs are all (a, b), sharing one relation, or all (a, b, c, d); got "
            + (f"{len(pairs)} of lengths {sorted(sizes)}" if sizes else "none")
        )
    known = {name: space.index(str(name)) for pair in pairs for name in pair}
    rows = list(dict.fromkeys(tuple(known[name] for name in pair) for pair in pairs))
    if sizes == {4}:
        for pair in pairs:
            if len({known[name] for name in pair}) < 4:
                raise InputError(f"an analogy needs four different concepts; got {tuple(pair)}")
        return np.array(rows, dtype=np.int64)
    made = [(*first, *second) for first, second in permutations(rows, 2)]
    whole = [terms for terms in made if len(set(terms)) == 4]
    if not whole:
        raise InputError(
            "no two of these pairs make an analogy: it takes two pairs without a common concept"
        )
    return np.array(whole, dtype=np.int64)


def _blocks(terms: Integers, count: int) -> list[Integers]:
    size = max(1, CELLS // count)
    return [terms[start : start + size] for start in range(0, len(terms), size)]


def _ranks(cosines: Floats, terms: Integers) -> tuple[Floats, Floats]:
    """(A,) mid-ranks of the expected answers, and (A,) their cosines with b - a + c."""
    ranks, expected = [], []
    for block in _blocks(terms, len(cosines)):
        found = _sums(cosines, block)
        own = found[np.arange(len(block)), block[:, 3], None]
        above, least = (found > own + EQUAL).sum(axis=1), (found >= own - EQUAL).sum(axis=1)
        ranks.append((above + least + 1) / 2)
        expected.append(own[:, 0] / _lengths(cosines, block))
    return np.concatenate(ranks), np.concatenate(expected)


def _sums(cosines: Floats, terms: Integers) -> Floats:
    """(A, n) products of b - a + c with every concept; minus infinity for its terms."""
    a, b, c, _ = terms.T
    found: Floats = cosines[b] - cosines[a]
    found += cosines[c]
    found[np.arange(len(terms))[:, None], terms[:, :3]] = -np.inf
    return found


def _lengths(cosines: Floats, terms: Integers) -> Floats:
    """(A,) lengths of b - a + c; 1 where it vanishes."""
    square = _squares(cosines, terms)
    lengths: Floats = np.sqrt(np.where(square > EQUAL, square, 1.0))
    return lengths


def _squares(cosines: Floats, terms: Integers) -> Floats:
    """(A,) squared lengths of b - a + c."""
    a, b, c, _ = terms.T
    square: Floats = 3 + 2 * (cosines[b, c] - cosines[a, b] - cosines[a, c])
    return square


def _table(space: Directions, cosines: Floats, terms: Integers) -> pd.DataFrame:
    names = np.array(space.names, dtype=object)
    answers, best, near, tied = [], [], [], []
    for block in _blocks(terms, len(space)):
        found = _sums(cosines, block)
        answers.append(found.argmax(axis=1))
        best.append(found.max(axis=1) / _lengths(cosines, block))
        tied.append((found >= found.max(axis=1, keepdims=True) - EQUAL).sum(axis=1))
        alone = np.where(np.isfinite(found), cosines[block[:, 2]], -np.inf)
        own = alone[np.arange(len(block)), block[:, 3], None]
        near.append(1 + (alone > own + EQUAL).sum(axis=1))
    columns = dict(zip(["a", "b", "c", "expected"], names[terms].T, strict=True))
    equal, vanishes = np.concatenate(tied), _squares(cosines, terms) <= EQUAL
    several = [f"{count} {TIED}" if count > 1 else "" for count in equal.tolist()]
    return pd.DataFrame(columns).assign(
        candidates=len(space) - 3,
        answer=np.where(vanishes | (equal > 1), "", names[np.concatenate(answers)]),
        cosine=np.concatenate(best), rank_near_c=np.concatenate(near),
        note=np.where(vanishes, VANISHES, np.array(several, dtype=object)),
    )  # fmt: skip


def _orders(groups: Sequence[str], draws: int, rng: np.random.Generator) -> Integers:
    """(draws, n) which vector each name gets, at random within its group."""
    codes = np.unique(np.array(groups, dtype=str), return_inverse=True)[1]
    orders = np.empty((draws, len(codes)), dtype=np.int64)
    orders[:, np.argsort(codes, kind="stable")] = np.argsort(
        codes + rng.random((draws, len(codes))), axis=1
    )
    return orders


def _chance(cosines: Floats, terms: Integers, orders: Integers) -> float:
    """The share of permutations whose expected answers rank as high, the given one among them."""
    if not len(orders):
        return float("nan")

    def standing(some: Integers) -> tuple[Floats, Floats]:
        """Mean log rank and mean cosine of the expected answers, for each order."""
        ranks, expected = _ranks(cosines, some[:, terms].reshape(-1, 4))
        shape = len(some), len(terms)
        return np.log(ranks).reshape(shape).mean(axis=1), expected.reshape(shape).mean(axis=1)

    size = max(1, CELLS // (len(cosines) * len(terms)))
    blocks = [orders[start : start + size] for start in range(0, len(orders), size)]
    found = tqdm(ordered_map(standing, blocks), desc="analogies", total=len(blocks), delay=SLOW,
                 leave=False)  # fmt: skip
    null = np.concatenate(list(found), axis=1)
    own, cosine = (part[0] for part in standing(np.arange(len(cosines))[None]))
    if (np.abs(null - [[own], [cosine]]) <= EQUAL).all():  # nothing was tested
        return float("nan")
    equal = (np.abs(null[0] - own) <= EQUAL) & (null[1] >= cosine - EQUAL)
    extreme = (null[0] < own - EQUAL) | equal
    return float((1 + extreme.sum()) / (1 + len(orders)))


def _interval(scores: Floats, terms: Integers) -> tuple[float, float]:
    """95 % of the mean score, over pairs: without each of them, all analogies that it is in fall.

    Where no two analogies share a pair, over the analogies.
    """
    pairs = np.sort(terms.reshape(-1, 2), axis=1)
    codes, times = np.unique(pairs, axis=0, return_inverse=True, return_counts=True)[1:]
    first, second = codes.reshape(-1, 2).T
    count = len(times) if times.max() > 1 else len(terms)
    if count < LEAST_UNITS:
        return float("nan"), float("nan")
    if times.max() == 1 or scores.min() == 1.0:
        low, high = mean_bounds(scores, min(count, len(scores)), within=True)
        return float(low), float(high)
    taken = sum(np.bincount(side, scores, minlength=count) for side in (first, second))
    left = len(scores) - times
    if not left.all():
        return float("nan"), float("nan")
    return jackknife_bounds(
        float(scores.mean()), (scores.sum() - taken) / left, float(count), ARCSINE
    )
