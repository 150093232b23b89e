"""Capture: values as the layer gave them, an early stop, and the model given back as it was."""

import pytest
import torch
from torch import nn

from conceptlab.errors import LayerError
from conceptlab.models import watch


class Counting(nn.Module):
    """Counts its calls."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return x + 1


class Net(nn.Module):
    """conv - in-place ReLU - tail; an unused part, a shared one on request."""

    def __init__(self, shared=False):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.block = nn.Sequential(nn.Conv2d(4, 4, 1), nn.Dropout(0.5))
        self.tail = Counting()
        self.unused = nn.Linear(2, 2)
        self.shared = shared

    def forward(self, x):
        x = self.relu(self.conv(x))
        x = self.block(x)
        if self.shared:
            x = self.block[0](x)
        return self.tail(x)


def make(shared=False):
    torch.manual_seed(0)
    return Net(shared)


def batch(n=2):
    return torch.randn(n, 3, 6, 6, generator=torch.Generator().manual_seed(1))


def capture(module, layers, images, **options):
    kept = {}
    with (
        torch.no_grad(),
        watch(module, layers, lambda k, g: kept.update({k: g.clone()}), **options) as run,
    ):
        run(images)
    return kept


def hooks(module):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in module.modules())


def test_values_before_an_in_place_relu():
    module = make()
    kept = capture(module, ["conv", "relu"], batch())
    with torch.no_grad():
        expected = module.conv(batch())
    assert torch.equal(kept["conv"], expected)
    assert (kept["conv"] < 0).any()
    assert torch.equal(kept["relu"], expected.clamp(min=0))


def test_it_stops_after_the_deepest_layer():
    module = make()
    capture(module, ["conv"], batch(1))  # is measured: whole passes
    module.tail.calls = 0
    kept = capture(module, ["conv", "relu"], batch(), stop=True)
    capture(module, ["relu"], batch())
    assert set(kept) == {"conv", "relu"}
    first = module.tail.calls
    capture(module, ["conv", "relu"], batch())
    assert module.tail.calls == first
    capture(module, ["relu"], batch(), stop=False)
    assert module.tail.calls == first + 1


def test_the_layout_is_measured_beforehand_and_once():
    module, sizes = make(), []
    module.conv.register_forward_pre_hook(lambda m, i: sizes.append(len(i[0])))
    with torch.no_grad(), watch(module, ["conv"], lambda k, g: None) as run:
        run(batch(5))
        run(batch(5))
    assert sizes == [1, 15, 5, 5]


def test_keep_is_called_inside_the_pass_in_order():
    module, order = make(), []
    with (
        torch.no_grad(),
        watch(module, ["tail", "conv", "block"], lambda k, g: order.append(k)) as r,
    ):
        r(batch())
    assert order == ["conv", "block", "tail"]


@pytest.mark.parametrize("fails", ["no", "keep", "forward", "body"])
@pytest.mark.parametrize("training", [True, False])
def test_everything_is_restored(fails, training):
    module = make()
    module.train(training)
    module.block[1].eval()
    module.conv.weight.requires_grad_(False)
    modes = {n: m.training for n, m in module.named_modules()}
    wanted = {n: p.requires_grad for n, p in module.named_parameters()}
    state = {n: v.clone() for n, v in module.state_dict().items()}

    def keep(layer, grid):
        assert not module.training
        if fails == "keep":
            raise RuntimeError("keep")

    def use():
        with torch.no_grad(), watch(module, ["relu"], keep) as run:
            module.requires_grad_(False)
            run(batch() if fails != "forward" else torch.zeros(1, 2, 6, 6))
            if fails == "body":
                raise KeyError("body")

    if fails == "no":
        use()
    else:
        with pytest.raises((RuntimeError, KeyError)):
            use()
    assert {n: m.training for n, m in module.named_modules()} == modes
    assert {n: p.requires_grad for n, p in module.named_parameters()} == wanted
    assert all(torch.equal(v, state[n]) for n, v in module.state_dict().items())
    assert hooks(module) == 0


def test_dropout_is_off():
    module = make().train()
    one, other = (capture(module, ["block"], batch())["block"] for _ in range(2))
    assert torch.equal(one, other)
    assert module.training


def test_foreign_hooks_stay():
    module, seen = make(), []
    module.conv.register_forward_hook(lambda m, i, o: seen.append(1))
    capture(module, ["conv"], batch())
    assert hooks(module) == 1
    assert seen


@pytest.mark.parametrize("stop", [True, False])
def test_a_layer_that_runs_twice_is_refused(stop):
    module = make(shared=True)
    with pytest.raises(LayerError, match=r"layer block\.0 runs more than once") as caught:
        capture(module, ["block.0"], batch(), stop=stop)
    assert "choose one of block, block.1" in str(caught.value)
    assert hooks(module) == 0
    assert set(capture(module, ["block"], batch())) == {"block"}


def test_a_layer_that_is_not_reached():
    with pytest.raises(LayerError, match="layer unused is not reached by a forward pass"):
        capture(make(), ["conv", "unused"], batch())


def test_unknown_layers_and_none():
    with pytest.raises(LayerError, match="no layer 'conf'; nearest: conv"):
        capture(make(), ["conf"], batch())
    with pytest.raises(LayerError, match="name at least one layer"):
        capture(make(), [], batch())


def test_rows_that_are_no_pictures():
    class Windows(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Identity()

        def forward(self, x):
            return self.inner(x.reshape(-1, 3, 3, 3))

    with pytest.raises(LayerError, match=r"inner gives no grid .* no row is a picture"):
        capture(Windows(), ["inner"], batch())


def test_several_batches():
    module, kept = make(), []
    with torch.no_grad(), watch(module, ["conv"], lambda k, g: kept.append(g.clone())) as run:
        for images in batch(4).split(2):
            run(images)
    with torch.no_grad():
        assert torch.allclose(torch.cat(kept), module.conv(batch(4)), atol=1e-6)


def test_a_layer_named_twice_counts_once():
    assert set(capture(make(), ["conv", "conv"], batch())) == {"conv"}
