"""What float16 cannot hold is stored as float32, whatever the scale, the unit and the moment."""

import numpy as np
import pytest
import torch
from test_extract import Calls, break_at

from conceptlab.activations.blockfile import BlockFile
from conceptlab.activations.extract import extract
from conceptlab.activations.precision import LEAST, Peaks
from conceptlab.probes.units.dissection import dissect


def scaled(network, factor, units=slice(None)):
    """Some units of conv2 scaled, and so those of relu2."""
    with torch.no_grad():
        for parameter in (network.module.conv2.weight, network.module.conv2.bias):
            parameter[units] *= factor
    network.layers()
    return network


def both(network, pictures, tmp_path, layer="relu2"):
    found = [
        extract(network, pictures, [layer], tmp_path, dtype=dtype, batch_size=4)[layer]
        for dtype in ("float16", "float32")
    ]
    tables = [dissect(acts, pictures, 0.05, label_size=8).best() for acts in found]
    return found, tables


@pytest.mark.parametrize("factor", [1e-4, 1e-5, 1e-6, 1e-8, 1e-12, 1e-30])
def test_a_small_layer_is_float32s_to_the_bit(network, pictures, tmp_path, caplog, factor):
    (half, single), tables = both(scaled(network, factor), pictures, tmp_path)
    assert half.dtype == np.float32
    assert "storing float32" in caplog.text
    np.testing.assert_array_equal(half.array, single.array)
    np.testing.assert_array_equal(half.thresholds(0.05), single.thresholds(0.05))
    assert tables[0].equals(tables[1])


@pytest.mark.parametrize("factor", [1e-4, 1e-6, 1e-12])
@pytest.mark.parametrize("unit", [0, 5])
def test_one_small_unit_is_enough(network, pictures, tmp_path, caplog, factor, unit):
    (half, single), tables = both(scaled(network, factor, unit), pictures, tmp_path, "conv2")
    assert half.dtype == np.float32
    assert f"has 1 of 6 units below {LEAST:.2g}" in caplog.text
    assert f"(unit {unit}: at most" in caplog.text
    np.testing.assert_array_equal(half.array, single.array)
    assert tables[0].equals(tables[1])


@pytest.mark.parametrize("factor", [1, 0.02])
def test_what_stays_float16_has_all_its_digits(network, pictures, tmp_path, factor):
    (half, single), _ = both(scaled(network, factor), pictures, tmp_path)
    assert half.dtype == np.float16
    truth = single.array
    unit = np.abs(truth).max(axis=(0, 2, 3))
    assert (unit > 64 * 2.0**-14).all()
    near = truth >= unit[:, None, None] / 64
    error = np.abs(half.array.astype(np.float64) - truth)
    assert (error[near] <= 2.0**-11 * truth[near]).all()
    np.testing.assert_allclose(half.thresholds(0.05), single.thresholds(0.05), rtol=2.0**-11)


def test_dead_units_lose_nothing(network, pictures, tmp_path):
    network = scaled(network, 0.0, [1, 3])
    found = extract(network, pictures, ["relu2"], tmp_path, batch_size=4)["relu2"]
    assert found.dtype == np.float16
    assert not found.array[:, [1, 3]].any()
    dead = scaled(network, 0.0)
    assert extract(dead, pictures, ["relu2"], tmp_path / "b")["relu2"].dtype == np.float16


@pytest.mark.parametrize("image", [1, 6, 12])
def test_killed_at_any_block_it_comes_to_the_same(network, pictures, tmp_path, image):
    network = scaled(network, 1e-5, 2)
    whole = extract(network, pictures, ["conv2"], tmp_path / "whole", batch_size=4)["conv2"]
    stop = break_at(network, image, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        extract(network, pictures, ["conv2"], tmp_path / "parts", batch_size=4)
    stop.remove()
    parts = extract(network, pictures, ["conv2"], tmp_path / "parts", batch_size=4)["conv2"]
    assert whole.dtype == np.float32
    assert whole.path.read_bytes() == parts.path.read_bytes()


def test_no_kill_leaves_a_file_complete_that_loses_units(network, pictures, tmp_path, monkeypatch):
    network = scaled(network, 1e-5, 2)
    with monkeypatch.context() as patch:
        patch.setattr("conceptlab.activations.extract.Job.widen", lambda _: stop())
        with pytest.raises(KeyboardInterrupt):
            extract(network, pictures, ["conv2"], tmp_path, batch_size=4)
    path = next(tmp_path.rglob("conv2.h5"))
    with BlockFile(path) as file:
        assert file.done().tolist() == [True, True, True, False]
    calls = Calls(network)
    assert extract(network, pictures, ["conv2"], tmp_path)["conv2"].dtype == np.float32
    assert calls.images["conv2"] == 1 + 13  # the last block again, then all


def stop():
    raise KeyboardInterrupt


@pytest.mark.parametrize("batch", [1, 3, 13])
def test_the_type_does_not_hang_on_the_batch(network, pictures, tmp_path, batch):
    network = scaled(network, 1e-5, 2)
    extracted = extract(network, pictures, ["relu1", "conv2"], tmp_path, batch_size=batch)
    assert extracted["conv2"].dtype == np.float32
    assert extracted["relu1"].dtype == np.float16


def test_peaks_are_the_largest_magnitudes_of_what_is_stored():
    rng = np.random.default_rng(0)
    values = (rng.normal(size=(9, 5, 3, 4)) * 10.0 ** rng.integers(-9, 3, (5, 1, 1))).astype("f4")
    stored, pooled = values.astype(np.float16), values.mean(axis=(2, 3))
    peaks = Peaks(5)
    for start in (0, 4, 8):
        peaks.add(stored[start : start + 4], pooled[start : start + 4])
    largest = np.abs(stored).max(axis=(0, 2, 3))
    np.testing.assert_array_equal(peaks.largest, largest)
    np.testing.assert_array_equal(peaks.lost(), np.flatnonzero(largest < 2.0**-8))
