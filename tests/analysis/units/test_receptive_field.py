"""Empirical receptive fields: uniform kernels, a literal replica, the theoretical bound."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose
from PIL import Image
from torch import nn

from conceptlab.activations.extract import extract
from conceptlab.analysis.units.exemplars import exemplars
from conceptlab.analysis.units.receptive_field import empirical_field, field_side
from conceptlab.errors import InputError, SpaceError
from tests.conftest import ToyData, catalogue_of
from tests.models.nets import probed, state


class Noise(ToyData):
    """Pictures of noise, or each of one colour."""

    def __init__(self, count, size, plain=False):
        planes = np.zeros((count, 1, 4, 4), dtype=np.int64)
        super().__init__(planes, ["train"] * count, catalogue_of(("thing", "object")))
        rng = np.random.default_rng(0)
        shape = (count, 1, 1, 3) if plain else (count, size, size, 3)
        self.pixels = np.broadcast_to(rng.integers(140, 256, shape), (count, size, size, 3))

    def image(self, i):
        return Image.fromarray(self.pixels[i].astype(np.uint8))

    def _image_bytes(self, i):
        return self.pixels[i].tobytes()


def uniform(kernel, stride=1):
    """A unit that looks at all pixels of a square alike, and one that looks at none."""
    layer = nn.Conv2d(3, 2, kernel, stride, padding=kernel // 2)
    with torch.no_grad():
        layer.weight[0], layer.weight[1] = 0.01, 0.0
        layer.bias[:] = 1.0
    return nn.Sequential(layer)


def deep():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 5, 3, padding=1),
        nn.ReLU(), nn.Conv2d(5, 6, 3, padding=1),
    )  # fmt: skip


def of(module, data, tmp_path, size, layer="0", **how):
    model = probed(module, size)
    acts = extract(model, data, [layer], cache=tmp_path, dtype="float32")[layer]
    return model, exemplars(acts, **how)


@pytest.mark.parametrize(
    ("kernel", "stride", "place", "step", "occluder"),
    [
        (15, 1, (24, 24), 1, 3),
        (15, 1, (17, 30), 3, 6),
        (21, 4, (6, 6), 2, 6),
        (9, 2, (10, 15), 2, 5),
    ],
)
def test_the_field_of_a_uniform_kernel_is_the_kernel(
    tmp_path, kernel, stride, place, step, occluder
):
    data = Noise(2, 49, plain=True)
    model, found = of(uniform(kernel, stride), data, tmp_path, 49, by=place, count=2)
    fields = empirical_field(model, data, found, occluder=occluder, step=step)
    table = fields.table
    assert abs(table["field_px"][0] - kernel) <= step
    assert table["theoretical_px"].tolist() == [kernel, kernel]
    assert table["images"].tolist() == [2, 0]
    assert np.isnan(table["field_px"][1])
    assert table["target"].tolist() == ["unit 0", "unit 1"]
    middle = len(fields.maps[0]) // 2
    assert fields.maps[0][middle, middle] == pytest.approx(fields.maps[0].max(), rel=1e-5)


def test_what_lies_beyond_the_picture_is_not_averaged(tmp_path):
    """A peak beside the border says nothing of that side, and does not halve what another says."""
    data = Noise(1, 33, plain=True)
    model, found = of(uniform(9), data, tmp_path, 33, of=[0], by=(16, 16), count=1)
    table = pd.concat([found.table, found.table.assign(x=2)], ignore_index=True)
    alone, both = (
        empirical_field(model, data, replace(found, table=t), occluder=3, step=1)
        for t in (found.table, table)
    )
    assert_allclose(both.maps, alone.maps, atol=1e-6)
    assert both.table["images"].tolist() == [2]


def test_by_default_a_step_is_a_14th_of_the_field_and_a_part_twice_that(tmp_path):
    data = Noise(1, 49, plain=True)
    model, found = of(uniform(21), data, tmp_path, 49, of=[0], by=(24, 24), count=1)
    fields = empirical_field(model, data, found)
    assert fields.step == 2
    same = empirical_field(model, data, found, step=2, occluder=4)
    assert_allclose(fields.maps, same.maps)
    assert abs(fields.table["field_px"][0] - 21) <= 2


def test_a_field_smaller_than_the_occluder_reads_as_the_occluder(tmp_path):
    data = Noise(1, 33, plain=True)
    model, found = of(uniform(1), data, tmp_path, 33, of=[0], by=(16, 16), count=1)
    fields = empirical_field(model, data, found, occluder=7, step=1)
    assert abs(fields.table["field_px"][0] - 7) <= 1


@pytest.mark.parametrize("step", [1, 2])
def test_the_map_is_that_of_a_literal_replica(tmp_path, step):
    """The peak in the middle, where nothing is interpolated."""
    size, occluder = 17, 5
    data = Noise(3, size)
    torch.manual_seed(1)
    module = nn.Sequential(nn.Conv2d(3, 4, 5, padding=2), nn.Tanh())
    model, found = of(module, data, tmp_path, size, "1", by=(8, 8), count=3)
    fields = empirical_field(model, data, found, occluder=occluder, step=step, batch_size=7)
    whole = model.prepare([data.image(i) for i in range(3)])
    want = np.zeros_like(fields.maps)
    middle = want.shape[1] // 2
    for dy, dx in np.ndindex(want.shape[1:]):
        top, left = (round(8.5 + step * (d - middle) - occluder / 2) for d in (dy, dx))
        if min(top, left) < 0 or max(top, left) + occluder > size:
            continue  # it would reach beyond the picture
        covered = whole.clone()
        covered[:, :, top : top + occluder, left : left + occluder] = 0
        with torch.no_grad():
            both = [model.module(b)[:, :, 8, 8].double() for b in (covered, whole)]
        want[:, dy, dx] = (both[0] - both[1]).abs().mean(dim=0).numpy()
    assert_allclose(fields.maps, want, atol=1e-6)
    assert (want > 0).any(axis=(1, 2)).all()


def test_positions_lie_a_stride_apart_also_where_nothing_is_padded(tmp_path):
    """Which is not the input's side over the map's."""
    module = uniform(21, 4)
    module[0].padding = (0, 0)
    data = Noise(2, 49, plain=True)
    model, found = of(module, data, tmp_path, 49, of=[0], by=(2, 5), count=2)
    change = empirical_field(model, data, found, occluder=5, step=2).maps[0]
    assert_allclose(change, change[::-1, ::-1], atol=1e-5)
    assert change.max() > 0.1


@pytest.mark.parametrize("layer", ["0", "2", "3", "5"])
def test_no_field_of_a_plain_network_exceeds_the_theoretical_one(tmp_path, layer):
    data = Noise(4, 32)
    model, found = of(deep(), data, tmp_path, 32, layer, count=3)
    fields = empirical_field(model, data, found, occluder=4, step=2)
    theory = model.layers().set_index("layer").at[layer, "receptive_field"]
    assert (fields.table["theoretical_px"] == theory).all()
    assert (fields.table["field_px"] <= theory + 4).all()
    assert (fields.table["field_px"] >= 1).all()


def test_directions_have_the_fields_of_their_units_and_the_model_is_given_back(tmp_path):
    data = Noise(3, 24)
    model, found = of(deep(), data, tmp_path, 24, "3", of=[4, 1], count=2)
    before = state(model.module)
    units = empirical_field(model, data, found, occluder=4, step=3)
    assert state(model.module) == before
    rows = exemplars(found.targets.activations, np.eye(5)[[4, 1]], count=2)
    directions = empirical_field(model, data, rows, occluder=4, step=3)
    assert_allclose(directions.maps, units.maps, atol=1e-6)
    assert directions.table["unit"].tolist() == [-1, -1]
    assert "direction 1" in directions._repr_html_()


def test_a_layer_that_sees_everything_is_covered_everywhere(tmp_path):
    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            self.spread = nn.Conv2d(3, 2, 1)
            self.out = nn.Identity()

        def forward(self, x):
            y = self.spread(x)
            return self.out(y + y.mean(dim=(2, 3), keepdim=True))

    torch.manual_seed(0)
    data = Noise(2, 16, plain=True)
    model, found = of(Whole(), data, tmp_path, 16, "out", by=(8, 8), count=2)
    fields = empirical_field(model, data, found, occluder=2, step=2)
    assert np.isnan(fields.table["theoretical_px"]).all()
    # 7 x 7 parts lie in the picture, and 6 x 6 places between them
    assert (fields.maps > 0).sum(axis=(1, 2)).tolist() == [36, 36]


def test_the_side_of_a_region():
    change = np.zeros((9, 9))
    change[3:6, 2:7] = 1.0
    assert field_side(change, 4) == pytest.approx(4 * np.sqrt(15), rel=0.05)
    assert np.isnan(field_side(np.zeros((3, 3)), 1))


def test_bad_input_is_one_sentence(tmp_path):
    data = Noise(2, 16)
    model, found = of(uniform(3), data, tmp_path, 16, count=1)
    cases = [
        ((model, data), {"step": 0}, InputError, "step is a whole number of at least 1"),
        ((model, data), {"occluder": 9}, InputError, "occluder is at most half the input's 16"),
        ((model, Noise(3, 16)), {}, InputError, "made from other pictures"),
        ((probed(deep(), 16), data), {}, SpaceError, "belong to toy"),
    ]
    for (network, pictures), asked, error, message in cases:
        with pytest.raises(error, match=message):
            empirical_field(network, pictures, found, **asked)
