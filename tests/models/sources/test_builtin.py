"""The built-in networks: what the card says of them is so, and the script makes them."""

import hashlib
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from conceptlab.data import load_data
from conceptlab.errors import ModelError
from conceptlab.models import load_model
from conceptlab.models.sources.builtin import ARCHITECTURES, FOLDER, card

NAMES = (
    "scenenet", "sceneres", "scenenet-rotation", "scenenet-untrained", "scenenet-second",
    "sceneres-second",
)  # fmt: skip
SCRIPT = Path(__file__).parents[3] / "data_prep" / "train_builtin.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("train_builtin", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def scenes():
    """Some pictures of the probe set, and their scenes."""
    data = load_data("scenes:n=1000,seed=0")
    rows = range(0, len(data), 8)
    scene = [int(data.image_concepts(i)[0]) for i in rows]
    return data, [data.image(i) for i in rows], torch.tensor(scene)


def test_all_are_there_and_small():
    assert tuple(card()) == NAMES
    for name in NAMES:
        path = FOLDER / f"{name}.safetensors"
        assert path.stat().st_size < 400_000
        assert all(v.dtype == torch.float16 for v in load_file(path).values())
        assert f"| {name} |" in (FOLDER / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_they_reach_what_the_card_says(name, scenes):
    data, images, scene = scenes
    model, entry = load_model(f"builtin:{name}"), card()[name]
    batch = model.prepare(images)
    if entry["task"] == "rotation":
        scene = torch.arange(len(batch)) % 4
        turned = [torch.rot90(p, int(k), (1, 2)) for p, k in zip(batch, scene, strict=True)]
        batch = torch.stack(turned)
        assert len(model.class_names) == 4
    else:
        assert model.class_names == data.catalogue["name"].tolist()[:10]
    with torch.inference_mode():
        reached = float((model.module(batch).argmax(dim=1) == scene).float().mean())
    error = 3 * np.sqrt(0.25 / len(images)) if not entry["task"] else 0.03
    assert abs(reached - entry["accuracy"]) < error
    if entry["task"]:
        assert entry["accuracy"] > 0.95
    else:  # the control: what was not trained is near chance
        assert entry["accuracy"] < 0.25


@pytest.mark.parametrize("name", NAMES)
def test_layers_worth_probing_are_as_the_card_says(name, script, scenes):
    _, images, _ = scenes
    model = load_model(f"builtin:{name}")
    wanted = {n: (k, side, side) for a, n, k, side in script.WORTH if a == model_of(name)}
    table = model.layers().set_index("layer")
    assert {n: table.at[n, "shape"] for n in wanted} == wanted
    assert (table["calls"] == 1).all()
    for values in model.activations(images[:8], list(wanted)).values():
        assert values.min() == 0  # after their ReLU
        assert (values.max(axis=(0, 2, 3)) > 0).mean() > 0.9


def model_of(name):
    return card()[name]["architecture"]


def test_their_relus_are_not_in_place():
    for architecture in ARCHITECTURES.values():
        parts = [m for m in architecture(3).modules() if isinstance(m, torch.nn.ReLU)]
        assert parts
        assert not any(part.inplace for part in parts)


def test_a_name_that_does_not_exist():
    with pytest.raises(ModelError, match=r"no built-in network 'scenent'; nearest: scenenet"):
        load_model("builtin:scenent")


def test_the_script_trains_stores_and_repeats_itself(script, tmp_path, monkeypatch):
    digests = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        arguments = ["--only", "sceneres", "--images", "128", "--epochs", "1", "--out", str(folder)]
        monkeypatch.setattr("sys.argv", ["train_builtin.py", *arguments])
        monkeypatch.setattr(script, "PROBE", "scenes:n=40,seed=0")
        with torch.random.fork_rng(devices=[]):
            script.main()
        entries = json.loads((folder / "models.json").read_text(encoding="utf-8"))
        assert list(entries) == ["sceneres"]
        assert entries["sceneres"]["learned_on"] == "scenes:n=128,seed=1000"
        assert entries["sceneres"]["measured_on"] == "scenes:n=40,seed=0"
        assert sorted(p.name for p in folder.iterdir()) == [
            "README.md", "models.json", "sceneres.safetensors"
        ]  # fmt: skip
        weights = (folder / "sceneres.safetensors").read_bytes()
        digests.append(hashlib.sha256(weights).hexdigest())
    assert digests[0] == digests[1]


def test_the_untrained_one_is_its_seed(script, scenes):
    """Drawn and rounded, nothing else."""
    _, images, _ = scenes
    plan = script.PLANS["scenenet-untrained"]
    with torch.random.fork_rng(devices=[]):
        pictures = script.Pictures(torch.empty(0), torch.empty(0), torch.empty(0, 3))
        drawn = script.train(plan, pictures, epochs=1).state_dict()
    stored = load_file(FOLDER / "scenenet-untrained.safetensors")
    assert all(torch.equal(drawn[key].half(), value) for key, value in stored.items())
    assert load_model("builtin:scenenet-untrained").prepare(images[:1]).shape == (1, 3, 64, 64)
