"""Pictures without labels."""

import numpy as np
import pytest
from PIL import Image

from conceptlab.data import load_data
from conceptlab.data.read import IMAGES
from conceptlab.errors import DataError, InputError


@pytest.fixture
def folder(tmp_path):
    for place, name in enumerate(["b.png", "a.jpg", "sub/a.jpg", ".hidden/c.png", "sub/.d.png"]):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 6), (place, 0, 0)).save(file)
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path


def test_all_pictures_below_the_folder_by_path(folder):
    data = load_data(f"pictures:{folder}")
    assert data.names.tolist() == ["train/a.jpg", "train/b.png", "train/sub/a.jpg"]
    assert set(data.splits) == {"train"}
    assert len(data.catalogue) == 0
    assert data.image(1).size == (8, 6)
    assert data.masks(1) == {}
    assert data.labels(1).planes.shape == (1, 6, 8)
    (left,) = data.validate()  # what is skipped is told
    assert (left.file, left.severity) == ("notes.txt", "remark")


def test_a_changed_picture_changes_the_fingerprint(folder):
    before = load_data(f"pictures:{folder}").fingerprint
    assert load_data(f"pictures:{folder}").fingerprint == before
    Image.fromarray(np.full((6, 8, 3), 9, np.uint8)).save(folder / "b.png")
    assert load_data(f"pictures:{folder}").fingerprint != before


def test_a_damaged_picture_is_named(folder):
    (folder / "sub" / "a.jpg").write_bytes(b"no")
    data = load_data(f"pictures:{folder}")
    assert [p.file for p in data.validate() if p.severity == "error"] == ["sub/a.jpg"]
    with pytest.raises(DataError, match=r"a\.jpg is damaged"):
        data.image(2)


def test_a_folder_that_is_missing_or_empty(tmp_path):
    with pytest.raises(DataError, match="there is no folder"):
        load_data(f"pictures:{tmp_path / 'no'}")
    with pytest.raises(DataError, match="holds no pictures"):
        load_data(f"pictures:{tmp_path}")
    with pytest.raises(InputError, match="unknown option"):
        load_data(f"pictures:{tmp_path},colors=true")


def test_linked_folders_are_read_once(folder, tmp_path_factory):
    far = tmp_path_factory.mktemp("far")
    Image.new("RGB", (8, 6)).save(far / "z.webp")
    (folder / "link").symlink_to(far)
    (folder / "sub" / "up").symlink_to(folder)  # a loop
    (folder / "self").symlink_to("self")
    data = load_data(f"pictures:{folder}")
    names = ["train/a.jpg", "train/b.png", "train/link/z.webp", "train/sub/a.jpg"]
    assert data.names.tolist() == names
    assert [p.severity for p in data.validate()] == ["remark"] * 2  # notes.txt, self


def test_every_format_that_is_named(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    for ending in IMAGES:
        Image.fromarray(pixels).save(tmp_path / f"a{ending.upper()}")
    data = load_data(f"pictures:{tmp_path}")
    assert len(data) == len(IMAGES)
    assert {data.image(i).size for i in range(len(data))} == {(8, 6)}
    assert data.validate() == []


def test_folders_called_by_splits_are_the_splits(tmp_path):
    for name in ("val/b.png", "train/c/a.png", "train/c/b.png", "test/a.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6)).save(tmp_path / name)
    data = load_data(f"pictures:{tmp_path}")
    assert data.names.tolist() == ["train/c/a.png", "train/c/b.png", "val/b.png", "test/a.png"]
    assert data.splits.tolist() == ["train", "train", "val", "test"]
    Image.new("RGB", (8, 6)).save(tmp_path / "z.png")  # then they are folders as any other
    data = load_data(f"pictures:{tmp_path}")
    assert set(data.splits) == {"train"}
    assert "train/train/c/a.png" in data.names
