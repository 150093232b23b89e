"""Colours that things take."""

import numpy as np

from conceptlab.data.scenes.canvas import Color, varied

Rng = np.random.Generator

BRIGHT: tuple[Color, ...] = (
    (200, 35, 40), (30, 80, 190), (235, 200, 40), (240, 240, 240), (30, 30, 34), (40, 140, 70),
    (240, 130, 30), (130, 60, 160), (240, 150, 180), (130, 130, 136), (110, 70, 40),
)  # fmt: skip
WOOD: Color = (125, 82, 48)
LEAVES: tuple[Color, ...] = (
    (45, 120, 50),
    (70, 150, 60),
    (30, 90, 45),
    (200, 120, 30),
    (150, 160, 50),
)
SKIN: tuple[Color, ...] = ((236, 190, 160), (150, 100, 70), (205, 150, 115))


def pick(rng: Rng, colors: tuple[Color, ...] = BRIGHT) -> Color:
    """One of some colours, varied a little."""
    return varied(rng, colors[rng.integers(len(colors))], 10)
