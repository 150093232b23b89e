"""What every source keeps: order, labels within the catalogue, counts that agree, workers."""

import importlib.util
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from conceptlab.data import SOURCES, load_data
from conceptlab.data.base import SPLITS
from conceptlab.numerics.geometry import Geometry

from .conftest import write_tree

SCRIPT = Path(__file__).parents[2] / "data_prep" / "write_broden.py"


def write_broden(data, out):
    spec = importlib.util.spec_from_file_location("write_broden", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.write_broden(data, out)


@pytest.fixture(scope="module")
def specs(tmp_path_factory):
    """A specification of each source, and of each option that changes labels."""
    folder = write_tree(tmp_path_factory.mktemp("contract") / "folder")
    (folder / "scenes.csv").write_text("image,scene\ntrain/p0,street\nval/p1,street\n")
    broden = folder.parent / "broden"
    write_broden(load_data(f"folder:{folder},colors=true"), broden)
    return {
        "scenes": "scenes:n=20,seed=3",
        "folder": f"folder:{folder}",
        "folder with colours": f"folder:{folder},colors=true",
        "broden": f"broden:{broden}",
        "pictures": f"pictures:{folder / 'images'}",
    }


@pytest.fixture(params=["scenes", "folder", "folder with colours", "broden", "pictures"])
def data(request, specs):
    return load_data(specs[request.param])


def test_all_sources_are_here(specs):
    assert set(SOURCES) == {spec.partition(":")[0] for spec in specs.values()}


def test_order_and_names(data):
    assert len(data) == len(data.splits) == len(data.names) == len(set(data.names))
    keys = [(SPLITS.index(s), n) for s, n in zip(data.splits, data.names, strict=True)]
    assert keys == sorted(keys)
    assert all(n.startswith(f"{s}/") for s, n in zip(data.splits, data.names, strict=True))
    assert "/" not in data.name
    assert (data.root is None) == data.spec.startswith("scenes")


def test_the_catalogue(data):
    table = data.catalogue
    assert list(table.columns) == ["name", "category", "level"]
    assert table.index.tolist() == list(range(len(table)))
    assert not table.duplicated(["name", "category"]).any()
    assert set(table["level"]) <= {"pixel", "image"}
    assert data.categories == list(dict.fromkeys(table["category"]))


def test_labels_keep_to_the_catalogue(data):
    levels, count = data.catalogue["level"].to_numpy(), len(data.catalogue)
    for i in range(len(data)):
        labels = data.labels(i)
        planes = labels.planes
        assert planes.dtype == np.int32
        assert planes.ndim == 3
        assert len(planes) <= data.planes
        assert planes.min() >= -1
        assert planes.max() < count
        assert set(levels[planes[planes >= 0]]) <= {"pixel"}
        assert set(levels[labels.image_concepts]) <= {"image"}
        assert labels.image_unlabelled < 1 << len(data.categories)
        if labels.unlabelled is not None:
            assert labels.unlabelled.shape == planes.shape[1:]
            assert labels.unlabelled.max() < 1 << len(data.categories)


def test_what_is_unlabelled_holds_no_label(data):
    groups = np.array([data.categories.index(c) for c in data.catalogue["category"]])
    for i in range(len(data)):
        labels = data.labels(i)
        assert not any(labels.image_unlabelled >> g & 1 for g in groups[labels.image_concepts])
        if labels.unlabelled is not None:
            for plane in labels.planes:
                bits = labels.unlabelled >> groups[plane].astype(np.uint64) & np.uint64(1)
                assert not bits[plane >= 0].any()


def test_counts_agree_with_masks_one_by_one(data):
    shown, area = np.zeros((len(data.catalogue), 3), int), np.zeros(len(data.catalogue))
    for i in range(len(data)):
        masks = data.masks(i)
        whole = data.labels(i).image_concepts
        assert sorted([*masks, *whole]) == data.image_concepts(i).tolist()
        for concept in [*masks, *whole]:
            shown[concept, SPLITS.index(data.splits[i])] += 1
            area[concept] += masks[concept].mean() if concept in masks else 1
    table = data.concepts
    assert table[["n_train", "n_val", "n_test"]].to_numpy().tolist() == shown.tolist()
    expected = np.divide(area, shown.sum(1), out=np.zeros(len(area)), where=shown.sum(1) > 0)
    assert np.allclose(table["mean_area"], expected)
    pd.testing.assert_frame_equal(table[list(data.catalogue)], data.catalogue)


def test_pictures_are_rgb_and_labels_have_their_aspect(data):
    for i in range(0, len(data), 3):
        picture, shape = data.image(i), data.labels(i).planes.shape
        assert picture.mode == "RGB"
        assert picture.width / picture.height == pytest.approx(shape[2] / shape[1], rel=0.05)
        for mask in data.masks(i, (5, 7), Geometry(6)).values():
            assert mask.shape == (5, 7)
            assert mask.dtype == bool


def test_a_copy_in_another_process_is_the_same(data):
    copy = pickle.loads(pickle.dumps(data))
    assert (
        copy.label_fingerprint == data.label_fingerprint == load_data(data.spec).label_fingerprint
    )
    assert copy.fingerprint == data.fingerprint
    assert np.array_equal(copy.labels(1).planes, data.labels(1).planes)
    assert np.array_equal(copy.image(1), data.image(1))


def test_nothing_is_wrong_with_it(data):
    assert [p for p in data.validate() if p.severity == "error"] == []


def test_a_bar_only_where_asked(data, capsys, monkeypatch):
    monkeypatch.setattr("conceptlab.data.base.DELAY", 0.0)
    _ = data.concepts
    assert capsys.readouterr().err == ""
    again = load_data(data.spec)
    again.progress = True
    _ = again.concepts
    assert "labels" in capsys.readouterr().err
