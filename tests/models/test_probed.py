"""A network ready to be probed: preprocessing, identity, layers, activations, vectors applied."""

import copy
import math

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision import models
from torchvision.transforms import v2

from conceptlab.errors import InputError, LayerError, ModelError
from conceptlab.models.probed import Preprocessing, ProbedModel
from conceptlab.numerics.geometry import Geometry
from conceptlab.space import Space
from conceptlab.vectors import ConceptVectors

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)


class Net(nn.Module):
    """Two convolutions that share a ReLU, a token and an integer output, a part that never runs."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1)
        self.conv2 = nn.Conv2d(4, 5, 3, stride=2, padding=1)
        self.relu = nn.ReLU()
        self.classes = Argmax()
        self.unused = nn.Linear(2, 2)
        self.fc = nn.Linear(5, 3)

    def forward(self, x):
        x = self.relu(self.conv2(self.relu(self.conv1(x))))
        self.classes(x)
        return self.fc(x.mean(dim=(2, 3)))


class Argmax(nn.Module):
    def forward(self, x):
        return x.argmax(dim=1)


def module_of(seed=0):
    torch.manual_seed(seed)
    return Net()


def probed(module=None, size=8, fit="whole", resize=None, mean=MEAN, std=STD, name="net"):
    preprocessing = Preprocessing(Geometry(size, fit, resize), mean, std)
    return ProbedModel(module or module_of(), preprocessing, name=name, spec=f"test:{name}")


def noise(width=40, height=30, seed=0):
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize(("fit", "resize"), [("whole", None), ("crop", 28), ("crop", 24)])
def test_prepare_equals_torchvisions_transforms(fit, resize):
    model = probed(size=24, fit=fit, resize=resize)
    steps = [v2.Resize([24, 24])] if fit == "whole" else [v2.Resize(resize), v2.CenterCrop(24)]
    last = [v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
    images = [noise(), noise(31, 50, 1), noise(24, 24, 2)]
    batch = model.prepare(images)
    of_tensors, of_pictures = (
        torch.stack([v2.Compose([*way, *last])(image) for image in images])
        for way in ([v2.PILToTensor(), *steps], [*steps, v2.PILToTensor()])
    )
    assert torch.allclose(batch, of_tensors, atol=1e-5)
    assert nearly(batch, of_pictures, STD)
    assert batch.dtype == torch.float32
    assert batch.is_contiguous(memory_format=torch.channels_last)


def nearly(batch, expected, std):
    """Whether inputs differ by a level of 255 at most (Pillow's weights have more bits)."""
    levels = (batch - expected).abs() * 255 * torch.tensor(std).view(3, 1, 1)
    return float(levels.max()) < 1.01 and float(levels.mean()) < 0.1


def test_prepare_equals_the_weights_own_transforms():
    transform = models.ResNet18_Weights.IMAGENET1K_V1.transforms()
    std = tuple(transform.std)
    model = probed(size=224, fit="crop", resize=256, mean=tuple(transform.mean), std=std)
    image = noise(300, 280)
    assert nearly(model.prepare([image])[0], transform(image), std)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1"])
def test_pictures_of_any_mode(mode):
    image = noise().convert(mode)
    assert np.array_equal(probed().decode(image), probed().decode(image.convert("RGB")))


def test_preprocessing_checks():
    for mean, std in (((0.5, 0.5), STD), (MEAN, (1, 1, 0)), (MEAN, (1, 1))):
        with pytest.raises(InputError, match="three numbers"):
            Preprocessing(Geometry(8), mean, std)


def test_the_fingerprint_is_of_what_is_computed():
    model = probed()
    assert probed().fingerprint == model.fingerprint
    assert probed(name="other").fingerprint == model.fingerprint
    trained_on = module_of().to(memory_format=torch.channels_last)
    assert probed(trained_on).fingerprint == model.fingerprint
    assert probed(module_of().train()).fingerprint == model.fingerprint
    changed = [
        probed(size=16),
        probed(fit="crop"),
        probed(fit="crop", resize=10),
        probed(mean=(0.5, 0.4, 0.31)),
        probed(std=(0.2, 0.3, 0.41)),
        probed(module_of(1)),
    ]
    prints = {m.fingerprint for m in changed} | {model.fingerprint}
    assert len(prints) == 1 + len(changed)


def test_one_bit_of_a_weight_changes_the_fingerprint():
    module = module_of()
    before = probed(copy.deepcopy(module)).fingerprint
    with torch.no_grad():
        module.fc.bias.view(torch.int32)[1] ^= 1
    assert probed(module).fingerprint != before


def test_architecture_without_weights_changes_the_fingerprint():
    one, other = (nn.Sequential(nn.Conv2d(3, 4, 3, stride=s)) for s in (1, 2))
    other.load_state_dict(one.state_dict())
    assert probed(one).fingerprint != probed(other).fingerprint
    # a counter of training changes no output
    norm = nn.BatchNorm2d(3)
    before = probed(norm).fingerprint
    norm.num_batches_tracked += 5
    assert probed(norm).fingerprint == before


def test_layers_in_order_of_execution():
    table = probed().layers()
    assert table["layer"].tolist() == ["conv1", "relu", "conv2", "classes", "fc"]
    rows = table.set_index("layer")
    assert rows.loc["conv1", "shape"] == (4, 8, 8)
    assert rows.loc["conv2", "shape"] == (5, 4, 4)
    assert rows.loc["fc", "shape"] == (3, 1, 1)
    assert rows["calls"].to_dict() == {"conv1": 1, "relu": 2, "conv2": 1, "classes": 1, "fc": 1}
    assert rows.loc["conv2", ["stride", "receptive_field"]].tolist() == [2, 5]
    assert math.isnan(rows.loc["fc", "receptive_field"])
    assert rows.loc["conv2", "bytes_per_image"] == 5 * 4 * 4 * 2
    assert rows.loc["conv2", "parameters"] == 5 * 4 * 9 + 5
    assert rows.loc["conv2", "kind"] == "Conv2d"
    assert rows.loc["classes", "shape"] is None


def test_listing_leaves_the_network_as_it_was():
    module = module_of()
    state = {k: v.clone() for k, v in module.state_dict().items()}
    model = probed(module)
    table = model.layers()
    table["layer"] = "spoilt"
    assert model.layers()["layer"].tolist()[0] == "conv1"
    assert all(torch.equal(v, state[k]) for k, v in module.state_dict().items())
    assert not any(m._forward_hooks for m in module.modules())


def test_resolving_names_and_globs():
    model = probed()
    assert model.resolve(["fc", "conv1"]) == ["conv1", "fc"]
    assert model.resolve(["conv*", "conv2"]) == ["conv1", "conv2"]
    assert model.resolve(["*"]) == ["conv1", "conv2", "fc"]  # what cannot be probed stays out


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("conv3", "net has no layer 'conv3'; nearest: conv"),
        ("zzz*", r"net has no layer 'zzz\*'; known: conv1, relu"),
        ("unused", "layer unused of net is not reached by a forward pass"),
        ("relu", "layer relu runs more than once in a forward pass, .*choose one of conv1, conv2"),
        ("rel*", "layer relu runs more than once"),
        ("classes", "net: layer classes gives no grid of units per picture"),
    ],
)
def test_layers_that_cannot_be_probed(pattern, message):
    with pytest.raises(LayerError, match=message):
        probed().resolve([pattern])
    with pytest.raises(LayerError, match=message):
        probed().activations(noise(), ["conv1", pattern])


