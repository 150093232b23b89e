"""A run folder goes by what networks do, and not by what they are made of alone."""

import pytest
import torch
from torch import nn

from conceptlab.models.sources.load import load_model
from conceptlab.study.same import ANSWERS, OtherError, holds_model, require_same
from conceptlab.study.settings import ModelSettings

NAMES = ("net", "1", "dissect")


class Scaled(nn.Module):
    """A number that no weight and no description shows, after the last layer."""

    def __init__(self):
        super().__init__()
        self.conv, self.head, self.scale = nn.Conv2d(3, 4, 3), nn.Linear(4, 3), 1.0

    def forward(self, x):
        return {"scores": self.head(self.conv(x).mean((2, 3))) * self.scale}


def holds(scale):
    torch.manual_seed(0)
    module = Scaled()
    module.scale = scale
    model = load_model(module, size=16, mean=(0.5,) * 3, std=(0.5,) * 3)
    return holds_model(model, ModelSettings("file:net.py:net", ("1",)))


def test_a_network_that_answers_something_else_does_not_share_a_run_folder(tmp_path):
    first, other = holds(1.0), holds(1.01)
    assert first["model"]["fingerprint"] == other["model"]["fingerprint"]
    record = {"model": "net", "layer": "1", "holds": first}
    require_same(tmp_path, record, NAMES, holds(1.0))
    with pytest.raises(OtherError, match=f"{ANSWERS} .*choose another folder with --out"):
        require_same(tmp_path, record, NAMES, other)


def test_rounding_is_no_other_network(tmp_path):
    first = holds(1.0)
    near = {"model": {**first["model"], ANSWERS: [a * 1.00001 for a in first["model"][ANSWERS]]}}
    require_same(tmp_path, {"model": "net", "layer": "1", "holds": first}, NAMES, near)


def test_a_record_of_before_goes_by_what_it_has(tmp_path):
    first = holds(1.0)
    before = {"model": {k: v for k, v in first["model"].items() if k != ANSWERS}}
    require_same(tmp_path, {"model": "net", "layer": "1", "holds": before}, NAMES, first)
