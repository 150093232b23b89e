"""Made images: closed forms, inversion, independence of the batch, silent units, and bad input."""

import logging
from collections import OrderedDict
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose
from PIL import Image
from torch import nn

from conceptlab.errors import InputError, LayerError, ModelError, SpaceError
from conceptlab.models import load_model
from conceptlab.models.outputs import class_columns
from conceptlab.models.picture import network_view
from conceptlab.numerics.geometry import Geometry
from conceptlab.space import Space
from conceptlab.synthesis.diversity import likeness
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
from conceptlab.synthesis.settings import Synthesis
from conceptlab.synthesis.visualize import (
    INVERSION,
    SILENT,
    Visualizations,
    caricature,
    invert,
    visualize,
)
from conceptlab.vectors import ConceptVectors
from tests.models.nets import Small, probed, state

FEW = Synthesis(steps=8)
FREE = Synthesis(parameters="free", jitter=0, scale=0, rotate=0, steps=200, rate=0.02)


class Linear(nn.Module):
    """Four units, each a plain product with the whole picture."""

    def __init__(self, size=8):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Conv2d(3, 4, size, bias=False)

    def forward(self, x):
        return self.layer(x).flatten(1)


@pytest.fixture(scope="module")
def small():
    return probed(Small(), names=["cat", "dog"])


@pytest.fixture(scope="module")
def scenenet():
    return load_model("builtin:scenenet")


def psnr(made, wanted):
    error = ((made.astype(float) - wanted.astype(float)) / 255) ** 2
    return -10 * np.log10(error.mean())


def test_the_optimum_of_a_linear_unit_under_l2_is_its_filter():
    model, weight = probed(Linear()), 0.25
    filters = model.module.layer.weight.detach().double().numpy()
    found = visualize(model, [Neuron("layer", u) for u in range(4)],
                      replace(FREE, l2=weight))  # fmt: skip
    optimum = filters / (2 * weight)
    assert np.abs(optimum).max() < 1  # in the range of a picture: mean 0.5, std 0.5
    assert_allclose(found.images / 127.5 - 1, optimum.transpose(0, 2, 3, 1), atol=1.5 / 255)
    values = (filters * optimum).sum(axis=(1, 2, 3))
    assert_allclose(found.table["value"], values, rtol=0.01)


def test_the_optimum_of_a_sum_is_the_sum_of_filters():
    model = probed(Linear())
    f = model.module.layer.weight.detach().double().numpy()
    vector = np.array([1.0, 0.0, 0.5, 0.0])
    asked = [Neuron("layer", 0) - 2 * Neuron("layer", 1), Direction("layer", vector)]
    found = visualize(model, asked, replace(FREE, l2=0.5))
    wanted = np.stack([f[0] - 2 * f[1], f[0] + 0.5 * f[2]])
    assert_allclose(found.images / 127.5 - 1, wanted.transpose(0, 2, 3, 1), atol=1.5 / 255)


def test_a_bounded_linear_unit_ends_in_black_and_white():
    model = probed(Linear())
    settings = Synthesis(parameters="pixels", steps=300, rate=0.2, jitter=0, scale=0, rotate=0)
    found = visualize(model, Neuron("layer", 0), settings)
    filters = model.module.layer.weight.detach().numpy()[0].transpose(1, 2, 0)
    large = np.abs(filters) > 0.01
    assert ((found.images[0] > 127) == (filters > 0))[large].all()
    assert (np.abs(found.images[0] - 127.5)[large] > 120).all()


def test_alpha_norm_and_frequency_act_on_the_picture(small):
    plain = visualize(small, Unit("second", 1), Synthesis(steps=60))
    for other in (Synthesis(steps=60, alpha_norm=1.0, alpha=1.5), Synthesis(steps=60, l2=1.0)):
        assert visualize(small, Unit("second", 1), other).images.std() < 0.7 * plain.images.std()
    for other in (
        Synthesis(steps=60, tv=1.0), Synthesis(steps=60, frequency=10.0),
        Synthesis(steps=60, blur=1.0),
    ):  # fmt: skip
        made = visualize(small, Unit("second", 1), other).images.astype(float)
        before = np.abs(np.diff(plain.images.astype(float), axis=2)).mean()
        assert np.abs(np.diff(made, axis=2)).mean() < 0.7 * before


