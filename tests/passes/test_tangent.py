"""Attributions to all classes in one pass: backward passes, a closed form, and what falls back."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import nn
from torch.autograd.function import once_differentiable

from conceptlab.errors import LayerError, ModelError
from conceptlab.models import load_model
from conceptlab.passes.gradient import derivatives
from conceptlab.passes.tangent import Tangent
from tests.models.nets import Small, pictures, probed, state


def literal(model, batch, layer, places, output=None):
    """(n, C) activation times gradient at one place of each picture, class after class."""
    from conceptlab.passes.gradient import scores

    count = scores(model, batch[:1], output).shape[1]
    found = np.zeros((len(batch), count))
    for c in range(count):
        asked = np.full((len(batch), 1), c)
        one = derivatives(model, batch, [layer], asked, output).layers[layer]
        for i, (y, x) in enumerate(places):
            h, g = one.values[i, :, y, x], one.gradients[0, i, :, y, x]
            found[i, c] = h.astype(float) @ g.astype(float)
    return found


def outputs(model, batch, layer):
    asked = np.zeros((len(batch), 1), dtype=int)
    return derivatives(model, batch, [layer], asked).layers[layer].values


def places_in(values, seed=0):
    """A place of each picture where the vector is not zero."""
    rng = np.random.default_rng(seed)
    return np.array([rng.permutation(np.argwhere(v.any(axis=0)))[0] for v in values])


def agree(found, wanted):
    scale = np.abs(wanted).max()
    assert scale > 0
    assert_allclose(found, wanted, rtol=1e-3, atol=1e-4 * scale)


def timm_vit():
    return load_model("timm:vit_tiny_patch16_224", untrained=True, size=224)


NETWORKS = {
    "scenenet": (lambda: load_model("builtin:scenenet"), "features.8", True),
    "head": (lambda: load_model("builtin:scenenet"), "features.17", True),
    "resnet18": (
        lambda: load_model("torchvision:resnet18", untrained=True, size=64), "layer3", True
    ),
    "shortcut": (
        lambda: load_model("torchvision:resnet18", untrained=True, size=64), "layer3.1.conv1", False
    ),
    "mobilenet_v2": (
        lambda: load_model("torchvision:mobilenet_v2", untrained=True, size=64),
        "features.13",
        True,
    ),
}  # fmt: skip


def few_classes(model, count=12):
    """Only a few classes, so that the literal replica is not slow."""
    return lambda returned: returned[:, :count]


@pytest.mark.parametrize("name", NETWORKS)
def test_attributions_are_activation_times_gradient(name):
    make, layer, alone = NETWORKS[name]
    model = make()
    output = few_classes(model)
    before = state(model.module)
    size = model.preprocessing.geometry.size
    batch = pictures(3, size)
    values = outputs(model, batch, layer)
    places = places_in(values)
    tangent = Tangent(model, layer, output)
    assert tangent.forward
    assert tangent.alone == alone
    wanted = literal(model, batch, layer, places, output)
    assert tangent.classes == wanted.shape[1]
    agree(tangent.of_pictures(batch, places), wanted)
    if alone:
        agree(tangent.of_grids(values, places), wanted)
    assert state(model.module) == before


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("layer", ["blocks.5", "blocks.3.attn"])
def test_transformers_keep_their_class_token(layer):
    model = timm_vit()
    batch = pictures(2, 224)
    output = few_classes(model, 4)
    values = outputs(model, batch, layer)
    places = places_in(values)
    tangent = Tangent(model, layer, output)
    assert tangent.forward
    assert not tangent.alone
    agree(tangent.of_pictures(batch, places), literal(model, batch, layer, places, output))


def test_torchvisions_transformer_runs_forward_too():
    from torchvision.models import VisionTransformer

    torch.manual_seed(0)
    module = VisionTransformer(16, 4, num_layers=3, num_heads=2, hidden_dim=8, mlp_dim=8,
                               num_classes=5)  # fmt: skip
    for parameter in module.parameters():  # as made, patches hardly speak
        nn.init.normal_(parameter, std=0.4)
    model = load_model(module, size=16)
    layer = "encoder.layers.encoder_layer_0"
    batch, places = pictures(3, 16), np.array([[0, 0], [3, 1], [2, 2]])
    tangent = Tangent(model, layer)
    assert tangent.forward
    agree(tangent.of_pictures(batch, places), literal(model, batch, layer, places))


def test_before_a_linear_head_it_is_a_row_times_the_vector_over_the_positions():
    model = load_model("builtin:scenenet")
    rng = np.random.default_rng(0)
    values = rng.normal(size=(4, 96, 8, 8)).astype(np.float32)
    places = rng.integers(8, size=(4, 2))
    found = Tangent(model, "features.17").of_grids(values, places)
    h = values[np.arange(4), :, places[:, 0], places[:, 1]]
    wanted = h @ model.module.head.weight.detach().numpy().T / 64
    assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)
    assert (np.argmax(found, axis=1) == np.argmax(wanted, axis=1)).all()


class Doubled(torch.autograd.Function):
    """Has no forward derivative."""

    @staticmethod
    def forward(ctx, x):
        return 2 * x.sin()

    @staticmethod
    def backward(ctx, gradient):
        return 2 * gradient  # of another function, so that it is seen who is asked


class Once(Doubled):
    """Has no second derivative either."""

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        return 2 * gradient


class Partly(nn.Module):
    """A branch that gradients do not pass, though forward mode does."""

    def forward(self, x):
        with torch.no_grad():
            aside = 3 * x
        return x.tanh() + aside


class Wrapped(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function.apply(x)


class Before(Small):
    """Has something of its own after the second layer."""

    def __init__(self, after):
        super().__init__()
        self.after = after

    def forward(self, x):
        return self.head(self.after(self.second(self.relu(self.first(x)))).mean(dim=(2, 3)))


@pytest.mark.parametrize("make", [lambda: Wrapped(Doubled), Partly])
@pytest.mark.parametrize("layer", ["first", "relu", "second"])
def test_where_forward_mode_fails_or_differs_two_backward_passes_agree(make, layer):
    model = probed(Before(make()))
    before = state(model.module)
    batch, places = pictures(4), np.array([[0, 0], [7, 1], [3, 4], [5, 7]])
    tangent = Tangent(model, layer)
    assert not tangent.forward
    assert tangent.alone
    wanted = literal(model, batch, layer, places)
    agree(tangent.of_pictures(batch, places), wanted)
    agree(tangent.of_grids(outputs(model, batch, layer), places), wanted)
    assert state(model.module) == before


def test_both_ways_agree_on_one_network():
    model = probed(Small())
    batch, places = pictures(4), np.array([[0, 0], [7, 1], [3, 4], [5, 7]])
    tangent = Tangent(model, "first")
    one = tangent.of_pictures(batch, places)
    tangent.forward = False
    assert_allclose(tangent.of_pictures(batch, places), one, rtol=1e-4, atol=1e-7)


def test_what_cannot_be_derived_is_said():
    model = probed(Before(Wrapped(Once)))
    with pytest.raises(ModelError, match="neither a forward derivative nor a second one from"):
        Tangent(model, "first").of_pictures(pictures(2), np.zeros((2, 2), dtype=int))
    cut = Wrapped(Once)
    cut.forward = lambda x: x.detach()
    with pytest.raises(LayerError, match="do not depend on layer second in a way"):
        Tangent(probed(Before(cut)), "second")
    with pytest.raises(LayerError, match="no layer 'secnd'; nearest: second"):
        Tangent(probed(Small()), "secnd")
    with pytest.raises(LayerError, match=r"the layer gives \(5, 8, 8\) for a picture, and the"):
        Tangent(probed(Small()), "second").of_grids(
            np.zeros((2, 5, 4, 4)), np.zeros((2, 2), dtype=int)
        )
    assert torch.backends.mha.get_fastpath_enabled()


class Counting(Small):
    """Remembers how many pictures came in."""

    def forward(self, x):
        n = len(x)
        return self.head(self.second(self.relu(self.first(x))).view(n, 5, -1).mean(dim=2))


def test_a_network_that_counts_its_pictures_needs_them():
    tangent = Tangent(probed(Counting()), "first")
    assert not tangent.alone
    batch, places = pictures(2), np.array([[0, 0], [7, 1]])
    agree(tangent.of_pictures(batch, places),
          literal(probed(Counting()), batch, "first", places))  # fmt: skip
