import numpy as np
import pytest
from numpy.testing import assert_allclose
from PIL import Image

from conceptlab.activations.plainmaps import colour_maps, plain_maps, position_maps
from conceptlab.models.picture import network_view
from conceptlab.probes.controls import plain_controls
from conceptlab.probes.paired import accuracy_differences, mask_differences
from conceptlab.probes.segmentation.probe import SegmentationProbe
from tests.conftest import ToyData, catalogue_of


class Painted(ToyData):
    """Pictures with red squares; concepts: the lower left, the red squares, and anything."""

    def image(self, i):
        rng = np.random.default_rng(i)
        pixels = rng.integers(90, 110, (32, 32, 3)).astype(np.uint8)
        pixels[np.kron(self.red[i], np.ones((8, 8))) > 0] = (230, 20, 20)
        return Image.fromarray(pixels)


@pytest.fixture
def painted(store_activations):
    rng = np.random.default_rng(0)
    red = rng.random((60, 4, 4)) < 0.3
    anything = rng.random((60, 4, 4)) < 0.3
    planes = np.full((60, 3, 32, 32), -1)
    planes[:, 0, 16:, :16] = 0
    planes[:, 1][red.repeat(8, axis=1).repeat(8, axis=2)] = 1
    planes[:, 2][anything.repeat(8, axis=1).repeat(8, axis=2)] = 2
    names = catalogue_of(("corner", "place"), ("red", "color"), ("anything", "object"))
    data = Painted(planes, ["train"] * 40 + ["val"] * 20, names)
    data.red = red
    values = rng.normal(size=(60, 6, 8, 8))
    return data, store_activations(values, data)


def test_position_and_colour_find_what_they_tell_and_nothing_else(painted):
    data, acts = painted
    table = plain_controls(acts, data, label_size=32).set_index("concept")
    assert table.loc["corner", "position"] > 0.85
    assert table.loc["red", "colour"] > 0.75
    assert table.loc["corner", "colour"] < 0.4  # what a mask of everything reaches is 0.25
    assert table.loc["red", "position"] < 0.45
    assert (table.loc["anything"][["position", "colour", "control"]].astype(float) < 0.45).all()
    assert table.loc["corner", "control"] > 0.8
    assert table.loc["red", "control"] > 0.7
    none = plain_controls(acts, data, min_examples=1000)
    assert none[["position", "colour", "control"]].isna().all().all()


def test_maps_are_the_means_of_cells_and_the_terms_of_places(painted):
    data, acts = painted
    colours = colour_maps(acts, data)
    assert colours.shape == (60, 3, 8, 8)
    seen = network_view(data.image(7), acts.geometry).astype(float) / 255
    assert_allclose(colours[7][:, 2, 5], seen[8:12, 20:24].mean(axis=(0, 1)), rtol=1e-5)
    maps = plain_maps(acts, True, colours)
    values = maps.read(5, 9)
    assert values.shape == (4, *maps.shape[1:])
    where = position_maps(8, 8)
    assert len(where) == 14
    assert_allclose(where[:2, 0, 0], [-7 / 8, -7 / 8])  # x and y, in some order
    assert_allclose(values[2, len(where) : len(where) + 3], colours[7])
    assert_allclose(values[2, -1], colours[7][2] ** 2)


def test_a_probe_is_told_from_a_worse_one_and_not_from_itself(toy):
    data, acts = toy()
    probe = SegmentationProbe(tau=0.15, label_size=32).fit(acts, data)
    worse = SegmentationProbe(tau=0.15, label_size=32, shuffle=True).fit(acts, data)
    first, second = probe.counts(acts, data), worse.counts(acts, data)
    assert (mask_differences(first, second)[:3] < 0.01).all()
    assert np.isnan(mask_differences(first, first)).all()  # no swap changes anything
    assert accuracy_differences.__doc__
