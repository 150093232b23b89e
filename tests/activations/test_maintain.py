import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from test_extract import break_at

from conceptlab.activations.blockfile import BlockFile
from conceptlab.activations.cache import create_file, derived_path, derived_write
from conceptlab.activations.extract import extract
from conceptlab.activations.lock import held
from conceptlab.activations.maintain import cache_table, prune, verify
from conceptlab.errors import InputError

LABELS = {"planes": ((6, 2, 2), "int16"), "count": ((6,), "uint8")}


@pytest.fixture
def root(network, pictures, tmp_path):
    """Two layers, one of them incomplete, and a store of labels."""
    folder = tmp_path / "cache"
    network.layers()
    extract(network, pictures, ["relu1"], folder, batch_size=4)
    hook = break_at(network, 8, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        extract(network, pictures, ["conv2"], folder, batch_size=4)
    hook.remove()
    labels = folder / "labels" / "set-01234567" / "8x8.h5"
    create_file(labels, LABELS, {"size": 8}, block=4, attrs={"kind": "labels"})
    with BlockFile(labels, write=True) as file:
        file.write_block(0, {"planes": np.ones((4, 2, 2)), "count": np.ones(4)})
    return folder


def one(root, name):
    return next(root.rglob(name))


def flip(root, name, array, row):
    path = one(root, name)
    with BlockFile(path) as file:
        extent = file.arrays[array]
    content = bytearray(path.read_bytes())
    content[extent.offset + row * extent.row_bytes] ^= 2
    path.write_bytes(content)


def test_the_table_lists_every_file(root, pictures):
    table = cache_table(root).set_index("path")
    assert len(table) == 3
    relu1, conv2 = (table.loc[str(one(root, f"{name}.h5"))] for name in ("relu1", "conv2"))
    labels = table.loc[str(one(root, "8x8.h5"))]
    assert (relu1["kind"], relu1["model"], relu1["layer"]) == ("activations", "tiny", "relu1")
    assert relu1["data"] == pictures.name
    assert (relu1["images"], relu1["shape"], relu1["dtype"]) == (13, (5, 16, 16), "float16")
    assert (relu1["complete"], conv2["complete"]) == (1.0, 0.5)
    assert relu1["bytes"] == one(root, "relu1.h5").stat().st_size
    assert (labels["kind"], labels["data"], labels["images"]) == ("labels", "set-01234567", 6)
    assert labels["complete"] == 0.5


def test_a_whole_cache_has_no_damage(root):
    assert verify(root).empty
    assert prune(root).empty
    assert list(verify(root).columns) == ["path", "block", "first_image", "last_image", "reason"]


def test_each_damaged_block_is_named(root):
    flip(root, "relu1.h5", "activations", 5)
    flip(root, "relu1.h5", "pooled", 12)
    flip(root, "conv2.h5", "checksum", 0)
    flip(root, "8x8.h5", "count", 1)
    found = verify(root)
    rows = {(row.path.rpartition("/")[2], row.block): row for row in found.itertuples()}
    assert set(rows) == {("relu1.h5", 1), ("relu1.h5", 3), ("conv2.h5", 0), ("8x8.h5", 0)}
    assert rows["relu1.h5", 1].first_image == "train/04"
    assert rows["relu1.h5", 1].last_image == "val/00"
    assert rows["relu1.h5", 3].first_image == rows["relu1.h5", 3].last_image == "test/02"
    assert set(found["reason"]) == {"its checksum does not match"}
    assert prune(root).empty  # the next extraction repairs them


def test_unusable_files_and_stale_results_are_named_and_pruned(root, caplog):
    derived_write(one(root, "relu1.h5"), "thresholds", "0.005", {"thresholds": np.ones(5)})
    assert verify(root).empty
    with BlockFile(one(root, "relu1.h5"), write=True) as file:
        file.unmark([0])
    one(root, "conv2.h5").write_text("foreign")
    found = verify(root).set_index("block")
    assert found.index.tolist() == [-1, -1]
    assert any("not a file of the cache" in reason for reason in found["reason"])
    assert any("another state" in reason for reason in found["reason"])
    assert len(cache_table(root)) == 2
    assert "not a file of the cache" in caplog.text
    gone = prune(root)
    assert {path.rpartition("/")[2] for path in gone["path"]} == {"conv2.h5", "relu1.derived.h5"}
    assert not list(root.rglob("conv2.h5"))
    assert one(root, "relu1.h5").exists()


def test_pruning_removes_leftovers_and_asks_before_work(root):
    folder = one(root, "relu1.h5").parent
    left = [".relu1.h5.ab12.tmp", ".relu1.derived.h5.xyz.tmp", "relu1.h5.damaged-3"]
    (folder / "notes.txt").write_text("mine")
    (folder / ".conv2.h5.lock").touch()
    orphan = derived_path(folder / "gone.h5")
    derived_write(one(root, "relu1.h5"), "active", "0.005", {"index": np.ones(5)})
    derived_path(one(root, "relu1.h5")).rename(orphan)
    for name in left:
        (folder / name).write_bytes(b"123")
    before = {p.name for p in folder.iterdir()}
    planned = prune(root, dry_run=True)
    assert {p.name for p in folder.iterdir()} | {".conv2.h5.lock"} == before
    done = prune(root)
    assert planned.equals(done)
    assert {p.rpartition("/")[2] for p in done["path"]} == {*left, orphan.name}
    assert done["bytes"].tolist().count(3) == 3
    assert {p.name for p in folder.iterdir()} == {"relu1.h5", "conv2.h5", "notes.txt"}
    gone = prune(root, incomplete=True)
    assert {p.rpartition("/")[2] for p in gone["path"]} == {"conv2.h5", "8x8.h5"}


def test_pruning_leaves_files_alone_that_somebody_writes(root):
    path = one(root, "conv2.h5")
    temporary = path.with_name(".conv2.h5.ab12.tmp")
    temporary.write_bytes(b"1")
    with held(path):
        assert len(prune(root, incomplete=True)) == 1  # the labels
    assert path.exists()
    assert temporary.exists()


def test_pruning_touches_nothing_that_is_not_a_caches(tmp_path):
    kept = [
        tmp_path / "data.h5",
        tmp_path / "project" / "results.h5",
        tmp_path / "project" / "a.h5.damaged-1",
        tmp_path / "net-01234567" / "set-01234567" / "notes.md",
    ]
    for path in kept:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    assert prune(tmp_path, incomplete=True).empty
    assert all(path.exists() for path in kept)


def test_a_missing_folder_is_one_sentence(tmp_path):
    for function in (cache_table, verify, prune):
        with pytest.raises(InputError, match="no cache folder"):
            function(tmp_path / "none")


def test_one_unreadable_file_stops_nothing(root, caplog):
    folder = one(root, "relu1.h5").parent
    (folder / "loop.h5").symlink_to(folder / "loop.h5")
    (folder / ".x.h5.ab12.tmp").write_bytes(b"1")
    os.mkfifo(folder / "pipe.h5")
    assert len(cache_table(root)) == 3
    assert "loop.h5" in caplog.text
    found = verify(root)
    assert {p.rpartition("/")[2] for p in found["path"]} == {"loop.h5", "pipe.h5"}
    assert set(found["block"]) == {-1}
    gone = prune(root)
    assert {p.rpartition("/")[2] for p in gone["path"]} == {".x.h5.ab12.tmp"}


@pytest.fixture
def stranger():
    """A function that calls another without the rights of root."""

    def call(function, *args):
        own = os.geteuid()
        os.seteuid(65534 if own == 0 else own)
        try:
            return function(*args)
        finally:
            os.seteuid(own)

    return call


def test_what_cannot_be_read_is_no_undamaged(root, stranger):
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        copy = Path(shutil.copytree(root, Path(place, "cache")))
        assert stranger(verify, copy).empty
        one(copy, "conv2.h5").chmod(0)
        derived_write(one(copy, "relu1.h5"), "active", "0.005", {"index": np.ones(5)})
        derived_path(one(copy, "relu1.h5")).chmod(0)
        found = stranger(verify, copy)
        assert len(found) == 2
        assert all("Permission denied" in reason for reason in found["reason"])
        assert len(stranger(cache_table, copy)) == 2
        folder = one(copy, "8x8.h5").parent
        folder.chmod(0)
        found = stranger(verify, copy).set_index("path")
        assert found.loc[str(folder), "reason"] == "cannot be read (Permission denied)"
        folder.chmod(0o755)
        assert one(copy, "relu1.derived.h5").exists()
        assert prune(copy).empty  # unreadable is not damaged
