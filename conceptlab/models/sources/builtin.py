"""`builtin:NAME`: small networks trained on `scenes`, with their weights in the package."""

import json
from pathlib import Path

import torch
from torch import Tensor, nn

from conceptlab.errors import ModelError
from conceptlab.models.sources.source import SOURCES, Built
from conceptlab.models.sources.weights import load_weights
from conceptlab.registry import near_matches

FOLDER = Path(__file__).parents[1] / "weights"
SIZE = 64
MEAN = STD = (0.5, 0.5, 0.5)


def _convolution(inputs: int, outputs: int, stride: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    ]


class SceneNet(nn.Module):
    """Plain convolutions: six of 3 x 3, to 16 x 16 and 8 x 8 maps at 64 px.

    Worth probing: features.2 (32 units, 32 x 32), features.8 (48, 16 x 16), features.14 (64, 8 x 8)
    and features.17 (96, 8 x 8), all after their ReLU.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        parts: list[nn.Module] = []
        for inputs, outputs, stride in (
            (3, 32, 2), (32, 32, 1), (32, 48, 2), (48, 48, 1), (48, 64, 2), (64, 96, 1),
        ):  # fmt: skip
            parts += _convolution(inputs, outputs, stride)
        self.features = nn.Sequential(*parts)
        self.head = nn.Linear(96, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, classes) of pictures (n, 3, S, S)."""
        pooled: Tensor = self.features(x).mean(dim=(2, 3))
        logits: Tensor = self.head(pooled)
        return logits


class Block(nn.Module):
    """Two convolutions with a shortcut; its output is after the last ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        first, second = _convolution(inputs, outputs, stride), _convolution(outputs, outputs)
        self.path = nn.Sequential(*first, *second[:2])
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(n, outputs, H / stride, W / stride)."""
        out: Tensor = self.relu(self.path(x) + self.shortcut(x))
        return out


class SceneRes(nn.Module):
    """Residual blocks: a stem and three stages, to 16 x 16 and 8 x 8 maps at 64 px.

    Worth probing: stem (24 units, 32 x 32), stages.0 (32, 32 x 32), stages.1 (48, 16 x 16) and
    stages.2 (80, 8 x 8), all after their ReLU.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(*_convolution(3, 24, 2))
        self.stages = nn.Sequential(Block(24, 32, 1), Block(32, 48, 2), Block(48, 80, 2))
        self.head = nn.Linear(80, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, classes) of pictures (n, 3, S, S)."""
        logits: Tensor = self.head(self.stages(self.stem(x)).mean(dim=(2, 3)))
        return logits


ARCHITECTURES = {"scenenet": SceneNet, "sceneres": SceneRes}


def card() -> dict[str, dict[str, object]]:
    """What is known of each built-in network: architecture, classes, task, accuracy, seed."""
    found: dict[str, dict[str, object]] = json.loads(
        (FOLDER / "models.json").read_text(encoding="utf-8")
    )
    return found


@SOURCES.register("builtin")
def build(rest: str, bare: bool) -> Built:
    """A network of this package."""
    known = card()
    if rest not in known:
        raise ModelError(f"there is no built-in network {rest!r}; {near_matches(rest, known)}")
    entry = known[rest]
    names = entry["class_names"]
    assert isinstance(names, list)
    module = ARCHITECTURES[str(entry["architecture"])](len(names))
    if not bare:
        load_weights(module, FOLDER / f"{rest}.safetensors")
    module.eval().to(torch.float32)
    return Built(module, rest, SIZE, SIZE, MEAN, STD, names)
