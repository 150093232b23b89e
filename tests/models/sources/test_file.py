"""A network of one's own, in a file: the residual networks of He et al. 2015 for CIFAR-10."""

import pytest
import torch
from PIL import Image

from conceptlab.models import load_model

SOURCE = """
import torch
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride, self.more = stride, (outputs - inputs) // 2

    def forward(self, x):
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        short = x[:, :, :: self.stride, :: self.stride]
        return F.relu(out + F.pad(short, (0, 0, 0, 0, self.more, self.more)))


class CifarResNet(nn.Module):
    def __init__(self, blocks):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        widths = ((16, 16, 1), (16, 32, 2), (32, 64, 2))
        for i, (a, b, s) in enumerate(widths, 1):
            parts = [Block(a, b, s)] + [Block(b, b, 1) for _ in range(blocks - 1)]
            setattr(self, f"layer{i}", nn.Sequential(*parts))
        self.linear = nn.Linear(64, 10)
        self.size = 32
        self.class_names = "airplane automobile bird cat deer dog frog horse ship truck".split()

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        return self.linear(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))


def resnet20():
    return CifarResNet(3)


def resnet56():
    return CifarResNet(9)
"""


@pytest.mark.parametrize(("name", "blocks"), [("resnet20", 3), ("resnet56", 9)])
def test_cifars_networks_call_chelsea_a_cat(shared_data, tmp_path, name, blocks):
    (tmp_path / "cifar.py").write_text(SOURCE, encoding="utf-8")
    weights = shared_data / f"{name}_cifar10.safetensors"
    model = load_model(f"file:{tmp_path / 'cifar.py'}:{name}", weights=str(weights))
    with Image.open(shared_data / "photos" / "chelsea.jpg") as picture, torch.inference_mode():
        chance = model.module(model.prepare([picture])).softmax(dim=1)[0]
    assert model.class_names[int(chance.argmax())] == "cat"
    assert chance.max() > 0.95
    row = model.layers().set_index("layer").loc["layer3"]
    assert row["shape"] == (64, 8, 8)
    assert row["stride"] == 4
    # conv1, then two 3 x 3 a block; a stage's first of them is still at the stride before it
    steps = 2 * blocks * 1 + (1 + (2 * blocks - 1) * 2) + (2 + (2 * blocks - 1) * 4)
    assert row["receptive_field"] == 3 + 2 * steps


WRAPPED = """
import torch
from torch import nn

class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 5, 3, padding=1)

    def forward(self, *, pixel_values, depth):
        return {"maps": self.conv(torch.cat([pixel_values, depth], dim=1))}

class Pictures(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net, self.size = Two(), 16

    def forward(self, pictures):
        return self.net(pixel_values=pictures, depth=pictures.mean(1, keepdim=True))

def make():
    return Pictures()
"""


def test_a_setting_that_stands_in_the_file_alone_is_told(tmp_path, caplog):
    text = "from torch import std as class_names\n" + WRAPPED  # a function is no setting
    text += "\nsize = 64\nmean = std = [0.5, 0.5, 0.5]\n"  # its network has a size
    (tmp_path / "two.py").write_text(text, encoding="utf-8")
    load_model(f"file:{tmp_path / 'two.py'}:make")
    for name in ("mean", "std"):
        assert f"sets {name}, and make returns a network without it: it is not read" in caplog.text
    assert "sets size" not in caplog.text
    assert "class_names" not in caplog.text


def test_a_network_of_named_inputs_is_wrapped_by_its_factory(tmp_path):
    (tmp_path / "two.py").write_text(WRAPPED, encoding="utf-8")
    model = load_model(f"file:{tmp_path / 'two.py'}:make")
    assert model.layers()["layer"].tolist() == ["net.conv", "net"]
    picture = Image.new("RGB", (16, 16), (10, 200, 30))
    x = model.prepare([picture])
    with torch.inference_mode():
        wanted = model.module.net.conv(torch.cat([x, x.mean(1, keepdim=True)], dim=1))
    assert torch.equal(torch.from_numpy(model.activations(picture, ["net"])["net"]), wanted)
