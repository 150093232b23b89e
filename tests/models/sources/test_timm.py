"""timm's networks, where it is installed."""

import logging
import sys

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from conceptlab.errors import ModelError
from conceptlab.models import load_model

timm = pytest.importorskip("timm")


def test_without_timm_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ModelError, match=r"pip install 'conceptlab\[timm\]'"):
        load_model("timm:vit_tiny_patch16_224")


@pytest.mark.slow
def test_a_vision_transformer_is_a_grid_without_its_class_token():
    model = load_model("timm:vit_tiny_patch16_224", untrained=True)
    table = model.layers().set_index("layer")
    assert table.at["blocks.11", "shape"] == table.at["norm", "shape"] == (192, 14, 14)
    assert table.loc["blocks.11", ["stride", "receptive_field"]].isna().all()
    assert model.preprocessing.mean == (0.5, 0.5, 0.5)
    assert model.preprocessing.geometry.size == 224


def test_windows_of_a_swin_are_no_pictures():
    model = load_model("timm:swin_tiny_patch4_window7_224", untrained=True)
    table = model.layers().set_index("layer")
    assert table.at["layers.0.blocks.0", "shape"] == (96, 56, 56)
    assert table.at["layers.0.blocks.0.attn.qkv", "shape"] is None
    with pytest.raises(ModelError, match="no grid of units per picture"):
        model.resolve(["layers.0.blocks.0.attn.qkv"])


def test_downloads_are_asked_for_only_where_they_are_wanted(monkeypatch, caplog):
    caplog.set_level("WARNING", "conceptlab")  # the command line, if it ran before, has set another
    made, asked, hub = timm.create_model, [], logging.getLogger("huggingface_hub.utils._http")
    level = logging.getLogger("huggingface_hub").level

    def create(name, pretrained):
        asked.append(pretrained)
        if pretrained:
            hub.warning("Retrying in 8s")
            raise ConnectionError("no network\nat all")
        return made(name, pretrained=False)

    monkeypatch.setattr(timm, "create_model", create)
    load_model("timm:mobilenetv3_small_050")
    load_model("timm:mobilenetv3_small_050@pretrained", untrained=True)
    assert asked == [False, False]
    caplog.clear()
    monkeypatch.setattr(logging.getLogger("huggingface_hub"), "propagate", True)
    with pytest.raises(ModelError, match=r"cannot be downloaded \(no network\); .*--weights"):
        load_model("timm:mobilenetv3_small_050@pretrained")
    assert caplog.text == ""  # of what the hub's client says, the sentence is enough
    assert logging.getLogger("huggingface_hub").level == level


def test_classes_have_the_names_of_timms_own_table():
    model = load_model("timm:mobilenetv3_small_050", untrained=True)
    assert len(model.class_names) == 1000
    assert [model.class_names[i] for i in (0, 281, 967)] == ["tench", "tabby", "espresso"]
    assert load_model("timm:vit_small_patch16_224.dino", untrained=True).class_names is None


def test_a_tag_that_timm_does_not_know_is_said():
    with pytest.raises(ModelError, match=r"timm cannot make vit_tiny_patch16_224\.dino \(Invalid"):
        load_model("timm:vit_tiny_patch16_224.dino")


def test_a_transformer_of_one_size_is_made_for_another(tmp_path):
    spec = "timm:vit_tiny_patch16_224"
    model = load_model(spec, untrained=True)
    save_file(model.module.state_dict(), tmp_path / "w.safetensors")
    small = load_model(spec, weights=tmp_path / "w.safetensors", size=160)
    table = small.layers().set_index("layer")
    assert table.at["blocks.11", "shape"] == (192, 10, 10)
    with torch.inference_mode():
        own, given = model.module.pos_embed, small.module.pos_embed
        assert torch.equal(own[:, 0], given[:, 0])  # the class token has no place
        grids = [p[:, 1:].transpose(1, 2).unflatten(2, (s, s)) for p, s in ((own, 14), (given, 10))]
        wanted = functional.interpolate(grids[0], (10, 10), mode="bicubic", antialias=True)
        assert torch.allclose(wanted, grids[1], atol=1e-4)
    assert torch.equal(model.module.blocks[3].mlp.fc1.weight, small.module.blocks[3].mlp.fc1.weight)