MANY = [
    Unit("first", 1), Neuron("second", 2), Dream("second"), Logit("dog"),
    Direction("second", np.array([1.0, -1, 0, 0, 2]), cosine=2.0),
    Unit("first", 0) - 0.5 * Unit("second", 0), Unit("first", 1),
]  # fmt: skip


@pytest.mark.parametrize("parameters", ["fourier", "pixels", "free"])
def test_an_image_does_not_depend_on_what_shares_its_batch(small, parameters):
    settings = Synthesis(steps=12, parameters=parameters, octaves=2)
    together = visualize(small, MANY, settings)
    apart = visualize(small, MANY, settings, batch_size=2)
    backwards = visualize(small, MANY[:6][::-1], settings)
    for other in (apart, backwards):
        order = slice(None) if other is apart else slice(5, None, -1)
        count = len(other)
        assert_allclose(together.images[:count][order].astype(int), other.images, atol=2)
        assert_allclose(together.history[:, :count][:, order], other.history, rtol=1e-2, atol=1e-4)
    assert together.history.shape == (24, 7)


def test_the_same_call_gives_the_same_bits_and_another_seed_another_image(small):
    one, two = (visualize(small, MANY, FEW, seed=3) for _ in range(2))
    assert np.array_equal(one.images, two.images)
    assert np.array_equal(one.history, two.history)
    pd.testing.assert_frame_equal(one.table, two.table)
    other = visualize(small, MANY, FEW, seed=4)
    assert all((a != b).any() for a, b in zip(one.images, other.images, strict=True))
    assert (one.images[0] != one.images[6]).any()  # equal objectives


def test_an_objective_and_its_multiple_give_the_same_image(small):
    """Adam's steps have no scale; seeds do differ, so both start from one picture."""
    start = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    settings = Synthesis(steps=10, jitter=0, scale=0, rotate=0)
    asked = [w * Unit("second", 1) for w in (1e-6, 1.0, 1e3)]
    made = visualize(small, asked, settings, start=start).images.astype(int)
    assert_allclose(made[0], made[1], atol=1)
    assert_allclose(made[2], made[1], atol=1)


def test_the_table_tells_the_value_of_the_picture_itself(small):
    found = visualize(small, MANY[:4], FEW)
    assert list(found.table) == ["objective", "layer", "start", "value", "note"]
    assert found.table["objective"].tolist() == [one.text for one in MANY[:4]]
    assert found.table["layer"].tolist() == ["first", "second", "second", ""]
    x = torch.tensor(found.images).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.no_grad():
        first = small.module.first(x)
        second = small.module.second(first.relu())
        scores = small.module.head(second.mean(dim=(2, 3)))
    column = class_columns(small, ["dog"], 2)[0]
    wanted = [first[0, 1].mean(), second[1, 2, 4, 4], second[2].square().mean(), scores[3, column]]
    assert_allclose(found.table["value"], wanted, rtol=1e-4)
    assert (found.table["value"] > found.table["start"]).all()
    assert isinstance(found, Visualizations)
    assert len(found) == 4
    assert "second" in found._repr_html_()


def test_the_network_is_given_back_as_it_was(small):
    small.module.train()
    before = state(small.module)
    try:
        visualize(small, MANY, FEW)
        assert state(small.module) == before
        with pytest.raises(InputError):
            visualize(small, [Unit("second", 99)], FEW)
        assert state(small.module) == before
    finally:
        small.module.eval()


def test_an_early_layer_alone_stops_the_pass(small):
    ran = []
    handle = small.module.head.register_forward_hook(lambda *_: ran.append(1))
    try:
        small.layers()
        ran.clear()
        visualize(small, [Unit("first", 0), Unit("second", 0)], FEW)
        assert not ran
        visualize(small, [Unit("first", 0), Logit(0)], FEW)
        assert len(ran) == FEW.steps + 2
    finally:
        handle.remove()


