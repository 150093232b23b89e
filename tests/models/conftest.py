"""Small networks with the traps of large ones."""

import pytest
import torch
from torch import nn

from conceptlab.models.probed import Preprocessing, ProbedModel
from conceptlab.numerics.geometry import Geometry


class Reused(nn.Module):
    """One ReLU for two convolutions, as in torchvision's ResNet blocks; `spare` never runs."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 5, 3, padding=1)
        self.relu = nn.ReLU()
        self.spare = nn.Conv2d(5, 6, 1)
        self.head = nn.Conv2d(5, 2, 1)

    def forward(self, x):
        return self.head(self.relu(self.second(self.relu(self.first(x)))))


def in_place():
    """A convolution whose output the next module overwrites, and a layer after."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.BatchNorm2d(4), nn.Conv2d(4, 5, 3, stride=2)
    )


@pytest.fixture(autouse=True)
def torch_as_it_was():
    """No test of this room leaves torch's generator in another state for the next."""
    with torch.random.fork_rng(devices=[]):
        yield


@pytest.fixture
def reused():
    return Reused()


@pytest.fixture
def plain():
    return in_place()


@pytest.fixture
def probed():
    """A function that wraps a module for pictures of some size."""

    def wrap(module, size=16, fit="whole", resize=None, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4)):
        preprocessing = Preprocessing(Geometry(size, fit, resize), mean, std)
        return ProbedModel(module, preprocessing, name="small", spec="small")

    return wrap
