"""The eleven basic colour names of pixels, by rule.

Berlin & Kay's eleven terms, which Broden uses as its colour concepts. A colour is named by its
lightness, chroma and hue in CIE LCh (D65): dark, light and greyish ones first, the rest by hue.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

NAMES = (
    "black", "blue", "brown", "grey", "green", "orange", "pink", "purple", "red", "white",
    "yellow",
)  # fmt: skip
AT_ONCE = 1 << 18  # pixels: what is in between takes many times their memory
BINS = 32  # per channel: colours that differ by less than 8 of 256 share a name


def name_pixels(pixels: NDArray[np.uint8]) -> NDArray[np.int32]:
    """The index into `NAMES` of each pixel's colour.

    Args:
        pixels: (..., 3) RGB.

    Returns:
        (...).
    """
    colors, table = pixels.reshape(-1, 3), color_table().ravel()
    found = np.empty(len(colors), dtype=np.int32)
    for start in range(0, len(colors), AT_ONCE):
        cells = colors[start : start + AT_ONCE].astype(np.uint16) >> 3
        flat = cells[:, 0] << 10 | cells[:, 1] << 5 | cells[:, 2]
        found[start : start + AT_ONCE] = table.take(flat)
    return found.reshape(pixels.shape[:-1])


@cache
def color_table() -> NDArray[np.int32]:
    """(32, 32, 32) the name of each cell of 8 x 8 x 8 RGB values, by its middle."""
    levels = (np.arange(BINS) * 8 + 4) / 255.0
    rgb = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1)
    table = name_lch(*lch(rgb)).astype(np.int32)
    table.setflags(write=False)
    return table


def lch(rgb: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """CIE lightness 0..100, chroma and hue in degrees 0..360 of sRGB values 0..1 (..., 3)."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    xyz = linear @ to_xyz.T / to_xyz.sum(axis=1)
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    a, b = 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])
    return 116 * f[..., 1] - 16, np.hypot(a, b), np.degrees(np.arctan2(b, a)) % 360


def name_lch(
    lightness: NDArray[np.float64], chroma: NDArray[np.float64], hue: NDArray[np.float64]
) -> NDArray[np.int64]:
    """The index into `NAMES` by lightness, chroma and hue; the first rule that holds decides."""
    red, warm, yellow = (hue < 42) | (hue >= 350), (hue >= 42) & (hue < 75), hue < 112
    rules = [
        ((lightness < 18) & (chroma < 50), "black"),
        (lightness < 6, "black"),
        ((chroma < 10) & (lightness < 28), "black"),
        ((chroma < 10) & (lightness > 86), "white"),
        (chroma < 10, "grey"),
        (red & (lightness > 62), "pink"),
        (red & (lightness < 35) & (chroma < 40), "brown"),
        (red & (chroma < 26), "brown"),
        (red, "red"),
        (warm & (lightness > 78) & (chroma < 40), "pink"),
        (warm & ((lightness < 56) | (chroma < 42)), "brown"),
        (warm, "orange"),
        (yellow & (lightness < 52), "brown"),
        (yellow & (chroma < 30) & (lightness < 68), "brown"),
        (yellow & (hue < 82) & (chroma > 60) & (lightness < 80), "orange"),
        (yellow, "yellow"),
        (hue < 190, "green"),
        (hue < 307, "blue"),  # that of pure sRGB blue is 306
        ((hue >= 325) & (lightness > 55), "pink"),
        ((hue < 330) | (lightness < 45), "purple"),
    ]
    indices = [NAMES.index(name) for _, name in rules]
    return np.select([rule for rule, _ in rules], indices, NAMES.index("pink"))
