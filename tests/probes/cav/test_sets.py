"""Sets of images: who stands against whom, how often, and that nothing else decides it."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from conceptlab.probes.cav.sets import (
    AGAIN,
    DRAWS,
    Side,
    generator,
    own_set,
    plan_complement,
    plan_pairs,
    plan_random,
    random_sets,
    subset,
)

POOL = np.arange(100, 200)
SIZE, SETS, REDRAWS = 6, 9, 3


def sides(against=None):
    """Three concepts of 8 images."""
    return [
        Side(f"c{c}", np.arange(10 * c, 10 * c + 8), None if against is None else against)
        for c in range(3)
    ]


def plan_of(kind, seed=0, given=None):
    sets = random_sets(POOL, SETS, SIZE, seed)
    if kind == "random":
        return plan_random(given or sides(), sets, SIZE, REDRAWS, seed, POOL)
    if kind == "pairs":
        return plan_pairs(given or sides(np.arange(40, 50)), sets, SIZE, REDRAWS, seed)
    return plan_complement(given or sides(np.arange(50, 75)), SETS, SIZE, REDRAWS, seed)


def rows_of(plan, part):
    """The sets of some pairs, as nested lists."""
    return plan.positive[part].tolist(), plan.negative[part].tolist()


KINDS = ["random", "pairs", "complement"]


@pytest.mark.parametrize("kind", KINDS)
def test_seeded(kind):
    first, again, other = plan_of(kind), plan_of(kind), plan_of(kind, seed=1)
    assert_array_equal(first.positive, again.positive)
    assert_array_equal(first.negative, again.negative)
    assert (first.positive != other.positive).any()
    assert first.positive.shape == first.negative.shape
    assert first.positive.shape[1] == SIZE


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_concepts_decides_nothing(kind):
    given = sides(None if kind == "random" else np.arange(40, 65))
    plain, turned = plan_of(kind, given=given), plan_of(kind, given=given[::-1])
    for name in ("draws", "redraws", "judged"):
        one, two = getattr(plain.roles, name), getattr(turned.roles, name)[::-1]
        assert rows_of(plain, one) == rows_of(turned, two)
    one, two = plain.roles.null, turned.roles.null[::-1]
    assert rows_of(plain, one) == rows_of(turned, two)
    if kind != "random":  # and what one concept draws does not depend on the others
        alone = plan_of(kind, given=given[1:2])
        assert rows_of(alone, alone.roles.draws[0]) == rows_of(plain, plain.roles.draws[1])


def test_random_sets_have_no_repeats_and_lie_in_the_pool():
    sets = random_sets(POOL, 20, 30, 0)
    assert sets.shape == (20, 30)
    assert set(sets.ravel()) <= set(POOL)
    assert all(len(set(own)) == 30 for own in sets)
    assert (random_sets(POOL, 20, 30, 1) != sets).any()


def test_every_two_random_sets_are_told_apart_once():
    plan = plan_of("random")
    roles = plan.roles
    names = {tuple(s): i for i, s in enumerate(random_sets(POOL, SETS, SIZE, 0).tolist())}
    pairs = [
        (names[tuple(yes)], names[tuple(no)])
        for yes, no in zip(plan.positive.tolist(), plan.negative.tolist(), strict=True)
        if tuple(yes) in names
    ]
    assert len(pairs) == SETS * (SETS - 1) // 2
    assert Counter(frozenset(pair) for pair in pairs).most_common(1)[0][1] == 1
    assert roles.shared
    assert roles.null.shape == roles.signs.shape == (1, SETS, SETS - 1)
    seen = Counter()
    for element in range(SETS):
        met = set()
        for number, sign in zip(roles.null[0, element], roles.signs[0, element], strict=True):
            ends = names[tuple(plan.positive[number])], names[tuple(plan.negative[number])]
            assert ends[0 if sign > 0 else 1] == element  # 1 where it is the positive side
            met.add(ends[1 if sign > 0 else 0])
            seen[number] += int(sign)
        assert met == set(range(SETS)) - {element}
    assert set(seen.values()) == {0}  # each pair stands with either sign, once
    assert len(seen) == len(pairs)


def test_a_concept_meets_every_random_set_with_its_own_images():
    plan = plan_of("random")
    sets = random_sets(POOL, SETS, SIZE, 0)
    for side, draws in zip(sides(), plan.roles.draws, strict=True):
        assert_array_equal(plan.positive[draws], [own_set(side, SIZE, 0)] * SETS)
        assert_array_equal(plan.negative[draws], sets)
    for side, held in zip(sides(), plan.roles.judged, strict=True):
        own = own_set(side, SIZE, 0)
        assert_array_equal(plan.positive[held], [own] * AGAIN)
        for other in plan.negative[held]:  # an image on both sides could only be told wrongly
            assert not set(other) & set(own)
            assert (np.diff(other) > 0).all()  # in their order, for folds of neighbours


@pytest.mark.parametrize("kind", KINDS)
def test_redraws_are_of_the_concepts_images_with_repeats(kind):
    plan = plan_of(kind)
    again = plan.roles.redraws
    assert again.shape == (3, *{"random": (REDRAWS, AGAIN), "pairs": (DRAWS, 1)}.get(
        kind, (REDRAWS, AGAIN)))  # fmt: skip
    for c, side in enumerate(sides()):
        drawn = plan.positive[again[c]]
        assert set(drawn.ravel()) <= set(side.rows)
        for one in drawn:
            assert (one == one[0]).all()  # one set against several counterparts
        assert len({tuple(one[0]) for one in drawn}) > 1
        assert any(len(set(one[0])) < SIZE for one in drawn)


def test_accuracy_is_judged_on_sets_without_repeats():
    for kind in KINDS:
        plan = plan_of(kind)
        for number in plan.roles.judged.ravel():
            both = [*plan.positive[number], *plan.negative[number]]
            assert len(set(both)) == 2 * SIZE
    few = [Side("inside", POOL[:8])]  # a concept of the pool: its random sets may hold its images
    plan = plan_random(few, random_sets(POOL[:14], SETS, SIZE, 0), SIZE, 0, 0, POOL[:14])
    shared = [set(y) & set(n) for y, n in zip(plan.positive, plan.negative, strict=True)]
    assert any(shared[number] for number in plan.roles.draws[0])
    assert not any(shared[number] for number in plan.roles.judged[0])


def test_the_null_of_relative_cavs_uses_no_set_twice():
    plan = plan_of("pairs")
    roles = plan.roles
    sets = [set(s) for s in random_sets(POOL, SETS, SIZE, 0)]
    assert roles.null.shape == (1, SETS // 2, DRAWS)
    assert not roles.shared
    assert (roles.signs == 1).all()
    for element in range(SETS // 2):
        yes, no = plan.positive[roles.null[0, element]], plan.negative[roles.null[0, element]]
        assert set(yes.ravel()) <= sets[2 * element]
        assert set(no.ravel()) <= sets[2 * element + 1]
        assert len({tuple(row) for row in yes}) > 1
    for c in range(3):
        assert set(plan.positive[roles.draws[c]].ravel()) <= set(sides()[c].rows)
        assert set(plan.negative[roles.draws[c]].ravel()) <= set(range(40, 50))


def test_a_complement_holds_no_image_of_the_concept():
    plan = plan_of("complement")
    roles = plan.roles
    rest = set(range(50, 75))
    for c, side in enumerate(sides()):
        mine = np.concatenate([roles.draws[c].ravel(), roles.redraws[c].ravel(), roles.judged[c]])
        assert set(plan.negative[mine].ravel()) <= rest
        assert set(plan.positive[mine].ravel()) <= set(side.rows)


def test_permutations_keep_the_number_of_images_that_show_it():
    plan = plan_of("complement")
    roles = plan.roles
    assert roles.null.shape == (3, SETS, DRAWS)
    mixed = 0
    for c, side in enumerate(sides()):
        every = set(side.rows) | set(range(50, 75))
        for element in roles.null[c]:
            yes, no = plan.positive[element], plan.negative[element]
            assert (yes == yes[0]).all()
            assert len(set(yes[0])) == SIZE
            assert set(yes[0]) | set(no.ravel()) <= every
            assert not set(yes[0]) & set(no.ravel())  # an image is on one side
            mixed += bool(set(yes[0]) - set(side.rows))
        hidden = {tuple(sorted(set(plan.negative[e].ravel()))) for e in roles.null[c]}
        assert max(len(h) for h in hidden) <= len(every) - len(side.rows)
    assert mixed == 3 * SETS


def test_without_redraws():
    plan = plan_random(sides(), random_sets(POOL, SETS, SIZE, 0), SIZE, 0, 0, POOL)
    assert plan.roles.redraws.size == 0
    assert len(plan.roles.redraws) == 3


def test_numbers_behind_others():
    roles = plan_of("random").roles
    later = roles.after(100)
    for name in ("draws", "redraws", "judged", "null"):
        assert_array_equal(getattr(later, name), getattr(roles, name) + 100)
    assert replace(later, draws=roles.draws).signs is roles.signs


def test_small_parts():
    draw = generator(0, "a", 1)
    assert draw.random() == generator(0, "a", 1).random()
    assert generator(0, "a").random() != generator(0, "b").random() != generator(1, "b").random()
    rows = np.arange(20)
    some = subset(rows, 5, draw)
    assert len(set(some)) == 5
    assert (np.diff(some) > 0).all()
    assert_array_equal(subset(rows, 20, draw), rows)
    with pytest.raises(ValueError, match="c has no images to be told from"):
        plan_complement([Side("c", rows)], SETS, SIZE, 0, 0)
