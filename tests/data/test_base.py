"""What every data set gives: fingerprints, counts, masks, specifications."""

import pickle
import shutil
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from conceptlab.data import base, load_data
from conceptlab.data.base import (
    Labels,
    Problem,
    grouped,
    join_spec,
    parse_spec,
    split_spec,
    take_options,
)
from conceptlab.errors import DataError, InputError
from conceptlab.numerics.geometry import Geometry

from .conftest import write_tree


def prints(tree, options=""):
    data = load_data(f"folder:{tree}{options}")
    return data.fingerprint, data.label_fingerprint


def test_fingerprints_do_not_depend_on_the_place(tree, tmp_path):
    before = prints(tree)
    assert prints(tree) == before
    shutil.copytree(tree, tmp_path / "elsewhere")
    assert prints(tmp_path / "elsewhere") == before


def test_a_pixel_of_a_picture_changes_both_fingerprints(tree):
    before = prints(tree)
    file = tree / "images/test/p1.png"
    pixels = np.array(Image.open(file))
    pixels[0, 0, 0] ^= 1
    Image.fromarray(pixels).save(file)
    after = prints(tree)
    assert after[0] != before[0]
    assert after[1] != before[1]


def test_a_name_or_split_changes_both_fingerprints(tree):
    before = prints(tree)
    for kind in ("images", "labels"):
        (tree / kind / "test/p1.png").rename(tree / kind / "test/p9.png")
    renamed = prints(tree)
    for kind in ("images", "labels"):
        (tree / kind / "test/p9.png").rename(tree / kind / "val/p9.png")
    moved = prints(tree)
    assert len({before[0], renamed[0], moved[0]}) == 3
    assert len({before[1], renamed[1], moved[1]}) == 3


@pytest.mark.parametrize("what", ["label", "class", "scenes", "colors"])
def test_labels_change_only_the_label_fingerprint(tree, what):
    before, options = prints(tree), ""
    if what == "label":
        Image.fromarray(np.zeros((4, 6), np.uint8)).save(tree / "labels/val/p0.png")
    elif what == "class":
        text = (tree / "classes.csv").read_text()
        (tree / "classes.csv").write_text(text.replace("sky", "air"))
    elif what == "scenes":
        (tree / "scenes.csv").write_text("image,scene\ntrain/p0,street\n")
    else:
        options = ",colors=true"
    after = prints(tree, options)
    assert after[0] == before[0]
    assert after[1] != before[1]


def test_counts_by_hand(tmp_path):
    tree = write_tree(tmp_path / "tree", {"train": 2, "val": 1})
    half = np.zeros((4, 6), np.uint8)
    half[:, 3:] = 1
    Image.fromarray(half).save(tree / "labels/train/p1.png")
    table = load_data(f"folder:{tree}").concepts
    assert table["n_train"].tolist() == [2, 2, 1]
    assert table["n_val"].tolist() == [1, 1, 1]
    assert table["n_test"].tolist() == [0, 0, 0]
    assert table["mean_area"].tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 4])
    assert list(table.columns) == [
        "name", "category", "level", "n_train", "n_val", "n_test", "mean_area",
    ]  # fmt: skip


def test_masks_cover_what_labels_say(tree):
    data = load_data(f"folder:{tree},colors=true")
    labels, masks = data.labels(0), data.masks(0)
    for concept, mask in masks.items():
        assert mask.any()
        assert np.array_equal(mask, (labels.planes == concept).any(axis=0))
    assert sorted(masks) == data.image_concepts(0).tolist()


def test_masks_at_a_size(tree):
    data = load_data(f"folder:{tree}")
    masks = data.masks(0, 8)
    assert {c: m.shape for c, m in masks.items()} == {0: (8, 8), 1: (8, 8), 2: (8, 8)}
    assert masks[1][:, 0].tolist() == [False] * 2 + [True] * 2 + [False] * 4
    assert data.masks(0, (4, 12))[1].shape == (4, 12)
    assert data.masks(0, geometry=Geometry(6))[0].shape == (6, 6)
    crop = data.masks(0, 4, Geometry(4, "crop", 4))
    assert crop[0].shape == (4, 4)
    assert crop[0][0].all()


