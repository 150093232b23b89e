"""Several images for one objective that differ (Olah et al. 2017, "Feature Visualization")."""

from collections.abc import Sequence

import torch
from torch import Tensor

TINY = 1e-12  # of the squared length of a Gram matrix that is all zero


def likeness(outputs: Tensor) -> Tensor:
    """(g,) the mean cosine of each image's Gram matrix with the others'.

    Args:
        outputs: (g, K, H, W) of a layer, g at least 2.
    """
    flat = outputs.flatten(2)
    grams = (flat @ flat.transpose(1, 2)).flatten(1)
    unit = grams / (grams.square().sum(1, keepdim=True) + TINY).sqrt()
    cosines = unit @ unit.T
    count = len(outputs)
    others = 1 - torch.eye(count, device=outputs.device)
    return (cosines * others).sum(1) / (count - 1)


def diversity_cost(
    values: Tensor,
    outputs: dict[str, Tensor],
    groups: Sequence[tuple[str, list[int]]],
    weight: float,
) -> Tensor:
    """What the likeness of equal objectives' images costs, in shares of their values.

    Args:
        values: (n,) of the objectives.
        outputs: (n, K, H, W) by layer.
        groups: a layer, and the images of equal objectives there.
        weight: `Synthesis.diversity`.
    """
    costs = [
        (values[rows].detach().abs() * likeness(outputs[layer][rows])).sum()
        for layer, rows in groups
    ]
    return weight * torch.stack(costs).sum()
