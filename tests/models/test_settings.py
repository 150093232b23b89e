"""What a factory says of its network's pictures, in whatever type it says it."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from conceptlab.errors import ModelError
from conceptlab.models.settings import settings_of


def module(**attributes):
    made = nn.Conv2d(3, 2, 1)
    for name, value in attributes.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize("size", [64, 64.0, np.int64(64), torch.tensor(64), (64, 64), [64, 64]])
def test_sizes(size):
    assert settings_of(module(size=size), "net") == {"size": 64}


@pytest.mark.parametrize(
    "mean",
    [
        (0.25, 0.5, 0.75), [0.25, 0.5, 0.75], np.array([0.25, 0.5, 0.75], np.float32),
        torch.tensor([0.25, 0.5, 0.75]), torch.tensor([0.25, 0.5, 0.75]).reshape(3, 1, 1),
        pd.Series([0.25, 0.5, 0.75]),
    ],
)  # fmt: skip
def test_means(mean):
    assert settings_of(module(mean=mean), "net") == {"mean": (0.25, 0.5, 0.75)}


def test_one_number_holds_for_all_channels():
    assert settings_of(module(std=0.5), "net") == {"std": (0.5, 0.5, 0.5)}


@pytest.mark.parametrize(
    "names",
    [
        ["cat", "dog"], ("cat", "dog"), np.array(["cat", "dog"]), pd.Index(["cat", "dog"]),
        {0: "cat", 1: "dog"}, {"1": "dog", "0": "cat"},
    ],
)  # fmt: skip
def test_class_names(names):
    assert settings_of(module(class_names=names), "net") == {"class_names": ["cat", "dog"]}


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"size": "64"}, "net sets size = '64'"),
        ({"size": (64, 48)}, "size is the pixels on a side of a square input"),
        ({"size": 63.5}, "size is the pixels"),
        ({"size": True}, "one number is wanted"),
        ({"mean": "imagenet"}, "net sets mean = 'imagenet'"),
        ({"std": []}, "one number is wanted"),
        ({"class_names": "cat,dog"}, "a list of names, not one text"),
        ({"class_names": {1: "dog"}}, "0, 1, 2"),
    ],
)
def test_what_cannot_be_read_is_said(attributes, message):
    with pytest.raises(ModelError, match=message):
        settings_of(module(**attributes), "net")


def test_a_tensor_of_the_network_is_no_setting(caplog):
    made = module()
    made.register_buffer("mean", torch.tensor([0.5, 0.5, 0.5]))
    assert settings_of(made, "net") == {}
    assert "mean is a tensor that the network itself works with" in caplog.text


def test_parts_and_methods_are_no_settings():
    made = module(std=nn.Identity())
    assert settings_of(made, "net") == {}


def test_attributes_that_are_not_read_are_told(caplog):
    made = module(input_size=32, classes=["a"])
    assert settings_of(made, "net") == {}
    assert "the attribute input_size is not read; if it is meant for conceptlab, call it size" in (
        caplog.text
    )
    assert "call it class_names" in caplog.text
    caplog.clear()
    made.size = 32
    settings_of(made, "net")
    assert "input_size" not in caplog.text
