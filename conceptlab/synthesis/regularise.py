"""What a picture is kept from: 002, eq. 2.9 and footnote 35, and high frequencies.

Each takes (n, 3, S, S) and gives (n,), a sum over the picture.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from conceptlab.synthesis.settings import Synthesis

TINY = 1e-8  # keeps the gradient of a power below 2 finite at zero


def l2(inputs: Tensor) -> Tensor:
    """The sum of squares (eq. 2.9)."""
    return inputs.square().sum(dim=(1, 2, 3))


def alpha_norm(inputs: Tensor, alpha: float) -> Tensor:
    """The sum of |x| to the power alpha (footnote 35)."""
    return torch.pow(inputs.abs(), alpha).sum(dim=(1, 2, 3))


def total_variation(inputs: Tensor, beta: float) -> Tensor:
    """Squared steps right and down, summed, to the power beta / 2 (footnote 35)."""
    right = inputs[..., :-1, 1:] - inputs[..., :-1, :-1]
    down = inputs[..., 1:, :-1] - inputs[..., :-1, :-1]
    steps: Tensor = right.square() + down.square()
    if beta != 2:
        steps = torch.pow(steps + TINY, beta / 2)
    total: Tensor = steps.sum(dim=(1, 2, 3))
    return total


def high_frequencies(inputs: Tensor) -> Tensor:
    """The energy of each frequency times its square, in cycles a pixel; flat colour costs 0."""
    side = inputs.shape[-1]
    spectrum = torch.fft.fft2(inputs, norm="ortho")
    along = torch.fft.fftfreq(side, device=inputs.device).square()
    energy = torch.view_as_real(spectrum).square().sum(-1)
    total: Tensor = (energy * (along[:, None] + along)).sum(dim=(1, 2, 3))
    return total


def penalty(inputs: Tensor, settings: Synthesis) -> Tensor | None:
    """(n,) all of them, weighted; None where every weight is 0.

    Args:
        inputs: (n, 3, S, S) in the network's own coordinates.
        settings: with the weights.
    """
    costs: tuple[tuple[float, Callable[[], Tensor]], ...] = (
        (settings.l2, lambda: l2(inputs)),
        (settings.alpha_norm, lambda: alpha_norm(inputs, settings.alpha)),
        (settings.tv, lambda: total_variation(inputs, settings.beta)),
        (settings.frequency, lambda: high_frequencies(inputs)),
    )
    weighed = [weight * cost() for weight, cost in costs if weight > 0]
    return torch.stack(weighed).sum(0) if weighed else None