class Deaf(nn.Module):
    """Unit 0 is silent for any picture near grey, unit 1 for all pictures, unit 2 for none."""

    def __init__(self, inplace):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 3, 3)
        self.relu = nn.ReLU(inplace=inplace)
        with torch.no_grad():
            self.conv.weight[0].abs_()
            self.conv.bias[:] = torch.tensor([-0.5, -100.0, 0.5])

    def forward(self, x):
        return self.relu(self.conv(x))


@pytest.mark.parametrize("inplace", [True, False])
def test_silent_units_are_woken_where_they_can_be(inplace):
    model = probed(Deaf(inplace))
    units = [Unit("relu", unit) for unit in range(3)]
    found = visualize(model, units, Synthesis(steps=80, jitter=0.2))
    table = found.table
    assert table["start"].tolist()[:2] == [0, 0]
    assert table["value"][0] > 0.1
    assert table["value"][1] == 0
    assert table["note"].tolist() == ["", SILENT, ""]
    alone = visualize(model, units[2], Synthesis(steps=80, jitter=0.2))
    assert_allclose(alone.images[0].astype(int), found.images[2], atol=2)


class Cut(nn.Module):
    """A layer behind something that stops the gradient."""

    def __init__(self, cut):
        super().__init__()
        self.before, self.cut = nn.Conv2d(3, 4, 1), cut
        self.layer = nn.Conv2d(4, 4, 1)

    def forward(self, x):
        return self.layer(self.cut(self.before(x))).mean(dim=(2, 3))


@pytest.mark.parametrize("cut", [lambda x: x.detach(), torch.round, torch.sign])
def test_a_layer_that_no_gradient_reaches_is_refused(cut):
    model = probed(Cut(cut))
    for asked, name in ((Unit("layer", 0), "layer layer of toy"), (Logit(0), "the scores of toy")):
        with pytest.raises(LayerError, match=f"{name} do.* not depend on the picture"):
            visualize(model, asked, FEW)
    assert not visualize(model, Unit("before", 0), FEW).table["note"][0]


def test_values_that_are_not_finite_stop_with_the_step_and_the_setting():
    class Bounded(nn.Conv2d):
        def forward(self, x):
            return super().forward(x) * (1 if float(x.detach().abs().max()) < 2.5 else np.nan)

    model = probed(nn.Sequential(OrderedDict(layer=Bounded(3, 2, 1))))
    settings = Synthesis(parameters="free", rate=1.0, jitter=0, scale=0, rotate=0)
    with pytest.raises(ModelError, match=r"layer unit 1 is nan at step 3: lower the rate.* 1"):
        visualize(model, [Unit("layer", 1)], settings)
    bright = Image.new("RGB", (8, 8), (255, 255, 255))

    class Broken(nn.Conv2d):
        def forward(self, x):
            return super().forward(x) * np.inf

    with pytest.raises(LayerError, match="its values are not finite"):
        visualize(
            probed(nn.Sequential(OrderedDict(layer=Broken(3, 2, 1)))),
            [Unit("layer", 1)],
            settings,
            start=bright,
        )


def test_octaves_grow_and_starts_are_kept(small):
    found = visualize(small, Unit("first", 0), Synthesis(steps=3, octaves=2, size=20))
    assert found.images.shape == (1, 20, 20, 3)
    assert found.history.shape == (6, 1)
    picture = np.random.default_rng(0).integers(5, 250, (8, 8, 3), dtype=np.uint8)
    for parameters in ("fourier", "pixels", "free"):
        still = visualize(small, [Unit("first", 0)] * 2,
                          Synthesis(steps=0, parameters=parameters), start=picture)  # fmt: skip
        assert_allclose(still.images.astype(int), np.stack([picture] * 2), atol=1)
    assert_allclose(still.table["start"], still.table["value"], rtol=1e-4)
    two = [Image.fromarray(picture), Image.fromarray(255 - picture)]
    kept = visualize(small, [Unit("first", 0)] * 2, Synthesis(steps=0), start=two)
    assert_allclose(kept.images[1].astype(int), 255 - picture, atol=1)


