"""Layouts are measured: planted networks of every axis order, and what is no map of the picture."""

import itertools

import pytest
import timm
import torch
import torchvision
from torch import nn

from conceptlab.errors import LayerError
from conceptlab.models import load_model
from conceptlab.models.grid import CLASS, to_grid
from conceptlab.models.layout import executed, layouts
from conceptlab.models.watch import watch
from tests.models.nets import pictures, probed, state


class Planted(nn.Module):
    """A convolution, and its output brought into another layout by an identity layer after it.

    Args:
        arrange: from (n, K, H, W) to the layout.
        units: K.
        stride: pixels a cell.
    """

    def __init__(self, arrange, units=16, stride=2):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, units, stride + 1, stride, (stride + 1) // 2)
        self.planted = nn.Identity()
        self.arrange = arrange

    def forward(self, x):
        return self.planted(self.arrange(self.conv(x))).sum()


def measured(module, size=32, layer="planted"):
    return layouts(module, torch.empty(1, 3, size, size))[layer]


def grids(module, size=32):
    """What the convolution gave, and the planted layer's grid."""
    kept = {}
    keep = lambda layer, grid: kept.update({layer: grid.clone()})  # noqa: E731
    with torch.no_grad(), watch(module, ["conv", "planted"], keep) as run:
        run(pictures(3, size))
    return kept["conv"], kept["planted"]


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_any_order_of_four_axes(order):
    """As many units as rows and columns: no shape tells them apart."""
    conv, planted = grids(Planted(lambda x: x.permute(order)))
    assert conv.shape == (3, 16, 16, 16)
    assert torch.equal(planted, conv)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize(("before", "after"), [(0, 0), (1, 0), (5, 0), (0, 1), (1, 2)])
def test_any_order_of_tokens(order, before, after):
    def arrange(x):
        tokens = x.flatten(2)
        mean = tokens.mean(dim=2, keepdim=True)  # answers to the whole picture, as a class token
        parts = [mean.expand(-1, -1, before), tokens, mean.expand(-1, -1, after)]
        return torch.cat(parts, dim=2).permute(order)

    conv, planted = grids(Planted(arrange))
    assert torch.equal(planted, conv)


@pytest.mark.parametrize(
    "shape", ["n, K", "K, n", "n, K, 1, 1", "n, 1, 1, K", "n, 1, K", "1, n, K"]
)
def test_vectors(shape):
    arranged = {
        "n, K": lambda v: v,
        "K, n": lambda v: v.T,
        "n, K, 1, 1": lambda v: v[:, :, None, None],
        "n, 1, 1, K": lambda v: v[:, None, None],
        "n, 1, K": lambda v: v[:, None],
        "1, n, K": lambda v: v[None],
    }[shape]
    conv, planted = grids(Planted(lambda x: arranged(x.mean(dim=(2, 3)))))
    assert torch.equal(planted, conv.mean(dim=(2, 3), keepdim=True))


def test_one_unit_at_many_places():
    conv, planted = grids(Planted(lambda x: x.flatten(2).mT, units=1))
    assert torch.equal(planted, conv)
    conv, planted = grids(Planted(lambda x: x.permute(0, 2, 3, 1), units=1))
    assert torch.equal(planted, conv)


