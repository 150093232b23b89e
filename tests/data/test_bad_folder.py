"""Folders with something wrong: one clear sentence that names the file."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from conceptlab.data import load_data
from conceptlab.data.read import read_image, read_index_map
from conceptlab.errors import DataError, InputError

from .conftest import CLASSES, write_tree


def problems(tree, options=""):
    return [(p.file, p.severity) for p in load_data(f"folder:{tree}{options}").validate()]


def only_message(tree):
    (problem,) = load_data(f"folder:{tree}").validate()
    return problem.message


def test_no_such_folder(tmp_path):
    with pytest.raises(DataError, match=r"there is no folder .*nowhere"):
        load_data(f"folder:{tmp_path / 'nowhere'}")
    with pytest.raises(DataError, match="no path given"):
        load_data("folder:")


def test_a_home_folder_behind_the_colon(tree, monkeypatch):
    monkeypatch.setenv("HOME", str(tree.parent))
    assert len(load_data(f"folder:~/{tree.name}")) == len(load_data(f"folder:{tree}"))


def test_unknown_source_and_options(tree):
    with pytest.raises(InputError, match="unknown data source 'foldr'; nearest: folder"):
        load_data(f"foldr:{tree}")
    with pytest.raises(InputError, match=r"SOURCE:PATH.*folder, pictures, scenes; got"):
        load_data(str(tree))
    with pytest.raises(InputError, match="unknown option 'color'; known: colors, val"):
        load_data(f"folder:{tree},color=true")
    with pytest.raises(InputError, match="colors is true or false"):
        load_data(f"folder:{tree},colors=yes")
    with pytest.raises(InputError, match="val can only be 'test'"):
        load_data(f"folder:{tree},val=train")
    with pytest.raises(InputError, match="after the path come options"):
        load_data(f"folder:{tree},colors")


def test_a_missing_picture_after_opening(tree):
    data = load_data(f"folder:{tree}")
    (tree / "images/val/p1.png").unlink()
    with pytest.raises(DataError, match=r"images/val/p1\.png is missing"):
        data.image(5)
    with pytest.raises(DataError, match=r"images/val/p1\.png is missing"):
        data.labels(5)
    with pytest.raises(DataError, match=r"cannot read .*p1\.png"):
        _ = data.fingerprint
    assert [p.file for p in data.validate()] == ["images/val/p1.png"]


def test_a_picture_without_label(tree):
    (tree / "labels/train/p2.png").unlink()
    assert problems(tree) == [("labels/train/p2.png", "error")]
    with pytest.raises(DataError, match=r"labels/train/p2\.png is missing"):
        load_data(f"folder:{tree}").labels(2)


def test_a_label_without_picture_is_a_remark(tree):
    (tree / "images/test/p1.png").unlink()
    assert problems(tree) == [("labels/test/p1.png", "remark")]
    assert len(load_data(f"folder:{tree}")) == 7


def test_a_truncated_picture(tree):
    noise = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    for suffix in ("jpg", "png"):
        file = tree / "images/train" / f"p0.{suffix}"
        (tree / "images/train/p0.png").unlink(missing_ok=True)
        Image.fromarray(noise).save(file)
        file.write_bytes(file.read_bytes()[:700])
        with pytest.raises(DataError, match=f"p0.{suffix} is damaged or no picture"):
            load_data(f"folder:{tree}").image(0)
        assert problems(tree) == [(f"images/train/p0.{suffix}", "error")]
        file.unlink()


def test_a_file_that_is_no_picture(tree):
    (tree / "images/train/p0.png").write_text("<html>not found</html>")
    (tree / "labels/val/p0.png").write_bytes(b"")
    assert problems(tree) == [("images/train/p0.png", "error"), ("labels/val/p0.png", "error")]
    data = load_data(f"folder:{tree}")
    for read in (data.image, data.labels):
        with pytest.raises(DataError, match=r"p0\.png is damaged or no picture"):
            read(0)


def test_a_folder_in_a_pictures_place(tree):
    (tree / "images/train/p0.png").unlink()
    (tree / "images/train/p0.png").mkdir()
    assert only_message(tree) == "is no regular file"


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_large_picture_is_read_without_a_warning(tree):
    """Pillow warns from 89 million pixels on, and refuses twice as many; we, more than 100."""
    Image.new("1", (12_000, 8_000)).save(tree / "images/train/p0.png")
    words = [sys.executable, "-m", "conceptlab", "data", "validate", f"folder:{tree}"]
    said = subprocess.run(words, capture_output=True, text=True, check=True)
    assert said.stderr == ""
    Image.new("1", (18_000, 12_000)).save(tree / "images/train/p0.png")
    assert "has more pixels than the 100 million that are read: scale it down" in only_message(tree)
    Image.new("1", (13_300, 13_300)).save(tree / "images/train/p0.png")
    assert "has more pixels (13300 x 13300) than the 100 million" in only_message(tree)


@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_spoilt_bytes_give_a_data_error_or_a_picture(tmp_path, kind):
    rng = np.random.default_rng(1)
    file = tmp_path / f"a.{kind}"
    Image.fromarray(rng.integers(0, 256, (20, 30), dtype=np.uint8)).save(file)
    sound = np.frombuffer(file.read_bytes(), np.uint8)
    for _ in range(300):
        spoilt = sound.copy()
        spoilt[rng.integers(0, len(spoilt), 3)] = rng.integers(0, 256, 3)
        file.write_bytes(spoilt[: rng.integers(1, len(spoilt) + 1)].tobytes())
        for read in (read_image, read_index_map):
            try:
                read(file)
            except DataError:  # anything else fails the test
                continue


def test_an_aspect_that_differs(tree):
    Image.fromarray(np.zeros((6, 6), np.uint8)).save(tree / "labels/train/p0.png")
    for options in ("", ",colors=true"):
        with pytest.raises(DataError, match="is 6 x 6 and its picture 12 x 8: their aspects"):
            load_data(f"folder:{tree}{options}").labels(0)
    assert ("labels/train/p0.png", "error") in problems(tree)


@pytest.mark.parametrize("size", [(6, 4), (3, 2), (24, 16), (240, 160), (25, 17)])
def test_an_aspect_that_rounding_explains(tree, size):
    Image.fromarray(np.zeros(size[::-1], np.uint8)).save(tree / "labels/train/p0.png")
    assert load_data(f"folder:{tree}").labels(0).planes.shape == (1, *size[::-1])


def test_an_index_that_classes_csv_lacks(tree):
    Image.fromarray(np.full((4, 6), 7, np.uint8)).save(tree / "labels/train/p0.png")
    with pytest.raises(DataError) as caught:
        load_data(f"folder:{tree}").labels(0)
    for part in ("labels/train/p0.png", "index 7", "classes.csv", "add a row '7,NAME,CATEGORY'"):
        assert part in str(caught.value)
    assert str(caught.value) == f"{tree / 'labels/train/p0.png'} {only_message(tree)}"


@pytest.mark.parametrize("splits", [{"val": 2, "test": 2}, {}])
def test_an_empty_train_split(tmp_path, splits):
    tree = write_tree(tmp_path / "tree", splits)
    with pytest.raises(DataError, match="images/train has no pictures to learn from"):
        load_data(f"folder:{tree}")


def test_two_pictures_of_one_name(tree):
    shutil.copy(tree / "images/train/p0.png", tree / "images/train/p0.jpg")
    with pytest.raises(DataError, match="images/train has 2 pictures called p0; keep one"):
        load_data(f"folder:{tree}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id,name,category\n0,sky,object\n", "needs the columns index,name,category"),
        ("", "needs the columns index,name,category"),
        ("index,name,category\nsky,0,object\n", "'sky' is no index in 0..65535"),
        ("index,name,category\n-1,sky,object\n", "'-1' is no index"),
        ("index,name,category\n²,sky,object\n", "'²' is no index"),
        ("index,name,category\n65536,sky,object\n", "'65536' is no index"),
        ("index,name,category\n0,sky\n", "index 0 lacks a name or a category"),
        (CLASSES + "0,sea,object\n", "index 0 stands in two rows"),
        (CLASSES + "7,sky,object\n", "'sky' stands twice in category 'object'"),
        (
            "index,name,category\n" + "".join(f"{i},x,c{i}\n" for i in range(65)),
            "more than 64 categories",
        ),
    ],
)
def test_a_bad_table_of_classes(tree, content, message):
    (tree / "classes.csv").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message) as caught:
        load_data(f"folder:{tree}")
    assert "classes.csv" in str(caught.value)


def test_classes_that_are_missing_or_no_text(tree):
    (tree / "classes.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(DataError, match=r"classes\.csv is no CSV in UTF-8"):
        load_data(f"folder:{tree}")
    (tree / "classes.csv").unlink()
    with pytest.raises(DataError, match=r"cannot read .*classes\.csv"):
        load_data(f"folder:{tree}")


def test_classes_from_a_spreadsheet(tree):
    text = CLASSES.replace(",", " , ").replace("ignore", "Ignore") + ",,\n\n"
    (tree / "classes.csv").write_text("\ufeff" + text.replace("\n", "\r\n"), encoding="utf-8")
    data = load_data(f"folder:{tree}")
    assert data.catalogue["name"].tolist() == ["sky", "house", "wood"]
    assert data.validate() == []


def test_bad_scenes(tree):
    (tree / "scenes.csv").write_text("image,scene\ntrain/p0,a\ntrain/nobody,b\n")
    assert problems(tree) == [("scenes.csv", "error"), ("scenes.csv", "remark")]
    assert "SPLIT/NAME, without an ending" in load_data(f"folder:{tree}").validate()[0].message
    (tree / "scenes.csv").write_text("image,scene\ntrain/p0,a\ntrain/p0,b\n")
    with pytest.raises(DataError, match="'train/p0' stands in 2 rows"):
        load_data(f"folder:{tree}")
    (tree / "scenes.csv").write_text("picture,scene\n")
    with pytest.raises(DataError, match=r"scenes\.csv needs the columns image,scene"):
        load_data(f"folder:{tree}")


def test_a_class_without_a_pixel_is_a_remark(tree):
    (tree / "classes.csv").write_text(CLASSES + "9,cat,object\n")
    data = load_data(f"folder:{tree},colors=true")
    (remark,) = data.validate()
    assert (remark.file, remark.severity) == ("classes.csv", "remark")
    assert "'cat' never has a pixel" in remark.message
    assert data.concepts["n_train"].tolist()[3] == 0
    assert data.concepts["mean_area"].tolist()[3] == 0


def test_what_is_not_read_is_a_remark(tree):
    (tree / "images/valid").mkdir()
    (tree / "images/train/p9.bmp").write_bytes(b"BM")
    (tree / "images/train/.hidden.txt").write_text("")
    assert problems(tree) == [("images/train/p9.bmp", "remark"), ("images/valid", "remark")]
    text = " ".join(p.message for p in load_data(f"folder:{tree}").validate())
    assert "pictures end in .jpg, .jpeg, .png" in text
    assert "the splits are train, val, test" in text


def test_nothing_to_look_for(tree):
    (tree / "classes.csv").write_text("index,name,category\n0,void,ignore\n")
    with pytest.raises(DataError, match=r"classes\.csv has no class to look for"):
        load_data(f"folder:{tree}")
