import multiprocessing
import os
import threading
import time

import h5py
import numpy as np
import pytest

from conceptlab.activations import lock
from conceptlab.activations.blockfile import BlockFile
from conceptlab.activations.cache import (
    create_file,
    derived_damage,
    derived_path,
    derived_read,
    derived_write,
    set_aside,
    temporary_files,
)
from conceptlab.activations.lock import held, held_if_free, lock_path
from conceptlab.errors import CacheError

LEVELS = {"thresholds": np.array([1.0, 2.5], dtype=np.float32)}
PAIRS = {"offsets": np.arange(5), "index": np.arange(40_000, dtype=np.uint32)}


@pytest.fixture
def path(tmp_path):
    place = tmp_path / "net" / "a.h5"
    create_file(place, {"values": ((6, 2), "float16")}, {"layer": "a"}, block=4)
    with BlockFile(place, write=True) as file:
        for number in range(2):
            start, stop = file.rows(number)
            file.write_block(number, {"values": np.ones((stop - start, 2))})
    return place


def flip(path, offset):
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 4]))


def same(found, wanted):
    assert found.keys() == wanted.keys()
    for name, values in wanted.items():
        np.testing.assert_array_equal(found[name], values)
        assert found[name].dtype == values.dtype


def test_derived_results_are_kept_side_by_side(path):
    assert derived_read(path, "thresholds", "0.005") is None
    derived_write(path, "thresholds", "0.005", LEVELS)
    derived_write(path, "active", "0.005", PAIRS)
    derived_write(path, "thresholds", "0.01", {"thresholds": np.zeros(2)})
    same(derived_read(path, "thresholds", "0.005"), LEVELS)
    same(derived_read(path, "active", "0.005"), PAIRS)
    assert derived_read(path, "active", "0.01") is None
    derived_write(path, "thresholds", "0.01", {"thresholds": np.ones(2)})  # replaces
    same(derived_read(path, "thresholds", "0.01"), {"thresholds": np.ones(2)})
    assert derived_damage(path) == ""


def test_any_hdf5_tool_sees_derived_results_in_the_main_file(path):
    before = path.read_bytes()
    with h5py.File(path) as file:
        assert "thresholds/0.005" not in file
    derived_write(path, "thresholds", "0.005", LEVELS)
    derived_write(path, "active", "0.005", PAIRS)
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["thresholds/0.005"][()], LEVELS["thresholds"])
        np.testing.assert_array_equal(file["active/0.005/index"][()], PAIRS["index"])
    assert path.read_bytes() == before


def test_derived_results_of_another_state_are_not_used(path):
    derived_write(path, "thresholds", "0.005", LEVELS)
    derived_write(path, "thresholds", "0.01", LEVELS)
    with BlockFile(path, write=True) as file:
        file.write_block(1, {"values": np.zeros((2, 2))})
    assert derived_read(path, "thresholds", "0.005") is None
    assert derived_damage(path) == "derived from another state of its file"
    derived_write(path, "thresholds", "0.005", LEVELS)
    same(derived_read(path, "thresholds", "0.005"), LEVELS)
    assert derived_read(path, "thresholds", "0.01") is None


def test_a_new_file_takes_the_derived_results_of_the_old_one_away(path):
    derived_write(path, "thresholds", "0.005", LEVELS)
    create_file(path, {"values": ((6, 2), "float16")}, {"layer": "a"}, block=4)
    assert not derived_path(path).exists()


def test_damaged_derived_results_are_computed_again_with_a_warning(path, caplog):
    derived_write(path, "active", "0.005", PAIRS)
    derived_write(path, "thresholds", "0.005", LEVELS)
    place = derived_path(path)
    whole = place.read_bytes()
    with h5py.File(place) as file:
        inside = file["active/0.005/index"].id.get_offset() + 1000
    for at in (inside, 50, 5000, len(whole) - 1):
        place.write_bytes(whole)
        flip(place, at)
        assert derived_read(path, "active", "0.005") is None
        assert "computing it again" in caplog.text
        assert derived_damage(path) != ""
        derived_write(path, "active", "0.005", PAIRS)
        same(derived_read(path, "active", "0.005"), PAIRS)
        caplog.clear()
    place.write_text("foreign")
    assert derived_read(path, "active", "0.005") is None


