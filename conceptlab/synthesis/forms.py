"""What is optimised in place of an image, and how it becomes the network's input.

All work on (n, 3, S, S) in the network's own coordinates, mean taken off and divided by the
standard deviation.
"""

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from conceptlab.models.probed import Preprocessing

START = 0.01  # standard deviation of the parameters that a picture starts from
EDGE = 1 / 512  # half a level of 255 from black and white, whose parameters would be infinite

#: Square root of the covariance of ImageNet's colours, its columns in decreasing order
#: (tensorflow/lucid, `optvis/param/color.py`).
COLOURS = ((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03))
CONTRAST = 0.25  # with which coefficients reach the sigmoid, as there


class Form(Protocol):
    """Parameters of images."""

    def noise(self, generators: Sequence[np.random.Generator]) -> Tensor:
        """Parameters of images to start from, one for each generator."""
        ...

    def inputs(self, values: Tensor) -> Tensor:
        """(n, 3, S, S) the network's inputs of parameters."""
        ...

    def values(self, inputs: Tensor) -> Tensor:
        """Parameters of given inputs."""
        ...

    def blurred(self, values: Tensor, sigma: float) -> Tensor:
        """Parameters after a Gaussian blur of `sigma` pixels."""
        ...


class Free:
    """The network's input itself.

    Args:
        size: S.
        preprocessing: the network's.
        device: where it is.
    """

    def __init__(self, size: int, preprocessing: Preprocessing, device: torch.device) -> None:
        self._shape: tuple[int, ...] = (3, size, size)
        self._device = device
        mean = torch.tensor(preprocessing.mean, device=device)[:, None, None]
        std = torch.tensor(preprocessing.std, device=device)[:, None, None]
        self._scale, self._shift = 1 / std, -mean / std
        rows = torch.fft.fftfreq(size, device=device)[:, None]
        columns = torch.fft.rfftfreq(size, device=device)[None]
        self.frequencies = torch.hypot(rows, columns)

    def noise(self, generators: Sequence[np.random.Generator]) -> Tensor:
        """See `Form`."""
        drawn = [START * g.standard_normal(self._shape, dtype=np.float32) for g in generators]
        return torch.from_numpy(np.stack(drawn)).to(self._device)

    def inputs(self, values: Tensor) -> Tensor:
        """See `Form`."""
        return values

    def values(self, inputs: Tensor) -> Tensor:
        """See `Form`."""
        return inputs.clone()

    def blurred(self, values: Tensor, sigma: float) -> Tensor:
        """See `Form`; the picture goes round at its border."""
        spectrum = torch.fft.rfft2(values) * self.transfer(sigma)
        blurred: Tensor = torch.fft.irfft2(spectrum, s=values.shape[-2:])
        return blurred

    def transfer(self, sigma: float) -> Tensor:
        """(S, S // 2 + 1) what a Gaussian leaves of each frequency."""
        return torch.exp(-2 * (math.pi * sigma * self.frequencies) ** 2)


class Pixels(Free):
    """Pixels through a sigmoid, so that they stay between black and white.

    Args: those of `Free`.
    """

    def inputs(self, values: Tensor) -> Tensor:
        """See `Form`."""
        return torch.addcmul(self._shift, torch.sigmoid(values), self._scale)

    def values(self, inputs: Tensor) -> Tensor:
        """See `Form`; black and white come within half a level."""
        return torch.logit((inputs - self._shift) / self._scale, eps=EDGE)


class Fourier(Pixels):
    """Coefficients of decorrelated colours and frequencies, then a sigmoid (Olah et al. 2017).

    The coefficients (n, 3, S, S // 2 + 1, 2) are divided by the frequency to the power `decay`, as
    natural images have them; the three planes are mixed as the colours of ImageNet are.

    Args:
        size: S.
        preprocessing: the network's.
        device: where it is.
        decay: the power.
    """

    def __init__(
        self, size: int, preprocessing: Preprocessing, device: torch.device, decay: float
    ) -> None:
        super().__init__(size, preprocessing, device)
        self._size = size
        self._shape = (3, size, size // 2 + 1, 2)
        self._weights = self.frequencies.clamp_min(1 / size) ** -decay
        colours = torch.tensor(COLOURS, device=device)
        self._mix = CONTRAST * colours / colours.norm(dim=0).max()

    def inputs(self, values: Tensor) -> Tensor:
        """See `Form`."""
        spectrum = torch.view_as_complex(values) * self._weights
        planes = torch.fft.irfft2(spectrum, s=(self._size, self._size), norm="ortho")
        return super().inputs((self._mix @ planes.flatten(2)).view_as(planes))

    def values(self, inputs: Tensor) -> Tensor:
        """See `Form`."""
        mixed = super().values(inputs)
        planes = (self._mix.inverse() @ mixed.flatten(2)).view_as(mixed)
        spectrum = torch.fft.rfft2(planes, norm="ortho") / self._weights
        return torch.view_as_real(spectrum).contiguous()

    def blurred(self, values: Tensor, sigma: float) -> Tensor:
        """See `Form`."""
        return values * self.transfer(sigma)[..., None]


def form_of(
    parameters: str, size: int, preprocessing: Preprocessing, device: torch.device, decay: float
) -> Form:
    """The form of a name in `Synthesis.parameters`."""
    if parameters == "fourier":
        return Fourier(size, preprocessing, device, decay)
    kind = Pixels if parameters == "pixels" else Free
    return kind(size, preprocessing, device)
