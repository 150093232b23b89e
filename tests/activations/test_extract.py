import copy
import json
import logging
from importlib.metadata import version

import h5py
import numpy as np
import pytest
import torch
from conftest import SKETCHING, make_network
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conceptlab.activations.blockfile import BlockFile
from conceptlab.activations.extract import extract
from conceptlab.data import load_data
from conceptlab.errors import ActivationError, InputError, LayerError, ModelError
from conceptlab.keys import canonical, digest

ALL = ["conv1", "relu1", "conv2", "relu2"]


class Calls:
    """Counts what a module's parts do."""

    def __init__(self, model):
        self.images = {}
        for name, part in model.module.named_children():
            self.images[name] = 0
            part.register_forward_pre_hook(lambda _, args, name=name: self.add(name, args[0]))

    def add(self, name, batch):
        self.images[name] += 0 if SKETCHING[0] else len(batch)


def outputs(model, data, layer, batch_size):
    """What a layer gives, by running its predecessors one by one, batch after batch."""
    parts = dict(model.module.named_children())
    names = list(parts)[: list(parts).index(layer) + 1]
    found = []
    with torch.inference_mode():
        for start in range(0, len(data), batch_size):
            images = range(start, min(start + batch_size, len(data)))
            x = model.prepare([data.image(i) for i in images])
            for name in names:
                x = parts[name](x.clone())
            found.append(x.contiguous().numpy())
    return np.concatenate(found)


def break_at(model, image, error):
    """Raise when the batch with the n-th image comes."""
    seen = [0]

    def hook(_, args):
        seen[0] += 0 if SKETCHING[0] else len(args[0])
        if seen[0] > image:
            raise error

    return model.module.conv1.register_forward_pre_hook(hook)


def poison(model, layer, image, value):
    """Put a value into the output of a layer for the n-th image of each run."""
    seen = [0]

    def hook(_, __, output):
        if SKETCHING[0]:
            return
        place, seen[0] = image - seen[0], seen[0] + len(output)
        if 0 <= place < len(output):
            output[place, 0, 0, 0] = value

    return getattr(model.module, layer).register_forward_hook(hook)


@pytest.mark.parametrize("batch_size", [1, 4, 13, 32])
def test_rows_are_the_layers_outputs_rounded_and_their_means(
    network, pictures, tmp_path, batch_size
):
    found = extract(network, pictures, ALL, tmp_path, batch_size=batch_size)
    assert list(found) == ALL
    for layer, activations in found.items():
        wanted = outputs(network, pictures, layer, batch_size)
        assert activations.shape == wanted.shape
        np.testing.assert_array_equal(activations.array, wanted.astype(np.float16))
        means = wanted.astype(np.float64).mean((2, 3))
        np.testing.assert_allclose(activations.pooled, means, rtol=1e-5, atol=1e-6)


def test_a_layer_before_an_in_place_relu_keeps_its_negative_values(network, pictures, tmp_path):
    found = extract(network, pictures, ["conv1"], tmp_path)["conv1"]
    assert found.array.min() < 0


def test_float32_is_exact_and_a_file_of_its_own(network, pictures, tmp_path):
    wanted = outputs(network, pictures, "conv1", 4)
    single = extract(network, pictures, ["conv1"], tmp_path, dtype="float32", batch_size=4)
    half = extract(network, pictures, ["conv1"], tmp_path, batch_size=4)
    np.testing.assert_array_equal(single["conv1"].array, wanted)
    assert single["conv1"].path.name == "conv1.float32.h5"
    assert half["conv1"].path.name == "conv1.h5"
    assert half["conv1"].dtype == np.float16


@settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(first=st.integers(1, 14), second=st.integers(1, 14))
def test_another_batch_size_changes_nothing_beyond_rounding(
    pictures, tmp_path_factory, first, second
):
    one, two = (
        extract(
            make_network(),
            pictures,
            ["relu2"],
            tmp_path_factory.mktemp("cache"),
            dtype="float32",
            batch_size=size,
        )["relu2"]
        for size in (first, second)
    )
    np.testing.assert_allclose(one.array, two.array, rtol=1e-5, atol=1e-5)


def test_all_layers_share_one_pass_that_stops_at_the_deepest(network, pictures, tmp_path):
    network.layers()
    calls = Calls(network)
    extract(network, pictures, ["relu1", "conv2"], tmp_path, batch_size=4)
    assert calls.images == {
        **dict.fromkeys(("conv1", "relu1", "conv2"), 13),
        **dict.fromkeys(("relu2", "pool", "flat", "fc"), 0),
    }


