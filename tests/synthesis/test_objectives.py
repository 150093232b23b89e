"""Objectives: literal replicas of their formulas, sums, names, and what does not fit."""

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose
from torch import nn

from conceptlab.errors import InputError, SpaceError
from conceptlab.space import Space
from conceptlab.synthesis.objective import Sum, bind
from conceptlab.synthesis.objectives import (
    Caricature,
    Direction,
    Dream,
    Inversion,
    Logit,
    Neuron,
    Unit,
    directions,
)
from conceptlab.vectors import ConceptVectors
from tests.models.nets import probed

CPU = torch.device("cpu")
SHAPE = (5, 4, 6)


@pytest.fixture(scope="module")
def model():
    return probed(nn.Conv2d(3, 5, 1), names=["cat", "dog", "dog"])


@pytest.fixture(scope="module")
def output():
    return np.random.default_rng(0).normal(size=SHAPE)


@pytest.fixture(scope="module")
def vector():
    return np.random.default_rng(1).normal(size=5)


def value(objective, model, output, layer="a"):
    """Of an output, by the library."""
    function = bind(objective, model, {layer: output.shape}, CPU)
    return float(function({layer: torch.tensor(output, dtype=torch.float32)}))


def test_a_neuron_is_one_number_and_by_default_the_central_one(model, output):
    assert_allclose(value(Neuron("a", 3, (1, 5)), model, output), output[3, 1, 5], rtol=1e-6)
    assert_allclose(value(Neuron("a", 3), model, output), output[3, 2, 3], rtol=1e-6)


def test_a_unit_is_its_mean_and_a_dream_the_mean_square(model, output):
    total = sum(output[3, r, c] for r in range(4) for c in range(6))
    assert_allclose(value(Unit("a", 3), model, output), total / 24, rtol=1e-5)
    assert_allclose(value(Dream("a"), model, output), sum(v * v for v in output.flat) / 120, 1e-5)


def test_a_class_is_its_column_by_name_or_number(model):
    scores = np.array([0.5, -2.0, 3.0])
    assert value(Logit("cat"), model, scores, "") == 0.5
    assert value(Logit(2), model, scores, "") == 3.0
    assert Logit("cat").layers == ()


def carter(at, vector, power):
    """Carter et al.: the product times the cosine, of at least a tenth, to a power."""
    product = at @ vector
    cosine = product / np.sqrt((at @ at) * (vector @ vector))
    return product * max(cosine, 0.1) ** power


@pytest.mark.parametrize("power", [0.0, 1.0, 4.0])
def test_a_direction_is_a_product_and_a_power_of_the_cosine(model, output, vector, power):
    everywhere = [carter(output[:, r, c], vector, power) for r in range(4) for c in range(6)]
    assert_allclose(
        value(Direction("a", vector, cosine=power), model, output), np.mean(everywhere), rtol=1e-4
    )
    there = carter(output[:, 2, 1], vector, power)
    assert_allclose(value(Direction("a", vector, (2, 1), power), model, output), there, rtol=1e-4)


def test_an_inversion_is_minus_the_normalised_distance(model, output):
    target = np.random.default_rng(2).normal(size=SHAPE).astype(np.float32)
    distance = np.sqrt(((output - target) ** 2).sum()) / np.sqrt((target**2).sum())
    assert_allclose(value(Inversion("a", target), model, output), -distance, rtol=1e-5)
    assert abs(value(Inversion("a", target), model, target)) < 1e-6  # nothing is nearer


def test_a_caricature_is_the_inner_product(model, output):
    target = np.random.default_rng(2).normal(size=SHAPE).astype(np.float32)
    assert_allclose(value(Caricature("a", target), model, output), (output * target).sum(), 1e-4)


def test_the_gradient_of_a_distance_of_zero_is_finite(model, output):
    function = bind(Inversion("a", output), model, {"a": SHAPE}, CPU)
    at = torch.tensor(output.astype(np.float32), requires_grad=True)
    function({"a": at}).backward()
    assert torch.isfinite(at.grad).all()


