"""timm's networks, where it is installed."""

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


def test_downloads_are_asked_for_only_where_they_are_wanted(monkeypatch):
    made, asked = timm.create_model, []

    def create(name, pretrained):
        asked.append(pretrained)
        if pretrained:
            raise ConnectionError("no network")
        return made(name, pretrained=False)

    monkeypatch.setattr(timm, "create_model", create)
    load_model("timm:mobilenetv3_small_050")
    load_model("timm:mobilenetv3_small_050@pretrained", untrained=True)
    assert asked == [False, False]
    with pytest.raises(ModelError, match=r"mobilenetv3_small_050 cannot be downloaded.*--weights"):
        load_model("timm:mobilenetv3_small_050@pretrained")
