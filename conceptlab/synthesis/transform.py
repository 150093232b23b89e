"""Pictures moved, scaled and turned a little at every step (002, transformation robustness)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import grid_sample

from conceptlab.numerics.sampling import give_back
from conceptlab.synthesis.settings import Synthesis


def motions(
    generators: Sequence[np.random.Generator], settings: Synthesis, size: int
) -> NDArray[np.float32] | None:
    """Where each picture's pixels come from at every step; None where nothing moves.

    In the last quarter motions come to rest: what is made then is the picture as it is shown, and
    not one that moves.

    Args:
        generators: one for each picture.
        settings: with jitter, scale and rotate.
        size: pixels on a side.

    Returns:
        (steps, n, 2, 3) from a place (x, y, 1) in -1..1 to its source.
    """
    if not (settings.jitter or settings.scale or settings.rotate):
        return None
    drawn = [_motion(generator, settings, size) for generator in generators]
    return np.stack(drawn, axis=1).astype(np.float32)


def _motion(generator: np.random.Generator, settings: Synthesis, size: int) -> NDArray[np.float64]:
    """(steps, 2, 3) of one picture."""
    steps = settings.steps
    calm = np.minimum(1.0, 4.0 - 4.0 * np.arange(steps) / max(steps, 1))
    right, down, larger, left = generator.uniform(-1, 1, (4, steps)) * calm
    shift = np.round(np.stack([right, down], axis=1) * settings.jitter * size) * 2.0 / size
    zoom = (1 + settings.scale) ** larger
    angle = np.radians(settings.rotate) * left
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.concatenate([(turn / zoom).transpose(2, 0, 1), shift[:, :, None]], axis=2)


def moved(inputs: Tensor, motion: Tensor) -> Tensor:
    """Pictures (n, 3, S, S) after their motions (n, 2, 3); reflected at the border."""
    side = inputs.shape[-1]
    along = torch.arange(1 - side, side, 2, device=inputs.device) / side  # centres of pixels
    across = along[:, None] * motion[:, None, :, 0]
    down = along[:, None] * motion[:, None, :, 1] + motion[:, None, :, 2]
    grid = down[:, :, None] + across[:, None]
    if inputs.device.type != "cpu":
        return _sampled(inputs, grid)
    found: Tensor = _Sampled.apply(inputs, grid)
    return found


def _sampled(inputs: Tensor, grid: Tensor) -> Tensor:
    return grid_sample(inputs, grid, padding_mode="reflection", align_corners=False)


class _Sampled(torch.autograd.Function):
    """The same with a faster way back (`analyses/benchmarks/synthesis.py` counts it)."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, grid: Tensor) -> Tensor:
        """(n, 3, S, S), channels last as the network wants it."""
        ctx.save_for_backward(grid)
        ctx.size = tuple(inputs.shape[2:])
        return _sampled(inputs, grid).contiguous(memory_format=torch.channels_last)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, None]:
        """The gradient of the pictures; the grid needs none."""
        rows = slopes[0].permute(0, 2, 3, 1).contiguous().numpy()
        return torch.from_numpy(give_back(rows, ctx.saved_tensors[0].numpy(), ctx.size)), None
