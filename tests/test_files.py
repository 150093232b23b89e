import multiprocessing
import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from conceptlab.data import load_data
from conceptlab.errors import InputError
from conceptlab.files import atomic_path, is_file, is_folder, set_aside, sweep, write_text
from conceptlab.models import load_model


def test_a_failure_leaves_the_old_file_and_no_temporary_one(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fail():
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_permissions_follow_the_umask(tmp_path):
    write_text(tmp_path / "a", "x")
    umask = os.umask(0)
    os.umask(umask)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o666 & ~umask


def test_set_aside_takes_the_next_free_number(tmp_path):
    for number in (1, 2):
        (tmp_path / "a.h5").write_text(str(number))
        assert set_aside(tmp_path / "a.h5").name == f"a.h5.damaged-{number}"
    assert (tmp_path / "a.h5.damaged-1").read_text() == "1"


def write_forever(path, ready):
    with atomic_path(path) as temporary:
        temporary.write_text("half")
        ready.set()
        time.sleep(60)


def test_what_a_killed_process_left_goes_and_what_is_being_written_stays(tmp_path):
    context = multiprocessing.get_context("spawn")
    processes = []
    for name in ("a", "b"):
        ready = context.Event()
        processes.append(
            context.Process(target=write_forever, args=(tmp_path / "tables" / name, ready))
        )
        processes[-1].start()
        assert ready.wait(30)
    assert len(list(tmp_path.rglob("*.tmp"))) == 2
    processes[0].kill()
    processes[0].join()
    sweep(tmp_path)
    assert [p.name[:3] for p in tmp_path.rglob("*.tmp")] == [".b."]
    processes[1].kill()
    processes[1].join()
    write_text(tmp_path / "tables" / "c", "x")
    assert [p.name for p in (tmp_path / "tables").iterdir()] == ["c"]


def test_threads_write_one_path_at_once(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: (write_text(tmp_path / "a", str(i)), sweep(tmp_path)), range(50)))
    assert os.listdir(tmp_path) == ["a"]


def test_names_that_no_file_can_have_are_missing_and_raise_nothing(tmp_path):
    for name in ("x" * 5000, "a\0b", "~nobody-here/x"):
        assert not is_file(tmp_path / name)
        assert not is_folder(tmp_path / name)
        with pytest.raises(InputError):
            load_data(f"folder:{name}")
        with pytest.raises(InputError):
            load_model(f"file:{name}:make")
        with pytest.raises(InputError):
            load_model("builtin:scenenet", weights=name)
    with pytest.raises(InputError, match=r"caf\\udce9.* no UTF-8; rename"):
        load_model("file:caf\udce9.py:make")


@pytest.mark.parametrize("size", ["10**5000", "10**400", "10**30", "float('inf')"])
def test_a_size_beyond_all_measure_is_one_sentence(tmp_path, size):
    text = f"from torch import nn\ndef make():\n    m = nn.Conv2d(3, 4, 3)\n    m.size = {size}\n"
    (tmp_path / "net.py").write_text(text + "    return m\n")
    with pytest.raises(InputError, match="sets size"):
        load_model(f"file:{tmp_path / 'net.py'}:make")
