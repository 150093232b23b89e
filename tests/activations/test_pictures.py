"""Pictures from anywhere become the same batches, in their order."""

import numpy as np
import pytest
import torch
from PIL import Image

from conceptlab.activations.pictures import DatasetPictures, batches, folder_pictures, opened
from conceptlab.errors import DataError, InputError
from tests.conftest import ToyData, catalogue_of
from tests.models.nets import Small, pictures, probed

COUNT = 7


@pytest.fixture
def model():
    return probed(Small())


@pytest.fixture
def shown():
    """Seven pictures of different sizes, each of its own colours."""
    rng = np.random.default_rng(0)
    return [
        Image.fromarray(rng.integers(0, 255, (9 + i, 12, 3), dtype=np.uint8)) for i in range(COUNT)
    ]


@pytest.fixture
def files(shown, tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(COUNT)]
    for picture, path in zip(shown, paths, strict=True):
        picture.save(path)
    return paths


def joined(model, given, size=32):
    return torch.cat(list(batches(model, given, size)))


@pytest.mark.parametrize("size", [1, 3, 7, 50])
def test_batches_are_the_prepared_pictures_in_order(model, shown, size):
    found = list(batches(model, shown, size))
    assert [len(b) for b in found] == [min(size, COUNT - s) for s in range(0, COUNT, size)]
    assert torch.equal(torch.cat(found), model.prepare(shown))
    assert len({tuple(p.flatten().tolist()) for p in torch.cat(found)}) == COUNT


def test_files_are_the_pictures_that_they_hold(model, shown, files):
    expected = model.prepare(shown)
    assert torch.equal(joined(model, files), expected)
    assert torch.equal(joined(model, [str(f) for f in files], 2), expected)
    assert torch.equal(joined(model, [files[1], shown[0]]), expected[[1, 0]])


def test_rows_of_a_data_set_are_read_when_asked_for(model):
    data = ToyData(np.zeros((9, 1, 4, 4)), ["train"] * 9, catalogue_of(("a", "object")))
    read = []
    data.image = lambda i: (read.append(i), ToyData.image(data, i))[1]
    rows = DatasetPictures(data, np.array([8, 2, 5]))
    assert len(rows) == 3
    assert read == []
    expected = model.prepare([ToyData.image(data, i) for i in (8, 2, 5)])
    assert torch.equal(joined(model, rows, 2), expected)
    assert sorted(read) == [2, 5, 8]
    assert torch.equal(joined(model, rows[1:]), expected[1:])
    assert len(rows[1:]) == 2


@pytest.mark.parametrize("size", [2, 100])
def test_a_tensor_is_taken_as_it_is(model, size):
    given = pictures(5)
    assert torch.equal(joined(model, given, size), given)
    assert torch.equal(joined(model, given.double(), size), given.double())


def test_no_pictures_are_no_batches(model):
    assert list(batches(model, [])) == []
    assert list(batches(model, pictures(0))) == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (torch.zeros(2, 3, 8), r"\(n, 3, S, S\), of floats and preprocessed; got \(2, 3, 8\)"),
        (torch.zeros(2, 1, 8, 8), r"got \(2, 1, 8, 8\) of torch.float32"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), r"of torch.uint8"),
        ([3], "pictures are PIL images or paths; got a int"),
        ([np.zeros((8, 8, 3))], "got a ndarray"),
    ],
)
def test_what_is_no_picture(model, given, said):
    with pytest.raises(InputError, match=said):
        joined(model, given)


def test_a_batch_holds_a_picture(model, shown):
    with pytest.raises(InputError, match="at least one picture; got 0"):
        joined(model, shown, 0)


def test_damaged_and_missing_files(model, files, tmp_path):
    files[4].write_bytes(files[4].read_bytes()[:60])
    with pytest.raises(DataError, match=r"4\.png"):
        joined(model, files, 2)
    with pytest.raises(DataError, match=r"none\.png"):
        opened(tmp_path / "none.png")
    found = batches(model, files, 2)
    assert len(next(found)) == 2  # what comes before the damage is there


def test_a_folder_is_its_pictures_by_name(files, tmp_path):
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "b.JPG").write_bytes(b"")
    assert folder_pictures(tmp_path) == [*files, tmp_path / "b.JPG"]
    with pytest.raises(InputError, match="there is no folder"):
        folder_pictures(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no pictures"):
        folder_pictures(tmp_path / "empty")
