"""The network of the caption experiment: plain convolutions, a mean, and one hidden layer.

    conceptlab layers file:analyses/tcav/network.py:caption_net --weights FILE

Between `features.8` (48 units, 16 x 16) or `features.11` (64 units, 8 x 8) and the classes lie
a ReLU and two matrices, so that what a class does with a concept depends on the picture; after
`hidden.1` (32 units) the rest is linear.
"""

from torch import Tensor, nn

CLASSES = ("beach", "forest", "desert", "street")
SIDE = 64
LAYERS = ("features.8", "features.11", "hidden.1")


def caption_net() -> nn.Module:
    return CaptionNet(len(CLASSES))


class CaptionNet(nn.Module):
    """Four convolutions of 3 x 3, the mean over positions, a hidden layer; (n, 3, 64, 64).

    Args:
        classes: how many.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.size, self.class_names = SIDE, CLASSES
        self.mean = self.std = (0.5, 0.5, 0.5)
        parts: list[nn.Module] = []
        for inputs, outputs, stride in ((3, 16, 2), (16, 32, 2), (32, 48, 1), (48, 64, 2)):
            parts += [
                nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
            ]
        self.features = nn.Sequential(*parts)
        self.hidden = nn.Sequential(nn.Linear(64, 32), nn.ReLU())
        self.head = nn.Linear(32, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, classes)."""
        logits: Tensor = self.head(self.hidden(self.features(x).mean(dim=(2, 3))))
        return logits
