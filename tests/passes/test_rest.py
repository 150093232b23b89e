"""The rest of a network from a layer on is the whole network, to the bit."""

from collections import OrderedDict

import pytest
import torch
from torch import nn

from conceptlab.errors import LayerError
from conceptlab.models.sources.load import load_model
from conceptlab.passes.edit import changing, on_grid
from conceptlab.passes.rest import rest_of
from tests.models.nets import Small, pictures, probed, state


def edits():
    return [lambda g: g * 0.3 + 0.1, torch.zeros_like, lambda g: g.flip(1), torch.clone]


def whole(model, layer, batch, edit):
    with torch.no_grad(), changing(model, {layer: on_grid(edit)}):
        return model.module(batch.clone())


def agree(model, layer, batches):
    """Compare with whole passes; gives what was not run again."""
    with rest_of(model, layer) as rest:
        for batch in batches:
            with torch.no_grad():
                assert torch.equal(rest.intact(batch), model.module(batch.clone()))
            for edit in (*edits(), edits()[0]):
                assert torch.equal(rest.changed(edit), whole(model, layer, batch, edit))
        return rest.skipped


@pytest.mark.parametrize(
    ("spec", "layer", "skipped"),
    [
        ("builtin:scenenet", "features.8", [f"features.{i}" for i in range(8)]),
        ("builtin:sceneres", "stages.1", ["stem", "stages.0"]),
        ("builtin:sceneres", "stages.1.path.1", ["stem", "stages.0", "stages.1.path.0"]),
        ("builtin:sceneres", "stages.1.shortcut", ["stem", "stages.0", "stages.1.path"]),
    ],
)
def test_built_in_networks(spec, layer, skipped):
    model = load_model(spec)
    assert agree(model, layer, [pictures(2, 64), pictures(1, 64, seed=1)]) == skipped


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spec", "size", "layer", "least"),
    [
        ("torchvision:resnet18", 64, "layer2.0.conv2", 7),
        ("torchvision:resnet18", 64, "layer3", 6),
        ("torchvision:squeezenet1_0", 64, "features.12", 12),
        ("torchvision:densenet121", 64, "features.denseblock2", 4),
        ("timm:vit_tiny_patch16_224", 224, "blocks.6", 8),
        ("timm:vit_tiny_patch16_224", 224, "blocks.6.mlp.fc1", 8),
    ],
)
def test_known_networks(spec, size, layer, least):
    model = load_model(spec, size=size)
    batch = pictures(2, size).contiguous(memory_format=torch.channels_last)
    assert len(agree(model, layer, [batch])) >= least


class Counting(nn.Conv2d):
    """Counts its calls."""

    calls = 0

    def forward(self, x):
        self.calls += 1
        return super().forward(x)


