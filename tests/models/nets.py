"""Small networks and how to wrap them."""

import torch
from torch import nn

from conceptlab.models.probed import Preprocessing, ProbedModel
from conceptlab.numerics.geometry import Geometry


def probed(module, size=8, names=None):
    """A network as `load_model` would give it."""
    seen = Preprocessing(Geometry(size), (0.5,) * 3, (0.5,) * 3)
    return ProbedModel(module, seen, name="toy", spec="toy", class_names=names)


def pictures(n=3, size=8, seed=0, dtype=torch.float32):
    """(n, 3, size, size) noise."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 3, size, size, generator=generator, dtype=dtype)


def state(module):
    """Everything of a network that has to be given back."""
    return (
        {n: m.training for n, m in module.named_modules()},
        {n: p.requires_grad for n, p in module.named_parameters()},
        {n: list(vars(m).get("_forward_hooks", ())) for n, m in module.named_modules()},
        {n: vars(m).get("forward") for n, m in module.named_modules()},
        {n: v.sum().item() for n, v in module.state_dict().items()},
    )


class Small(nn.Module):
    """conv - in-place ReLU - conv - head."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.second = nn.Conv2d(4, 5, 3, padding=1)
        self.head = nn.Linear(5, 2)

    def forward(self, x):
        return self.head(self.second(self.relu(self.first(x))).mean(dim=(2, 3)))
