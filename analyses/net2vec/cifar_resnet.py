"""The residual networks of He et al. 2015 (arXiv:1512.03385, section 4.2) for CIFAR-10.

    conceptlab layers file:analyses/net2vec/cifar_resnet.py:resnet20 --weights FILE

For pictures of 32 x 32. Shortcuts are their option A: where a stage begins, every second row and
column of the input, padded with channels of zeros on either side; they hold no weights.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip


def resnet20() -> nn.Module:
    return CifarResNet(3)


def resnet56() -> nn.Module:
    return CifarResNet(9)


class CifarResNet(nn.Module):
    """Stages of 16, 32 and 64 channels; (n, 3, 32, 32) to (n, 10).

    Args:
        blocks: in each stage; the network has 6 times as many layers, and 2 more.
    """

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.size, self.class_names = 32, CLASSES
        self.mean, self.std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(blocks, 16, 16)
        self.layer2 = _stage(blocks, 16, 32)
        self.layer3 = _stage(blocks, 32, 64)
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer1(F.relu(self.bn1(self.conv1(x))))
        x = self.layer3(self.layer2(x))
        logits: Tensor = self.linear(torch.mean(x, dim=(2, 3)))
        return logits


class Block(nn.Module):
    """Two convolutions and a shortcut; its output is after the ReLU.

    Args:
        before: channels of the input.
        after: channels of the output; where they are more, the map is half as large.
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.more = after - before
        self.stride = 2 if self.more else 1
        self.conv1 = nn.Conv2d(before, after, 3, self.stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        short = x[:, :, :: self.stride, :: self.stride]
        return F.relu(out + F.pad(short, (0, 0, 0, 0, self.more // 2, self.more // 2)))


def _stage(blocks: int, before: int, after: int) -> nn.Sequential:
    return nn.Sequential(Block(before, after), *(Block(after, after) for _ in range(blocks - 1)))
