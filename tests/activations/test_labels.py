import logging

import numpy as np
import pytest

from conceptlab.activations.labels import label_store, prepare_labels
from conceptlab.data import base
from conceptlab.numerics.geometry import Geometry
from tests.conftest import ToyData, catalogue_of


def test_reads_back_what_the_data_set_says(toy):
    data, acts = toy()
    store = label_store(acts, data, 32)
    rows = np.array([5, 0, 17])
    block = store.read(rows)
    for place, row in enumerate(rows):
        own = block.planes[block.plane_offsets[place] : block.plane_offsets[place + 1]]
        for concept in range(6):
            want = (data._planes[row] == concept).any(axis=0)
            np.testing.assert_array_equal((own == concept).any(axis=0), want)
            assert store.areas()[row, concept] == want.sum()
            np.testing.assert_array_equal(store.mask(row, concept), want)
        objects, colors = block.labelled[block.pattern[place]].transpose(2, 0, 1)
        np.testing.assert_array_equal(objects, data._unlabelled[row] == 0)
        assert colors.all()


def test_smaller_sizes_take_the_nearest_pixel(toy):
    data, acts = toy()
    store = label_store(acts, data, 8)
    block = store.read(np.array([3]))
    np.testing.assert_array_equal(block.planes, data._planes[3][:, 2::4, 2::4])


def test_image_level_concepts_are_planes_of_the_whole_image(store_activations):
    planes = np.full((4, 1, 8, 8), -1)
    planes[:, 0, :2] = 0
    catalogue = catalogue_of(("thing", "object"), ("street", "scene", "image"))
    holds = [[1], [], [1], []]
    data = ToyData(planes, ["train"] * 2 + ["val"] * 2, catalogue, None, holds)
    acts = store_activations(np.zeros((4, 2, 2, 2)), data, size=8)
    store = label_store(acts, data, 8)
    assert store.shown_native.tolist() == [[True, True], [True, False]] * 2
    assert store.shown()[:, 1].sum() == 0
    assert store.areas(image_level=True)[:, 1].tolist() == [64, 0, 64, 0]
    block = store.read(np.array([0, 1]), image_level=True)
    assert np.diff(block.plane_offsets).tolist() == [2, 1]
    assert (block.planes[1] == 1).all()
    assert store.mask(0, 1).all()
    assert not store.mask(1, 1).any()


def test_is_made_once_and_damage_is_repaired(toy, caplog, monkeypatch):
    data, acts = toy()
    path = label_store(acts, data, 16)._file.path
    calls = []
    read = ToyData.labels
    monkeypatch.setattr(ToyData, "labels", lambda self, i: calls.append(i) or read(self, i))
    label_store(acts, data, 16)
    assert not calls
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    label_store(acts, data, 16)
    assert calls  # the damaged block was made again
    path.write_bytes(b"something else")
    with caplog.at_level(logging.WARNING):
        label_store(acts, data, 16)
    assert "set aside" in caplog.text
    assert path.with_name(f"{path.name}.damaged-1").exists()


def test_files_are_looked_at_once_a_call(toy, monkeypatch):
    data, acts = toy()
    looked = []
    monkeypatch.setattr(base, "state_of", lambda files: looked.append(files))
    label_store(acts, data, 32)
    assert len(looked) == len(data)


def test_other_labels_are_another_store(toy):
    data, acts = toy()
    first = label_store(acts, data, 16)._file.path
    changed = data._planes.copy()
    changed[0, 0, 0, 0] = (changed[0, 0, 0, 0] + 2) % 3
    other = ToyData(changed, data.splits, data.catalogue, data._unlabelled)
    assert label_store(acts, other, 16)._file.path != first


@pytest.mark.parametrize("size", [1, 5, 32])
def test_size_is_a_choice(toy, size):
    data, acts = toy()
    assert label_store(acts, data, size).size == (size, size)
    assert label_store(acts, data).size == (16, 16)


def test_what_a_crop_cuts_off_is_not_shown(tmp_path):
    planes = np.full((3, 1, 10, 30), -1)
    planes[0, 0, :, :10] = 1  # ends where the crop begins
    planes[1, 0, 4, 10] = planes[1, 0, :, 20:] = 1  # one pixel of it is inside
    planes[2, 0, :, 20] = 0
    catalogue = catalogue_of(("a", "object"), ("b", "object"), ("street", "scene", "image"))
    data = ToyData(planes, ["train", "train", "val"], catalogue, None, [[2], [], [2]])
    size = (4, 4)
    cropped = prepare_labels(data, Geometry(8, "crop", 10), size, tmp_path)
    assert cropped.shown_native.tolist() == [[0, 0, 1], [0, 0, 0], [0, 0, 1]]
    cropped = prepare_labels(data, Geometry(8, "crop", 8), size, tmp_path)
    assert cropped.shown_native.tolist() == [[0, 0, 1], [0, 1, 0], [0, 0, 1]]
    whole = prepare_labels(data, Geometry(8), size, tmp_path)
    assert whole.shown_native.tolist() == [[0, 1, 1], [0, 1, 0], [1, 0, 1]]
