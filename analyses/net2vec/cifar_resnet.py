"""The residual networks of He et al. 2015 (section 4.2) for 32 x 32 pictures, as a `file:` model.

    conceptlab layers file:analyses/net2vec/cifar_resnet.py:resnet20

Shortcuts are option A: where a stage halves the map, its input is taken at every second row and
column, and new channels are zero, as many before the old ones as after. No convolution has a bias.
Layers worth probing, all after their ReLU: layer1, layer2, layer3.
"""

import torch
from torch import nn
from torch.nn import functional as F

CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip


class Block(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut without weights."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.stride, self.pad = stride, (after - before) // 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add the shortcut, then cut off what is negative."""
        y = torch.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        short = x[:, :, :: self.stride, :: self.stride]
        return torch.relu(y + F.pad(short, (0, 0, 0, 0, self.pad, self.pad)))


class CifarResNet(nn.Module):
    """Three stages of n blocks with 16, 32 and 64 channels: 6 n + 2 layers."""

    size = 32
    mean = (0.485, 0.456, 0.406)
    std = (0.229, 0.224, 0.225)
    class_names = CLASSES

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = self._stage(blocks, 16, 16, 1)
        self.layer2 = self._stage(blocks, 16, 32, 2)
        self.layer3 = self._stage(blocks, 32, 64, 2)
        self.linear = nn.Linear(64, len(CLASSES))

    @staticmethod
    def _stage(blocks: int, before: int, after: int, stride: int) -> nn.Sequential:
        rest = (Block(after, after, 1) for _ in range(blocks - 1))
        return nn.Sequential(Block(before, after, stride), *rest)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, 3, 32, 32) to (n, 10) logits."""
        x = torch.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean(dim=(2, 3)))


def resnet20() -> CifarResNet:
    """20 layers."""
    return CifarResNet(3)


def resnet56() -> CifarResNet:
    """56 layers."""
    return CifarResNet(9)
