"""A layer's output is changed, what follows sees it, and the network is given back as it was."""

from collections import OrderedDict, namedtuple

import pytest
import torch
from torch import nn

from conceptlab.errors import LayerError
from conceptlab.passes.edit import changing, on_grid
from tests.models.nets import Small, pictures, probed, state

Said = namedtuple("Said", ["out", "more"])
MORE = torch.arange(3.0)


class Layer(nn.Module):
    """Gives its input in some layout and container."""

    def __init__(self, layout, container):
        super().__init__()
        self.layout, self.container = layout, container

    def forward(self, x):
        return self.container(self.layout(x))


class Net(nn.Module):
    """A layer, and an end that keeps what it was given."""

    def __init__(self, layout=lambda x: x, container=lambda x: x):
        super().__init__()
        self.linear = nn.Linear(4, 4)  # tells that units are on the last axis
        self.layer = Layer(layout, container)
        self.tail = nn.Identity()

    def forward(self, x):
        self.seen = self.tail(self.layer(x))
        return self.seen


LAYOUTS = {
    "map": (lambda x: x, lambda x: x),
    "channels last in memory": (
        lambda x: x.contiguous(memory_format=torch.channels_last), lambda x: x,
    ),
    "last": (lambda x: x.permute(0, 2, 3, 1), lambda x: x.permute(0, 3, 1, 2)),
    "vector": (lambda x: x.mean(dim=(2, 3)), lambda x: x[:, :, None, None]),
    "tokens": (
        lambda x: x.flatten(2).transpose(1, 2),
        lambda x: x.transpose(1, 2).unflatten(2, (6, 6)),
    ),
}  # fmt: skip


def edit(grid):
    """Different for every unit and place, so that a transposed grid would show."""
    ramp = torch.arange(grid[0].numel(), dtype=grid.dtype).reshape(grid.shape[1:])
    return grid * 2 + ramp


def run(module, batch, layer="layer", change=edit):
    with torch.no_grad(), changing(probed(module), {layer: on_grid(change)}):
        return module(batch)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_changed_on_its_grid(layout):
    there, back = LAYOUTS[layout]
    batch = pictures(2, 6)
    found = run(Net(there), batch)
    assert torch.equal(back(found), edit(back(there(batch))))
    assert found.shape == there(batch).shape
    assert found.stride() == there(batch).stride()


def test_class_tokens_stay_as_they_are():
    def tokens(x):
        patches = x.flatten(2).transpose(1, 2)
        return torch.cat([torch.full((len(x), 2, 3), 7.0), patches], dim=1)

    batch = pictures(2, 6)
    found = run(Net(tokens), batch, change=torch.zeros_like)
    assert (found[:, :2] == 7).all()
    assert (found[:, 2:] == 0).all()
    assert found.shape == (2, 38, 3)


@pytest.mark.parametrize(
    ("container", "first"),
    [
        (lambda x: (x, MORE), lambda o: o[0]),
        (lambda x: [x, MORE], lambda o: o[0]),
        (lambda x: Said(x, MORE), lambda o: o.out),
        (lambda x: {"out": x, "more": MORE}, lambda o: o["out"]),
        (lambda x: OrderedDict(out=x, more=MORE), lambda o: o["out"]),
        (lambda x: ({"out": [x], "more": MORE}, 3), lambda o: o[0]["out"][0]),
    ],
)
def test_containers_keep_their_type_and_what_else_they_hold(container, first):
    batch = pictures(2, 6)
    found, plain = run(Net(container=container), batch), container(batch)
    assert type(found) is type(plain)
    assert torch.equal(first(found), edit(batch))
    assert str(found).count("tensor") == str(plain).count("tensor")
    if isinstance(found, Said):
        assert found.more is MORE
    elif isinstance(found, dict):
        assert list(found) == ["out", "more"]
        assert found["more"] is MORE
    else:
        assert len(found) == 2


def test_what_follows_sees_the_change_and_the_original_is_not_written_over():
    module, kept = Small(), []

    def keep(grid):
        kept.append((grid, grid.clone()))
        return torch.ones_like(grid)

    found = run(module, pictures(), "first", keep)
    with torch.no_grad():
        after = module.second(torch.ones(3, 4, 8, 8)).mean(dim=(2, 3))
        assert torch.equal(found, module.head(after))
    given, before = kept[0]
    assert torch.equal(given, before)


def test_an_edit_that_gives_back_what_it_got_changes_nothing_but_a_copy():
    module, kept = Small(), []
    run(module, pictures(), "first", lambda grid: kept.append(grid) or grid)
    with torch.no_grad():
        assert torch.equal(kept[0], module.first(pictures()))  # for all that ReLU writes in place


def test_a_shared_value_for_all_places_and_another_type_are_copied_out():
    module, batch = Net(), pictures(2, 6)
    one = torch.ones(1, dtype=torch.float64)
    found = run(module, batch, change=lambda grid: one.expand(grid.shape))
    assert found.dtype == torch.float32
    assert (found == 1).all()
    assert found.stride() == batch.stride()


def test_several_layers_at_once():
    module = Small()
    model = probed(module)
    changes = {"first": on_grid(torch.zeros_like), "second": on_grid(lambda g: g + 1)}
    with torch.no_grad():
        with changing(model, changes):
            found = module(pictures())
        expected = module.head(module.second(torch.zeros(3, 4, 8, 8)).mean(dim=(2, 3)) + 1)
        assert torch.allclose(found, expected, atol=1e-6)
        assert not torch.equal(module(pictures()), found)


@pytest.mark.parametrize("fails", ["no", "edit", "forward", "body"])
@pytest.mark.parametrize("training", [True, False])
def test_the_network_is_given_back_as_it_was(fails, training):
    module = Small()
    model = probed(module)
    module.train(training)
    module.head.train(not training)
    module.first.weight.requires_grad_(False)
    module.second.register_forward_hook(lambda m, i, o: None)  # a foreign one stays
    before = state(module)

    def change(grid):
        if fails == "edit":
            raise KeyError
        return grid

    def use():
        with changing(model, {"second": on_grid(change)}):
            assert not any(m.training for m in module.modules())
            assert not any(p.requires_grad for p in module.parameters())
            module(pictures() if fails != "forward" else pictures()[:, :1])
            if fails == "body":
                raise KeyError

    if fails == "no":
        use()
    else:
        with pytest.raises((KeyError, RuntimeError)):
            use()
    assert state(module) == before


def test_whole_numbers_cannot_be_changed():
    with pytest.raises(LayerError, match="no tensor of floating-point numbers"):
        run(Net(lambda x: x.long()), pictures(2, 6))
