"""timm's networks, where it is installed."""

import logging
import sys

import pytest

from conceptlab.errors import ModelError
from conceptlab.models import load_model

timm = pytest.importorskip("timm")


def test_without_timm_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ModelError, match=r"pip install 'conceptlab\[timm\]'"):
        load_model("timm:vit_tiny_patch16_224")


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
