"""Activations and vectors of a network that computes something else are never served."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import SKETCHING
from PIL import Image
from torch import nn
from torchvision.models import GoogLeNet
from torchvision.models.vision_transformer import VisionTransformer

from conceptlab.activations.extract import extract
from conceptlab.activations.store import Activations
from conceptlab.analysis.effects.tcav import tcav
from conceptlab.errors import SpaceError
from conceptlab.models.identity import fixed_pictures
from conceptlab.models.sources.load import load_model
from conceptlab.numerics.sketch import Sketch
from conceptlab.probes.units.dissection import dissect
from conceptlab.vectors import ConceptVectors

SIZE, UNITS, LAYER = 16, 6, "block.conv"


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(5, UNITS, 3, padding=1)

    def forward(self, x):
        return self.conv(x)


class Net(nn.Module):
    """What a network does that no weight and no description shows."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 5, 3, padding=1)
        self.block = Block()
        self.head = nn.Linear(UNITS, 3)
        self.scale, self.act = 1.0, torch.relu
        self.register_buffer("shift", torch.zeros(1), persistent=False)

    def forward(self, x):
        x = self.act(self.first(x)) * self.scale + self.shift
        return self.head(self.block(x).mean((2, 3)))


def make(seed=0):
    torch.manual_seed(seed)
    return load_model(Net(), size=SIZE, mean=(0.5,) * 3, std=(0.25,) * 3)


def ablate(unit):
    def hook(_, __, output):
        output = output.clone()
        output[:, unit] = 0
        return output

    return hook


def bright(_, args):
    """Only where the whole picture is bright."""
    x = args[0]
    return (torch.where(x.mean((1, 2, 3), keepdim=True) > 1.5, x * 0.5, x),)


def corner(_, __, output):
    """Only one value of one unit's map."""
    output = output.clone()
    output[:, 2, 3, 11] += 0.5
    return output


def replaced(module):
    forward = module.first.forward
    module.first.forward = lambda x: forward(x) * 0.9


def trained(module):
    step = torch.optim.SGD(module.parameters(), lr=0.1)
    module(torch.ones(2, 3, SIZE, SIZE)).sum().backward()
    step.step()
    module.zero_grad()


def written(module):
    module.first.weight.data[0, 0, 0, 0] += 0.5


#: What is done to a network; those of the last two change the weights.
CHANGES = {
    "attribute": lambda m: setattr(m, "scale", 1.01),
    "function": lambda m: setattr(m, "act", torch.tanh),
    "buffer": lambda m: m.shift.fill_(0.3),
    "forward": replaced,
    "hook": lambda m: m.block.conv.register_forward_hook(ablate(4)),
    "hook before": lambda m: m.first.register_forward_hook(ablate(1)),
    "pre-hook": lambda m: m.block.register_forward_pre_hook(lambda _, args: (args[0] * 0.9,)),
    "bright only": lambda m: m.register_forward_pre_hook(bright),
    "one place": lambda m: m.block.conv.register_forward_hook(corner),
    "trained": trained,
    "written": written,
}
WEIGHTS = ("trained", "written")


def given(model, data, layer=LAYER):
    """(N, K, H, W) the layer's outputs by a bare pass with a hook."""
    kept = []
    handle = model.module.get_submodule(layer).register_forward_hook(
        lambda _, __, output: kept.append(output)
    )
    with torch.inference_mode():
        model.module.eval()(model.prepare([data.image(i) for i in range(len(data))]))
    handle.remove()
    return kept[0].float().numpy()


class Passes:
    """Counts the pictures that a network sees for a data set's rows."""

    def __init__(self, model):
        self.count = 0
        model.module.head.register_forward_pre_hook(lambda *_: None)
        model.module.first.register_forward_pre_hook(self.see)

    def see(self, _, args):
        self.count += 0 if SKETCHING[0] else len(args[0])