def test_a_cache_that_cannot_be_written_only_costs_a_warning(path, monkeypatch, caplog):
    derived_write(path, "thresholds", "0.005", LEVELS)

    def refuse(*_, **__):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("conceptlab.activations.cache.atomic_path", refuse)
    derived_write(path, "active", "0.005", PAIRS)
    assert "Read-only file system" in caplog.text
    assert "active/0.005 is not kept" in caplog.text
    same(derived_read(path, "thresholds", "0.005"), LEVELS)


def _write_many(path, key):
    for number in range(5):
        derived_write(path, "thresholds", f"{key}.{number}", LEVELS)


def test_two_processes_that_derive_at_once_lose_nothing(path):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_write_many, args=(path, key)) for key in (1, 2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    with h5py.File(derived_path(path)) as file:
        assert len(file["thresholds"]) == 10
    assert sorted(p.name for p in path.parent.iterdir()) == ["a.derived.h5", "a.h5"]


def test_creating_removes_what_a_killed_process_left(path):
    left = path.with_name(".a.h5.abcd.tmp")
    left.write_bytes(b"half")
    assert temporary_files(path) == [left]
    create_file(path, {"values": ((6, 2), "float16")}, {"layer": "a"}, block=4)
    assert not left.exists()


def test_a_failed_creation_leaves_the_folder_as_it_was(path, monkeypatch):
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(CacheError, match=r"cannot write .*a\.h5 \(No space left on device\)"):
        create_file(path, {"values": ((6, 2), "float16")}, {"layer": "b"}, block=4)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["a.h5"]


def test_setting_aside_never_overwrites(path):
    for number in (1, 2):
        path.write_text(str(number))
        assert set_aside(path).name == f"a.h5.damaged-{number}"
    assert path.with_name("a.h5.damaged-1").read_text() == "1"


def test_only_one_holds_a_lock_and_nothing_is_left(tmp_path):
    path, inside, most = tmp_path / "a.h5", [0], [0]

    def work():
        for _ in range(20):
            with held(path):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                time.sleep(0.0005)
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
    assert not list(tmp_path.iterdir())


def test_a_lock_that_is_taken_is_said_or_skipped(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("conceptlab.activations.lock.PATIENCE", 0.05)
    caplog.set_level("INFO")
    path = tmp_path / "a.h5"
    waiter = threading.Thread(target=lambda: held(path).__enter__())
    with held(path):
        with held_if_free(path) as free:
            assert not free
        waiter.start()
        time.sleep(0.3)
        assert "another process writes" in caplog.text
    waiter.join(5)
    assert not waiter.is_alive()


def test_a_lock_left_by_a_killed_process_is_free(tmp_path):
    lock_path(tmp_path / "a.h5").touch()
    with held_if_free(tmp_path / "a.h5") as free:
        assert free
    with held(tmp_path / "a.h5"):
        pass
    assert not list(tmp_path.iterdir())


def test_a_lock_file_that_was_taken_away_meanwhile_is_not_trusted(tmp_path, monkeypatch):
    path, original, seen = tmp_path / "a.h5", lock._try, []

    def replaced_just_before(handle):
        if not seen:
            lock_path(path).unlink()
            lock_path(path).touch()
        seen.append(handle)
        return original(handle)

    monkeypatch.setattr(lock, "_try", replaced_just_before)
    with held(path), held_if_free(path) as free:
        assert not free


def test_a_cache_path_that_is_a_file_is_one_sentence(tmp_path):
    (tmp_path / "cache").write_text("")
    with (
        pytest.raises(CacheError, match="cannot write in the cache folder"),
        held(tmp_path / "cache" / "net" / "a.h5"),
    ):
        pass
