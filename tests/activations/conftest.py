"""A tiny network and a tiny folder of pictures."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from conceptlab.data import load_data
from conceptlab.models import probed, steadiness
from conceptlab.models.probed import Preprocessing, ProbedModel
from conceptlab.numerics.geometry import Geometry

SKETCHING = [False]  # whether the network runs to be recognised, and not for the data set's rows


@pytest.fixture(autouse=True)
def told_apart(monkeypatch):
    """Counting and breaking hooks leave the passes alone by which a network is recognised."""

    def marking(run):
        def marked(*args):
            before, SKETCHING[0] = SKETCHING[0], True
            try:
                return run(*args)
            finally:
                SKETCHING[0] = before

        return marked

    monkeypatch.setattr(probed, "sketches", marking(probed.sketches))
    monkeypatch.setattr(steadiness, "batch_dependent", marking(steadiness.batch_dependent))


COUNTS = {"train": 7, "val": 3, "test": 3}


def write_pictures(root, counts=COUNTS, seed=0):
    """A folder data set of noise: two classes, 24 x 20 pixels."""
    rng = np.random.default_rng(seed)
    for split, count in counts.items():
        for kind in ("images", "labels"):
            (root / kind / split).mkdir(parents=True)
        for number in range(count):
            picture = rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)
            Image.fromarray(picture).save(root / "images" / split / f"{number:02}.png")
            labels = rng.integers(0, 2, (20, 24), dtype=np.uint8)
            Image.fromarray(labels).save(root / "labels" / split / f"{number:02}.png")
    (root / "classes.csv").write_text("index,name,category\n0,sky,object\n1,red,color\n")
    return root


def make_network(seed=0, size=16):
    """conv1 - relu1 (in place) - conv2 - relu2 - pool - fc, with seeded weights."""
    generator = torch.Generator().manual_seed(seed)
    parts = {
        "conv1": nn.Conv2d(3, 5, 3, padding=1),
        "relu1": nn.ReLU(inplace=True),
        "conv2": nn.Conv2d(5, 6, 3, stride=2),
        "relu2": nn.ReLU(inplace=True),
        "pool": nn.AdaptiveAvgPool2d(1),
        "flat": nn.Flatten(),
        "fc": nn.Linear(6, 4),
    }
    module = nn.Sequential()
    for name, part in parts.items():
        module.add_module(name, part)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.empty_like(parameter).normal_(generator=generator) / 2)
    preprocessing = Preprocessing(Geometry(size), (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
    return ProbedModel(module, preprocessing, name="tiny", spec="tiny")


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """13 pictures in three splits."""
    return load_data(f"folder:{write_pictures(tmp_path_factory.mktemp('pictures'))}")


@pytest.fixture
def network():
    """A fresh tiny network."""
    return make_network()
