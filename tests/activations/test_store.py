import os
import pickle

import numpy as np
import pytest

import conceptlab as cl
from conceptlab.activations.blockfile import BlockFile
from conceptlab.activations.cache import create_file
from conceptlab.activations.extract import extract
from conceptlab.activations.store import Activations, folder_name, safe_name
from conceptlab.errors import CacheError
from conceptlab.space import Space


@pytest.fixture
def relu2(network, pictures, tmp_path):
    return extract(network, pictures, ["relu2"], tmp_path, batch_size=4)["relu2"]


def test_it_knows_its_model_data_and_geometry(relu2, network, pictures, tmp_path):
    assert (relu2.layer, relu2.model_name, len(relu2)) == ("relu2", "tiny", 13)
    assert relu2.shape == (13, 6, 7, 7)
    assert relu2.names.tolist() == pictures.names.tolist()
    assert relu2.splits.tolist() == pictures.splits.tolist()
    assert relu2.data_fingerprint == pictures.fingerprint
    assert relu2.geometry == network.preprocessing.geometry
    assert relu2.input_size == 16
    assert relu2.cache_root == tmp_path
    assert relu2.space("binary@0.005") == Space(
        "tiny", network.fingerprint, "relu2", 6, "binary@0.005"
    )
    assert relu2.provenance["recorded"]["model_spec"] == "tiny"
    assert "tiny relu2 (13, 6, 7, 7) float16" in repr(relu2)
    assert "relu2.h5" in relu2._repr_html_()


def test_reading_and_mapping_give_the_same(relu2):
    np.testing.assert_array_equal(relu2.read(0, 13), relu2.array)
    np.testing.assert_array_equal(relu2.read(3, 9), relu2.array[3:9])
    assert relu2.read(5, 5).shape == (0, 6, 7, 7)
    for array in (relu2.array, relu2.pooled):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_it_travels_to_other_processes_as_a_path(relu2):
    content = pickle.dumps(relu2)
    assert len(content) < 1000
    np.testing.assert_array_equal(pickle.loads(content).array, relu2.array)


def test_thresholds_and_active_sets_agree_with_the_array(relu2):
    levels, active = relu2.thresholds(0.05), relu2.active(0.05)
    np.testing.assert_array_equal(active.thresholds, levels)
    for image in range(13):
        above = relu2.array[image] > levels[:, None, None]
        np.testing.assert_array_equal(active.masks(image), above)
    again = Activations(relu2.path)
    np.testing.assert_array_equal(again.thresholds(0.05), levels)


def test_what_is_missing_incomplete_or_something_else_is_refused(
    network, pictures, tmp_path, relu2
):
    with pytest.raises(CacheError, match=r"no activations at .*extract them first"):
        Activations(tmp_path / "none.h5")
    with BlockFile(relu2.path, write=True) as file:
        file.unmark([2])
    with pytest.raises(CacheError, match=r"not complete \(3 of 4 blocks\)"):
        Activations(relu2.path)
    create_file(tmp_path / "labels.h5", {"planes": ((3, 2), "int16")}, {}, block=2)
    with pytest.raises(CacheError, match="holds no activations"):
        Activations(tmp_path / "labels.h5")


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a/b", "a\\b", "x" * 300, "é", "a b", ".hidden", "a.float32", "a.derived"],
)
def test_names_are_made_safe_and_stay_different(name):
    safe = safe_name(name)
    assert safe != name
    assert set(safe) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
    assert not safe.startswith(".")
    assert 0 < len(safe) < 120
    assert safe_name(safe) == safe
    assert safe_name("features.12") == "features.12"
    assert safe_name("a b") != safe_name("a/b")
    assert folder_name("net", "0123456789abcdef") == "net-01234567"


def damaged(path, name, row):
    from conceptlab.activations.blockfile import BlockFile

    with BlockFile(path) as file:
        extent = file.arrays[name]
    content = bytearray(path.read_bytes())
    content[extent.offset + row * extent.row_bytes] ^= 1
    path.write_bytes(content)
    state = path.stat()
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 10**9))


@pytest.mark.parametrize("name", ["activations", "pooled"])
@pytest.mark.parametrize(
    "use",
    [
        lambda acts: acts.array,
        lambda acts: acts.pooled,
        lambda acts: acts.read(5, 6),
        lambda acts: acts.read_pooled(np.array([4])),
        lambda acts: acts.thresholds(0.1),
        lambda acts: acts.active(0.1),
        lambda acts: cl.sample(acts),
    ],
)
def test_a_damaged_block_is_named_when_it_is_first_read(relu2, name, use):
    damaged(relu2.path, name, 5)
    opened = Activations(relu2.path)
    with pytest.raises(CacheError, match=r"block 1 \(train/04 to val/00\) is damaged.*repair it"):
        use(opened)
    assert opened.read(0, 4).shape == (4, 6, 7, 7)  # the others are whole
    assert opened.read(8, 13).shape == (5, 6, 7, 7)


def test_a_block_is_verified_once(relu2, monkeypatch):
    from conceptlab.activations.blockfile import BlockFile

    checked = []
    original = BlockFile.checksum
    monkeypatch.setattr(BlockFile, "checksum", lambda s, b: checked.append(b) or original(s, b))
    Activations(relu2.path).array.sum()
    assert checked == []  # this process has just written them
    os.utime(relu2.path)
    opened = Activations(relu2.path)
    opened.read(3, 5)
    opened.read(3, 5)
    assert sorted(checked) == [0, 1]
    opened.pooled.sum()
    Activations(relu2.path).array.sum()
    assert sorted(checked) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("images", "said"),
    [(np.arange(4), "no file of a layer's"), (np.array([b"a", b"b"]), "no file of a layer's"),
     (np.array([b"caf\xe9"] * 4), "can't decode byte 0xe9")],
)  # fmt: skip
def test_names_that_are_none_are_refused(relu2, tmp_path, images, said):
    """Of a file that somebody else has sealed."""
    attrs = {"kind": "activations", "model": "net"}
    arrays = {"activations": ((4, 2, 3, 3), "float16"), "pooled": ((4, 2), "float32")}
    path, spec = tmp_path / "other.h5", dict(relu2.provenance)
    spec.pop("recorded")
    create_file(path, arrays, spec, block=4, constants={"image": images}, attrs=attrs)
    with BlockFile(path, write=True) as file:
        filled = {name: np.zeros(shape, kind) for name, (shape, kind) in arrays.items()}
        file.write_block(0, filled)
    with pytest.raises(CacheError, match=said):
        _ = Activations(path).names