@given(h=st.integers(1, 9), w=st.integers(1, 9), size=st.integers(1, 9), seed=st.integers(0, 99))
def test_sampling_takes_planes_and_unlabelled_alike(h, w, size, seed):
    rng = np.random.default_rng(seed)
    planes = rng.integers(-1, 4, (2, h, w), dtype=np.int32)
    unlabelled = rng.integers(0, 4, (h, w)).astype(np.uint64)
    rows, columns = Geometry(size).label_rows_cols(h, w, (size, size))
    small = Labels(planes, unlabelled, np.array([7]), 2).sample(rows, columns)
    assert small.planes.shape == (2, size, size)
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            assert (small.planes[:, i, j] == planes[:, row, column]).all()
            assert small.unlabelled[i, j] == unlabelled[row, column]
    assert (small.image_concepts.tolist(), small.image_unlabelled) == ([7], 2)
    assert Labels(planes, None, np.array([7])).sample(rows, columns).unlabelled is None


def read_all(data):
    return [
        (np.asarray(data.image(i)).sum(), data.labels(i).planes.sum()) for i in range(len(data))
    ]


def test_data_sets_go_to_workers(tree):
    data = load_data(f"folder:{tree},colors=true")
    copy = pickle.loads(pickle.dumps(data))
    assert copy.fingerprint == data.fingerprint
    assert copy.label_fingerprint == data.label_fingerprint
    with ProcessPoolExecutor(1) as pool:
        assert pool.submit(read_all, data).result() == read_all(data)


def test_long_scans_show_a_bar_on_stderr_if_asked_to(tree, monkeypatch, capsys):
    monkeypatch.setattr(base, "DELAY", 0.0)
    scans = {
        "pictures": lambda data: data.fingerprint,
        "labels": lambda data: data.concepts,
        "files": lambda data: data.validate(),
    }
    for title, scan in scans.items():
        data = load_data(f"folder:{tree}")
        scan(data)
        assert capsys.readouterr().err == ""
        data = load_data(f"folder:{tree}")
        data.progress = True
        scan(data)
        said = capsys.readouterr()
        assert f"{title}: " in said.err
        assert said.out == ""


def test_counting_a_damaged_label_names_it(tree):
    (tree / "labels/val/p1.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"labels/val/p1\.png is damaged"):
        _ = load_data(f"folder:{tree}").concepts


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("scenes", ("scenes", "", {})),
        ("folder:a b/c.d", ("folder", "a b/c.d", {})),
        ("folder:a:b,val=test", ("folder", "a:b", {"val": "test"})),
        ("scenes:n=3", ("scenes", "", {"n": "3"})),
        ("folder:/runs/tau=0.5,colors=true", ("folder", "/runs/tau=0.5", {"colors": "true"})),
    ],
)
def test_specifications(spec, expected):
    assert parse_spec(spec) == expected


def test_an_option_twice():
    with pytest.raises(InputError, match="n is given twice"):
        parse_spec("scenes:n=10,n=20")


def test_options_by_name():
    take_options("x:a=1", {"a": "1"}, ["a"])
    with pytest.raises(InputError, match="unknown option 'b'; known: a"):
        take_options("x:b=1", {"b": "1"}, ["a"])
    with pytest.raises(InputError, match="unknown option 'b'; known: none"):
        take_options("x:b=1", {"b": "1"}, [])


def test_a_path_with_commas_and_equals_signs(tmp_path):
    odd = tmp_path / "a=1,b=c"
    odd.mkdir()
    (tmp_path / "a").mkdir()
    for spec in (f"folder:{odd},colors=true", f'folder:"{odd}",colors=true'):
        assert parse_spec(spec) == ("folder", str(odd), {"colors": "true"})
    assert parse_spec(f"pictures:{odd}") == ("pictures", str(odd), {})
    assert parse_spec(f"folder:{tmp_path / 'a'},val=test")[2] == {"val": "test"}
    assert split_spec("folder:a=1,b=c,val=test", tmp_path) == ("folder", "a=1,b=c", "val=test")
    for path, options in (("/x,y", "val=test"), ("/x=y", ""), ("/x", "")):
        assert split_spec(join_spec("folder", path, options)) == ("folder", path, options)
    for wrong in ('folder:"a', 'folder:"a"b', 'folder:"a",b'):
        with pytest.raises(InputError, match=r"quotation marks|key=value"):
            parse_spec(wrong)


def test_one_mistake_in_many_files_is_told_once():
    alike = [Problem(f"labels/p{i}.png", f"is {i} x 8") for i in range(40)]
    other = [Problem("labels/q.png", "is missing"), Problem("labels/r.png", "is {} x 8", "remark")]
    first, *rest = grouped([*alike, *other])
    assert first.file == "labels/p0.png, labels/p1.png, labels/p2.png and 37 more"
    assert first.message == "is 0 x 8 (the others likewise)"
    assert rest == other
    assert grouped(alike[:4]) == alike[:4]
