"""Outputs of every layout become (n, K, H, W), with each value at its own unit and place."""

import pytest
import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from conceptlab.errors import LayerError
from conceptlab.models.grid import first_tensor, grid_of, is_floating, prefix_tokens

BARE = nn.Identity()


def truth(n=2, units=5, side=3):
    """(n, K, H, W) in which every value is another."""
    return torch.arange(n * units * side * side, dtype=torch.float32).view(n, units, side, side)


class Knows(nn.Module):
    """A network that says how many tokens stand before the picture's."""

    def __init__(self, prefix):
        super().__init__()
        self.num_prefix_tokens = prefix


def tokens_of(maps, prefix):
    n, units = maps.shape[:2]
    flat = maps.flatten(2).transpose(1, 2)
    return torch.cat([torch.full((n, prefix, units), -1.0), flat], dim=1)


def test_maps_are_taken_as_they_are():
    assert torch.equal(grid_of(truth(), BARE, ""), truth())


def test_channels_last_maps_are_turned():
    assert torch.equal(grid_of(truth().permute(0, 2, 3, 1), BARE, ""), truth())


def test_vectors_are_maps_of_one_place():
    assert torch.equal(grid_of(torch.eye(3), BARE, ""), torch.eye(3)[:, :, None, None])


@given(st.integers(0, 5), st.integers(6, 15), st.integers(1, 20), st.integers(1, 3))
def test_tokens_become_a_grid_without_those_before_the_picture(prefix, side, units, n):
    maps = truth(n, units, side)
    assert torch.equal(grid_of(tokens_of(maps, prefix), BARE, "x"), maps)
    assert torch.equal(grid_of(tokens_of(maps, prefix), Knows(prefix), "x"), maps)


@given(st.integers(1, 16), st.integers(1, 6))
def test_what_the_network_says_of_its_tokens_counts(prefix, side):
    """2 + 4 x 4 tokens could be guessed, 1 + 8 (3 x 3 = 9) could not."""
    maps = truth(side=side)
    count = prefix + side * side
    grid = grid_of(tokens_of(maps, prefix), Knows(prefix), "x")
    assert grid.shape == (2, 5, side, side), count
    assert torch.equal(grid, maps)


def test_layers_before_the_class_token_joins_have_none():
    maps = truth(side=6)
    assert torch.equal(grid_of(tokens_of(maps, 0), Knows(1), "patches"), maps)


def test_views_share_memory_with_the_output():
    for output in (truth(), truth().permute(0, 2, 3, 1), tokens_of(truth(side=6), 1), torch.eye(3)):
        assert grid_of(output, BARE, "").data_ptr() in {
            output.data_ptr(), output.data_ptr() + 4 * output.shape[-1]
        }  # fmt: skip


def test_a_cube_is_read_by_what_its_layer_does():
    """K = H = W says nothing by its shape."""
    cube = torch.arange(128.0).view(2, 4, 4, 4)
    network = nn.ModuleDict({"conv": nn.Conv2d(4, 4, 1), "linear": nn.Linear(4, 4)})
    network["norm"], network["all"] = nn.LayerNorm(4), nn.LayerNorm((4, 4))
    turned = cube.permute(0, 3, 1, 2)
    for layer, expected in (("conv", cube), ("linear", turned), ("norm", turned), ("all", cube)):
        assert torch.equal(grid_of(cube, network, layer), expected)


@pytest.mark.parametrize(
    ("output", "what"),
    [
        (torch.zeros(2, 3, 4, 5, 6), "2 to 4 axes"),
        (torch.zeros(3), "2 to 4 axes"),
        (torch.zeros(2, 99, 8), "99 tokens, which form no square"),
        ("text", "gives a str, and no tensor"),
        ((), "gives a tuple, and no tensor"),
        ((None, torch.zeros(1)), "gives a NoneType, and no tensor"),
    ],
)
def test_what_is_no_grid_is_an_error_by_name(output, what):
    with pytest.raises(LayerError, match=f"layer deep.*{what}"):
        grid_of(output, nn.ModuleDict({"deep": BARE}), "deep")


def test_tokens_that_contradict_the_network_are_not_guessed():
    with pytest.raises(LayerError, match="11 tokens"):
        grid_of(torch.zeros(1, 11, 4), Knows(1), "x")


def test_of_several_outputs_the_first_tensor_counts():
    first, second = torch.zeros(2, 3), torch.ones(2, 3)
    for output in ((first, second), [first], {"out": first, "aux": second}, ([(first,)],)):
        assert first_tensor(output, "") is first
        assert is_floating(output)
    assert not is_floating(torch.zeros(2, dtype=torch.int64))
    assert not is_floating(None)


def test_torchvisions_transformer_says_that_it_has_a_class_token():
    vit = torchvision.models.VisionTransformer(32, 8, 1, 2, 16, 16, num_classes=3)
    assert prefix_tokens(vit) == 1
    assert prefix_tokens(BARE) is None
