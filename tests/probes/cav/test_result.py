"""CAVs put together: means, sizes of sets, marks, and settings that make no sense."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from conceptlab.errors import InputError
from conceptlab.probes.cav.result import CHANCE_NOTE, SIZES, Drawing, collect
from conceptlab.probes.cav.sets import Side
from conceptlab.probes.cav.training import Settings
from conceptlab.space import Space
from tests.probes.cav.test_training import Arrays

UNITS, POOL = 5, np.arange(100, 400)
DRAWING = Drawing("random", 8, 20, 3, 0)


def outputs(seed=0):
    values = np.random.default_rng(seed).normal(size=(400, UNITS, 1, 1)) + 3
    values[:50, 2] += 4
    return Arrays(values)


def made(sides, drawing=DRAWING, samples=None, form="pooled", apart=True):
    table = pd.DataFrame({"name": [f"c{i}" for i in range(len(sides))], "category": "object"})
    space = Space("net", "f" * 8, "layer", UNITS, "raw")
    return collect(
        samples or outputs(), sides, POOL, table.assign(note=""), space, drawing,
        Settings("ridge", form, 0.1), apart,
    )  # fmt: skip


def side(name, start, stop, others=None):
    return Side(name, np.arange(start, stop), others)


def test_vectors_are_the_mean_over_counterparts():
    cavs = made([side("a", 0, 30), side("b", 30, 50), side("c", 50, 80)])
    (group,) = cavs.groups
    every = cavs.bundle.sums(np.arange(len(cavs.bundle))[:, None])
    assert_allclose(cavs.vectors.weights, every[group.roles.draws].mean(axis=1), atol=1e-4)
    assert len(cavs) == 3
    assert len(cavs.bundle) == 3 * (8 + 5 + 3 * 5) + 8 * 7 // 2
    assert cavs.vectors.weights[0].argmax() == 2
    concepts = cavs.vectors.concepts
    assert concepts["examples"].tolist() == [20, 20, 20]
    assert concepts["accuracy"][0] > 0.9
    assert concepts["stability"][0] > concepts["stability"][2]
    assert cavs.vectors.kind == "cav"
    assert cavs.vectors.provenance["classifier"] == "ridge"
    assert cavs.vectors.provenance["examples"] == 20
    assert "112 CAVs on pooled activations" in cavs._repr_html_()


def test_small_concepts_have_small_sets_and_a_null_of_their_own():
    sides = [side("a", 0, 30), side("b", 0, 5), None, side("c", 30, 37), side("d", 40, 45)]
    cavs = made(sides)
    concepts = cavs.vectors.concepts
    assert concepts["examples"].tolist() == [20, 5, 0, 7, 5]
    assert sorted(group.places.tolist() for group in cavs.groups) == [[0], [1, 4], [3]]
    used = [np.r_[g.roles.draws.ravel(), np.unique(g.roles.null)] for g in cavs.groups]
    assert len(np.unique(np.concatenate(used))) == sum(map(len, used))
    assert not cavs.vectors.weights[2].any()
    assert np.isnan(concepts["accuracy"][2])
    every = cavs.bundle.sums(np.arange(len(cavs.bundle))[:, None])
    for group in cavs.groups:  # roles count on from group to group
        mean = every[group.roles.draws].mean(axis=1)
        assert_allclose(cavs.vectors.weights[group.places], mean, atol=1e-4)
    one = made([sides[0]])
    assert_allclose(one.vectors.weights[0], cavs.vectors.weights[0], atol=0.02)


def test_sizes_are_few():
    rows = {n: made([side("a", 0, n), side("b", 0, 40)]).vectors.concepts["examples"][0]
            for n in (2, 9, 11, 14, 19, 20, 33)}  # fmt: skip
    assert rows == {2: 2, 9: 9, 11: 10, 14: 12, 19: 16, 20: 20, 33: 20}
    assert list(SIZES) == sorted(SIZES)
    pairs = Drawing("c9", 8, 20, 3, 0)
    cavs = made([side("a", 0, 30, np.arange(50, 57))], pairs)
    assert cavs.vectors.concepts["examples"][0] == 7


def test_what_is_no_better_than_chance_is_marked():
    cavs = made([side(f"c{i}", 50, 80) if i else side("a", 0, 30) for i in range(2)])
    assert cavs.vectors.concepts["note"].tolist() == ["", CHANCE_NOTE]
    assert cavs.vectors.concepts["chance"].tolist() == [False, True]


def test_no_concept_at_all():
    cavs = made([None, None])
    assert cavs.groups == ()
    assert len(cavs.bundle) == 0
    assert not cavs.vectors.usable.any()
    assert cavs.vectors.concepts["examples"].tolist() == [0, 0]


def test_inflation_is_that_of_sets_from_elsewhere():
    """Spread of mean differences about random sets, from many draws, beside the closed form."""
    pool, k = 60, 20
    rng = np.random.default_rng(0)
    inside, outside, pairs = [], [], []
    for _ in range(4000):
        values = rng.normal(size=pool)
        sets = [rng.choice(values, k, replace=False).mean() for _ in range(2)]
        fresh = rng.normal(size=(2, k)).mean(axis=1)
        inside.append(sets[0] - values.mean())
        outside.append(fresh[0] - values.mean())
        pairs.append((sets[0] - sets[1], fresh[0] - fresh[1]))
    within, elsewhere = np.std(pairs, axis=0)
    for against, wanted in (("random", np.std(outside) / np.std(inside)),
                            ("a", elsewhere / within)):  # fmt: skip
        drawing = Drawing(against, 8, k, 0, 0)
        table = pd.DataFrame({"name": ["a"], "category": "object", "note": ""})
        space = Space("net", "f" * 8, "layer", UNITS, "raw")
        found = collect(
            outputs(), [side("a", 0, k, np.arange(50, 50 + k))], POOL[:pool], table, space,
            drawing, Settings("difference", "pooled", 0.1), True,
        )  # fmt: skip
        assert found.groups[0].inflation == pytest.approx(wanted, rel=0.05)
        assert found.groups[0].inflation > 1.1
    assert made([side("a", 0, 30)], apart=False).groups[0].inflation == 1
    complement = Drawing("complement", 4, 20, 0, 0)
    assert made([side("a", 0, 30, POOL)], complement).groups[0].inflation == 1


def test_null_permutations_are_each_concepts_own():
    cavs = made([side("a", 0, 30, np.arange(30, 90)), side("b", 50, 70, np.arange(70, 99))],
                Drawing("complement", 6, 20, 2, 0))  # fmt: skip
    (group,) = cavs.groups
    assert group.roles.null.shape[:2] == (2, 6)
    assert len(np.unique(group.roles.null)) == group.roles.null.size


def test_the_same_seed_gives_the_same():
    sides = [side("a", 0, 30), side("b", 30, 50)]
    one, two = made(sides), made(sides)
    assert_array_equal(one.vectors.weights, two.vectors.weights)
    other = made(sides, Drawing("random", 8, 20, 3, 1))
    assert (one.vectors.weights != other.vectors.weights).any()
    turned = made(sides[::-1])
    assert_allclose(turned.vectors.weights[::-1], one.vectors.weights, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "say"),
    [
        (("random", 1, 50, 10, 0), "one random counterpart cannot say what random sets of images "
         "reach: take at least 4, and better 50"),
        (("random", 3, 50, 10, 0), "3 random sets cannot say"),
        (("sky", 7, 50, 10, 0), "relative CAVs take at least 8 random sets; got 7"),
        (("random", 50, 1, 10, 0), "examples is at least 2; got 1"),
        (("random", 50, 50, -1, 0), "redraws is a whole number of at least 0; got -1"),
    ],
)  # fmt: skip
def test_settings_that_make_no_sense(settings, say):
    with pytest.raises(InputError, match=say):
        Drawing(*settings)


def test_too_few_random_images():
    with pytest.raises(InputError, match="300 random images are too few for sets of 200: give at "
                       "least 400, or take fewer examples"):  # fmt: skip
        made([side("a", 0, 250)], Drawing("random", 8, 200, 0, 0))