@pytest.mark.parametrize("change", list(CHANGES))
def test_a_network_that_does_something_else_is_computed_anew(pictures, tmp_path, caplog, change):
    model = make()
    extract(model, pictures, [LAYER], tmp_path, dtype="float32")
    CHANGES[change](model.module)
    found = extract(model, pictures, [LAYER], tmp_path, dtype="float32")[LAYER]
    np.testing.assert_allclose(found.array, given(model, pictures), rtol=1e-5, atol=1e-6)
    first, again = make(), Passes(make())
    before = extract(first, pictures, [LAYER], tmp_path, dtype="float32")[LAYER]
    np.testing.assert_allclose(before.array, given(first, pictures), rtol=1e-5, atol=1e-6)
    assert before.path != found.path
    assert again.count == 0
    told = "does something else" in caplog.text and f"layer {LAYER}: " in caplog.text
    assert told == (change not in WEIGHTS)


def test_both_networks_are_served_from_then_on(pictures, tmp_path, caplog):
    one, other = make(), make()
    other.module.scale = 3.0
    paths = [extract(m, pictures, [LAYER], tmp_path)[LAYER].path for m in (one, other)]
    assert [path.name for path in paths] == [f"{LAYER}.h5", f"{LAYER}~2.h5"]
    caplog.clear()
    passes = [Passes(m) for m in (one, other)]
    assert [extract(m, pictures, [LAYER], tmp_path)[LAYER].path for m in (one, other)] == paths
    assert [p.count for p in passes] == [0, 0]
    assert not caplog.records
    third = make()
    third.module.scale = -1.0
    assert extract(third, pictures, [LAYER], tmp_path)[LAYER].path.name == f"{LAYER}~3.h5"


def vectors_of(model):
    rows = np.random.default_rng(0).normal(size=(2, UNITS))
    names = pd.DataFrame({"name": ["a", "b"], "category": "object"})
    return ConceptVectors(rows, np.zeros(2), names, "cav", model.space(LAYER, UNITS))


@pytest.mark.parametrize("saved", [True, False])
@pytest.mark.parametrize("change", list(CHANGES))
def test_vectors_are_not_applied_to_a_network_that_does_something_else(tmp_path, change, saved):
    model = make()
    vectors = vectors_of(model)
    if saved:
        vectors.save(tmp_path / "v.h5")
        vectors = ConceptVectors.load(tmp_path / "v.h5")
    images = list(fixed_pictures(SIZE).values())
    vectors.score(model, images[0])
    vectors.segment(make(), images[0])  # another object, the same network
    CHANGES[change](model.module)
    said = "not to the model given" if change in WEIGHTS else rf"layer {LAYER} differs: "
    for call in (
        lambda: vectors.score(model, images[0]),
        lambda: vectors.segment(model, images[0]),
        lambda: model.apply(vectors, images[0]),
        lambda: tcav(model, {0: images}, vectors, random=5),
    ):
        with pytest.raises(SpaceError, match=said):
            call()


def test_vectors_and_activations_of_one_fingerprint_and_two_networks_do_not_mix(pictures, tmp_path):
    one, other = make(), make()
    other.module.scale = 3.0
    first, second = (extract(m, pictures, [LAYER], tmp_path)[LAYER] for m in (one, other))
    vectors = dissect(first, pictures).vectors
    assert vectors.space.weights == second.space().weights
    vectors.space.require_equal(first.space(vectors.space.inputs))
    with pytest.raises(SpaceError, match=rf"different spaces \(layer {LAYER} differs: unit"):
        vectors.space.require_equal(second.space(vectors.space.inputs))
    with pytest.raises(SpaceError, match="belong to another Net"):
        vectors.space.require_layer(second.space())


def test_vectors_made_by_hand_go_by_the_fingerprint():
    model = make()
    vectors = vectors_of(model)
    space = type(vectors.space)(model.name, model.fingerprint, LAYER, UNITS, "raw")
    space.require_model(model, LAYER)
    with pytest.raises(SpaceError, match=r"belong to layer block\.conv, not to first"):
        space.require_model(model, "first")


def test_other_heads_of_a_transformer(pictures, tmp_path):
    def network(heads):
        torch.manual_seed(0)
        return load_model(
            VisionTransformer(16, 4, 2, heads, 8, 16, num_classes=3),
            size=16, mean=(0.5,) * 3, std=(0.25,) * 3,
        )  # fmt: skip

    layer, found = "encoder.layers.encoder_layer_1", []
    for heads in (2, 4):
        model = network(heads)
        model.module.load_state_dict(network(2).module.state_dict())
        found.append(extract(model, pictures, [layer], tmp_path, dtype="float32")[layer])
        tokens = given(model, pictures, layer)[:, 1:].transpose(0, 2, 1).reshape(-1, 8, 4, 4)
        np.testing.assert_allclose(found[-1].array, tokens, rtol=1e-4, atol=1e-5)
    assert found[0].provenance["model"] == found[1].provenance["model"]
    assert found[0].path != found[1].path