def test_diversity_makes_equal_objectives_differ(scenenet):
    alike = {}
    for weight in (0.0, 20.0):
        found = visualize(scenenet, [Unit("features.8", 3)] * 3 + [Unit("features.8", 4)],
                          Synthesis(steps=40, size=32, diversity=weight))  # fmt: skip
        with torch.no_grad():
            x = torch.tensor(found.images[:3]).permute(0, 3, 1, 2) / 255
            mean, std = (torch.tensor(v)[:, None, None] for v in (
                scenenet.preprocessing.mean, scenenet.preprocessing.std))  # fmt: skip
            maps = scenenet.module.features[:9]((x - mean) / std)
        alike[weight] = float(likeness(maps).mean())
        last = found.images[3]
        alike[f"last {weight}"] = last
    assert alike[20.0] < alike[0.0] - 0.05
    assert_allclose(alike["last 0.0"].astype(int), alike["last 20.0"], atol=2)  # alone in its group
    with pytest.raises(InputError, match="a class alone names none"):
        visualize(scenenet, [Logit(0)] * 2, Synthesis(diversity=1.0))


def test_a_group_shares_a_batch_whatever_its_size(small):
    asked = [Unit("first", 0), Unit("first", 1), Unit("first", 0), Unit("first", 0)]
    settings = Synthesis(steps=5, diversity=1.0)
    small.layers()  # a pass of its own, if it is the first time
    batches = []
    handle = small.module.first.register_forward_hook(lambda *a: batches.append(len(a[2])))
    try:
        one, other = (visualize(small, asked, settings, batch_size=n) for n in (16, 1))
    finally:
        handle.remove()
    assert batches == [4] * 7 + [3] * 7 + [1] * 7
    assert_allclose(one.images.astype(int), other.images, atol=2)
    assert other.table["objective"].tolist() == [a.text for a in asked]


def test_inversion_of_an_early_layer_recovers_the_picture(scenenet, shared_data):
    with Image.open(shared_data / "photos" / "chelsea.jpg") as picture:
        picture.load()
    settings = replace(INVERSION, size=64)
    wanted = network_view(picture, Geometry(64))
    early = invert(scenenet, picture, "features.2", settings)
    assert psnr(early.images[0], wanted) > 40
    assert -0.02 < early.table["value"][0] < 0
    assert psnr(invert(scenenet, picture, "features.5", settings).images[0], wanted) > 30
    late = invert(scenenet, picture, "features.17", settings)
    assert psnr(late.images[0], wanted) < 20  # what a late layer no longer knows


@pytest.mark.slow
@pytest.mark.parametrize(("layer", "decibels"), [("features.0", 35), ("features.3", 25)])
def test_inversion_of_early_layers_of_a_trained_network(shared_data, layer, decibels):
    weights = shared_data / "squeezenet1_0_imagenet.safetensors"
    model = load_model("torchvision:squeezenet1_0", weights=weights)
    with Image.open(shared_data / "photos" / "chelsea.jpg") as picture:
        picture.load()
    found = invert(model, picture, layer, replace(INVERSION, size=112))
    assert psnr(found.images[0], network_view(picture, Geometry(112))) > decibels


def test_a_caricature_exaggerates_and_stays_near_the_picture(scenenet):
    picture = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    picture = picture.repeat(4, axis=0).repeat(4, axis=1)
    found = caricature(scenenet, picture, "features.8", Synthesis(steps=30, size=64))
    assert found.table["value"][0] > 1.1 * found.table["start"][0]
    assert isinstance(found.objectives[0], Caricature)
    near = psnr(found.images[0], picture)
    noise = np.random.default_rng(1).integers(0, 256, picture.shape)
    assert near > psnr(noise, picture) + 3


def test_inversions_do_not_depend_on_their_company(small):
    several = [np.full((8, 8, 3), level, dtype=np.uint8) for level in (40, 120, 200)]
    together = invert(small, several, "second", Synthesis(steps=10))
    alone = invert(small, several[1], "second", Synthesis(steps=10))
    assert_allclose(together.images[1].astype(int), alone.images[0], atol=2)
    assert isinstance(together.objectives[0], Inversion)
    starts = invert(small, several, "second", Synthesis(steps=0)).images
    assert (starts == starts[0]).all()  # the last bits of a target must not change the seed


