"""Masks laid over pictures."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

EDGE = (255, 221, 51)
DIM = 0.35


def overlay(picture: Image.Image, mask: NDArray[np.bool_]) -> Image.Image:
    """The picture with everything outside the mask darkened, and the mask's border drawn.

    Args:
        picture: RGB.
        mask: (h, w), the picture's size.
    """
    pixels = np.asarray(picture.convert("RGB"), dtype=np.float32)
    shown = np.where(mask[:, :, None], pixels, pixels * DIM)
    inner = mask.copy()
    inner[1:-1, 1:-1] = (
        mask[1:-1, 1:-1] & mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
    )
    inner[[0, -1]] = False
    inner[:, [0, -1]] = False
    shown[mask & ~inner] = EDGE
    return Image.fromarray(shown.astype(np.uint8))