def test_sums_weigh_their_terms(model, output):
    a, b = Unit("a", 0), Neuron("a", 1, (0, 0))
    one, other = output[0].mean(), output[1, 0, 0]
    for found, wanted in (
        (a + b, one + other),
        (a - b, one - other),
        (2 * a - b * 3, 2 * one - 3 * other),
        (-(a + b), -one - other),
        (0.5 * (a - b) + a, 1.5 * one - 0.5 * other),
    ):
        assert isinstance(found, Sum)
        assert_allclose(value(found, model, output), wanted, rtol=1e-5)


def test_names_read_as_what_was_written(vector):
    a, b = Unit("features.12", 5), Logit("cat")
    assert a.text == "features.12 unit 5"
    assert Neuron("l", 2).text == "l unit 2 at the centre"
    assert Direction("l", vector, (0, 1), name="sky").text == "l sky at (0, 1)"
    assert (a + 2 * b).text == "features.12 unit 5 + 2 * class cat"
    assert (-a - b).text == "-features.12 unit 5 - class cat"
    assert (a + Dream("x") + Unit("x", 1)).layers == ("features.12", "x")


def test_the_digest_tells_objectives_apart_whatever_they_are_called(vector):
    target = np.ones(SHAPE, dtype=np.float32)
    several = [
        Unit("a", 0), Unit("a", 1), Unit("b", 0), Neuron("a", 0), Neuron("a", 0, (0, 0)),
        Dream("a"), Logit("a"), Logit(0), 2 * Unit("a", 0), Unit("a", 0) - Unit("a", 1),
        Direction("a", vector), Direction("a", -vector), Direction("a", vector, cosine=2.0),
        Inversion("a", target), Inversion("a", 2 * target), Caricature("a", target),
    ]  # fmt: skip
    assert len({one.digest() for one in several}) == len(several)
    assert Direction("a", vector, name="x").digest() == Direction("a", vector.copy()).digest()
    one, other = Inversion("a", target), Inversion("a", 2 * target)
    assert one.digest(targets=False) == other.digest(targets=False)
    assert (1.0 * Unit("a", 0)).digest() == Unit("a", 0).digest()


def concept_vectors(model, weights):
    names = pd.DataFrame({"name": ["sky", "sea", "none"], "category": "object"})
    space = Space("toy", model.fingerprint, "a", 5, "raw")
    return ConceptVectors(weights, np.zeros(3), names, "segmentation", space)


def test_concept_vectors_become_unit_directions(model, vector):
    vectors = concept_vectors(model, np.stack([vector, -2 * vector, 0 * vector]))
    found = directions(vectors, cosine=2.0)
    assert [one.name for one in found] == ["sky", "sea"]  # the third has no vector
    assert_allclose(found[1].vector, -vector / np.linalg.norm(vector))
    assert found[0].cosine == 2.0
    assert [one.name for one in directions(vectors, ["sea"])] == ["sea"]
    with pytest.raises(InputError, match="'none' has no vector"):
        directions(vectors, ["none"])


def test_what_does_not_fit_is_refused(model, output, vector):
    other = probed(nn.Conv2d(3, 5, 1))
    strange = directions(concept_vectors(other, np.stack([vector] * 3)))[0]
    target = np.ones((5, 2, 2), dtype=np.float32)
    for objective, error, message in (
        (Unit("a", 5), InputError, "layer a has no unit 5; its units are 0 to 4"),
        (Unit("a", -1), InputError, "no unit -1"),
        (Neuron("a", 0, (4, 0)), InputError, r"no position \(4, 0\).*4 x 6"),
        (Direction("a", vector[:3]), SpaceError, "has 3 numbers, but layer a of toy has 5 units"),
        (Inversion("a", target), InputError, r"shape \(5, 2, 2\).*\(5, 4, 6\)"),
        (Inversion("a", np.zeros(SHAPE)), InputError, "all zero"),
    ):
        with pytest.raises(error, match=message):
            value(objective, model, output)
    assert strange.home.weights == other.fingerprint != model.fingerprint
    with pytest.raises(InputError, match="no class 'cow'"):
        value(Logit("cow"), model, np.zeros(3), "")
    for bad in (vector * np.nan, np.zeros(5), np.ones((2, 5))):
        with pytest.raises(InputError, match="one row of finite numbers"):
            Direction("a", bad)
