"""What can happen to a run or a cache: each costs one clear sentence, and nothing that is done."""

import errno
import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import time

import h5py
import numpy as np
import pytest
import torch
from conftest import make_network, write_pictures
from test_extract import Calls

from conceptlab.activations.blockfile import BlockFile
from conceptlab.activations.extract import extract
from conceptlab.data import load_data
from conceptlab.errors import CacheError

LAYERS = ["relu1", "conv2"]
START = multiprocessing.get_context("forkserver")
START.set_forkserver_preload(
    [
        *("pytest", "hypothesis", "torch._dynamo", "h5py", "tqdm.auto"),
        *("conceptlab.models.probed", "conceptlab.activations.extract", "conceptlab.data"),
    ]
)


@pytest.fixture
def whole(network, pictures, tmp_path):
    """The bytes of an uninterrupted run by layer."""
    network.layers()
    found = extract(network, pictures, LAYERS, tmp_path / "whole", batch_size=4)
    return {layer: activations.path.read_bytes() for layer, activations in found.items()}


def work(spec, cache, pause=0.0, before=None):
    """A whole run in a process of its own."""
    torch.set_num_threads(1)
    if before is not None:
        before()
    model = make_network()
    model.module.conv1.register_forward_pre_hook(lambda *_: time.sleep(pause))
    try:
        extract(model, load_data(spec), LAYERS, cache, batch_size=4)
    except KeyboardInterrupt:
        os._exit(130)
    except CacheError as error:
        cache.mkdir(parents=True, exist_ok=True)
        (cache / "error.txt").write_text(str(error))
        os._exit(error.exit_code)


def start(*args):
    process = START.Process(target=work, args=args)
    process.start()
    return process


def finish(*args):
    process = start(*args)
    process.join(60)
    return process.exitcode


def files(cache):
    return {path.stem: path.read_bytes() for path in cache.rglob("*.h5")}


def path_of(cache, layer):
    return next(cache.rglob(f"{layer}.h5"))


