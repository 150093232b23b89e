"""Fingerprints of a data set follow its files while the object lives."""

import os
import time

import numpy as np
import pytest
from PIL import Image

from conceptlab.data import load_data
from conceptlab.data.fresh import Remembered, state_of

OLD = 1_600_000_000  # seconds; long settled


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for kind in ("images", "labels"):
        (tmp_path / kind / "train").mkdir(parents=True)
    for name in "abcdef":
        pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / "train" / f"{name}.png")
        Image.fromarray(pixels[..., 0] % 2).save(tmp_path / "labels" / "train" / f"{name}.png")
    (tmp_path / "classes.csv").write_text("index,name,category\n0,sky,object\n1,sea,object\n")
    return tmp_path


def settled(monkeypatch):
    """As if the files had been written long ago."""
    now = time.time_ns
    monkeypatch.setattr("conceptlab.data.fresh.time.time_ns", lambda: now() + 60_000_000_000)


def replace_keeping_time(path, change):
    """Other bytes of the same length under the same modification time."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    change(content)
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


@pytest.mark.parametrize("kind", ["folder", "pictures"])
@pytest.mark.parametrize("old", [True, False])
def test_a_replaced_picture_is_other_data(folder, monkeypatch, kind, old):
    if old:
        settled(monkeypatch)
    data = load_data(f"{kind}:{folder}" + ("/images" if kind == "pictures" else ""))
    first, labels = data.fingerprint, data.label_fingerprint
    assert (data.fingerprint, data.label_fingerprint) == (first, labels)
    path = folder / "images" / "train" / "c.png"

    def flip(content):
        content[-6] ^= 1

    replace_keeping_time(path, flip)
    assert data.fingerprint != first
    assert data.label_fingerprint != labels
    replace_keeping_time(path, flip)
    assert (data.fingerprint, data.label_fingerprint) == (first, labels)
    assert load_data(data.spec).fingerprint == first


@pytest.mark.parametrize("old", [True, False])
def test_a_replaced_label_map_is_other_labels_and_the_same_pictures(folder, monkeypatch, old):
    if old:
        settled(monkeypatch)
    data = load_data(f"folder:{folder}")
    first, labels = data.fingerprint, data.label_fingerprint
    area = data.concepts["mean_area"].to_numpy()
    path = folder / "labels" / "train" / "a.png"
    Image.fromarray(np.zeros((8, 8), dtype=np.uint8)).save(path)
    assert data.fingerprint == first
    assert data.label_fingerprint != labels
    assert data.label_fingerprint == load_data(data.spec).label_fingerprint
    again = data.concepts
    assert again["mean_area"].iloc[0] > area[0]  # sky everywhere in one picture
    assert again[["n_train", "n_val"]].sum(axis=1).tolist() == [6, 5]


def test_files_that_have_settled_are_not_read_again(folder, monkeypatch):
    settled(monkeypatch)
    data = load_data(f"folder:{folder}")
    first, labels, counts = data.fingerprint, data.label_fingerprint, data.concepts
    monkeypatch.setattr(type(data), "_image_bytes", None)
    monkeypatch.setattr(type(data), "_label_bytes", None)
    monkeypatch.setattr(type(data), "labels", None)
    assert (data.fingerprint, data.label_fingerprint) == (first, labels)
    assert data.concepts is counts


def test_what_has_not_settled_or_is_unknown_is_not_trusted(tmp_path):
    path, found = tmp_path / "file", Remembered[int]()
    path.write_text("one")
    assert found.derive("a", state_of([path]), lambda: 1) == 1
    # written just now: another write could look the same
    assert found.known("a", state_of([path])) is None
    assert found.derive("a", None, lambda: 2) == 2
    assert found.derive("a", state_of([tmp_path / "missing"]), lambda: 3) == 3
    assert found.known("a", state_of([tmp_path / "missing"])) is None
    assert found.derive("a", state_of([]), lambda: 4) == found.known("a", state_of([])) == 4
    assert state_of([tmp_path / "missing"]) is None


def test_a_file_moved_over_another_is_noticed(tmp_path, monkeypatch):
    settled(monkeypatch)
    one, other, found = tmp_path / "one", tmp_path / "other", Remembered[str]()
    for path in (one, other):
        path.write_text(path.name)
        os.utime(path, (OLD, OLD))
    assert found.derive("a", state_of([one]), one.read_text) == "one"
    other.replace(one)
    assert found.derive("a", state_of([one]), one.read_text) == "other"
