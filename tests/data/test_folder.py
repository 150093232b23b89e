"""The folder source: what it reads, and what it says of bad input."""

import numpy as np
import pytest
from PIL import Image

from conceptlab.data import load_data
from conceptlab.data.colors import NAMES
from conceptlab.data.read import read_image, read_index_map
from conceptlab.errors import DataError

from .conftest import CLASSES, write_tree


def errors(data):
    return [p for p in data.validate() if p.severity == "error"]


def test_order_splits_and_names(tree):
    data = load_data(f"folder:{tree}")
    assert data.names.tolist() == [
        *(f"train/p{i}" for i in range(4)), "val/p0", "val/p1", "test/p0", "test/p1",
    ]  # fmt: skip
    assert data.splits.tolist() == ["train"] * 4 + ["val"] * 2 + ["test"] * 2
    assert (data.name, len(data), data.planes) == ("tree", 8, 1)
    assert data.catalogue.to_dict("list") == {
        "name": ["sky", "house", "wood"],
        "category": ["object", "object", "material"],
        "level": ["pixel"] * 3,
    }
    assert data.categories == ["object", "material"]
    assert data.validate() == []


def test_labels_by_hand(tree):
    labels = load_data(f"folder:{tree}").labels(0)
    assert labels.planes[0].tolist() == [[0] * 6, [1] * 6, [2] * 6, [-1] * 6]
    # void: neither object (bit 0) nor material (bit 1) is known; elsewhere all is
    assert labels.unlabelled.tolist() == [[0] * 6, [0] * 6, [0] * 6, [3] * 6]
    assert labels.image_concepts.tolist() == []
    assert labels.image_unlabelled == 0


def test_the_table_of_concepts(tree):
    table = load_data(f"folder:{tree}").concepts
    assert table["n_train"].tolist() == [4, 4, 4]
    assert table["n_val"].tolist() == [2, 2, 2]
    assert table["mean_area"].tolist() == [0.25, 0.25, 0.25]


def test_pictures_are_rgb_whatever_they_were(tree, tmp_path):
    grey16 = np.array([[0, 256, 65535]], np.uint16)
    Image.fromarray(grey16).save(tmp_path / "a.png")
    assert np.asarray(read_image(tmp_path / "a.png"))[0, :, 0].tolist() == [0, 1, 255]
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putdata([0, 1])
    palette.save(tmp_path / "b.png", transparency=b"\x00\xff")
    assert np.asarray(read_image(tmp_path / "b.png"))[0].tolist() == [[10, 20, 30], [40, 50, 60]]


def test_sixteen_bit_labels(tree):
    (tree / "classes.csv").write_text(CLASSES + "40000,moon,object\n")
    Image.fromarray(np.array([[40000] * 6] * 4, np.uint16)).save(tree / "labels/train/p0.png")
    data = load_data(f"folder:{tree}")
    assert (data.labels(0).planes == 3).all()
    assert data.image_concepts(0).tolist() == [3]


def test_palette_labels_are_their_indices(tree):
    picture = Image.new("P", (6, 4))
    picture.putpalette([200, 0, 0, 0, 200, 0, 0, 0, 200])
    picture.putdata([0] * 12 + [2] * 12)
    picture.save(tree / "labels/train/p0.png")
    assert read_index_map(tree / "labels/train/p0.png")[:, 0].tolist() == [0, 0, 2, 2]
    assert load_data(f"folder:{tree}").image_concepts(0).tolist() == [0, 2]


def test_coloured_label_maps_are_refused(tree):
    Image.new("RGB", (6, 4)).save(tree / "labels/train/p0.png")
    with pytest.raises(DataError, match=r"p0\.png is a RGB picture; a label map has one channel"):
        load_data(f"folder:{tree}").labels(0)