def windows(x, side=4):
    """(n, windows, tokens of one, K)."""
    n, k, h, w = x.shape
    parts = x.reshape(n, k, h // side, side, w // side, side)
    return parts.permute(0, 2, 4, 3, 5, 1).reshape(n, -1, side * side, k)


NO_MAPS = {
    "tokens window by window": lambda x: windows(x).flatten(1, 2),
    "tokens of the same place of all windows": lambda x: windows(x).transpose(1, 2).flatten(1, 2),
    "windows and their tokens": windows,
    "patches unfolded": lambda x: windows(x, 2).permute(0, 3, 2, 1),
    "heads of tokens": lambda x: x.flatten(2).mT.unflatten(2, (4, 4)).transpose(1, 2),
    "heads as wide as tokens are many": lambda x: x.flatten(2).mT[:, :16].unsqueeze(1)
    .expand(-1, 16, -1, -1),
    "tokens column by column": lambda x: x.mT.flatten(2).mT,
    "tokens to and fro": lambda x: torch.stack([x[:, :, ::2], x[:, :, 1::2].flip(3)], 3)
    .flatten(2).mT,
    "upside down": lambda x: x.flip(2),
    "turned by a half": lambda x: x.flip((2, 3)),
    "more rows than columns": lambda x: x[:, :, :, ::2],
    "units taken for places": lambda x: x.permute(0, 2, 3, 1).reshape(x.shape[0], 16, -1),
    "rows pooled away": lambda x: x.mean(dim=2, keepdim=True),
    "the same everywhere": lambda x: x.mean(dim=(2, 3), keepdim=True).expand_as(x),
    "nothing of the picture": lambda x: torch.ones_like(x) * torch.arange(16.0),
    "mixed at random": lambda x: x.flatten(2) @ torch.randn(
        256, 256, generator=torch.Generator().manual_seed(0)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NO_MAPS)
def test_what_is_no_map_of_the_picture_is_refused(name):
    module = Planted(NO_MAPS[name])
    found = measured(module)
    assert found.form is None
    assert found.reason
    with pytest.raises(LayerError, match=r"layer planted gives no grid of units per picture: .*"):
        grids(module)


def test_rows_that_are_no_pictures():
    assert "no row is a picture" in measured(Planted(lambda x: windows(x).flatten(0, 1))).reason
    assert "is that of the pictures" in measured(Planted(lambda x: x[0])).reason
    assert "5 axes" in measured(Planted(lambda x: windows(x)[None].transpose(0, 1))).reason


def test_a_layer_that_says_nothing_itself_between_convolutions():
    """The network's own values: a rectifier gives what was before it, without the negative."""
    model = load_model("builtin:scenenet")
    batch = pictures(2, 64)
    for before, after in (("features.1", "features.2"), ("features.4", "features.5")):
        kept = {}
        keep = lambda layer, grid: kept.update({layer: grid.clone()})  # noqa: B023, E731
        with torch.no_grad(), watch(model.module, [before, after], keep) as run:
            run(batch)
        assert kept[after].shape == (2, 32, 32, 32)
        assert torch.equal(kept[after], kept[before].clamp(min=0))


def test_as_many_units_as_rows_in_a_resnet():
    torch.manual_seed(0)
    module = timm.models.ResNet(timm.models.resnet.BasicBlock, (1, 1, 1, 1), zero_init_last=False)
    found = layouts(module, torch.empty(1, 3, 128, 128))
    assert found["act1"].shape == (64, 64, 64)
    for layer in ("bn1", "act1", "maxpool", "layer1", "layer2.0.bn1", "layer2.0.act1"):
        assert found[layer].form.is_map, layer


def test_the_network_is_given_back_as_it_was():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.ReLU())
    module.train()
    module[1].eval()
    module[0].weight.requires_grad_(False)
    before, drawn = state(module), torch.get_rng_state()
    found = layouts(module, torch.empty(1, 3, 16, 16))
    assert [layout.shape for layout in found.values()] == [(4, 14, 14)] * 4
    assert state(module) == before
    assert torch.equal(torch.get_rng_state(), drawn)


def test_it_is_measured_once_for_a_size():
    module, sizes = nn.Sequential(nn.Conv2d(3, 4, 3)), []
    module.register_forward_pre_hook(lambda m, i: sizes.append(tuple(i[0].shape)))
    for side in (8, 8, 9):
        layouts(module, torch.empty(1, 3, side, side))
    assert sizes == [(1, 3, 8, 8), (15, 3, 8, 8), (1, 3, 9, 9), (15, 3, 9, 9)]
    module[0] = nn.Conv2d(3, 4, 3)
    layouts(module, torch.empty(1, 3, 8, 8))
    assert len(sizes) == 6


def seen_by(module):
    """Sizes of the batches that a network gets from here on."""
    sizes = []
    module.register_forward_pre_hook(lambda m, i: sizes.append(tuple(i[0].shape)))
    return sizes


def test_a_layer_that_is_named_is_measured_alone():
    """The doubts of others cost it nothing; and it is what it is among all."""
    module = Mixing(nn.Conv2d(12, 5, 3, padding=1))
    sizes, like = seen_by(module), torch.empty(1, 3, 24, 24)
    one = layouts(module, like, ["conv"])
    assert list(one) == ["conv"]
    assert [size[0] for size in sizes] == [1, 15]
    assert list(layouts(module, like, ["pool"])) == ["conv", "pool"]
    assert list(layouts(module, like, ["conv"])) == ["conv", "pool"]
    assert [size[0] for size in sizes] == [1, 15, 15]
    both = layouts(module, like, ["mixed"])  # in doubt, so that the layers before it matter
    assert list(both) == ["conv", "pool", "mixed", "after"]
    assert both["conv"] == one["conv"]
    assert both == layouts(module, like) == layouts(module, like, ["after"])
    assert [size[0] for size in sizes] == [1, 15, 15, 15, 15, 15]


def test_what_is_not_reached_or_runs_twice_is_not_measured_again():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    module.unused = nn.ReLU()
    module.forward = lambda x: module[1](module[1](module[0](x)))
    sizes, like = seen_by(module), torch.empty(1, 3, 16, 16)
    for _ in range(3):
        assert list(layouts(module, like, ["0", "unused"])) == ["0"]
        assert executed(module, like) == ["0", "1"]
    assert len(sizes) == 2
    for _ in range(3):
        assert layouts(module, like, ["1"])["1"].calls == 2  # with all others, for the message
    assert len(sizes) == 4


@pytest.fixture(scope="module")
def vit():
    torch.manual_seed(0)
    module = timm.models.VisionTransformer(
        img_size=32, patch_size=8, embed_dim=12, depth=2, num_heads=2, reg_tokens=4, num_classes=3
    )
    return probed(module, 32)


def test_the_class_token_is_a_layer_of_its_own(vit):
    table = vit.layers().set_index("layer")
    assert table.loc["blocks.1", "shape"] == (12, 4, 4)
    assert table.loc["blocks.1[cls]", "shape"] == (12, 1, 1)
    assert table.loc["blocks.1[cls]", "kind"] == "class token"
    assert "patch_embed[cls]" not in table.index
    kept = []
    handle = vit.module.blocks[1].register_forward_hook(lambda m, i, o: kept.append(o))
    with torch.no_grad():
        vit.module(pictures(2, 32))
    handle.remove()
    both = {}
    keep = lambda layer, grid: both.update({layer: grid.clone()})  # noqa: E731
    with torch.no_grad(), watch(vit.module, ["blocks.1[cls]", "blocks.1"], keep) as run:
        run(pictures(2, 32))
    assert torch.equal(both["blocks.1[cls]"][:, :, 0, 0], kept[0][:, 0])
    assert torch.equal(both["blocks.1"].flatten(2), kept[0][:, 5:].mT)


def test_class_tokens_are_named_by_their_ending(vit):
    assert vit.resolve(["blocks.*[cls]"])[-1] == "blocks.1" + CLASS
    assert vit.resolve(["blocks.1"]) == ["blocks.1"]
    assert vit.resolve(["blocks.[01]"]) == ["blocks.0", "blocks.1"]
    assert vit.resolve(["blocks.[01][cls]"]) == ["blocks.0[cls]", "blocks.1[cls]"]
    assert not any(name.endswith(CLASS) for name in vit.resolve(["blocks.*"]))
    with pytest.raises(LayerError, match="layer patch_embed of toy has no class token"):
        vit.resolve(["patch_embed[cls]"])


def test_grids_of_other_sizes_keep_the_layout(vit):
    form = vit.form("blocks.0")
    assert to_grid(torch.zeros(2, 5 + 36, 12), form).shape == (2, 12, 6, 6)


def torchvision_network(name):
    torch.manual_seed(0)
    return torchvision.models.get_model(name, weights=None)


@pytest.mark.parametrize(("name", "size"), [("alexnet", 96), ("vgg11", 64), ("resnet18", 33)])
def test_two_or_three_rows_that_mix_everything(name, size):
    """All of these are (n, K, H, W) by documentation; chance would turn a few."""
    found = layouts(torchvision_network(name), torch.empty(1, 3, size, size))
    for layer, layout in found.items():
        assert layout.form is not None or layout.calls > 1, layer
        assert layout.form is None or layout.form.order in ((0, 1, 2, 3), (0, 1)), layer


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size"), [("mobilenet_v2", 64), ("efficientnet_b0", 96)])
def test_deep_networks_on_small_pictures(name, size):
    found = layouts(torchvision_network(name), torch.empty(1, 3, size, size))
    for layer, layout in found.items():
        assert layout.form is not None, layer
        assert layout.form.order in ((0, 1, 2, 3), (0, 1)), layer


class Mixing(nn.Module):
    """A gate of everything, far louder than the places, and a layer of small reach."""

    def __init__(self, after):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.pool = nn.Conv2d(3, 12, 3, padding=1), nn.AdaptiveAvgPool2d(1)
        self.mixed, self.after = nn.Conv2d(12, 12, 1), after

    def forward(self, x):
        x = self.conv(x)
        return self.after(self.mixed(self.pool(x) * 1e3 + x * 0.01))


def test_what_answers_to_everything_by_what_came_before_it():
    found = layouts(Mixing(nn.Conv2d(12, 5, 3, padding=1)), torch.empty(1, 3, 24, 24))
    assert found["after"].shape == (5, 24, 24)
    assert found["after"].form.is_map


def test_confining_makes_no_map_of_what_is_none():
    class Mixed(nn.Module):
        def forward(self, x):
            mixed = torch.randn(576, 576, generator=torch.Generator().manual_seed(1))
            return (x.flatten(2) @ mixed).unflatten(2, (24, 24))

    found = layouts(Mixing(Mixed()), torch.empty(1, 3, 24, 24))
    assert found["after"].form is None


def test_blocks_that_begin_as_the_identity():
    """Their zeros answer to nothing; a trained network of the same code has a map there."""
    torch.manual_seed(0)
    module = timm.create_model("resnet10t")
    before = state(module)
    found = layouts(module, torch.empty(1, 3, 64, 64))
    assert not module.layer1[0].bn2.weight.any()
    assert found["layer1.0.bn2"].shape == (64, 16, 16)
    assert found["layer1.0.bn2"].form.is_map
    assert state(module) == before


def test_vectors_answer_to_what_they_like():
    """A gate that rounds to one is as much a vector as any."""
    module = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(3, 6, 1), nn.Hardsigmoid())
    nn.init.constant_(module[1].bias, 100.0)
    assert layouts(module, torch.empty(1, 3, 16, 16))["2"].shape == (6, 1, 1)
