import os

import pytest

from conceptlab.files import atomic_path, set_aside, write_text


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
