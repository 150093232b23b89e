"""Outputs of all architectures as grids of units, each unit where its network computes it."""

import pytest
import timm
import torch
from torch import nn
from torchvision import models

from conceptlab.errors import LayerError
from conceptlab.models.grid import CLASS, Form, first_tensor, floating_tensor, place, to_grid
from conceptlab.models.layout import layouts
from conceptlab.models.probed import Preprocessing, ProbedModel
from conceptlab.numerics.geometry import Geometry


def capture(module, layer, batch):
    """A layer's own output and its grid."""
    kept = []
    form = layouts(module, batch)[layer].form
    part = module.get_submodule(layer.removesuffix(CLASS))
    handle = part.register_forward_hook(lambda m, i, o: kept.append(o))
    with torch.no_grad():
        module.eval()(batch)
    handle.remove()
    raw = first_tensor(kept[0], layer)
    return raw, to_grid(raw, form)


def shapes(module, size):
    half = (0.5, 0.5, 0.5)
    model = ProbedModel(module, Preprocessing(Geometry(size), half, half), name="m", spec="m")
    return model.layers().set_index("layer")["shape"].to_dict()


def batch(size, n=2):
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def vit():
    torch.manual_seed(0)
    return models.VisionTransformer(
        image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=12, mlp_dim=16
    )


@pytest.fixture(scope="module")
def swin():
    torch.manual_seed(0)
    return models.SwinTransformer(
        patch_size=[4, 4], embed_dim=16, depths=[2, 2], num_heads=[2, 2], window_size=[4, 4]
    )


@pytest.fixture(scope="module")
def convnext():
    torch.manual_seed(0)
    setting = models.convnext.CNBlockConfig
    return models.ConvNeXt([setting(12, 24, 2), setting(24, None, 1)])


def test_a_vit_of_torchvision(vit):
    raw, grid = capture(vit, "encoder.layers.encoder_layer_1", batch(32))
    assert raw.shape == (2, 17, 12)
    assert grid.shape == (2, 12, 4, 4)
    for row in range(4):
        for column in range(4):
            assert torch.equal(grid[:, :, row, column], raw[:, 1 + 4 * row + column])
    found = shapes(vit, 32)
    assert found["conv_proj"] == (12, 4, 4)
    assert found["encoder.layers.encoder_layer_0.self_attention"] == (12, 4, 4)
    assert found["encoder.layers.encoder_layer_0.mlp"] == (12, 4, 4)
    assert found["heads"] == (1000, 1, 1)


def test_tokens_lie_where_their_patches_do(vit):
    """One patch of the picture changes most the token that stands for it."""
    one, other = batch(32, 1), batch(32, 1)
    other[:, :, 8:16, 24:32] += 3  # patch row 1, column 3
    before = capture(vit, "encoder.layers.encoder_layer_0", one)[1]
    after = capture(vit, "encoder.layers.encoder_layer_0", other)[1]
    change = (after - before).norm(dim=1)[0]
    assert divmod(int(change.argmax()), 4) == (1, 3)


def test_a_vit_of_timm_with_registers():
    torch.manual_seed(0)
    module = timm.models.VisionTransformer(
        img_size=32, patch_size=8, embed_dim=12, depth=1, num_heads=2, reg_tokens=4
    )
    raw, grid = capture(module, "blocks.0", batch(32))
    assert raw.shape == (2, 21, 12)
    assert torch.equal(grid[:, :, 0, 1], raw[:, 6])
    raw, grid = capture(module, "patch_embed", batch(32))  # before the registers are put in front
    assert raw.shape == (2, 16, 12)
    assert torch.equal(grid[:, :, 0, 1], raw[:, 1])


def test_a_swin_of_torchvision(swin):
    found = shapes(swin, 64)
    assert found["features.0"] == (16, 16, 16)  # as many units as rows, and columns
    assert found["features.1"] == (16, 16, 16)
    assert found["features.2"] == (32, 8, 8)
    assert found["features.3.1"] == (32, 8, 8)
    assert found["norm"] == (32, 8, 8)
    for layer in ("features.1.0", "features.1.1.mlp", "features.0.2", "features.3.0"):
        raw, grid = capture(swin, layer, batch(64))
        assert torch.equal(grid, raw.permute(0, 3, 1, 2)), layer
    raw, grid = capture(swin, "features.0.0", batch(64))
    assert torch.equal(grid, raw)