class Die:
    """Kill the process at its n-th call of a function of `os`, with half of it done."""

    def __init__(self, name, call):
        self.name, self.call = name, call

    def __call__(self):
        original, seen = getattr(os, self.name), [0]

        def die(*args):
            seen[0] += 1
            if seen[0] == self.call:
                if self.name == "pwrite":
                    original(args[0], args[1][: len(args[1]) // 2], args[2])
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*args)

        setattr(os, self.name, die)


@pytest.mark.slow
def test_killed_at_thirty_random_moments_and_resumed_it_is_the_same(tmp_path):
    spec = f"folder:{write_pictures(tmp_path / 'data', {'train': 150, 'val': 20, 'test': 30})}"
    assert finish(spec, tmp_path / "whole") == 0
    begun = time.monotonic()
    assert finish(spec, tmp_path / "again", 0.002) == 0
    seconds = time.monotonic() - begun
    wanted, moments, midway = files(tmp_path / "whole"), random.Random(0), 0
    for number in range(30):
        cache = tmp_path / "cache"
        process = start(spec, cache, 0.002)
        time.sleep(moments.uniform(0.1, 1.0) * seconds)
        process.kill()
        process.join()
        found = files(cache)
        midway += bool(found) and found != wanted
        if number % 3 == 0:  # killed twice
            process = start(spec, cache, 0.002)
            time.sleep(moments.uniform(0.1, 1.0) * seconds)
            process.kill()
            process.join()
        assert finish(spec, cache) == 0
        assert files(cache) == wanted
        # a kill after the last mark can leave a lock file, which nobody holds any more
        assert {p.suffix for p in cache.rglob("*") if p.is_file()} - {".lock"} == {".h5"}
        shutil.rmtree(cache)
    assert midway >= 10


@pytest.mark.slow
@pytest.mark.parametrize("calls", [range(1, 9), range(9, 17), range(25, 33)])
def test_killed_in_the_middle_of_any_write_it_is_the_same(whole, pictures, tmp_path, calls):
    for call in calls:
        cache = tmp_path / f"cache{call}"
        assert finish(pictures.spec, cache, 0.0, Die("pwrite", call)) == -signal.SIGKILL
        assert files(cache).keys() == whole.keys()
        assert finish(pictures.spec, cache) == 0
        assert files(cache) == whole


@pytest.mark.parametrize(
    ("name", "call"), [("posix_fallocate", 1), ("posix_fallocate", 2), ("replace", 2)]
)
def test_killed_while_creating_there_is_no_half_file(whole, pictures, tmp_path, name, call):
    cache = tmp_path / "cache"
    assert finish(pictures.spec, cache, 0.0, Die(name, call)) == -signal.SIGKILL
    assert len(files(cache)) == call - 1 + any(p.suffix == ".tmp" for p in cache.rglob(".*.h5"))
    assert [p for p in cache.rglob("*") if p.suffix == ".tmp"]
    assert finish(pictures.spec, cache) == 0
    assert files(cache) == whole
    assert {p.suffix for p in cache.rglob("*") if p.is_file()} == {".h5"}


def test_ctrl_c_keeps_what_is_done(whole, pictures, tmp_path):
    cache = tmp_path / "cache"
    process = start(pictures.spec, cache, 1.0)
    done = 0
    while done == 0:
        time.sleep(0.02)
        if list(cache.rglob("conv2.h5")):
            with BlockFile(path_of(cache, "conv2")) as file:
                done = int(file.done().sum())
    os.kill(process.pid, signal.SIGINT)
    process.join(30)
    assert process.exitcode == 130
    with BlockFile(path_of(cache, "conv2")) as file:
        assert file.done()[0]
        assert not file.complete
        assert file.damage() == {}
    assert not [p for p in cache.rglob("*") if p.name.endswith((".lock", ".tmp"))]
    assert finish(pictures.spec, cache) == 0
    assert files(cache) == whole


def test_two_processes_at_once_compute_it_once(whole, pictures, tmp_path):
    cache = tmp_path / "cache"
    begun = time.monotonic()
    processes = [start(pictures.spec, cache, 0.2) for _ in range(2)]
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert time.monotonic() - begun < 30
    assert files(cache) == whole
    assert not [p for p in cache.rglob("*") if p.name.endswith(".lock")]


def test_when_the_writer_is_killed_the_waiting_process_goes_on(whole, pictures, tmp_path):
    cache = tmp_path / "cache"
    first = start(pictures.spec, cache, 0.5)
    while not list(cache.rglob("conv2.h5")):
        time.sleep(0.02)
    second = start(pictures.spec, cache)
    time.sleep(0.5)
    first.kill()
    second.join(60)
    assert second.exitcode == 0
    assert files(cache) == whole


@pytest.mark.parametrize("share", [0.0, 0.2, 0.7, 0.99])
def test_a_truncated_file_is_set_aside(network, pictures, tmp_path, whole, caplog, share):
    path = path_of(tmp_path / "whole", "conv2")
    os.truncate(path, int(share * path.stat().st_size))
    short = path.read_bytes()
    calls = Calls(network)
    extract(network, pictures, LAYERS, tmp_path / "whole", batch_size=4)
    assert calls.images["conv2"] == 13
    assert files(tmp_path / "whole") == whole
    assert path.with_name("conv2.h5.damaged-1").read_bytes() == short
    assert "set aside as conv2.h5.damaged-1 and computed anew" in caplog.text


@pytest.mark.parametrize("foreign", ["text", "hdf5", "other layer"])
def test_a_foreign_file_is_set_aside(network, pictures, tmp_path, whole, caplog, foreign):
    path = path_of(tmp_path / "whole", "conv2")
    if foreign == "text":
        path.write_text("activations, honestly")
    elif foreign == "hdf5":
        with h5py.File(path, "w") as file:
            file["activations"] = np.zeros((13, 6, 7, 7))
    else:
        shutil.copy(path_of(tmp_path / "whole", "relu1"), path)
    extract(network, pictures, LAYERS, tmp_path / "whole", batch_size=4)
    assert files(tmp_path / "whole") == whole
    assert "set aside" in caplog.text
    if foreign == "other layer":
        assert "layer: relu1 -> conv2" in caplog.text


@pytest.mark.parametrize("name", ["activations", "pooled", "checksum", "done"])
@pytest.mark.parametrize("bit", [1, 64])
def test_a_flipped_bit_costs_one_block(network, pictures, tmp_path, whole, caplog, name, bit):
    path = path_of(tmp_path / "whole", "conv2")
    with BlockFile(path) as file:
        extent = file.arrays[name]
    row = 2 if name in ("checksum", "done") else 9
    content = bytearray(path.read_bytes())
    content[extent.offset + row * extent.row_bytes] ^= bit
    path.write_bytes(content)
    calls = Calls(network)
    extract(network, pictures, LAYERS, tmp_path / "whole", batch_size=4)
    assert calls.images["conv2"] == 4
    assert files(tmp_path / "whole") == whole
    if (name, bit) != ("done", 1):  # a mark that is merely gone is no damage
        assert "block 2 (val/01 to test/01) is damaged" in caplog.text


def test_a_flipped_bit_of_hdf5s_own_sets_the_file_aside(network, pictures, tmp_path, whole, caplog):
    path = path_of(tmp_path / "whole", "conv2")
    for at in (20, 4096 + 5, 4096 + 600, len(whole["conv2"]) - 3):
        content = bytearray(whole["conv2"])
        content[at] ^= 8
        path.write_bytes(content)
        extract(network, pictures, LAYERS, tmp_path / "whole", batch_size=4)
        assert files(tmp_path / "whole") == whole
        assert "set aside" in caplog.text
        caplog.clear()


@pytest.mark.parametrize("call", [1, 2, 3, 4, 11, 30])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_write_that_fails_loses_nothing(
    network, pictures, tmp_path, whole, monkeypatch, call, code
):
    original, seen = os.pwrite, [0]

    def fail(*args):
        seen[0] += 1
        if seen[0] == call:
            raise OSError(code, os.strerror(code))
        return original(*args)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", fail)
        with pytest.raises(CacheError, match=os.strerror(code)) as caught:
            extract(network, pictures, LAYERS, tmp_path / "cache", batch_size=4)
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)
    calls = Calls(network)
    extract(network, pictures, LAYERS, tmp_path / "cache", batch_size=4)
    assert calls.images["conv1"] <= 13 - (call - 1) // 8 * 4
    assert files(tmp_path / "cache") == whole


