"""Receptive fields and strides, against published ones and against gradients."""

import math

import pytest
import torch
from torch import nn
from torchvision import models

from conceptlab.models.field import parameters_of
from conceptlab.models.probed import Preprocessing, ProbedModel
from conceptlab.numerics.geometry import Geometry


def table(module, size):
    half = (0.5, 0.5, 0.5)
    model = ProbedModel(module, Preprocessing(Geometry(size), half, half), name="m", spec="m")
    return model.layers().set_index("layer")


def field(found, layer):
    return found.loc[layer, "receptive_field"], found.loc[layer, "stride"]


# Araujo, Norris & Sim 2019, table of common networks: AlexNet 195/32 and VGG-16 212/32 are after
# the last pooling, ResNet's are of its last convolution
@pytest.mark.parametrize(
    ("name", "layer", "expected"),
    [
        ("alexnet", "features.0", (11, 4)),
        ("alexnet", "features.2", (19, 8)),
        ("alexnet", "features.11", (163, 16)),
        ("alexnet", "features.12", (195, 32)),
        ("vgg16", "features.0", (3, 1)),
        ("vgg16", "features.29", (196, 16)),
        ("vgg16", "features.30", (212, 32)),
        ("resnet18", "conv1", (7, 2)),
        ("resnet18", "layer1", (43, 4)),
        ("resnet18", "layer4", (435, 32)),
        ("resnet50", "layer4", (427, 32)),  # strides in the 3 x 3; 483 with them in the 1 x 1
        ("mobilenet_v2", "features", (491, 32)),
        # 4 + 3 x 6 x 4 + 4 + 3 x 6 x 8 + 8 + 9 x 6 x 16 + 16 + 3 x 6 x 32; units are mixed by
        # linear layers
        ("convnext_tiny", "features", (1688, 32)),
    ],
)
def test_published_fields(name, layer, expected, tables):
    assert field(tables(name), layer) == expected


SIZES = {"alexnet": 128, "mobilenet_v2": 160}  # at 64 px their last maps answer to all alike


@pytest.fixture(scope="module")
def tables():
    made = {}

    def get(name):
        if name not in made:
            with torch.device("cpu"):
                made[name] = table(models.get_model(name, weights=None), SIZES.get(name, 64))
        return made[name]

    return get


def test_beyond_global_operations_it_is_not_defined(tables):
    found = tables("resnet18")
    for layer in ("avgpool", "fc"):
        assert all(math.isnan(v) for v in field(found, layer))


def by_gradient(module, size):
    """The pixels that the middle unit depends on."""
    image = torch.randn(1, 3, size, size, requires_grad=True)
    output = module(image)
    middle = output.shape[-1] // 2
    output[0, :, middle, middle].sum().backward()
    touched = image.grad.abs().sum(dim=(0, 1)) > 0
    return int(touched.any(dim=1).sum()), int(touched.any(dim=0).sum())


class Branches(nn.Module):
    """Paths of unequal fields that meet."""

    def __init__(self):
        super().__init__()
        self.narrow = nn.Conv2d(3, 4, 1)
        self.wide = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 5, padding=2))

    def forward(self, x):
        return torch.cat([self.narrow(x) + self.wide(x), self.narrow(x)], dim=1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Conv2d(3, 4, 3, stride=2),
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3, dilation=3), nn.Conv2d(4, 4, 3)),
        lambda: nn.Sequential(nn.Conv2d(3, 4, (1, 7)), nn.Conv2d(4, 4, (7, 1))),
        lambda: nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(3, 4, 3), nn.AvgPool2d(3, stride=2)),
        lambda: nn.Sequential(nn.Conv2d(3, 6, 3, groups=3), nn.Conv2d(6, 4, 1), nn.ReLU6()),
        Branches,
    ],
)
def test_fields_are_those_of_gradients(make):
    torch.manual_seed(0)
    module = nn.Sequential(make())
    for parameter in module.parameters():
        nn.init.uniform_(parameter, 0.1, 1)  # nothing cancels, no ReLU closes
    found = table(module, 33)
    with torch.enable_grad():
        assert found.loc["0", "receptive_field"] == max(by_gradient(module, 33))


def test_a_tracker_changes_no_output():
    torch.manual_seed(0)
    module = models.get_model("squeezenet1_0", weights=None).eval()
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        before = module(image)
        table(module, 64)
        assert torch.equal(module(image), before)


def test_parameters():
    assert parameters_of(nn.Conv2d(3, 4, 5)) == 3 * 4 * 25 + 4


class Doing(nn.Module):
    """A convolution, then some function, then what it gives."""

    def __init__(self, function):
        super().__init__()
        self.conv, self.out, self.function = nn.Conv2d(3, 4, 3), nn.Identity(), function

    def forward(self, x):
        return self.out(self.function(self.conv(x)))


LOCAL = {
    "sigmoid gate": lambda x: x * torch.sigmoid(x),
    "permute": lambda x: x.permute(0, 2, 3, 1),
    "channel norm": lambda x: nn.functional.layer_norm(x.permute(0, 2, 3, 1), (4,)),
    "in place": lambda x: x.clone().relu_().add_(1),
    "batch norm": lambda x: nn.functional.batch_norm(x, torch.zeros(4), torch.ones(4)),
    "every second channel": lambda x: x[:, ::2],
    "linear on the units": lambda x: nn.functional.linear(x.permute(0, 2, 3, 1), torch.ones(5, 4)),
    "product with weights": lambda x: (x.flatten(2).mT.flatten(0, 1) @ torch.ones(4, 5)).reshape(
        -1, 14, 14, 5
    ),
}
WHOLE = {
    "mean": lambda x: x.mean((2, 3), keepdim=True) + x,
    "adaptive": lambda x: nn.functional.adaptive_avg_pool2d(x, 2),
    "attention": lambda x: nn.functional.scaled_dot_product_attention(x, x, x),
    "softmax": lambda x: x.flatten(2).softmax(2).view_as(x),
    "linear": lambda x: nn.functional.linear(x, torch.ones(14, 14)),
    "linear on the places": lambda x: nn.functional.linear(x.flatten(2), torch.ones(9, 196)),
    "as many units as places": lambda x: nn.functional.linear(
        nn.functional.max_pool2d(x, 7).flatten(2), torch.ones(4, 4)
    ),
    "pooled by a matrix": lambda x: (torch.ones(196, 4) @ x[0].flatten(1)).view(1, 196, 14, 14),
    "map norm": lambda x: nn.functional.layer_norm(x, tuple(x.shape[1:])),
    "group norm": lambda x: nn.functional.group_norm(x, 2),
    "instance norm": lambda x: nn.functional.instance_norm(x),
    "upsampled": lambda x: nn.functional.interpolate(x, scale_factor=2),
    "transposed": lambda x: nn.functional.conv_transpose2d(x, torch.ones(4, 4, 2, 2)),
    "maximum": lambda x: x.amax((2, 3), keepdim=True),
    "rolled": lambda x: x.roll(1, 2),
}


@pytest.mark.parametrize("name", LOCAL)
def test_operations_on_single_places_change_nothing(name):
    assert field(table(Doing(LOCAL[name]), 16), "out") == (3, 1)


@pytest.mark.parametrize("name", WHOLE)
def test_operations_on_the_whole_picture_leave_it_undefined(name):
    assert all(math.isnan(value) for value in field(table(Doing(WHOLE[name]), 16), "out"))


def test_every_second_row_and_column_is_a_stride():
    assert field(table(Doing(lambda x: x[:, :, ::2, ::2]), 16), "out") == (3, 2)
