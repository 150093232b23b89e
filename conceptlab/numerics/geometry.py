"""Which part of a picture a network sees, and where a label pixel comes from."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conceptlab.errors import InputError

FITS = ("whole", "crop")
Index = NDArray[np.int64]


@dataclass(frozen=True)
class Geometry:
    """From a picture to the network's square input.

    Args:
        size: pixels on a side of the input.
        fit: 'whole' resizes the whole picture to size x size, whatever its aspect; 'crop' brings
            the shorter side to `resize` and takes the centre.
        resize: the shorter side before the crop; `size` if not given.

    Raises:
        InputError: an unknown fit, no pixels, or a crop larger than what it is cut from.
    """

    size: int
    fit: str = "whole"
    resize: int | None = None

    def __post_init__(self) -> None:
        """Check the settings."""
        if self.fit not in FITS:
            raise InputError(f"fit is one of {', '.join(FITS)}; got {self.fit!r}")
        if self.size < 1:
            raise InputError(f"an input size is at least 1 pixel; got {self.size}")
        if self.fit == "crop" and (self.resize or self.size) < self.size:
            raise InputError(f"cannot crop {self.size} pixels from a side of {self.resize}")

    def spec(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {"size": self.size, "fit": self.fit, "resize": self.resize}

    def label_rows_cols(self, height: int, width: int, label_size: tuple[int, int]) -> tuple[
        Index, Index
    ]:  # fmt: skip
        """Where label pixels come from: nearest to the input's pixels, then to the label size's.

        Args:
            height: of the native label map.
            width: of it.
            label_size: (h, w) wanted.

        Returns:
            (h,) rows and (w,) columns of the native map.
        """
        full_width, full_height = self.resized(width, height)
        top, left = self.corner(full_height, full_width)
        rows = _nearest(height, full_height)[top : top + self.size]
        columns = _nearest(width, full_width)[left : left + self.size]
        return (
            rows[_nearest(self.size, label_size[0])],
            columns[_nearest(self.size, label_size[1])],
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


def _nearest(n_in: int, n_out: int) -> Index:
    """(n_out,) the index of the input value in whose interval each output's centre lies."""
    place: Index = (2 * np.arange(n_out) + 1) * n_in // (2 * n_out)  # in integers: exact at ties
    return place
