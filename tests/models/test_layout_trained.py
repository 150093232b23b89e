"""Trained networks: every layer that gives rows and columns is offered, with the right axes."""

import pytest
import torch
from torch import nn

from conceptlab.models import load_model
from conceptlab.models.grid import first_tensor, to_grid
from conceptlab.models.layout import layouts
from tests.models.sources.test_file import SOURCE

MAPS = (nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.ReLU6, nn.MaxPool2d, nn.Dropout, nn.Identity)


def wrongly_read(module, size):
    """Layers of (n, K, H, W), by their libraries' documentation, that are refused or turned."""
    found = layouts(module, torch.empty(1, 3, size, size))
    wrong, seen = [], []

    def hook(layer, output):
        raw = first_tensor(output, layer)
        layout = found[layer]
        if raw.ndim != 4 or layout.calls > 1:
            return
        seen.append(layer)
        if layout.form is None or not torch.equal(to_grid(raw, layout.form), raw):
            wrong.append((layer, layout))

    parts = [(name, part) for name, part in module.named_modules() if name in found]
    handles = [
        part.register_forward_hook(lambda m, i, o, name=name: hook(name, o)) for name, part in parts
    ]
    with torch.no_grad():
        module(torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(3)))
    for handle in handles:
        handle.remove()
    maps = {name for name, part in parts if isinstance(part, MAPS) and found[name].calls == 1}
    assert len(maps & set(seen)) > 10
    return wrong


@pytest.mark.parametrize("name", ["scenenet", "sceneres"])
@pytest.mark.parametrize("size", [64, 49])
def test_built_in_networks(name, size):
    assert wrongly_read(load_model(f"builtin:{name}").module, size) == []


@pytest.mark.parametrize("size", [32, 45])
def test_cifars_networks(shared_data, tmp_path, size):
    (tmp_path / "cifar.py").write_text(SOURCE, encoding="utf-8")
    for name in ("resnet20", "resnet56"):
        weights = str(shared_data / f"{name}_cifar10.safetensors")
        model = load_model(f"file:{tmp_path / 'cifar.py'}:{name}", weights=weights)
        assert wrongly_read(model.module, size) == []


@pytest.mark.slow
@pytest.mark.parametrize("size", [224, 130])
@pytest.mark.parametrize(
    ("spec", "weights"),
    [
        ("torchvision:squeezenet1_0", "squeezenet1_0_imagenet"),
        ("torchvision:mobilenet_v2", "mobilenet_v2_imagenet"),
        ("timm:efficientnet_lite0", "efficientnet_lite0_imagenet"),
    ],
)
def test_networks_of_imagenet(shared_data, spec, weights, size):
    model = load_model(spec, weights=str(shared_data / f"{weights}.safetensors"))
    assert wrongly_read(model.module, size) == []