def test_no_layers():
    with pytest.raises(LayerError, match="name at least one layer"):
        probed().resolve([])
    with pytest.raises(LayerError, match="name at least one layer"):
        probed().resolve(["conv1", ""])


def test_an_input_size_that_the_network_cannot_take():
    module = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 2))
    with pytest.raises(ModelError, match=r"test:net: Sequential fails .* on pictures of 16 x 16"):
        probed(module).layers()


def test_activations_by_hand():
    module = module_of()
    model, images = probed(module), [noise(), noise(seed=1)]
    found = model.activations(images, ["conv*", "fc"])
    with torch.no_grad():
        batch = model.prepare(images)
        first = module.conv1(batch)
        second = module.conv2(first.relu())
        last = module.fc(second.relu().mean(dim=(2, 3)))
    assert list(found) == ["conv1", "conv2", "fc"]
    for layer, expected in {"conv1": first, "conv2": second, "fc": last[:, :, None, None]}.items():
        assert found[layer].dtype == np.float32
        assert np.allclose(found[layer], expected, atol=1e-6)
    assert model.activations(images[0], ["fc"])["fc"].shape == (1, 3, 1, 1)


def vectors_of(model, inputs="raw", thresholds=None, seed=0):
    rng = np.random.default_rng(seed)
    concepts = pd.DataFrame({"name": ["sky", "red"], "category": ["object", "color"]})
    space = Space("net", model.fingerprint, "conv2", 5, inputs)
    weights, bias = rng.normal(size=(2, 5)), rng.normal(size=2)
    return ConceptVectors(weights, bias, concepts, "segmentation", space, thresholds)


