"""Sums of directional derivatives beside a slow loop, and what vectors are compared with."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from conceptlab.activations.pictures import layer_outputs
from conceptlab.analysis.effects.sensitivity import (
    directional_derivatives,
    random_like,
    random_rows,
    with_random,
)
from conceptlab.errors import InputError
from tests.analysis.effects.test_tcav import (
    UNITS,
    Curved,
    cavs_of,
    directions,
    gradients,
    images,
    plain,
)
from tests.models.nets import pictures, probed

NAMES = ["zero", "one", "two"]


@pytest.fixture(scope="module")
def model():
    return probed(Curved(), names=NAMES)


@pytest.mark.parametrize("form", ["pooled", "flattened"])
def test_sums_are_those_of_a_slow_loop(model, form):
    cavs = cavs_of(model, form=form)
    found = dict(directional_derivatives(model, images(), [cavs], None, 3, False))
    assert list(found) == ["zero", "one"]
    for column, (name, (sums,)) in enumerate(found.items()):
        slope = gradients(model, images()[name], column)
        slope = slope.reshape(len(slope), -1) if form == "flattened" else slope.sum(axis=(2, 3))
        along = slope @ directions(cavs).T
        assert sums.images == len(along)
        assert_allclose(sums.positive, (along > 0).mean(axis=0))
        assert_allclose(sums.negative, (along < 0).mean(axis=0))
        assert_allclose(sums.mean, along.mean(axis=0), atol=1e-5)
        assert_allclose(sums.up, np.maximum(along, 0).mean(axis=0), atol=1e-5)
        assert_allclose(sums.total, np.abs(along).mean(axis=0), atol=1e-5)
        (group,) = cavs.groups
        shares = sums.shares[0]
        assert shares.shape == (3, 3, len(along))
        for c, redraws in enumerate(group.roles.redraws):
            for q, pairs in enumerate(redraws):
                assert_allclose(shares[c, q], (along[:, pairs] > 0).mean(axis=1), atol=1e-6)


def test_without_redraws_the_draws_stand_for_them(model):
    cavs = cavs_of(model, redraws=0)
    ((_, (sums,)),) = directional_derivatives(model, {"one": pictures(5)}, [cavs], None, 2, False)
    assert sums.shares[0].shape == (3, 1, 5)
    assert_allclose(sums.shares[0].mean(axis=(1, 2)), sums.positive[cavs.groups[0].roles.draws]
                    .mean(axis=1), atol=1e-6)  # fmt: skip


def test_one_measure_of_several_directions_and_layers(model):
    given = [cavs_of(model), cavs_of(model, "second"), cavs_of(model, form="flattened")]
    ((_, together),) = directional_derivatives(model, {"two": pictures(6)}, given, None, 4, False)
    for one, sums in zip(given, together, strict=True):
        ((_, (alone,)),) = directional_derivatives(
            model, {"two": pictures(6)}, [one], None, 6, False
        )
        assert_allclose(sums.mean, alone.mean, atol=1e-6)
        assert_allclose(sums.positive, alone.positive)


def test_vectors_without_counterparts_get_random_ones(model):
    given = plain(model, np.stack([np.arange(1, 7), np.zeros(6), np.ones(6)]))
    cavs = with_random(model, images(), given, 9, (4, 0))
    (group,) = cavs.groups
    assert group.places.tolist() == [0, 2]
    every = directions(cavs)
    assert_allclose(np.linalg.norm(every, axis=1), 1, rtol=1e-6)
    assert_allclose(every[group.roles.draws[:, 0]], given.normalized.weights[[0, 2]], atol=1e-6)
    assert group.roles.null.shape == (1, 9, 1)
    assert not group.roles.shared
    assert cavs.groups[0].inflation == 1
    assert cavs.vectors is given
    own = cavs_of(model)
    assert with_random(model, images(), own, 9, (4, 0)) is own


def test_random_directions_vary_as_the_layer_does(model):
    many = {"zero": pictures(60, seed=1), "one": pictures(60, seed=2)}
    found = random_like(model, many, "layer", 3000, (16, 0))
    assert_allclose(np.linalg.norm(found, axis=1), 1)
    pooled = np.concatenate(
        [p.mean(axis=(2, 3)) for one in many.values() for p in layer_outputs(model, one, "layer")]
    )
    spread = np.cov(pooled.T)
    mean = found.T @ found
    together = np.corrcoef((mean / np.trace(mean)).ravel(), (spread / np.trace(spread)).ravel())
    assert together[0, 1] > 0.97
    assert np.abs(found.mean(axis=0)).max() < 0.05  # of either sign
    assert_array_equal(found[:5], random_like(model, many, "layer", 3000, (16, 0))[:5])
    assert_allclose(found, random_like(model, many, "layer", 3000, (7, 0)), atol=1e-4)
    turned = random_like(model, dict(reversed(many.items())), "layer", 3000, (16, 0))
    assert_allclose(turned, found, atol=1e-4)
    assert np.abs(random_like(model, many, "layer", 5, (16, 1)) - found[:5]).max() > 0.1


def test_random_directions_look_at_the_first_of_many_pictures(model):
    many = pictures(250, seed=4)
    few = random_like(model, {"one": many[:200]}, "layer", 4, (32, 0))
    assert_allclose(random_like(model, {"one": many}, "layer", 4, (32, 0)), few, atol=1e-5)
    two = {"one": many[:100], "zero": many[100:200]}
    longer = {"one": many[:110], "zero": many[100:]}
    assert_allclose(random_like(model, longer, "layer", 4, (32, 0)),
                    random_like(model, two, "layer", 4, (32, 0)), atol=1e-5)  # fmt: skip


def test_random_pairs_of_cavs_use_no_set_twice(model):
    cavs = cavs_of(model)
    rows, every, roles = random_rows(cavs), directions(cavs), cavs.groups[0].roles
    assert rows.shape == (5, UNITS)
    met = np.zeros(10)
    for row in rows:
        ((e, j),) = {
            tuple(sorted(ends))
            for ends in (
                (i, other)
                for i in range(10)
                for other, number in zip(
                    [k for k in range(10) if k != i], roles.null[0, i], strict=True
                )
                if np.allclose(np.abs(every[number] @ row), 1, atol=1e-5)
            )
        }
        met[[e, j]] += 1
    assert (met == 1).all()
    relative = cavs_of(model, against="c0")
    assert random_rows(relative).shape == (5, UNITS)


def test_what_cannot_be_random(model):
    with pytest.raises(InputError, match="CAVs over flattened maps are no random directions"):
        random_rows(cavs_of(model, form="flattened"))
    nothing = cavs_of(model, given={"a": pictures(16)}, against="a")
    with pytest.raises(InputError, match="none of these concepts has a CAV"):
        random_rows(nothing)
    given = plain(model, np.ones((1, UNITS)))
    with pytest.raises(InputError, match="2 random vectors cannot say"):
        with_random(model, images(), given, cavs_of(model, counterparts=4), (4, 0))
    other = plain(model, np.ones((5, 5)), layer="second")
    with pytest.raises(InputError, match="taken for random are of toy second, the others of toy"):
        with_random(model, images(), given, other, (4, 0))