def test_only_what_is_missing_is_computed(network, pictures, tmp_path):
    network.layers()  # measured beforehand: that takes pictures of its own
    first = extract(network, pictures, ["relu2"], tmp_path, batch_size=4)
    before = first["relu2"].path.read_bytes()
    calls = Calls(network)
    extract(network, pictures, ["relu2"], tmp_path, batch_size=8)
    assert calls.images["conv1"] == 0
    extract(network, pictures, ["relu1", "relu2"], tmp_path, batch_size=4)
    assert (calls.images["conv1"], calls.images["conv2"]) == (13, 0)
    assert first["relu2"].path.read_bytes() == before


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("the machine is on fire")])
@pytest.mark.parametrize("image", [0, 3, 4, 11])
def test_an_interrupted_run_resumes_to_the_same_bits(network, pictures, tmp_path, error, image):
    whole = extract(network, pictures, ALL, tmp_path / "whole", batch_size=4)
    hook = break_at(network, image, error)
    stopped = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else ModelError
    with pytest.raises(stopped):
        extract(network, pictures, ALL, tmp_path / "parts", batch_size=4)
    hook.remove()
    calls = Calls(network)
    parts = extract(network, pictures, ALL, tmp_path / "parts", batch_size=4)
    assert calls.images["conv1"] == 13 - image // 4 * 4
    for layer in ALL:
        assert whole[layer].path.read_bytes() == parts[layer].path.read_bytes()