@pytest.mark.parametrize("binary", [False, True])
def test_applying_vectors_by_hand(binary):
    model, image = probed(), noise(40, 30)
    values = model.activations(image, ["conv2"])["conv2"][0].astype(np.float64)
    thresholds = np.linspace(-0.2, 0.2, 5).astype(np.float32) if binary else None
    vectors = vectors_of(model, "binary@0.005" if binary else "raw", thresholds)
    if binary:
        values = (values > thresholds[:, None, None]).astype(np.float64)
    expected = np.zeros((2, 4, 4))
    for c in range(2):
        expected[c] = vectors.bias[c]
        for k in range(5):
            expected[c] += vectors.weights[c, k] * values[k]
    maps, pooled = model.apply(vectors, image)
    assert maps.shape == (2, 30, 40)
    up = nn.functional.interpolate(
        torch.from_numpy(expected)[None], size=(30, 40), mode="bilinear", align_corners=False
    )[0]
    assert np.allclose(maps, up, atol=1e-9)
    # the mean of an affine function is that of the mean
    assert np.allclose(pooled, expected.mean(axis=(1, 2)), atol=1e-12)
    assert np.allclose(model.apply(vectors, image, (4, 4))[0], expected, atol=1e-12)


def test_a_crops_maps_lie_where_the_crop_was():
    model, image = probed(size=8, fit="crop", resize=8), noise(80, 40)
    maps, _ = model.apply(vectors_of(model), image)
    assert maps.shape == (2, 40, 80)
    seen = ~np.isnan(maps[0])
    assert seen[:, 20:60].all()  # the centre square is what the network saw
    assert not seen[:, :20].any()
    assert not seen[:, 60:].any()
    small = ~np.isnan(model.apply(vectors_of(model), image, (10, 30))[0])
    assert small[:, :, 8:22].all()  # 7.5 to 22.5 of 30, whatever the aspect asked for
    assert small.sum() == 2 * 10 * 14
    square = image.crop((20, 0, 60, 40))
    whole = probed(size=8)
    other, _ = whole.apply(vectors_of(whole), square)
    assert np.allclose(maps[:, :, 20:60], other, atol=0.1)


def test_a_device_that_is_not_there():
    model = probed()
    assert model.device.type == "cpu"
    assert model.to("cpu") is model
    with pytest.raises(InputError, match="cannot run on device 'cuda:99'"):
        model.to("cuda:99")


def test_shown_in_a_notebook():
    model = probed(name="a<b")
    assert repr(model) == "<ProbedModel test:a<b at 8 px>"
    assert "a&lt;b at 8 px" in model._repr_html_()
    assert "conv1" in model._repr_html_()


def test_listing_in_training_mode_moves_no_statistics():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    model = probed(network, size=8)
    network.train()
    before = network[1].num_batches_tracked.item()
    model.layers()
    assert network.training
    assert network[1].num_batches_tracked.item() == before


class Noted(nn.Module):
    """Its text holds an address of this process."""

    def __init__(self):
        super().__init__()
        self.note = object()

    def extra_repr(self):
        return f"note={self.note}"

    def forward(self, x):
        return x


def test_an_address_in_the_text_is_not_in_the_fingerprint():
    one, other = Noted(), Noted()
    assert repr(one) != repr(other)
    assert probed(one, size=8).fingerprint == probed(other, size=8).fingerprint