def test_a_swin_of_timm():
    torch.manual_seed(0)
    module = timm.models.SwinTransformer(
        img_size=64, embed_dim=16, depths=(1, 1), num_heads=(2, 2), window_size=4, num_classes=5
    )
    for layer in ("layers.0.blocks.0", "layers.0", "patch_embed", "layers.1", "norm"):
        raw, grid = capture(module, layer, batch(64))
        assert torch.equal(grid, raw.permute(0, 3, 1, 2)), layer


def test_a_convnext_of_torchvision(convnext):
    found = shapes(convnext, 48)  # 12 units, 12 rows, 12 columns
    assert found["features.1.0"] == (12, 12, 12)
    for layer in ("features.0", "features.0.1", "features.1.0", "features.1.0.block.0",
                  "features.1", "features.1.0.block", "features.1.0.block.6"):  # fmt: skip
        raw, grid = capture(convnext, layer, batch(48))
        assert torch.equal(grid, raw), layer
    for layer in ("features.1.0.block.1", "features.1.0.block.2", "features.1.0.block.3",
                  "features.1.0.block.5"):  # fmt: skip
        raw, grid = capture(convnext, layer, batch(48))
        assert torch.equal(grid, raw.permute(0, 3, 1, 2)), layer


def test_a_convnext_of_timm():
    torch.manual_seed(0)
    module = timm.models.ConvNeXt(depths=(1, 1, 1, 1), dims=(12, 24, 48, 96), num_classes=3)
    for layer in ("stem", "stages.0.blocks.0", "stages.0", "stages.1", "stages.0.blocks.0.conv_dw"):
        raw, grid = capture(module, layer, batch(48))
        assert torch.equal(grid, raw), layer


@pytest.mark.parametrize("k", [1, 3, 8, 16, 33])
def test_convolutions_stay_maps(k):
    module = nn.Sequential(
        nn.Conv2d(3, k, 3, padding=1), nn.BatchNorm2d(k), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout()
    )
    for layer in "01234":
        raw, grid = capture(module, layer, batch(16))
        assert torch.equal(grid, raw)


def test_vectors_are_maps_of_one_pixel():
    module = nn.Sequential(nn.Flatten(), nn.Linear(12, 5))
    raw, grid = capture(module, "1", batch(2))
    assert grid.shape == (2, 5, 1, 1)
    assert torch.equal(grid[:, :, 0, 0], raw)


FORMS = {
    (2, 17, 5): Form((0, 2, 1), 1, 1),
    (18, 2, 5): Form((1, 2, 0), 0, 2),
    (2, 4, 4, 5): Form((0, 3, 1, 2)),
    (2, 5): Form((0, 1)),
    (5, 2): Form((1, 0)),
    (2, 17, 6): Form((0, 2, 1), token=0),
}


@pytest.mark.parametrize(("shape", "form"), FORMS.items())
def test_grids_are_views_and_can_be_written_back(shape, form):
    output = torch.zeros(shape)
    grid = to_grid(output, form)
    assert grid.shape[:2] == (2, 6 if form.token is not None else 5)
    place(output, form, grid + 1)
    assert output.sum() == grid.numel()
    assert (to_grid(output, form) == 1).all()


def test_what_is_not_of_the_layout():
    with pytest.raises(LayerError, match="44 tokens with 1 beside the map form no square"):
        to_grid(torch.zeros(1, 44, 5), Form((0, 2, 1), 1, 1))
    with pytest.raises(LayerError, match="other axes than those that were measured"):
        to_grid(torch.zeros(1, 2, 3, 4, 5), Form((0, 1, 2, 3)))
    with pytest.raises(LayerError, match="layer x gives a str, and no tensor"):
        first_tensor("text", "x")


def test_first_tensor_of_nested_outputs():
    inner = torch.zeros(1)
    assert first_tensor({"a": [(inner, 2)]}, "x") is inner
    assert floating_tensor((inner,)) is inner
    assert floating_tensor(torch.zeros(1, dtype=torch.int64)) is None
    assert floating_tensor(None) is None
