"""Which part of a picture a network sees, and where a label pixel comes from."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conceptlab.errors import InputError

FITS = ("whole", "crop")
INTERPOLATIONS = ("bilinear", "bicubic", "nearest", "box", "hamming", "lanczos")
Index = NDArray[np.int64]


@dataclass(frozen=True)
class Geometry:
    """From a picture to the network's square input.

    Args:
        size: pixels on a side of the input.
        fit: 'whole' resizes the whole picture to size x size, whatever its aspect; 'crop' brings
            the shorter side to `resize` and takes the centre.
        resize: the shorter side before the crop; `size` if not given.
        interpolation: of pictures, by Pillow's names, with antialiasing; labels are never mixed.

    Raises:
        InputError: an unknown fit or interpolation, no pixels, or a crop larger than what it is cut
            from.
    """

    size: int
    fit: str = "whole"
    resize: int | None = None
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        """Check the settings."""
        if self.fit not in FITS:
            raise InputError(f"fit is one of {', '.join(FITS)}; got {self.fit!r}")
        if self.interpolation not in INTERPOLATIONS:
            raise InputError(
                f"interpolation is one of {', '.join(INTERPOLATIONS)}; got {self.interpolation!r}"
            )
        if self.size < 1:
            raise InputError(f"an input size is at least 1 pixel; got {self.size}")
        if self.fit == "crop" and (self.resize or self.size) < self.size:
            raise InputError(f"cannot crop {self.size} pixels from a side of {self.resize}")

    def spec(self) -> dict[str, Any]:
        """The same as JSON values; bilinear, which all were once, goes without saying."""
        own = {"size": self.size, "fit": self.fit, "resize": self.resize}
        if self.interpolation == "bilinear":
            return own
        return own | {"interpolation": self.interpolation}

    def label_rows_cols(self, height: int, width: int, label_size: tuple[int, int]) -> tuple[
        Index, Index
    ]:  # fmt: skip
        """Where label pixels come from: the native pixel that holds the centre of each.

        Args:
            height: of the native label map.
            width: of it.
            label_size: (h, w) wanted, cells of the part of the picture that the network sees.

        Returns:
            (h,) rows and (w,) columns of the native map.
        """
        full_width, full_height = self.resized(width, height)
        top, left = self.corner(full_height, full_width)
        return (
            _holding(height, full_height, top, self.size, label_size[0]),
            _holding(width, full_width, left, self.size, label_size[1]),
        )

    def seen(self, height: int, width: int) -> tuple[tuple[float, float], tuple[float, float]]:
        """The part of a picture that the network sees, in shares of its height and width.

        Returns:
            (top, bottom) and (left, right), all in 0..1.
        """
        if self.fit == "whole":
            return (0.0, 1.0), (0.0, 1.0)
        full_width, full_height = self.resized(width, height)
        top, left = self.corner(full_height, full_width)
        return (
            (top / full_height, (top + self.size) / full_height),
            (left / full_width, (left + self.size) / full_width),
        )

    def pixels_seen(self, height: int, width: int) -> tuple[slice, slice]:
        """The rows and columns of a picture, or of its label map, of which the network sees any."""
        full_width, full_height = self.resized(width, height)
        top, left = self.corner(full_height, full_width)
        return (
            _touched(height, full_height, top, self.size),
            _touched(width, full_width, left, self.size),
        )

    def resized(self, width: int, height: int) -> tuple[int, int]:
        """Width and height that a picture is brought to before any crop, as torchvision's."""
        if self.fit == "whole":
            return self.size, self.size
        short = self.resize or self.size
        if width <= height:
            return short, int(short * height / width)
        return int(short * width / height), short

    def corner(self, height: int, width: int) -> tuple[int, int]:
        """Top and left of what is kept of a resized picture."""
        if self.fit == "whole":
            return 0, 0
        return round((height - self.size) / 2.0), round((width - self.size) / 2.0)


def _holding(n_in: int, full: int, first: int, size: int, n_out: int) -> Index:
    """The value of n_in that holds the centre of each of n_out cells of a part.

    The part is `size` of `full` from `first` on. In integers, so that it is exact: the upper of
    the two where a centre lies on a border.
    """
    centres = 2 * n_out * first + (2 * np.arange(n_out, dtype=np.int64) + 1) * size
    place: Index = centres * n_in // (2 * n_out * full)
    return place


def _touched(n_in: int, full: int, first: int, size: int) -> slice:
    """The values of n_in that a part, `size` of `full` from `first` on, reaches into."""
    return slice(first * n_in // full, -(-(first + size) * n_in // full))
