"""The check of places that judges families of networks: planted faults, depth, and silence."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

SCRIPT = Path(__file__).parents[2] / "analyses" / "benchmarks" / "families_places.py"
SIZE = 48


@pytest.fixture(scope="module")
def places():
    spec = importlib.util.spec_from_file_location("families_places", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def answers(places):
    """(pictures, K, 12, 12) of a network so deep that each of its cells sees the whole picture."""
    torch.manual_seed(0)
    blocks = [nn.Sequential(nn.Conv2d(12, 12, 7, padding=3), nn.ReLU()) for _ in range(20)]
    module = places.made_legible(nn.Sequential(nn.Conv2d(3, 12, 4, 4), *blocks))
    with torch.no_grad():
        return module(places.pictures(SIZE))


FAULTS = {
    "turned": lambda grid: grid.mT,
    "upside down": lambda grid: grid.flip(2),
    "mirrored": lambda grid: grid.flip(3),
    "rows moved by 1": lambda grid: grid.roll(1, 2),
    "rows moved by -1": lambda grid: grid.roll(-1, 2),
    "columns moved by 1": lambda grid: grid.roll(1, 3),
    "columns moved by -1": lambda grid: grid.roll(-1, 3),
    "cells moved by 1": lambda grid: grid.flatten(2).roll(1, 2).reshape(grid.shape),
    "cells moved by -1": lambda grid: grid.flatten(2).roll(-1, 2).reshape(grid.shape),
    "answers elsewhere": lambda grid: grid.unflatten(2, (3, 4)).unflatten(4, (3, 4))
    .transpose(3, 4).reshape(grid.shape),
}  # fmt: skip


def test_a_deep_network_is_right(places, answers):
    verdict = places.judged(answers)
    assert verdict.says == places.RIGHT
    assert verdict.agreement > 0.95


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_wrong(places, answers, fault):
    """Of cells, windows of cells in another order (the last), and all that reads axes wrongly."""
    verdict = places.judged(FAULTS[fault](answers))
    assert verdict.says == places.WRONG
    assert fault in verdict.why


@pytest.mark.parametrize("order", [(0, 3, 1, 2), (0, 2, 3, 1), (0, 3, 2, 1), (0, 2, 1, 3)])
def test_units_taken_for_places_are_wrong(places, answers, order):
    """As many units as rows and columns: no shape tells them apart."""
    assert places.judged(answers.permute(order)).says == places.WRONG


def test_silence_and_answers_to_everything_are_not_judged(places, answers):
    silent = places.judged(torch.zeros_like(answers))
    assert (silent.says, silent.why) == (places.UNJUDGED, "silent")
    own = torch.randn(12, 144, 144, dtype=answers.dtype) / 12  # each cell: all cells
    mixed = torch.einsum("nkp,kpq->nkq", answers.flatten(2), own).reshape(answers.shape)
    assert places.judged(mixed).says == places.UNJUDGED


def test_centres_of_what_reads_one_pixel(places):
    """Each cell reads the third row's sixth pixel of its patch: closed form."""
    conv = nn.Conv2d(3, 4, 8, 8, bias=False).double()
    conv.weight.data[:, :, torch.arange(8) != 2] = 0
    conv.weight.data[:, :, :, torch.arange(8) != 5] = 0
    with torch.no_grad():
        found = places.centres(conv(places.pictures(SIZE)))
    rows, columns = np.indices((6, 6))
    np.testing.assert_allclose(found[:, 0], [(8 * rows + 2.5) / SIZE] * 2, atol=1e-9)
    np.testing.assert_allclose(found[:, 1], [(8 * columns + 5.5) / SIZE] * 2, atol=1e-9)