def test_without_val_a_fifth_of_train_by_hash(tmp_path):
    tree = write_tree(tmp_path / "tree", {"train": 60, "test": 3})
    data = load_data(f"folder:{tree}")
    count = (data.splits == "val").sum()
    assert 6 <= count <= 18
    assert (data.splits == "test").sum() == 3
    assert data.names.tolist() == load_data(f"folder:{tree}").names.tolist()
    assert data.splits.tolist() == sorted(data.splits, key=["train", "val", "test"].index)
    # more pictures do not move those that are there
    before = set(data.names[data.splits == "val"])
    for kind in ("images", "labels"):
        content = (tree / kind / "train" / "p0.png").read_bytes()
        (tree / kind / "train" / "zz.png").write_bytes(content)
    after = load_data(f"folder:{tree}")
    assert set(after.names[after.splits == "val"]) - before <= {"val/zz"}
    assert set(after.names[after.splits == "val"]) >= before


def test_a_single_picture_stays_in_train(tmp_path):
    for name in ("p0", "a", "b", "c", "d", "e", "f", "g"):
        tree = write_tree(tmp_path / name, {"train": 1})
        for kind in ("images", "labels"):
            (tree / kind / "train" / "p0.png").rename(tree / kind / "train" / f"{name}.png")
        assert load_data(f"folder:{tree}").splits.tolist() == ["train"]


def test_val_taken_from_test(tmp_path):
    tree = write_tree(tmp_path / "tree", {"train": 3, "test": 2})
    data = load_data(f"folder:{tree},val=test")
    assert data.names.tolist() == ["train/p0", "train/p1", "train/p2", "val/p0", "val/p1"]
    assert data.labels(3).planes.shape == (1, 4, 6)


def test_val_from_a_test_that_is_not_there(tmp_path):
    tree = write_tree(tmp_path / "tree", {"train": 3})
    with pytest.raises(DataError, match="has no pictures to take for val"):
        load_data(f"folder:{tree},val=test")


def test_scenes(tree):
    rows = "image,scene\ntrain/p0,street\ntrain/p1,bedroom\nval/p0,street\ntrain/p2,\n"
    (tree / "scenes.csv").write_text(rows)
    data = load_data(f"folder:{tree}")
    assert data.catalogue["name"].tolist() == ["sky", "house", "wood", "bedroom", "street"]
    assert data.catalogue["level"].tolist() == ["pixel"] * 3 + ["image"] * 2
    assert data.labels(0).image_concepts.tolist() == [4]
    assert data.labels(0).image_unlabelled == 0
    # no row, or an empty one: not known, so no negative of any scene
    for without in (2, 3, 5):
        labels = data.labels(without)
        assert labels.image_concepts.tolist() == []
        assert labels.image_unlabelled == 1 << data.categories.index("scene")
        assert not (labels.unlabelled & np.uint64(4)).any()
    assert data.concepts["n_train"].tolist() == [4, 4, 4, 1, 1]
    assert 4 in data.image_concepts(0)


def test_scenes_of_val_that_was_cut_from_train(tmp_path):
    tree = write_tree(tmp_path / "tree", {"train": 40})
    (tree / "scenes.csv").write_text(
        "image,scene\n" + "".join(f"train/p{i},s{i % 2}\n" for i in range(40))
    )
    data = load_data(f"folder:{tree}")
    assert (data.splits == "val").any()
    for i, name in enumerate(data.names):
        shown = data.catalogue["name"][data.labels(i).image_concepts].tolist()
        assert shown == [f"s{int(name.partition('/p')[2]) % 2}"]


def test_colours(tree):
    half = np.zeros((8, 12, 3), np.uint8)
    half[:, 6:] = 250, 10, 10
    Image.fromarray(half).save(tree / "images/train/p0.png")
    data = load_data(f"folder:{tree},colors=true")
    assert data.planes == 2
    assert data.catalogue["name"].tolist()[3:] == list(NAMES)
    masks = data.masks(0)
    red = 3 + NAMES.index("red")
    assert masks[red][:, 3:].all()
    assert not masks[red][:, :3].any()
    assert masks[3 + NAMES.index("black")][:, :3].all()
    assert set(masks) == {0, 1, 2, red, 3 + NAMES.index("black")}
    # void hides classes, not colours
    assert not (data.labels(0).unlabelled >> np.uint64(2)).any()
