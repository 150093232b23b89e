"""How an image is optimised."""

import math
from dataclasses import dataclass

from conceptlab.errors import InputError
from conceptlab.given import require_fields

PARAMETERS = ("fourier", "pixels", "free")


@dataclass(frozen=True)
class Synthesis:
    """How an image is made, and what it is kept from.

    The regularisers are those of 002, eq. 2.9, 2.10 and footnote 35, sums over the picture as the
    network gets it (mean taken off, divided by the standard deviation), each times its weight.

    Args:
        size: pixels on a side; the network's own if not given.
        steps: of Adam, on each octave.
        rate: its step size.
        parameters: 'fourier', coefficients whose colours and frequencies are decorrelated (Olah et
            al. 2017); 'pixels', which lie between black and white as the former do; 'free',
            unbounded pixels in the network's own coordinates, as the formulas have them.
        decay: how much smaller a step is at a higher frequency (1 / f to this power).
        l2: weight of the sum of squares.
        alpha_norm: weight of the sum of |x| to the power `alpha`.
        alpha: see there.
        tv: weight of the total variation.
        beta: its exponent.
        frequency: weight of the energy times the squared frequency (cycles a pixel).
        blur: standard deviation, in pixels, of a Gaussian that goes over the parameters after every
            step (000, program 3.4).
        jitter: at every step the picture is moved by up to this share of its side,
        scale: brought to a size up to this share larger or smaller, and
        rotate: turned by up to so many degrees; what comes in at the border is its reflection. In
            the last quarter of the steps all three come to rest.
        octaves: sizes, the picture growing from one to the next (000, program 3.5).
        growth: of the side, from one octave to the next.
        diversity: among equal objectives, how much of an image's value it costs that its Gram
            matrix at the layer is like the others' (mean cosine; Olah et al. 2017).

    Raises:
        InputError: numbers that make no sense.
    """

    size: int | None = None
    steps: int = 256
    rate: float = 0.05
    parameters: str = "fourier"
    decay: float = 1.0
    l2: float = 0.0
    alpha_norm: float = 0.0
    alpha: float = 6.0
    tv: float = 0.0
    beta: float = 2.0
    frequency: float = 0.0
    blur: float = 0.0
    jitter: float = 0.035
    scale: float = 0.1
    rotate: float = 5.0
    octaves: int = 1
    growth: float = 1.8
    diversity: float = 0.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        require_fields(self)
        if self.parameters not in PARAMETERS:
            raise InputError(
                f"parameters is one of {', '.join(PARAMETERS)}; got {self.parameters!r}"
            )
        for name, least in (("size", 1), ("steps", 0), ("octaves", 1)):
            value = getattr(self, name)
            if value is not None and (value != int(value) or value < least):
                raise InputError(f"{name} is a whole number from {least} on; got {value}")
        for name in WEIGHTS:
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise InputError(f"{name} is a number from 0 on; got {value}")
        for name, bound in (("rate", 0.0), ("alpha", 0.0), ("beta", 0.0), ("growth", 1.0)):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > bound):
                raise InputError(f"{name} is a number above {bound:g}; got {value}")

    def sides(self, full: int) -> list[int]:
        """The side of each octave, smallest first.

        Args:
            full: the last one's.
        """
        shrinks = [self.growth**k for k in reversed(range(self.octaves))]
        return [max(round(full / shrink), 1) for shrink in shrinks]


WEIGHTS = (
    "decay", "l2", "alpha_norm", "tv", "frequency", "blur", "jitter", "scale", "rotate",
    "diversity",
)  # fmt: skip