class Writing(nn.Module):
    """A later layer writes over what an earlier one gave, with and without a module."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.first, self.layer = Counting(3, 4, 1), nn.Conv2d(4, 4, 1)
        self.norm, self.relu = nn.BatchNorm2d(4), nn.ReLU(inplace=True)

    def forward(self, x):
        y = self.norm(self.first(x))
        z = self.layer(self.relu(y.clone()))
        y += z  # what `norm` gave is not what it was
        return self.relu(y).mul_(2).mean(dim=(2, 3))


def test_outputs_that_are_written_over_are_given_back_as_they_were():
    module = Writing()
    model = probed(module)
    assert agree(model, "layer", [pictures(3), pictures(2, seed=1)]) == ["first", "norm"]


def test_what_ended_before_the_layer_runs_once_a_batch():
    module = Writing()
    with rest_of(probed(module), "layer") as rest:
        rest.intact(pictures(2))
        before = module.first.calls
        rest.intact(pictures(2))
        for _ in range(5):
            rest.changed(torch.zeros_like)
        assert module.first.calls == before + 1


class Odd(nn.Module):
    """Ways to break the promise that what ended before the layer need not run."""

    def __init__(self, kind):
        super().__init__()
        torch.manual_seed(2)
        self.first, self.layer, self.kind = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), kind
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        y = self.first(x)
        if self.kind == "hidden write":
            self.relu(y)  # its output is thrown away, and y is another now
        z = self.layer(y)
        if self.kind == "twice":
            z = self.first(z[:, :3])
        if self.kind == "sometimes" and z.mean() > 1:
            z = self.first(z[:, :3])
        if self.kind == "sometimes writes" and z.mean() > 1:
            y.mul_(3)
        return (z + y).mean(dim=(2, 3))


@pytest.mark.parametrize("kind", ["hidden write", "twice", "sometimes", "sometimes writes"])
def test_odd_networks_run_whole(kind):
    model, batch = probed(Odd(kind)), pictures(3)
    with rest_of(model, "layer") as rest:
        for edit in (lambda g: g + 5, torch.clone, lambda g: g + 7, torch.zeros_like):
            rest.intact(batch)
            assert torch.equal(rest.changed(edit), whole(model, "layer", batch, edit))
            assert torch.equal(rest.changed(edit), whole(model, "layer", batch, edit))


class Structured(nn.Module):
    """Modules that give tuples and dictionaries, the layer too."""

    class Pair(nn.Module):
        def forward(self, x):
            return x * 2, {"same": x, "note": "text"}

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.first, self.pair, self.layer = nn.Conv2d(3, 4, 1), self.Pair(), self.Pair()

    def forward(self, x):
        y, rest = self.pair(self.first(x))
        z, other = self.layer(y + rest["same"])
        other["same"] += 1
        return OrderedDict(out=(z + other["same"] + y).mean(dim=(2, 3)))


def test_structures_pass_through():
    model, batch = probed(Structured()), pictures(2)
    with rest_of(model, "layer") as rest:
        assert torch.equal(rest.intact(batch)["out"], model.module(batch)["out"])
        for edit in (*edits(), *edits()):
            expected = whole(model, "layer", batch, edit)["out"]
            assert torch.equal(rest.changed(edit)["out"], expected)
        assert rest.skipped == ["first", "pair"]


def test_the_batch_is_not_written_over():
    class Net(Small):
        def forward(self, x):
            return super().forward(x.mul_(2))

    model, batch = probed(Net()), pictures()
    kept = batch.clone()
    with rest_of(model, "second") as rest:
        one = rest.intact(batch)
        assert torch.equal(rest.changed(torch.clone), one)
    assert torch.equal(batch, kept)


def test_inference_mode_outside_changes_nothing():
    model = probed(Writing())
    with torch.inference_mode(), rest_of(model, "layer") as rest:
        rest.intact(pictures())
        found = [rest.changed(edit).clone() for edit in edits()]
    for edit, one in zip(edits(), found, strict=True):
        assert torch.equal(one, whole(model, "layer", pictures(), edit))


@pytest.mark.parametrize("fails", ["no", "edit", "body", "intact"])
def test_the_network_is_given_back_as_it_was(fails):
    module = Small()
    model = probed(module)
    module.train()
    module.first.weight.requires_grad_(False)
    module.relu.forward = module.relu.forward  # an own one of the instance
    before = state(module)

    def edit(grid):
        if fails == "edit":
            raise KeyError
        return grid

    def use():
        with rest_of(model, "second") as rest:
            assert not module.training
            rest.intact(pictures() if fails != "intact" else pictures()[:, :2])
            rest.changed(edit)
            if fails == "body":
                raise KeyError

    if fails == "no":
        use()
    else:
        with pytest.raises((KeyError, RuntimeError)):
            use()
    assert state(module) == before


def test_the_grid_is_the_layers_output():
    model = probed(Small())
    with rest_of(model, "first") as rest:  # an in-place ReLU follows
        rest.intact(pictures())
        with torch.no_grad():
            expected = model.module.first(pictures())
        assert torch.equal(rest.grid, expected)
        rest.changed(torch.zeros_like)
        assert torch.equal(rest.grid, expected)
        assert (expected < 0).any()


def test_a_layer_that_cannot_be_probed():
    with (
        pytest.raises(LayerError, match="no layer 'secnd'; nearest: second"),
        rest_of(probed(Small()), "secnd"),
    ):
        pass
