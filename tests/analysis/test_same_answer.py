"""What is said of a concept, unit or class does not depend on what else is asked in the call."""

import numpy as np
import pandas as pd
import pytest
import torch

import conceptlab as cl
from tests.conftest import ToyData, catalogue_of
from tests.models.nets import pictures as noise
from tests.models.nets import probed

# corrections are for all that is asked, and intervals take from all how alike neighbours are
TOGETHER = ["p_adjusted", "p_bh", "low", "high", "interval"]


@pytest.fixture
def toys(store_activations):
    """Activations, a data set of three objects and three colours, and it without the colours.

    About half of the images show each concept, in half of their squares.
    """
    rng = np.random.default_rng(0)
    shows = rng.random((90, 2, 3)) < 0.5  # image, category, concept
    drawn = rng.integers(0, 3, (90, 2, 4, 4))
    there = np.take_along_axis(shows, drawn.reshape(90, 2, 16), axis=2).reshape(drawn.shape)
    planes = np.where(there, drawn + np.array([0, 3])[:, None, None], -1)
    values = np.abs(rng.normal(0, 0.3, (90, 8, 4, 4)))
    for unit in range(3):
        values[:, unit] += planes[:, 0] == unit
    big = planes.repeat(8, axis=2).repeat(8, axis=3)
    splits = ["train"] * 60 + ["val"] * 30
    objects = [(f"thing{i}", "object") for i in range(3)]
    data = ToyData(big, splits, catalogue_of(*objects, *[(f"c{i}", "color") for i in range(3)]))
    acts = store_activations(values, data)
    return acts, data, ToyData(big[:, :1], splits, catalogue_of(*objects))


def of_objects(table):
    return table[table["category"] == "object"].reset_index(drop=True)


@pytest.mark.parametrize(
    "probe",
    [
        cl.SegmentationProbe(min_examples=5),
        cl.SegmentationProbe(inputs="raw", min_examples=5),
        cl.ClassificationProbe(min_examples=5),
        cl.CavProbe(random=4, examples=8, redraws=2, min_examples=5),
        cl.CavProbe(random=4, examples=8, redraws=2, min_examples=5, form="positions"),
        cl.CavProbe(random=4, examples=6, redraws=2, min_examples=5, against="complement"),
    ],
    ids=["segment", "raw", "classify", "cav", "positions", "complement"],
)
def test_probes(probe, toys):
    acts, data, few = toys
    every = type(probe)(**probe.get_params()).fit(acts, data)
    found = type(probe)(**probe.get_params()).fit(acts, few)
    size = np.abs(found.vectors.weights).max()
    assert size > 0
    np.testing.assert_allclose(
        every.vectors.weights[:3], found.vectors.weights, atol=1e-4 * size, rtol=0
    )
    scores = every.score(acts, data), found.score(acts, few)
    pd.testing.assert_frame_equal(of_objects(scores[0]), scores[1], rtol=1e-3)


def test_units(toys):
    acts, data, few = toys
    every, found = cl.dissect(acts, data), cl.dissect(acts, few)
    pd.testing.assert_frame_equal(of_objects(every.table), found.table)
    chances = cl.chance_of_best(acts, data), cl.chance_of_best(acts, few)
    pd.testing.assert_frame_equal(of_objects(chances[0]), chances[1])
    for choose in ("top", "diverse"):
        several = cl.exemplars(acts, [0, 1, 5], count=4, choose=choose).table
        single = cl.exemplars(acts, [5], count=4, choose=choose).table
        own = several[several["target"] == single["target"].iloc[0]].reset_index(drop=True)
        pd.testing.assert_frame_equal(own, single)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 6, 8, 8), torch.nn.ReLU(), torch.nn.Conv2d(6, 5, 2), torch.nn.Tanh(),
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(5, 3),
    )  # fmt: skip
    return probed(net, 32)


@pytest.fixture(scope="module")
def vectors(network):
    weights = np.random.default_rng(0).normal(size=(4, 6))
    table = pd.DataFrame({"name": list("abcd"), "category": "thing"})
    return cl.ConceptVectors(weights, np.zeros(4), table, "cav", network.space("1", 6))


@pytest.fixture(scope="module")
def pictures():
    data = cl.load_data("scenes:n=10")
    return [data.image(i) for i in range(8)]


@pytest.mark.parametrize(
    "ask",
    [
        lambda *given: cl.tcav(*given, random=9),
        lambda *given: cl.erase(*given, units=2, random=4).table,
    ],
    ids=["tcav", "erase"],
)
def test_effects(ask, network, pictures, vectors):
    every = ask(network, {0: pictures, 1: pictures[:5], 2: pictures[3:]}, vectors)
    found = ask(network, {1: pictures[:5]}, vectors.select(["c"]))
    own = every[(every["class"] == "1") & (every["concept"] == "c")].reset_index(drop=True)
    assert len(own) == len(found) > 0
    pd.testing.assert_frame_equal(
        own.drop(columns=TOGETHER, errors="ignore"), found.drop(columns=TOGETHER, errors="ignore"),
        check_dtype=False, atol=1e-6,
    )  # fmt: skip


def test_classes_are_decomposed_one_by_one(network, pictures, vectors):
    every = cl.decompose(network, {0: pictures, 1: pictures[:5]}, vectors).table
    found = cl.decompose(network, {1: pictures[:5]}, vectors).table
    own = every[every["class"] == "1"].reset_index(drop=True)
    pd.testing.assert_frame_equal(own, found.reset_index(drop=True), atol=1e-6)


def test_erased_probes(toys):
    acts, data, _ = toys
    probe = cl.ClassificationProbe(min_examples=5).fit(acts, data)
    every = cl.erased_probe(acts, data, probe.vectors, units=2)
    found = cl.erased_probe(acts, data, probe.vectors.select(["thing1"]), units=2)
    own = every[every["concept"] == "thing1"].reset_index(drop=True)
    pd.testing.assert_frame_equal(own, found)


def test_random_sets_are_the_same_beside_concepts_of_more_pictures(network):
    def learned(**concepts):
        how = {"classifier": "difference", "counterparts": 4, "examples": 30, "redraws": 2}
        return cl.picture_cavs(network, concepts, noise(150, 32, 9), layer="1", **how)

    few, many = noise(8, 32, 1) + 0.3, noise(40, 32, 2)
    both, alone = learned(many=many, few=few), learned(few=few)
    np.testing.assert_allclose(both.vectors.weights[1], alone.vectors.weights[0], atol=1e-6)
    table = both.vectors.concepts.loc[1], alone.vectors.concepts.loc[0]
    for column in ("examples", "accuracy", "stability"):
        assert table[0][column] == pytest.approx(table[1][column], rel=1e-4)


@pytest.mark.parametrize("form", ["pooled", "positions", "flattened"])
@pytest.mark.parametrize("classifier", ["ridge", "logistic"])
def test_cavs_are_the_same_beside_a_concept_far_from_all_else(network, form, classifier):
    """Its pictures are ten times as bright: a penalty in units of all samples felt that."""

    def learned(**concepts):
        how = {"examples": 12, "counterparts": 4, "redraws": 1, "form": form}
        given = network, concepts, noise(40, 32, 9)
        return cl.picture_cavs(*given, layer="1", classifier=classifier, **how).vectors

    own, bright = noise(12, 32, 1) + 0.3, 10 * noise(12, 32, 2)
    both, alone = learned(own=own, bright=bright), learned(own=own)
    np.testing.assert_allclose(both.weights[0], alone.weights[0], atol=1e-3)