def test_a_resumed_file_keeps_its_blocks_and_runs_them_in_smaller_batches(
    network, pictures, tmp_path
):
    network.layers()
    hook = break_at(network, 5, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        extract(network, pictures, ["conv2"], tmp_path, batch_size=5)
    hook.remove()
    sizes = []
    network.module.conv1.register_forward_pre_hook(
        lambda _, args: None if SKETCHING[0] else sizes.append(len(args[0]))
    )
    extract(network, pictures, ["relu1"], tmp_path, batch_size=3)
    sizes.clear()
    found = extract(network, pictures, ["conv2"], tmp_path, batch_size=2)["conv2"]
    assert sizes == [2, 2, 1, 2, 1]
    with BlockFile(found.path) as file:
        assert (file.block, file.damage()) == (5, {})
    wanted = outputs(network, pictures, "conv2", 5)
    np.testing.assert_allclose(found.array, wanted, rtol=1e-3, atol=1e-3)


def test_layers_with_different_blocks_and_gaps_go_on_together(network, pictures, tmp_path):
    network.layers()
    for layer, size, stop in (("relu1", 4, 8), ("conv2", 4, 4), ("relu2", 3, 6)):
        hook = break_at(network, stop, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            extract(network, pictures, [layer], tmp_path, batch_size=size)
        hook.remove()
    calls = Calls(network)
    found = extract(network, pictures, ["relu1", "conv2", "relu2"], tmp_path, batch_size=4)
    assert calls.images["conv1"] == (13 - 4) + (13 - 6)
    assert calls.images["conv2"] == (13 - 4) + (13 - 6)
    for layer, activations in found.items():
        wanted = outputs(network, pictures, layer, 4).astype(np.float16)
        np.testing.assert_allclose(activations.array, wanted, rtol=2e-3, atol=2e-3)


def test_the_file_says_what_it_is(network, pictures, tmp_path):
    found = extract(network, pictures, ["relu2"], tmp_path, batch_size=4)["relu2"]
    with h5py.File(found.path) as file:
        spec = json.loads(file.attrs["spec"])
        assert file.attrs["spec"] == canonical(spec)
        assert file.attrs["spec_sha256"] == digest(spec)
        assert file.attrs["schema"] == spec["schema"] == 2
        assert spec["model"]["fingerprint"] == network.fingerprint
        assert spec["model"]["preprocessing"] == network.preprocessing.spec()
        assert spec["data"]["fingerprint"] == pictures.fingerprint
        assert (spec["layer"], spec["dtype"]) == ("relu2", "float16")
        assert file.attrs["stored_dtype"] == "float16"
        assert (file.attrs["batch_size"], file.attrs["device"]) == (4, "cpu")
        assert json.loads(file.attrs["versions"])["torch"] == version("torch")
        assert file["activations"].shape == (13, 6, 7, 7)
        assert file["image"].asstr()[()].tolist() == pictures.names.tolist()
        assert (file["done"][()] == 1).all()
    relative = found.path.relative_to(tmp_path)
    assert relative.parts == (
        f"tiny-{network.fingerprint[:8]}",
        f"{pictures.name}-{pictures.fingerprint[:8]}",
        "relu2.h5",
    )
    assert [p.name for p in found.path.parent.iterdir()] == ["relu2.h5"]


def test_the_cache_folder_comes_from_the_environment(network, pictures, tmp_path, monkeypatch):
    monkeypatch.setenv("CONCEPTLAB_CACHE", str(tmp_path / "elsewhere"))
    found = extract(network, pictures, ["relu2"])["relu2"]
    assert found.cache_root == tmp_path / "elsewhere"
    monkeypatch.delenv("CONCEPTLAB_CACHE")
    monkeypatch.chdir(tmp_path)
    assert str(extract(network, pictures, ["relu2"])["relu2"].cache_root) == "cache"


def test_globs_and_single_names(network, pictures, tmp_path):
    assert list(extract(network, pictures, ["relu*", "relu1"], tmp_path)) == ["relu1", "relu2"]
    assert list(extract(network, pictures, "conv2", tmp_path)) == ["conv2"]


def test_wrong_arguments_are_one_sentence(network, pictures, tmp_path):
    with pytest.raises(LayerError, match=r"relu3.*nearest: relu"):
        extract(network, pictures, ["relu3"], tmp_path)
    with pytest.raises(InputError, match="dtype is one of float16, float32"):
        extract(network, pictures, ["relu1"], tmp_path, dtype="bfloat16")
    with pytest.raises(InputError, match="at least 1; got 0"):
        extract(network, pictures, ["relu1"], tmp_path, batch_size=0)
    with pytest.raises(InputError, match="device"):
        extract(network, pictures, ["relu1"], tmp_path, device="nowhere")
    assert not list(tmp_path.rglob("*.h5"))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_nan_and_infinity_name_the_layer_and_the_image(network, pictures, tmp_path, value):
    network.layers()
    hook = poison(network, "conv2", 9, value)
    with pytest.raises(ActivationError, match=r"layer conv2 .*for val/02"):
        extract(network, pictures, ["relu1", "conv2"], tmp_path, batch_size=4)
    hook.remove()
    calls = Calls(network)
    extract(network, pictures, ["relu1", "conv2"], tmp_path, batch_size=4)
    assert calls.images["conv1"] == 5  # two blocks were kept


@pytest.mark.parametrize("sign", [1, -1])
def test_beyond_float16_a_layer_is_stored_as_float32(network, pictures, tmp_path, caplog, sign):
    network.module.conv2.weight.data *= 1e5
    network.module.conv2.bias.data *= sign * 1e5
    network.layers()
    found = extract(network, pictures, ["relu1", "conv2"], tmp_path, batch_size=4)
    assert "layer conv2 reaches" in caplog.text
    assert "storing float32" in caplog.text
    np.testing.assert_array_equal(found["conv2"].array, outputs(network, pictures, "conv2", 4))
    assert found["conv2"].dtype == np.float32
    assert found["conv2"].provenance["dtype"] == "float16"
    assert found["conv2"].provenance["recorded"]["stored_dtype"] == "float32"
    assert found["relu1"].dtype == np.float16
    calls = Calls(network)
    again = extract(network, pictures, ["conv2"], tmp_path, batch_size=4)
    assert (again["conv2"].dtype, calls.images["conv1"]) == (np.float32, 0)


@pytest.mark.parametrize("image", [1, 6, 12])
def test_an_overflow_after_a_resume_gives_the_same_file(network, pictures, tmp_path, image):
    network.layers()
    hook = poison(network, "conv2", 12, 70000.0)
    whole = extract(network, pictures, ["conv2"], tmp_path / "whole", batch_size=4)["conv2"]
    hook.remove()
    stop = break_at(network, image, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        extract(network, pictures, ["conv2"], tmp_path / "parts", batch_size=4)
    stop.remove()
    left = 13 - image // 4 * 4
    hook = poison(network, "conv2", left - 1, 70000.0)
    parts = extract(network, pictures, ["conv2"], tmp_path / "parts", batch_size=4)["conv2"]
    hook.remove()
    assert whole.dtype == parts.dtype == np.float32


def test_the_largest_float16_is_no_overflow(network, pictures, tmp_path, caplog):
    network.layers()
    hook = poison(network, "conv2", 5, 65504.0)
    found = extract(network, pictures, ["conv2"], tmp_path)["conv2"]
    hook.remove()
    assert found.dtype == np.float16
    assert found.array.max() == 65504
    assert not caplog.records


def test_a_damaged_picture_is_named_and_earlier_blocks_are_kept(network, tmp_path):
    from conftest import write_pictures

    root = write_pictures(tmp_path / "data")
    data = load_data(f"folder:{root}")
    broken = root / "images" / "val" / "02.png"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:100])
    with pytest.raises(InputError, match=r"02\.png"):
        extract(network, data, ["relu2"], tmp_path / "cache", batch_size=4)
    (path,) = (tmp_path / "cache").rglob("relu2.h5")
    with BlockFile(path) as file:
        assert file.done().tolist()[:2] == [True, True]
        assert not file.complete
    broken.write_bytes(whole)  # other pictures by their bytes, so another file
    found = extract(network, data, ["relu2"], tmp_path / "cache", batch_size=4)["relu2"]
    assert found.path.parent != path.parent


def test_other_weights_preprocessing_or_pictures_are_other_files(network, pictures, tmp_path):
    from conftest import write_pictures

    other = load_data(f"folder:{write_pictures(tmp_path / 'data', seed=1)}")
    paths = {
        extract(model, data, ["relu2"], tmp_path)["relu2"].path
        for model, data in (
            (network, pictures),
            (make_network(seed=1), pictures),
            (make_network(size=15), pictures),
            (network, other),
        )
    }
    assert len(paths) == 4


def test_equal_first_digits_of_fingerprints_are_not_enough(network, pictures, tmp_path, caplog):
    first = extract(network, pictures, ["relu2"], tmp_path)["relu2"]
    other, alike = make_network(seed=1), network.fingerprint[:8] + "0" * 56
    other.__class__ = type("Alike", (type(other),), {"fingerprint": alike})
    second = extract(other, pictures, ["relu2"], tmp_path)["relu2"]
    assert second.path == first.path
    assert "model.fingerprint: " in caplog.text
    assert "set aside as relu2.h5.damaged-1" in caplog.text
    np.testing.assert_array_equal(
        second.array, outputs(other, pictures, "relu2", 32).astype(np.float16)
    )


def test_a_file_with_other_image_names_is_not_used(network, pictures, tmp_path, caplog):
    extract(network, pictures, ["relu2"], tmp_path)
    other = copy.copy(pictures)
    other.__class__ = type("Alike", (type(other),), {"fingerprint": pictures.fingerprint})
    other.names = pictures.names[::-1]
    found = extract(network, other, ["relu2"], tmp_path)["relu2"]
    assert "lists other images; set aside" in caplog.text
    assert found.names.tolist() == other.names.tolist()


def test_progress_shows_images_and_time(network, pictures, tmp_path, capsys):
    extract(network, pictures, ["relu2"], tmp_path, progress=True)
    assert "13/13" in (shown := capsys.readouterr().err)
    assert "image" in shown
    extract(network, pictures, ["relu1"], tmp_path)
    assert capsys.readouterr().err == ""


def test_the_model_is_given_back_as_it_was(network, pictures, tmp_path):
    network.module.conv2.train()
    network.module.conv1.weight.requires_grad_(False)
    hook = break_at(network, 5, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        extract(network, pictures, ["relu2"], tmp_path, batch_size=4, device="cpu")
    hook.remove()
    extract(network, pictures, ["relu2"], tmp_path, batch_size=4)
    assert network.module.conv2.training
    assert not network.module.conv1.weight.requires_grad
    assert network.module.conv2.weight.requires_grad
    assert not any(part._forward_hooks for part in network.module.modules())


def test_shapes_that_change_between_images_are_refused(network, pictures, tmp_path):
    network.layers()
    seen = [0]

    def hook(_, __, output):
        seen[0] += not SKETCHING[0]
        return output[:, :, :5, :5] if seen[0] > 2 else None

    network.module.conv2.register_forward_hook(hook)
    with pytest.raises(ActivationError, match=r"layer conv2 gives \(6, 5, 5\)"):
        extract(network, pictures, ["conv2"], tmp_path, batch_size=4)


def test_warnings_go_to_the_log_and_nothing_is_printed(network, pictures, tmp_path, capsys, caplog):
    caplog.set_level(logging.WARNING)
    extract(network, pictures, ALL, tmp_path)
    assert capsys.readouterr() == ("", "")
    assert not caplog.records
