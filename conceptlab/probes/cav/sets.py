"""Which images stand against which: the sets behind concept activation vectors.

Kim et al. 2018 (TCAV), section 3.5: a CAV's score is tested against those of vectors that random
sets of images give. Here every set is k images. Under the hypothesis that a concept's images are
just another random set, its set and the random ones are exchangeable; all tests rest on that.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conceptlab.keys import digest

Ints = NDArray[np.int64]
AGAIN = 5  # counterparts that re-drawn images of a concept, and held-out ones, are tried against
DRAWS = 10  # counterparts drawn from a complement or another concept
FEWEST = 2  # images of a concept


@dataclass(frozen=True)
class Side:
    """The images of a concept, and what they are told from.

    Args:
        key: that its draws depend on, beside the seed.
        rows: of the samples that show it.
        others: rows of what it is told from: of its complement or of the other concept; None for
            random images.
    """

    key: str
    rows: Ints
    others: Ints | None = None


@dataclass(frozen=True)
class Roles:
    """What each of many pairs of sets is for, by the pair's number.

    Args:
        draws: (C, m) pairs of each concept with its counterparts.
        redraws: (C, Q, j) the same for re-drawn images of the concept.
        judged: (C, j) pairs without repeated images, on which accuracy is measured.
        null: (N, E, f) pairs of the elements of each null distribution: N = 1 where all concepts
            share one, N = C where each has its own.
        signs: (N, E, f) 1, or -1 where the element is the negative side of the pair.
        shared: whether the elements of the null are also the concepts' counterparts, so that each
            concept's own pair with an element counts for the element as well.
    """

    draws: Ints
    redraws: Ints
    judged: Ints
    null: Ints
    signs: NDArray[np.int8]
    shared: bool

    def after(self, count: int) -> "Roles":
        """The same with pairs numbered from a count on."""
        return replace(
            self, draws=self.draws + count, redraws=self.redraws + count,
            judged=self.judged + count, null=self.null + count,
        )  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """Pairs of sets of k images to be told apart, and what they are for.

    Args:
        positive: (P, k) rows of the samples.
        negative: (P, k).
        roles: of the pairs.
    """

    positive: Ints
    negative: Ints
    roles: Roles


def generator(seed: int, *names: object) -> np.random.Generator:
    """A generator that depends on names, not on their order among others."""
    return np.random.default_rng([seed, int(digest({"names": [str(n) for n in names]})[:12], 16)])


def random_sets(pool: Ints, count: int, size: int, seed: int) -> Ints:
    """(count, size) random sets of a pool, each without repeats."""
    draw = np.random.default_rng([seed, 1])
    return np.stack([draw.choice(pool, size, replace=False) for _ in range(count)])


def own_set(side: Side, size: int, seed: int) -> Ints:
    """(size,) the images that stand for a concept."""
    return subset(side.rows, size, generator(seed, side.key, "set"))


def subset(rows: Ints, size: int, draw: np.random.Generator) -> Ints:
    """(size,) some of the rows, in their order; all if there are no more."""
    return np.sort(draw.choice(rows, size, replace=False)) if len(rows) > size else rows[:size]


class _Pairs:
    """Pairs of sets as they are listed."""

    def __init__(self) -> None:
        self.positive: list[Ints] = []
        self.negative: list[Ints] = []

    def add(self, positive: Ints, negative: Ints) -> int:
        """List a pair; its number."""
        self.positive.append(positive)
        self.negative.append(negative)
        return len(self.positive) - 1

    def redrawn(self, drawn: Sequence[Ints], against: Sequence[Ints]) -> list[list[int]]:
        """List each re-drawn set with a few of the counterparts, in turn."""
        few = min(AGAIN, len(against))
        return [
            [self.add(own, against[(q * few + j) % len(against)]) for j in range(few)]
            for q, own in enumerate(drawn)
        ]


def plan_random(
    sides: Sequence[Side], sets: Ints, size: int, redraws: int, seed: int, pool: Ints
) -> Plan:
    """Concepts against random sets, and every two random sets against one another, once.

    Accuracy is measured against sets that hold none of the concept's own images: an image on both
    sides can only be told wrongly.

    Args:
        sides: with the same number of images in play.
        sets: (R, >= size) random sets.
        size: k.
        redraws: Q.
        seed: of the draws.
        pool: that the sets were drawn from.
    """
    pairs, count = _Pairs(), len(sets)
    sets = sets[:, :size]
    draws, held, again = [], [], []
    for side in sides:
        own, draw = own_set(side, size, seed), generator(seed, side.key, "held out")
        rest = np.setdiff1d(pool, own)
        draws.append([pairs.add(own, other) for other in sets])
        held.append([pairs.add(own, subset(rest, size, draw)) for _ in range(AGAIN)])
        again.append(pairs.redrawn(_redrawn(side, size, redraws, seed), list(sets)))
    first, second = np.triu_indices(count, 1)
    start = len(pairs.positive)
    for i, j in zip(first, second, strict=True):
        pairs.add(sets[i], sets[j])
    number = np.zeros((count, count), dtype=np.int64)
    number[first, second] = number[second, first] = start + np.arange(len(first))
    off = ~np.eye(count, dtype=bool)
    null = number[off].reshape(1, count, count - 1)
    sign = np.where(np.arange(count)[None, :] > np.arange(count)[:, None], 1, -1)
    signs = sign[off].reshape(1, count, count - 1).astype(np.int8)
    return _plan(pairs, draws, again, held, null, signs)


def plan_pairs(sides: Sequence[Side], sets: Ints, size: int, redraws: int, seed: int) -> Plan:
    """Concepts against another concept; the null is of pairs of random sets, no set used twice.

    What would be many counterparts are here re-draws of both sides, with repeats.

    Args:
        sides: with the same number of images in play.
        sets: (R, >= size) random sets.
        size: k.
        redraws: taken for as many draws, if more than ten.
        seed: of the draws.
    """
    pairs, count = _Pairs(), max(DRAWS, redraws)
    draws, held = [], []
    for side in sides:
        other = Side(f"{side.key} other", _others(side))
        held.append([pairs.add(own_set(side, size, seed), own_set(other, size, seed))])
        both = (_redrawn(one, size, count, seed) for one in (side, other))
        draws.append([pairs.add(yes, no) for yes, no in zip(*both, strict=True)])
    null = []
    draw = np.random.default_rng([seed, 3])
    for yes, no in zip(sets[0::2, :size], sets[1::2, :size], strict=False):
        null.append(
            [pairs.add(draw.choice(yes, size), draw.choice(no, size)) for _ in range(count)]
        )
    again = np.array(draws, dtype=np.int64)[:, :, None]
    return _plan(pairs, draws, again, held, np.array([null], dtype=np.int64))


def plan_complement(sides: Sequence[Side], count: int, size: int, redraws: int, seed: int) -> Plan:
    """Concepts against sets of their complement; the null deals the labels out anew.

    As many images as show the concept are drawn from all that are labelled, and a set of them
    stands against sets of the rest, as the concept's does: a permutation of labels.

    Args:
        sides: with the same number of images in play.
        count: E, permutations.
        size: k.
        redraws: Q.
        seed: of the draws.
    """
    pairs = _Pairs()
    draws, again, held, null = [], [], [], []
    for side in sides:
        rest, draw = _others(side), generator(seed, side.key, "complement")
        own = own_set(side, size, seed)
        against = [draw.choice(rest, size) for _ in range(DRAWS)]
        draws.append([pairs.add(own, other) for other in against])
        held.append([pairs.add(own, np.sort(draw.choice(rest, size, False))) for _ in range(AGAIN)])
        again.append(pairs.redrawn(_redrawn(side, size, redraws, seed), against))
        every = np.sort(np.concatenate([side.rows, rest]))
        elements = []
        for _ in range(count):
            mixed = draw.permutation(every)
            shown, hidden = mixed[: len(side.rows)], mixed[len(side.rows) :]
            others = [draw.choice(hidden, size) for _ in range(DRAWS)]
            elements.append([pairs.add(shown[:size], other) for other in others])
        null.append(elements)
    return _plan(pairs, draws, again, held, np.array(null, dtype=np.int64))


def _plan(
    pairs: _Pairs,
    draws: Any,
    again: Any,
    held: Any,
    null: Ints,
    signs: NDArray[np.int8] | None = None,
) -> Plan:
    """A plan of listed pairs; signs say that the null's elements are the counterparts as well."""
    drawn, twice, judged = (np.array(part, dtype=np.int64) for part in (draws, again, held))
    ones = np.ones(null.shape, dtype=np.int8)
    roles = Roles(
        drawn, twice.reshape(len(drawn), -1, twice.shape[-1] if twice.ndim == 3 else 1), judged,
        null, ones if signs is None else signs, signs is not None,
    )  # fmt: skip
    return Plan(np.stack(pairs.positive), np.stack(pairs.negative), roles)


def _redrawn(side: Side, size: int, count: int, seed: int) -> list[Ints]:
    """Sets of a concept's images drawn anew, with repeats."""
    draw = generator(seed, side.key, "redraws")
    return [np.sort(draw.choice(side.rows, size)) for _ in range(count)]


def _others(side: Side) -> Ints:
    """What a side is told from."""
    if side.others is None:
        raise ValueError(f"{side.key} has no images to be told from")
    return side.others