def test_the_first_part_of_a_block_that_fails_is_not_marked_by_its_last(
    network, pictures, tmp_path, monkeypatch
):
    original = os.pwrite

    def interrupt(*args):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", interrupt)
        with pytest.raises(CacheError):
            extract(network, pictures, ["conv2"], tmp_path, batch_size=8)
    seen = [0]

    def fail_once(*args):
        seen[0] += 1
        if seen[0] == 1:
            raise OSError(errno.EIO, "Input/output error")
        return original(*args)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", fail_once)
        with pytest.raises(CacheError):
            extract(network, pictures, ["conv2"], tmp_path, batch_size=3)
    with BlockFile(path_of(tmp_path, "conv2")) as file:
        assert not file.done().any()


def test_a_run_that_cannot_fit_does_not_start(network, pictures, tmp_path, monkeypatch):
    network.layers()
    calls = Calls(network)
    usage = shutil.disk_usage(tmp_path)._replace(free=5000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(CacheError, match=r"needs 52.8 KB more and .* has 5 KB free"):
        extract(network, pictures, LAYERS, tmp_path, batch_size=4)
    assert calls.images["conv1"] == 0
    assert not list(tmp_path.rglob("*.h5"))


def _limit():
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))


def test_a_file_size_limit_is_one_sentence(pictures, tmp_path):
    assert finish(pictures.spec, tmp_path / "cache", 0.0, _limit) == 3
    message = (tmp_path / "cache" / "error.txt").read_text()
    assert "cannot write" in message
    assert "relu1.h5" in message
    assert not list((tmp_path / "cache").rglob("*.h5"))


@pytest.fixture
def small_disk(tmp_path):
    """A file system of one megabyte, where this process may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no right to mount a file system here")
    yield place
    subprocess.run(["umount", str(place)], check=True, capture_output=True)


def test_a_full_disk_is_one_sentence(network, pictures, small_disk, monkeypatch):
    (small_disk / "ballast").write_bytes(b"x" * (1 << 20))
    with pytest.raises(CacheError, match="0 B free: free some space"):
        extract(network, pictures, LAYERS, small_disk / "cache")
    monkeypatch.setattr("conceptlab.activations.target.free_bytes", lambda _: 1 << 40)
    with pytest.raises(CacheError, match="No space left on device"):
        extract(network, pictures, LAYERS, small_disk / "cache")
    assert not [p for p in small_disk.rglob("*") if p.suffix in (".h5", ".tmp")]
    (small_disk / "ballast").unlink()
    assert extract(network, pictures, LAYERS, small_disk / "cache")["conv2"].shape[0] == 13


def test_a_read_only_cache_is_read_and_not_written(network, pictures, small_disk):
    found = extract(network, pictures, ["relu1"], small_disk / "cache")["relu1"]
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    again = extract(network, pictures, ["relu1"], small_disk / "cache")["relu1"]
    np.testing.assert_array_equal(again.array, found.array)
    with pytest.raises(CacheError, match="Read-only file system"):
        extract(network, pictures, ["conv2"], small_disk / "cache")
    with pytest.raises(CacheError, match="Read-only file system"):
        extract(network, pictures, ["conv2"], small_disk / "another")


def test_a_cache_path_that_is_a_file_is_one_sentence(network, pictures, tmp_path):
    (tmp_path / "cache").write_text("not a folder")
    with pytest.raises(CacheError, match=r"cannot read .*relu1\.h5 \(Not a directory\)"):
        extract(network, pictures, LAYERS, tmp_path / "cache")


def test_an_error_while_decoding_stops_the_threads(network, pictures, tmp_path, monkeypatch):
    import threading

    before = threading.active_count()
    monkeypatch.setattr(network, "decode", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        extract(network, pictures, LAYERS, tmp_path)
    assert threading.active_count() == before
