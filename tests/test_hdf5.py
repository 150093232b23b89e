import os
import threading

import h5py
import numpy as np
import pytest

from conceptlab.hdf5 import FormatError, array, attribute, node, parsed, reading, sealed, text
from conceptlab.seal import DamagedError, UnsealedError, check_seal


@pytest.fixture
def hostile(tmp_path):
    """A file of everything that a stranger may put in the place of an array."""
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["w"] = np.full((3, 4), 7.0)
    (tmp_path / "secret").write_bytes(bytes(range(96)))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["plain"] = np.arange(12.0).reshape(3, 4)
        file["whole"] = np.arange(12).reshape(3, 4)
        file["external link"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/w")
        file["soft link"] = h5py.SoftLink("/plain")
        file["loop"] = h5py.SoftLink("/loop")
        file["dangling"] = h5py.SoftLink("/nowhere")
        file.create_dataset(
            "external storage", (3, 4), "f8", external=[(str(tmp_path / "secret"), 0, 96)]
        )
        layout = h5py.VirtualLayout((3, 4), "f8")
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "w", (3, 4))
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("never written", (30_000, 40_000), "f8")
        file.create_dataset("chunks never written", (30_000, 40_000), "f8", chunks=(100, 100))
        file.create_dataset("bomb", data=np.zeros((3000, 400)), compression="gzip")
        file.create_dataset("texts", data=["a", "b"], dtype=h5py.string_dtype())
        file.create_dataset("reference", data=file["plain"].ref, dtype=h5py.ref_dtype)
        file.create_dataset("pairs", (3,), dtype=np.dtype([("a", "f8"), ("b", "f8")]))
        file.create_dataset("nothing", dtype="f8", shape=None)
        file.create_group("group")["inner"] = np.ones(2)
        file["by group"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/")
        file["said"] = "text"
        file.attrs["list"], file.attrs["number"], file.attrs["text"] = [1, 2], 3, "ä"
        file.attrs["bytes"] = np.bytes_(b"\xff")
    return tmp_path / "a.h5"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("external link", "is a link"),
        ("soft link", "is a link"),
        ("loop", "is a link"),
        ("dangling", "is a link"),
        ("by group/w", "'by group/w' is a link"),
        ("external storage", "from another file"),
        ("virtual", "from another file"),
        ("never written", "declares more than the file holds"),
        ("chunks never written", "declares more than the file holds"),
        ("bomb", "is compressed"),
        ("texts", "of type object"),
        ("reference", "of type object"),
        ("pairs", "of type"),
        ("nothing", "is no array"),
        ("group", "is no array"),
        ("whole", "of type int64"),
        ("absent", "has no 'absent'"),
        ("plain/deeper", "has no 'plain/deeper'"),
    ],
)
def test_only_arrays_of_the_file_itself_are_read(hostile, name, said):
    with reading(hostile) as file, pytest.raises(FormatError, match=said):
        array(file, name, kinds="f")


def test_an_array_is_read_as_wanted_or_not_at_all(hostile):
    with reading(hostile) as file:
        found = array(file, "plain", kinds="f", shape=(None, 4))
        np.testing.assert_array_equal(found, np.arange(12.0).reshape(3, 4))
        np.testing.assert_array_equal(array(file, "group/inner", kinds="f"), [1, 1])
        assert text(file, "said") == "text"
        assert (attribute(file, "number"), attribute(file, "text")) == (3, "ä")
        for shape in ((3,), (4, 3), (3, 4, 1), ()):
            with pytest.raises(FormatError, match="has the shape"):
                array(file, "plain", kinds="f", shape=shape)
        for name in ("list", "bytes", "absent"):
            with pytest.raises(FormatError, match=name):
                attribute(file, name)
        for name in ("plain", "external link", "texts"):
            with pytest.raises(FormatError, match=name):
                text(file, name)
        assert isinstance(node(file, "group"), h5py.Group)


@pytest.mark.parametrize(
    ("content", "said"),
    [("[" * 30_000 + "]" * 30_000, "nested too deep"), ("9" * 5000, "no JSON"), ("{", "no JSON"),
     (3, "no JSON")],
)  # fmt: skip
def test_a_text_that_is_no_sane_json_is_one_sentence(content, said):
    with pytest.raises(FormatError, match=said):
        parsed(content, "spec")


def test_what_is_no_regular_file_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "device").symlink_to("/dev/zero")
    found = []

    def attempt():
        for name in ("pipe", "loop", "device", "."):
            for function in (check_seal, lambda path: reading(path).__enter__()):
                try:
                    function(tmp_path / name)
                except (OSError, FormatError) as error:
                    found.append(str(error))

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(10)
    assert len(found) == 8
    assert sum("no regular file" in said for said in found) == 4


def test_every_flipped_bit_breaks_the_seal(tmp_path):
    path = tmp_path / "a.h5"
    with sealed(path) as file:
        file["a"] = np.arange(3.0)
    content = path.read_bytes()
    check_seal(path)
    assert len(content) < 10_000
    used = content[:4096].rstrip(b"\n") + b"\n"
    for place in [*range(len(used)), *range(4096, len(content), 7)]:
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(UnsealedError if place < 16 else DamagedError):
            check_seal(path)
    for size in (0, 10, 4096, len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(DamagedError):
            check_seal(path)


def test_a_full_disk_is_told_as_the_system_tells_it():
    from conceptlab.hdf5 import speaking

    theirs = "[Errno 28] Can't write (file descriptor = 7, errno = 28, error message = 'No space')"
    with pytest.raises(OSError, match="No space left on device") as caught, speaking("v.h5"):
        raise RuntimeError(theirs)
    assert (caught.value.errno, caught.value.filename) == (28, "v.h5")
