"""A tree in Broden's layout: written from pictures and labels, it is read back as the same."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conceptlab.data import load_data
from conceptlab.errors import DataError, InputError

SCRIPT = Path(__file__).parents[2] / "data_prep" / "write_broden.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("write_broden", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def same(one, other):
    """Whether two data sets show the same pictures, concepts and masks, whatever their names."""
    key = ["category", "name"]
    order = other.catalogue.reset_index().set_index(key)["index"]
    to_other = order.loc[one.catalogue.set_index(key).index].to_numpy()
    assert len(one) == len(other)
    assert one.splits.tolist() == other.splits.tolist()
    for i in range(len(one)):
        assert np.array_equal(one.image(i), other.image(i))
        mine, theirs = one.masks(i), other.masks(i)
        assert {to_other[c] for c in mine} == set(theirs)
        assert all(np.array_equal(mine[c], theirs[to_other[c]]) for c in mine)
        whole = one.labels(i).image_concepts
        assert sorted(to_other[whole]) == other.labels(i).image_concepts.tolist()


def test_scenes_come_back(script, tmp_path):
    data = load_data("scenes:n=30,seed=2")
    script.write_broden(data, tmp_path / "tree")
    read = load_data(f"broden:{tmp_path / 'tree'}")
    same(data, read)
    assert [p for p in read.validate() if p.severity == "error"] == []
    assert read.categories == data.categories
    columns = ["name", "category", "level", "n_train", "n_val", "n_test"]
    assert read.concepts[columns].equals(data.concepts[columns])
    assert np.allclose(read.concepts["mean_area"], data.concepts["mean_area"])
    for i in range(len(data)):
        assert read.labels(i).image_unlabelled == data.labels(i).image_unlabelled
        assert read.labels(i).unlabelled is None


def write_folder(root):
    """Categories that share a name, and a picture whose map is the same everywhere."""
    rng = np.random.default_rng(0)
    for split, count in {"train": 3, "val": 1}.items():
        for kind in ("images", "labels"):
            (root / kind / split).mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(0, 256, (10, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / "images" / split / f"{i}.png")
            label = rng.integers(0, 4, (5, 6), dtype=np.uint8)
            label[:] = 1 if i == 2 else label
            Image.fromarray(label).save(root / "labels" / split / f"{i}.png")
    (root / "classes.csv").write_text(
        "index,name,category\n0,door,object\n1,roof,part\n2,door,part\n3,void,ignore\n"
    )
    (root / "scenes.csv").write_text("image,scene\ntrain/0,street\ntrain/1,roof\n")
    return load_data(f"folder:{root},colors=true")


def test_a_folder_comes_back(script, tmp_path):
    data = write_folder(tmp_path / "folder")
    script.write_broden(data, tmp_path / "tree")
    read = load_data(f"broden:{tmp_path / 'tree'}")
    same(data, read)
    # train/2 and val/0 have no scene label; everything else is labelled
    bit = 1 << read.categories.index("scene")
    assert [read.labels(i).image_unlabelled for i in range(4)] == [0, 0, bit, bit]
    # one name, one number, in three categories; the map that is all roof is that number
    labels = (tmp_path / "tree" / "label.csv").read_text()
    assert "2,roof,part(4);scene(1),5," in labels
    index = (tmp_path / "tree" / "index.csv").read_text().splitlines()
    assert index[3].split(",")[6:8] == ["train/2_object.png", "2"]


def test_it_neither_overwrites_nor_leaves_halves(script, tmp_path):
    data = write_folder(tmp_path / "folder")
    with pytest.raises(InputError, match="exists already"):
        script.write_broden(data, tmp_path / "folder")
    (tmp_path / "folder" / "labels" / "val" / "0.png").unlink()
    with pytest.raises(DataError, match="is missing"):
        script.write_broden(data, tmp_path / "tree")
    assert not (tmp_path / "tree").exists()


def test_scenes_of_pixels_are_refused(script, tmp_path):
    write_folder(tmp_path / "folder")
    (tmp_path / "folder" / "classes.csv").write_text(
        "index,name,category\n0,door,object\n1,roof,part\n2,street,texture\n3,void,ignore\n"
    )
    with pytest.raises(DataError, match="texture/street is of level pixel"):
        script.write_broden(load_data(f"folder:{tmp_path / 'folder'}"), tmp_path / "tree")


def test_from_the_command_line(script, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["write_broden.py", "scenes:n=20", str(tmp_path / "tree")])
    script.main()
    assert len(load_data(f"broden:{tmp_path / 'tree'}")) == 20
    with pytest.raises(SystemExit) as stopped:
        script.main()
    assert stopped.value.code == 2
    assert capsys.readouterr().err.endswith("exists already; name a folder that does not\n")
