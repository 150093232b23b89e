"""Networks in half, brain and double precision: everything runs, and says what float32 says."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

import conceptlab as cl

LAYER = "features.17"
#: Relative rounding of a value, times what a few layers make of it.
TYPES = {torch.float64: 1e-5, torch.float16: 0.01, torch.bfloat16: 0.1}
FEW = cl.Synthesis(steps=2, octaves=1)


@pytest.fixture(scope="module")
def data():
    return cl.load_data("scenes:n=40")


@pytest.fixture(scope="module")
def pictures(data):
    return [data.image(i) for i in range(6)]


@pytest.fixture(scope="module")
def wanted(data, pictures):
    return cl.load_model("builtin:scenenet").activations(pictures, [LAYER])[LAYER]


@pytest.fixture(params=TYPES, ids=str)
def model(request):
    made = cl.load_model("builtin:scenenet")
    made.module.to(request.param)
    return made


def test_activations(model, pictures, wanted):
    found = model.activations(pictures, [LAYER])[LAYER]
    assert found.dtype == np.float32
    assert_allclose(found, wanted, atol=TYPES[model.dtype] * wanted.max())


def test_cache_vectors_and_effects(model, data, pictures, wanted, tmp_path):
    acts = cl.extract(model, data, [LAYER], cache=tmp_path, dtype="float32")[LAYER]
    assert_allclose(acts.read(0, 6), wanted, atol=TYPES[model.dtype] * wanted.max())
    cavs = cl.CavProbe(against="complement", random=4, min_examples=4).fit(acts, data).cavs
    assert np.isfinite(cavs.vectors.segment(model, pictures[0])).any()
    table = cl.tcav(model, {"street": pictures}, cavs)
    assert table["score"].between(0, 1).any()
    parts = cl.decompose(model, {"street": pictures}, cavs).table
    assert len(parts) > 0
    named = [n for n, usable in zip(cavs.vectors.names, cavs.vectors.usable, strict=True) if usable]
    erased = cl.erase(model, {"street": pictures}, cavs.vectors.select(named[:1]), random=4).table
    assert len(erased) == 2  # the concept alone, and all together


def test_images_by_optimisation(model):
    made = cl.visualize(model, [cl.Unit(LAYER, 3), cl.Logit("street")], FEW)
    assert made.images.dtype == np.uint8
    assert np.isfinite(made.table["value"]).all()


def test_attributions(model, pictures):
    from conceptlab.passes.tangent import Tangent

    places = np.zeros((2, 2), dtype=np.int64)
    found = Tangent(model, LAYER).of_pictures(model.prepare(pictures[:2]), places)
    single = cl.load_model("builtin:scenenet")
    exact = Tangent(single, LAYER).of_pictures(single.prepare(pictures[:2]), places)
    assert_allclose(found, exact, atol=2 * TYPES[model.dtype] * np.abs(exact).max())
