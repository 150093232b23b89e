import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conceptlab.activations.blockfile import BlockFile
from conceptlab.activations.cache import create_file
from conceptlab.errors import CacheError
from conceptlab.seal import DamagedError, guard_page

SPEC = {"layer": "a", "of": {"x": 1}}


def arrays(images, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(images, 3, 2, 2)).astype(np.float16)
    return {"activations": values, "pooled": values.mean((2, 3), dtype=np.float32)}


def create(path, images, block, **kwargs):
    wanted = {name: (v.shape, v.dtype) for name, v in arrays(images).items()}
    names = np.char.encode(np.array([f"train/é{i}.png" for i in range(images)]), "utf-8")
    create_file(path, wanted, SPEC, block=block, constants={"image": names}, **kwargs)


def filled(path, images=10, block=4, blocks=None):
    values = arrays(images)
    create(path, images, block)
    with BlockFile(path, write=True) as file:
        for number in range(file.blocks) if blocks is None else blocks:
            start, stop = file.rows(number)
            file.write_block(number, {name: v[start:stop] for name, v in values.items()})
    return values


def flip(path, offset, bits=1):
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ bits]))


def extents(path):
    with BlockFile(path) as file:
        return file.arrays


@settings(max_examples=20, deadline=None)
@given(images=st.integers(1, 20), block=st.integers(1, 9), seed=st.randoms(use_true_random=False))
def test_blocks_written_in_any_order_read_back(tmp_path_factory, images, block, seed):
    path = tmp_path_factory.mktemp("file") / "a.h5"
    values = arrays(images)
    create(path, images, block)
    with BlockFile(path, write=True) as file:
        order = list(range(file.blocks))
        seed.shuffle(order)
        for number in order:
            assert not file.complete
            start, stop = file.rows(number)
            file.write_block(number, {name: v[start:stop] for name, v in values.items()})
        assert file.complete
        assert file.damage() == {}
        for name, wanted in values.items():
            np.testing.assert_array_equal(file.map(name), wanted)
            np.testing.assert_array_equal(file.read(name), wanted)
            np.testing.assert_array_equal(file.read(name, images // 2), wanted[images // 2 :])
    with h5py.File(path) as file:  # any HDF5 tool reads the same
        for name, wanted in values.items():
            np.testing.assert_array_equal(file[name][()], wanted)
        assert file["image"].asstr()[0] == "train/é0.png"
        assert (file["done"][()] == 1).all()


def test_arrays_are_contiguous_aligned_and_reserved_on_the_disk(tmp_path):
    create(tmp_path / "a.h5", 1000, 32)
    with h5py.File(tmp_path / "a.h5") as file:
        assert all(file[name].chunks is None for name in ("activations", "pooled", "done"))
    assert all(extent.offset % 64 == 0 for extent in extents(tmp_path / "a.h5").values())
    status = os.stat(tmp_path / "a.h5")
    assert status.st_blocks * 512 >= status.st_size


def test_equal_content_is_equal_bytes(tmp_path):
    filled(tmp_path / "a" / "x.h5")
    filled(tmp_path / "b" / "x.h5", blocks=[2, 0, 1])
    assert (tmp_path / "a" / "x.h5").read_bytes() == (tmp_path / "b" / "x.h5").read_bytes()


def test_a_block_filled_in_parts_is_the_same(tmp_path):
    values = filled(tmp_path / "a" / "x.h5")
    create(tmp_path / "b" / "x.h5", 10, 4)
    with BlockFile(tmp_path / "b" / "x.h5", write=True) as file:
        for start in range(10):
            file.fill(start, {name: v[start : start + 1] for name, v in values.items()})
        for number in range(3):
            file.commit(number)
    assert (tmp_path / "a" / "x.h5").read_bytes() == (tmp_path / "b" / "x.h5").read_bytes()


@pytest.mark.parametrize("name", ["activations", "pooled", "checksum"])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_flipped_bit_is_found_in_its_block(tmp_path, name, number):
    filled(tmp_path / "a.h5")
    extent = extents(tmp_path / "a.h5")[name]
    row = number if name == "checksum" else 4 * number + 1
    flip(tmp_path / "a.h5", extent.offset + row * extent.row_bytes, 0x10)
    with BlockFile(tmp_path / "a.h5", write=True) as file:
        assert file.damage() == {number: "its checksum does not match"}
        file.unmark(file.damage())
        assert file.damage() == {}
        assert file.done().tolist() == [n != number for n in range(3)]


@pytest.mark.parametrize(
    ("number", "bits", "damage"),
    [(1, 1, {}), (1, 2, {1: "its mark is 3"}), (2, 1, {2: "its checksum does not match"})],
)
def test_a_flipped_mark_is_never_believed(tmp_path, number, bits, damage):
    filled(tmp_path / "a.h5", blocks=[0, 1])
    flip(tmp_path / "a.h5", extents(tmp_path / "a.h5")["done"].offset + number, bits)
    with BlockFile(tmp_path / "a.h5") as file:
        assert file.damage() == damage
        assert damage or not file.complete


def test_flipped_bytes_outside_the_arrays_are_noticed_or_harmless(tmp_path):
    values = filled(tmp_path / "a.h5", images=3)
    taken = [(extent.offset, extent.end) for extent in extents(tmp_path / "a.h5").values()]
    size = (tmp_path / "a.h5").stat().st_size
    header = [at for at in range(size) if not any(a <= at < b for a, b in taken)]
    noticed = 0
    for at in np.random.default_rng(0).choice(header, 150, replace=False):
        flip(tmp_path / "a.h5", int(at), 0x41)
        try:
            with BlockFile(tmp_path / "a.h5") as file:
                assert file.spec == SPEC
                np.testing.assert_array_equal(file.read("activations"), values["activations"])
        except DamagedError:
            noticed += 1
        flip(tmp_path / "a.h5", int(at), 0x41)
    assert noticed >= 140  # all but the padding of the first page


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_refused(tmp_path, share):
    filled(tmp_path / "a.h5")
    size = (tmp_path / "a.h5").stat().st_size
    os.truncate(tmp_path / "a.h5", int(share * size))
    with pytest.raises(DamagedError, match=r"a\.h5"):
        BlockFile(tmp_path / "a.h5")


def test_a_foreign_file_is_refused(tmp_path):
    (tmp_path / "text.h5").write_text("no HDF5 at all")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["activations"] = np.zeros(3)
    for name in ("text.h5", "other.h5"):
        with pytest.raises(DamagedError, match=name):
            BlockFile(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        BlockFile(tmp_path / "missing.h5")


def test_another_schema_is_refused_by_number(tmp_path):
    create(tmp_path / "a.h5", 3, 2)
    arrays = [(e.offset, e.end) for n, e in extents(tmp_path / "a.h5").items() if n != "image"]
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file.attrs["schema"] = 99
    guard_page(tmp_path / "a.h5", arrays)
    with pytest.raises(DamagedError, match="schema 99, and this version reads 2"):
        BlockFile(tmp_path / "a.h5")


def test_a_changed_constant_is_noticed(tmp_path):
    filled(tmp_path / "a.h5")
    flip(tmp_path / "a.h5", extents(tmp_path / "a.h5")["image"].offset + 3)
    with pytest.raises(DamagedError, match="damaged around its arrays"):
        BlockFile(tmp_path / "a.h5")


def test_rows_that_are_not_there_or_do_not_fit(tmp_path):
    values = filled(tmp_path / "a.h5")
    with BlockFile(tmp_path / "a.h5", write=True) as file:
        for start, stop in ((0, 11), (-1, 3), (5, 4)):
            with pytest.raises(IndexError):
                file.read("activations", start, stop)
        with pytest.raises(ValueError, match="into"):
            file.fill(0, {"activations": values["activations"][:, :2]})
        with pytest.raises(ValueError, match="into"):
            file.fill(8, values)
        with pytest.raises(ValueError, match="block 0 has 4 images"):
            file.write_block(0, values)
        assert file.damage() == {}


@pytest.mark.parametrize("rows", [[7, 2, 2, 9], [3, 4, 5], []], ids=["any", "neighbours", "none"])
def test_rows_are_taken_in_any_order(tmp_path, rows):
    values = filled(tmp_path / "a.h5")["activations"]
    with BlockFile(tmp_path / "a.h5") as file:
        found = file.take("activations", np.array(rows, dtype=np.int64))
    assert found.dtype == values.dtype
    assert np.array_equal(found, values[rows])


@pytest.mark.parametrize("rows", [[0, 10], [-1, 3], [9, 10]])
def test_rows_that_are_not_there_are_not_taken(tmp_path, rows):
    filled(tmp_path / "a.h5")
    with BlockFile(tmp_path / "a.h5") as file, pytest.raises(IndexError):
        file.take("activations", np.array(rows))


def test_taken_rows_are_of_whole_blocks_alone(tmp_path):
    filled(tmp_path / "a.h5")
    extent = extents(tmp_path / "a.h5")["activations"]
    flip(tmp_path / "a.h5", extent.offset + 5 * extent.row_bytes)
    with BlockFile(tmp_path / "a.h5") as file:
        file.take("activations", np.array([9, 0]))
        with pytest.raises(DamagedError, match="block 1"):
            file.take("activations", np.array([9, 7, 0]))


def test_failed_writes_are_one_sentence_and_leave_the_block_unmarked(tmp_path, monkeypatch):
    values = arrays(10)
    create(tmp_path / "a.h5", 10, 4)

    def full(*_):
        raise OSError(28, "No space left on device")

    with BlockFile(tmp_path / "a.h5", write=True) as file:
        rows = {name: v[:4] for name, v in values.items()}
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", full)
            with pytest.raises(CacheError, match=r"No space left on device.*free some space"):
                file.write_block(0, rows)
        assert not file.done().any()
        file.write_block(0, rows)
        assert file.done().tolist() == [True, False, False]


def test_closing_twice_and_forgetting_to_close(tmp_path):
    filled(tmp_path / "a.h5")
    before = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else 0
    for _ in range(20):
        BlockFile(tmp_path / "a.h5")
    file = BlockFile(tmp_path / "a.h5")
    file.close()
    file.close()
    if before:
        assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_an_array_that_is_one_value_is_refused(tmp_path):
    path = tmp_path / "a.h5"
    create_file(
        path, {"x": ((4, 2), "f4")}, {}, block=2, constants={"sketch": np.array(1.0, np.float32)}
    )
    with pytest.raises(DamagedError, match="an array of it has no rows"):
        BlockFile(path)