def test_transform_input(pictures, tmp_path):
    torch.manual_seed(0)
    module = GoogLeNet(num_classes=3, aux_logits=False, transform_input=False, init_weights=False)
    found = []
    for module.transform_input in (False, True):
        model = load_model(module, size=32, mean=(0.5,) * 3, std=(0.25,) * 3)
        found.append(extract(model, pictures, ["maxpool1"], tmp_path, dtype="float32")["maxpool1"])
        wanted = given(model, pictures, "maxpool1")
        np.testing.assert_allclose(found[-1].array, wanted, rtol=1e-4, atol=1e-5)
    assert found[0].path != found[1].path


def test_autocast_is_another_network(pictures, tmp_path):
    model = make()
    plain = extract(model, pictures, [LAYER], tmp_path)[LAYER]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        coarse = extract(model, pictures, [LAYER], tmp_path)[LAYER]
    assert plain.path != coarse.path
    assert coarse.sketch.dtype == "bfloat16"
    with pytest.raises(
        SpaceError, match=r"bfloat16 values instead of float32|float32 values instead"
    ):
        coarse.space().require_model(model)


def test_pictures_replaced_while_the_data_lives(tmp_path):
    from conftest import write_pictures

    from conceptlab.data import load_data

    root = write_pictures(tmp_path / "data")
    data, model = load_data(f"folder:{root}"), make()
    first = extract(model, data, [LAYER], tmp_path / "cache", dtype="float32")[LAYER]
    Image.new("RGB", (24, 20), "red").save(root / "images" / "val" / "01.png")
    found = extract(model, data, [LAYER], tmp_path / "cache", dtype="float32")[LAYER]
    np.testing.assert_allclose(found.array, given(model, data), rtol=1e-5, atol=1e-6)
    assert found.path != first.path


def test_a_unit_that_fixed_pictures_leave_silent_shows_on_those_of_the_data(pictures, tmp_path):
    """The unit speaks for values that only the data's pictures have."""

    class Rare(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.scale = nn.Conv2d(3, 2, 1), 1.0

        def forward(self, x):
            mean = x.mean((1, 2, 3), keepdim=True)
            return self.conv(x) * torch.where(
                (mean.abs() < 0.2) & (x.std() < 0.99), self.scale, 0.0
            )

    paths = set()
    for scale in (1.0, 2.0):
        torch.manual_seed(0)
        module = nn.Sequential(Rare(), nn.Identity())
        module[0].scale = scale
        model = load_model(module, size=16, mean=(0.5,) * 3, std=(0.25,) * 3)
        paths.add(extract(model, pictures, ["1"], tmp_path)["1"].path)
    assert len(paths) == 2


def test_rounding_is_no_difference(pictures, tmp_path):
    model = make()
    path = extract(model, pictures, [LAYER], tmp_path, batch_size=4)[LAYER].path
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        other = copy.deepcopy(model)
        other.module = other.module.to(memory_format=torch.channels_last)
        assert extract(other, pictures, [LAYER], tmp_path, batch_size=13)[LAYER].path == path
    finally:
        torch.set_num_threads(before)


def test_a_file_of_an_earlier_version_is_not_served(pictures, tmp_path, caplog, monkeypatch):
    model = make()
    monkeypatch.setattr("conceptlab.activations.blockfile.SCHEMA", 1)
    monkeypatch.setattr("conceptlab.activations.cache.SCHEMA", 1)
    path = extract(model, pictures, [LAYER], tmp_path)[LAYER].path
    monkeypatch.undo()
    assert extract(model, pictures, [LAYER], tmp_path)[LAYER].path == path
    assert "has schema 1" in caplog.text or "schema 1, and this version reads 2" in caplog.text
    assert path.with_name(f"{path.name}.damaged-1").exists()
    assert isinstance(Activations(path).sketch, Sketch)
