import pytest
from test_extract import Calls, break_at

from conceptlab.activations.estimate import estimate
from conceptlab.activations.extract import extract
from conceptlab.activations.target import readable


def test_it_says_bytes_and_time_and_writes_nothing(network, pictures, tmp_path):
    found = estimate(network, pictures, ["relu1", "conv2"], tmp_path / "cache", batch_size=4)
    assert found.table["layer"].tolist() == ["relu1", "conv2"]
    sketch = 8 * 2 * 4 * 4 * 4  # eight pictures, two moments, 4 x 4 cells of float32 for a unit
    wanted = [13 * 5 * (256 * 2 + 4) + 5 * sketch, 13 * 6 * (49 * 2 + 4) + 6 * sketch]
    assert found.table["bytes"].tolist() == wanted
    assert found.bytes == found.missing == found.needed == found.table["bytes"].sum()
    assert found.table["missing_images"].tolist() == [13, 13]
    assert found.seconds > 0
    assert found.fits
    assert "still to compute in about" in str(found)
    assert "<table" in found._repr_html_()
    assert not list(tmp_path.iterdir())


def test_the_bytes_are_those_of_the_file(network, pictures, tmp_path):
    for dtype in ("float16", "float32"):
        expected = estimate(network, pictures, ["conv1"], tmp_path, dtype=dtype).bytes
        path = extract(network, pictures, ["conv1"], tmp_path, dtype=dtype)["conv1"].path
        assert expected <= path.stat().st_size < expected + 16_000


def test_only_what_is_missing_is_counted(network, pictures, tmp_path):
    network.layers()
    hook = break_at(network, 8, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        extract(network, pictures, ["conv2"], tmp_path, batch_size=4)
    hook.remove()
    found = estimate(network, pictures, ["relu1", "conv2"], tmp_path, batch_size=4)
    assert found.table["missing_images"].tolist() == [13, 5]
    assert found.needed == found.table["bytes"][0]  # the other's space is reserved
    assert found.missing < found.bytes
    extract(network, pictures, ["relu1", "conv2"], tmp_path, batch_size=4)
    calls = Calls(network)
    found = estimate(network, pictures, ["relu1", "conv2"], tmp_path, batch_size=4)
    assert (found.missing, found.needed, found.seconds) == (0, 0, 0.0)
    assert calls.images["conv1"] == 0


def test_a_damaged_file_counts_as_missing(network, pictures, tmp_path):
    path = extract(network, pictures, ["conv2"], tmp_path)["conv2"].path
    path.write_text("foreign")
    found = estimate(network, pictures, ["conv2"], tmp_path)
    assert found.missing == found.needed == found.bytes
    assert path.read_text() == "foreign"


@pytest.mark.parametrize("size", [0, 1, 999, 1000, 123456, 10**9, 10**15])
def test_sizes_for_people_are_within_half_a_percent(size):
    value, unit = readable(size).split()
    assert float(value) * 1000 ** ["B", "KB", "MB", "GB", "TB"].index(unit) == pytest.approx(
        size, rel=5e-3
    )
