"""Filters are a convolution's weights, and what is none is said with what is near."""

import numpy as np
import pytest
import torch
from torch import nn

from conceptlab.errors import LayerError
from conceptlab.models.filters import filters
from conceptlab.models.probed import Preprocessing, ProbedModel
from conceptlab.models.sources.load import load_model
from conceptlab.numerics.geometry import Geometry


def probed(module):
    return ProbedModel(
        module, Preprocessing(Geometry(8), (0.0,) * 3, (1.0,) * 3), name="toy", spec="toy"
    )


@pytest.fixture
def model():
    block = nn.Sequential(nn.Conv2d(6, 6, (3, 5), groups=2), nn.ReLU())
    return probed(nn.Sequential(nn.Conv2d(3, 6, 3), block, nn.BatchNorm2d(6)))


def test_weights_of_any_convolution_as_a_copy(model):
    first = filters(model, "0")
    assert first.shape == (6, 3, 3, 3)
    assert first.dtype == np.float32
    assert filters(model, "1.0").shape == (6, 3, 3, 5)
    first[:] = 0
    assert filters(model, "0").any()
    model.module[0].weight.data = model.module[0].weight.data.to(torch.bfloat16)
    assert filters(model, "0").dtype == np.float32


def test_filters_are_what_the_layer_multiplies_by(model):
    """The response to a single lit pixel is the filter, turned round."""
    picture = torch.zeros(1, 3, 7, 7)
    picture[0, 1, 3, 3] = 1
    conv = model.module[0]
    with torch.no_grad():
        seen = conv(picture) - conv(torch.zeros(1, 3, 7, 7))
    assert seen[0, :, 1:4, 1:4].flip(1, 2).numpy() == pytest.approx(
        filters(model, "0")[:, 1], abs=1e-6
    )


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        ("1", r"layer 1 is a Sequential, no convolution; inside it: 1\.0"),
        ("1.1", r"layer 1\.1 is a ReLU, no convolution; nearest: 1\.0"),
        ("2", "layer 2 is a BatchNorm2d, no convolution; known: 0, 1.0"),
        ("7.0", r"toy has no layer '7\.0'; nearest: 1\.0"),
        ("", r"toy has no layer ''; known: 0, 1\.0"),
    ],
)
def test_what_is_no_convolution(model, layer, said):
    with pytest.raises(LayerError, match=said):
        filters(model, layer)


def test_a_network_without_convolutions():
    with pytest.raises(LayerError, match="toy has no two-dimensional convolution"):
        filters(probed(nn.Sequential(nn.Flatten(), nn.Linear(192, 2))), "1")


def test_blocks_of_real_networks_name_what_is_inside(shared_data):
    weights = shared_data / "squeezenet1_0_imagenet.safetensors"
    model = load_model("torchvision:squeezenet1_0", weights=str(weights))
    assert filters(model, "features.0").shape == (96, 3, 7, 7)
    assert filters(model, "features.3.expand3x3").shape == (64, 16, 3, 3)
    with pytest.raises(LayerError, match=r"is a Fire, no convolution; inside it: features\.3\.sq"):
        filters(model, "features.3")
