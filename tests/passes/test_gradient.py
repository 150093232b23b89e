"""Derivatives at layers: finite differences in double precision, and what cannot be derived."""

from functools import partial

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn
from torchvision.models import VisionTransformer

from conceptlab.errors import LayerError, ModelError
from conceptlab.models import load_model
from conceptlab.models.grid import first_tensor
from conceptlab.passes.gradient import derivatives, scores
from conceptlab.passes.tangent import Tangent

SIZE, CLASSES, STEP = 16, 3, 1e-5


class Net(nn.Module):
    """Convolutions with batch normalisation and in-place ReLUs; a branch that goes nowhere."""

    def __init__(self, end=None):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 5, 3, 2, 1), nn.BatchNorm2d(5), nn.ReLU(True))
        self.second = nn.Sequential(nn.Conv2d(5, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU(True))
        self.aside = nn.Conv2d(5, 2, 1)
        self.unused = nn.Linear(2, 2)
        self.head = nn.Linear(4, CLASSES)
        self.end = end or nn.Identity()

    def forward(self, x):
        found = self.first(x)
        self.aside(found)
        pooled = torch.tanh(self.second(found)).mean(dim=(2, 3))
        return self.end(self.head(pooled))


class Pair(nn.Module):
    """A layer that returns a tuple; a class's score needs the first part alone."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, 4)

    def forward(self, x):
        found = self.conv(x)
        return found, found.argmax(dim=1)


class Last(nn.Module):
    """A layer with units on the last axis, after one that gives a tuple."""

    def __init__(self):
        super().__init__()
        self.pair, self.mix, self.head = Pair(), nn.Linear(4, 6), nn.Linear(6, CLASSES)

    def forward(self, x):
        mixed = self.mix(self.pair(x)[0].permute(0, 2, 3, 1))
        return self.head(torch.sigmoid(mixed).amax(dim=(1, 2)))


def vit():
    return VisionTransformer(SIZE, 8, num_layers=2, num_heads=2, hidden_dim=6, mlp_dim=8,
                             num_classes=CLASSES)  # fmt: skip


def model_of(make, double=True):
    torch.manual_seed(0)
    module = make()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.uniform_(-0.3, 0.3)
            part.running_var.uniform_(0.5, 2)
    for parameter in module.parameters():  # a ViT's head begins at zero
        nn.init.normal_(parameter, std=0.4)
    return load_model(module.double() if double else module, size=SIZE)


def batch(n=3, double=True):
    values = torch.randn(n, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    return values.double() if double else values


def columns(n=3):
    return np.array([[i % CLASSES, (i + 1) % CLASSES] for i in range(n)])


def to_raw(direction, raw):
    """A direction over (n, K, H, W) in a layer's own layout."""
    direction = torch.from_numpy(direction)
    if raw.ndim == 3:
        tokens = direction.flatten(2).transpose(1, 2)
        return torch.cat([torch.zeros_like(raw[:, :1]), tokens], dim=1)
    if raw.ndim == 4 and raw.shape[1] != direction.shape[1]:
        return direction.permute(0, 2, 3, 1)
    return direction.reshape(raw.shape)


def moved(model, layer, direction, step):
    """Scores with a layer's output moved along a direction."""

    def hook(module, inputs, output):
        raw = first_tensor(output, layer)
        changed = raw + step * to_raw(direction, raw)
        return changed if isinstance(output, torch.Tensor) else (changed, *output[1:])

    handle = dict(model.module.named_modules())[layer].register_forward_hook(hook)
    try:
        with torch.no_grad():
            return model.module(batch()).numpy()
    finally:
        handle.remove()


BLOCK = "encoder.layers.encoder_layer_0"
CASES = [
    (Net, "first.0", (5, 8, 8)), (Net, "first.1", (5, 8, 8)), (Net, "first", (5, 8, 8)),
    (Net, "second.0", (4, 4, 4)), (Net, "head", (3, 1, 1)), (vit, BLOCK, (6, 2, 2)),
    (vit, "conv_proj", (6, 2, 2)), (Last, "mix", (6, 4, 4)), (Last, "pair", (4, 4, 4)),
]  # fmt: skip


@pytest.mark.parametrize(("make", "layer", "shape"), CASES)
def test_gradients_are_finite_differences(make, layer, shape):
    model = model_of(make)
    found = derivatives(model, batch(), [layer], columns())
    gradients = found.layers[layer].gradients
    assert gradients.shape == (2, 3, *shape)
    assert found.layers[layer].values.shape == (3, *shape)
    assert gradients.dtype == found.scores.dtype == np.float64
    with torch.no_grad():
        assert_allclose(found.scores, model.module(batch()).numpy(), rtol=1e-12)
    for seed in range(3):
        direction = np.random.default_rng(seed).normal(size=(3, *shape))
        ends = [moved(model, layer, direction, step) for step in (-STEP, STEP)]
        slope = np.take_along_axis((ends[1] - ends[0]) / (2 * STEP), columns(), axis=1)
        along = np.einsum("tnkhw,nkhw->nt", gradients, direction)
        assert_allclose(along, slope, rtol=1e-5, atol=1e-8)
        assert np.abs(slope).max() > 1e-4


def test_several_layers_in_one_pass_are_each_alone():
    model = model_of(Net)
    layers = ["first.0", "first.1", "second.0", "second"]
    together = derivatives(model, batch(), layers, columns()).layers
    assert list(together) == layers
    for layer in layers:
        alone = derivatives(model, batch(), [layer], columns()).layers[layer]
        assert_array_equal(together[layer].values, alone.values)
        assert_allclose(together[layer].gradients, alone.gradients, rtol=1e-12)
    gate = together["first.1"].values > 0  # in-place ReLUs overwrite neither values nor gradients
    assert (~gate).any()
    assert not together["first.1"].gradients[:, ~gate].any()


def test_a_picture_knows_nothing_of_its_batch():
    model = model_of(Net)
    whole = derivatives(model, batch(), ["first"], columns()).layers["first"].gradients
    for i in range(3):
        one = derivatives(model, batch()[i : i + 1], ["first"], columns()[i : i + 1])
        assert_allclose(one.layers["first"].gradients[:, 0], whole[:, i], rtol=1e-9, atol=1e-14)


def test_the_gradient_before_a_linear_head_is_its_row_at_every_position():
    model = load_model("builtin:scenenet")
    pictures = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    asked = np.array([[4, 9], [0, 2]])
    found = derivatives(model, pictures, ["features.17"], asked)
    rows = model.module.head.weight.detach().numpy()[asked.T]
    wanted = np.broadcast_to(rows[..., None, None] / 64, (2, 2, 96, 8, 8))
    assert_allclose(found.layers["features.17"].gradients, wanted, rtol=1e-6)
    assert found.scores.dtype == np.float32
    assert_array_equal(found.scores, scores(model, pictures))


def test_scores_are_those_of_evaluation_mode():
    model = model_of(partial(Net, nn.Dropout(0.5)))
    model.module.train()
    found = scores(model, batch())
    assert model.module.training
    with torch.no_grad():
        assert_allclose(found, model.module.eval()(batch()).numpy())


def state(module):
    return (
        {n: m.training for n, m in module.named_modules()},
        {n: p.requires_grad for n, p in module.named_parameters()},
        sum(len(m._forward_hooks) + len(m._backward_hooks) for m in module.modules()),
    )


class Fails(nn.Module):
    def forward(self, x):
        raise RuntimeError("on purpose")


@pytest.mark.parametrize("end", [None, Fails()])
def test_the_network_is_given_back_as_it_was(end):
    model = model_of(partial(Net, end))
    model.module.train()
    model.module.first[1].eval()
    model.module.head.weight.requires_grad_(False)
    model.module.first.register_forward_hook(lambda *_: None)
    before, values = state(model.module), batch()
    if end is None:
        derivatives(model, values, ["first.0", "second"], columns())
    else:
        with pytest.raises(ModelError, match="on purpose"):
            derivatives(model, values, ["first.0", "second"], columns())
    assert state(model.module) == before
    assert all(p.grad is None for p in model.module.parameters())
    assert not values.requires_grad
    assert torch.equal(values, batch())


class Cut(nn.Module):
    def __init__(self, how):
        super().__init__()
        self.how = how

    def forward(self, x):
        return self.how(x)


def only_an_index(x):
    return nn.functional.one_hot(x.argmax(dim=1), CLASSES).to(x.dtype)


def without_gradients(x):
    with torch.no_grad():
        return 2 * x


@pytest.mark.parametrize("how", [torch.detach, only_an_index, without_gradients])
def test_a_path_that_is_cut_is_said(how):
    model = model_of(partial(Net, Cut(how)))
    with pytest.raises(LayerError, match="of Net do not depend on layer second in a way") as said:
        derivatives(model, batch(), ["second"], columns())
    assert "detached, rounded or an index; choose another layer" in str(said.value)
    assert state(model.module)[2] == 0


def test_layers_beside_the_path_and_off_it():
    model = model_of(Net)
    with pytest.raises(LayerError, match="do not depend on layer aside"):
        derivatives(model, batch(), ["aside"], columns())
    with pytest.raises(LayerError, match="do not depend on layer aside"):
        derivatives(model, batch(), ["first", "aside", "second"], columns())
    with pytest.raises(LayerError, match="layer unused is not reached by a forward pass"):
        derivatives(model, batch(), ["unused"], columns())
    assert state(model.module)[2] == 0


def test_layers_of_whole_numbers_have_no_gradient():
    model = model_of(partial(Net, Cut(lambda x: x)))
    model.module.index = Cut(lambda x: x.argmax(dim=1))
    model.module.end.how = lambda x: x + 0 * model.module.index(x)[:, None]
    with pytest.raises(LayerError, match=r"no tensor of floating-point numbers"):
        derivatives(model, batch(), ["index"], columns())


@pytest.mark.parametrize(
    ("end", "output"),
    [
        (lambda x: {"aux": -x, "scores": x}, "scores"),
        (lambda x: (-x, x), 1),
        (lambda x: {"deep": [x]}, lambda found: found["deep"][0]),
    ],
)
def test_networks_that_return_more_than_scores(end, output):
    plain, model = model_of(Net), model_of(partial(Net, Cut(end)))
    with pytest.raises(ModelError, match="say which scalar is meant: output=KEY"):
        derivatives(model, batch(), ["second"], columns())
    found = derivatives(model, batch(), ["second"], columns(), output)
    wanted = derivatives(plain, batch(), ["second"], columns())
    assert_allclose(found.layers["second"].gradients, wanted.layers["second"].gradients)
    assert_allclose(scores(model, batch(), output), wanted.scores)


def test_any_scalar_of_what_is_returned_can_be_asked():
    model = model_of(Net)
    found = derivatives(
        model, batch(), ["head"], np.zeros((3, 1), dtype=np.int64), lambda s: s.pow(2).sum(dim=1)
    )
    assert found.scores.shape == (3, 1)
    values = found.layers["head"].values
    assert_allclose(found.layers["head"].gradients[0], 2 * values, rtol=1e-12)


@pytest.mark.parametrize("within", [torch.inference_mode, torch.no_grad])
def test_gradients_do_not_depend_on_what_the_caller_is_within(within):
    columns, picture = np.zeros((2, 1), dtype=np.int64), torch.rand(2, 3, SIZE, SIZE)
    places = np.zeros((2, 2), dtype=np.int64)
    model = load_model(Net(), size=SIZE)
    wanted = derivatives(model, picture, ["first"], columns).layers["first"].gradients
    along = Tangent(model, "first").of_pictures(picture, places)
    with within():
        model = load_model(model.module, size=SIZE)
        found = derivatives(model, picture.clone(), ["first"], columns).layers["first"].gradients
        assert_array_equal(found, wanted)
        assert_array_equal(Tangent(model, "first").of_pictures(picture.clone(), places), along)
        made = load_model("builtin:scenenet")
    assert not any(p.is_inference() for p in made.module.parameters())


def test_weights_made_in_inference_mode_are_given_back():
    with torch.inference_mode():
        module = Net()
    model = load_model(module, size=SIZE)
    assert scores(model, torch.rand(2, 3, SIZE, SIZE)).shape == (2, CLASSES)
    assert all(p.requires_grad for p in module.parameters())
    picture = torch.rand(2, 3, SIZE, SIZE)
    with pytest.raises(ModelError, match=r"inside torch.inference_mode\(\)"):
        derivatives(model, picture, ["first"], np.zeros((2, 1), dtype=np.int64))
    with pytest.raises(ModelError, match=r"inside torch.inference_mode\(\)"):
        Tangent(model, "first").of_pictures(picture, np.zeros((2, 2), dtype=np.int64))
