"""torchvision's networks as torchvision itself would set them up, and never a download unasked."""

import urllib.error

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torchvision import models

from conceptlab.errors import ModelError
from conceptlab.models import load_model


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No weights on the disk, and no network; the addresses that were asked for."""
    asked = []

    def refuse(request, *_, **__):
        asked.append(request)
        raise urllib.error.URLError("no network\nat all")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    monkeypatch.setattr("torch.hub.urlopen", refuse)
    return asked


def test_a_failed_download_is_one_sentence_that_says_what_to_do(offline, capsys):
    with pytest.raises(ModelError, match=r"IMAGENET1K_V1 of squeezenet1_1 cannot.*--weights") as e:
        load_model("torchvision:squeezenet1_1@IMAGENET1K_V1")
    assert "\n" not in str(e.value)
    assert len(offline) == 1
    said = capsys.readouterr()
    assert said.out == ""  # stdout is for answers
    assert said.err.startswith("Downloading: ")


def test_nothing_is_downloaded_where_weights_are_given_or_not_wanted(offline, tmp_path):
    torch.manual_seed(0)
    state = models.squeezenet1_1(weights=None).state_dict()
    torch.save(state, tmp_path / "w.pt")
    spec = "torchvision:squeezenet1_1@IMAGENET1K_V1"
    model = load_model(spec, weights=str(tmp_path / "w.pt"))
    assert torch.equal(model.module.state_dict()["features.0.weight"], state["features.0.weight"])
    assert len(model.class_names) == 1000
    load_model(spec, untrained=True)
    load_model("torchvision:squeezenet1_1")
    assert not offline


def test_a_backbones_weights_are_not_downloaded_either(offline):
    model = load_model("torchvision:lraspp_mobilenet_v3_large", size=64)
    assert not offline
    assert len(model.class_names) == 21


def test_inceptions_are_as_their_weights_want_them(tmp_path):
    """They scale their input anew, and hold no auxiliary classifier, though the file does."""
    model = load_model("torchvision:googlenet")
    assert model.module.transform_input
    assert model.module.aux1 is None
    assert not any(name.startswith("aux") for name in model.layers()["layer"])
    state = dict(model.module.state_dict())
    state["aux1.fc1.weight"] = torch.zeros(2, 2)
    torch.save(state, tmp_path / "with_aux.pt")
    again = load_model("torchvision:googlenet", weights=str(tmp_path / "with_aux.pt"), seed=1)
    assert again.fingerprint == model.fingerprint
    torch.save({**state, "other.weight": torch.zeros(2)}, tmp_path / "more.pt")
    with pytest.raises(ModelError, match=r"other\.weight"):
        load_model("torchvision:googlenet", weights=str(tmp_path / "more.pt"))


def test_a_transformer_of_one_size_is_made_for_another(tmp_path):
    model = load_model("torchvision:vit_b_32", untrained=True)
    save_file(model.module.state_dict(), tmp_path / "w.safetensors")
    large = load_model("torchvision:vit_b_32", weights=tmp_path / "w.safetensors", size=288)
    assert large.module.encoder.pos_embedding.shape == (1, 82, 768)
    with torch.inference_mode():
        own, given = (m.module.encoder.pos_embedding for m in (model, large))
        assert torch.equal(own[:, 0], given[:, 0])
        assert torch.allclose(own[:, 1], given[:, 1], atol=0.05)  # the corner's place
        assert large.module(large.prepare([Image.new("RGB", (9, 9))])).shape == (1, 1000)
    assert torch.equal(model.module.heads.head.weight, large.module.heads.head.weight)


def test_networks_of_convolutions_take_any_size_as_they_are():
    model = load_model("torchvision:squeezenet1_0", untrained=True, size=128, seed=3)
    same = load_model("torchvision:squeezenet1_0", untrained=True, size=224, seed=3)
    assert torch.equal(model.module.features[0].weight, same.module.features[0].weight)