@pytest.mark.parametrize(
    ("spec", "layer", "size"),
    [
        ("torchvision:resnet18", "layer2", 48),
        ("torchvision:mobilenet_v2", "features.5", 40),
        ("timm:vit_tiny_patch16_224", "blocks.1", 224),
        ("timm:resnet18", "layer1", 33),
    ],
)
def test_networks_of_torchvision_and_timm(spec, layer, size, caplog):
    caplog.set_level(logging.ERROR)
    model = load_model(spec)
    asked = [Unit(layer, 1), Neuron(layer, 2), Logit(7), Dream(layer)]
    found = visualize(model, asked, Synthesis(steps=3, size=size))
    assert found.images.shape == (4, size, size, 3)
    assert (found.table["value"] > found.table["start"]).sum() >= 3
    assert not found.table["note"].any()


def test_a_size_that_the_network_cannot_take(caplog):
    caplog.set_level(logging.ERROR)
    for spec, asked, size, own in (
        ("timm:vit_tiny_patch16_224", Unit("blocks.1", 0), 64, 224),
        ("torchvision:squeezenet1_0", Logit(0), 4, 224),
    ):
        model = load_model(spec)
        message = f"{spec} cannot run on a picture of {size} x {size} pixels .* its own, {own}"
        with pytest.raises(ModelError, match=message):
            visualize(model, asked, Synthesis(steps=1, size=size))


def test_bad_input_in_one_sentence(small):
    vectors = ConceptVectors(
        np.ones((1, 5)), np.zeros(1), pd.DataFrame({"name": ["sky"], "category": ["object"]}),
        "cav", Space("other", "f" * 64, "second", 5, "raw"),
    )  # fmt: skip
    picture = np.zeros((8, 8, 3), dtype=np.uint8)
    for asked, more, error, message in (
        ([], {}, InputError, "at least one objective"),
        (["second"], {}, InputError, "at least one objective"),
        (Unit("nowhere", 0), {}, LayerError, "no layer 'nowhere'"),
        (Unit("*", 0), {}, LayerError, "reads one layer"),
        (Direction("second", np.ones(3)), {}, SpaceError, "3 numbers.* 5 units"),
        (directions(vectors), {}, SpaceError, "belong to other"),
        (Logit("cow"), {}, InputError, "no class 'cow'"),
        (Unit("first", 0), {"batch_size": 0}, InputError, "batch_size"),
        ([Unit("first", 0)] * 3, {"start": [picture] * 2}, InputError, "one picture.*or 3; got 2"),
        (Unit("first", 0), {"start": picture / 2.0}, InputError, "uint8"),
    ):
        with pytest.raises(error, match=message):
            visualize(small, asked, FEW, **more)


def test_scores_in_a_dictionary_are_named():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(3, 4, 1)

        def forward(self, x):
            return {"maps": self.layer(x), "scores": self.layer(x).mean(dim=(2, 3))}

    model = probed(Two())
    found = visualize(model, Logit(1), FEW, output="scores")
    assert found.table["value"][0] > found.table["start"][0]
    with pytest.raises(ModelError, match="say which scalar"):
        visualize(model, Logit(1), FEW)


@pytest.mark.gpu
def test_on_an_accelerator(small):
    if not torch.cuda.is_available():
        pytest.skip("no accelerator")
    here = visualize(small, MANY, FEW)
    small.to("cuda")
    try:
        there = visualize(small, MANY, FEW)
    finally:
        small.to("cpu")
    assert_allclose(here.images.astype(int), there.images, atol=6)


def test_weights_made_in_inference_mode_are_refused():
    with torch.inference_mode():
        module = Small()
    with pytest.raises(ModelError, match=r"inside torch.inference_mode\(\)"):
        visualize(probed(module), Unit("first", 0), FEW)


@pytest.mark.parametrize("within", [torch.inference_mode, torch.no_grad])
def test_images_do_not_depend_on_what_the_caller_is_within(small, within):
    wanted = visualize(small, Logit("cat"), FEW).images
    picture = Image.fromarray(np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3))
    near = invert(small, picture, layer_of(small), FEW).images
    with within():
        assert np.array_equal(visualize(small, Logit("cat"), FEW).images, wanted)
        assert np.array_equal(invert(small, picture, layer_of(small), FEW).images, near)


def layer_of(model):
    return model.layers()["layer"].iloc[0]
