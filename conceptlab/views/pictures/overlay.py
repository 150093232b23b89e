"""Masks laid over pictures, and rows of pictures with captions."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from conceptlab.numerics.pixels import in_colours
from conceptlab.views.fonts import drawable, picture_font

EDGE = (255, 221, 51)
DIM = 0.6
GREY = (0.299, 0.587, 0.114)  # luminance, ITU-R BT.601
GAP, LINE = 6, 16  # pixels between pictures, and of a line of caption


def overlay(
    picture: Image.Image, mask: NDArray[np.bool_], color: tuple[int, int, int] = EDGE
) -> Image.Image:
    """The picture with all outside the mask grey and darker, and the mask's border drawn.

    Args:
        picture: of any mode, (h, w).
        mask: (h, w), where the picture stays as it is.
        color: of the border, which lies inside the mask.

    Returns:
        RGB, (h, w).

    Raises:
        ValueError: a mask of another size.
    """
    pixels = np.asarray(in_colours(picture), dtype=np.float32)
    if mask.shape != pixels.shape[:2]:
        raise ValueError(f"a mask of {mask.shape} does not fit a picture of {pixels.shape[:2]}")
    outside = DIM * (pixels @ np.array(GREY, dtype=np.float32))
    shown = np.where(mask[:, :, None], pixels, outside[:, :, None])
    inner = mask.copy()
    inner[1:-1, 1:-1] = (
        mask[1:-1, 1:-1] & mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
    )
    inner[[0, -1]] = False
    inner[:, [0, -1]] = False
    shown[mask & ~inner] = color
    return Image.fromarray(shown.astype(np.uint8))


def strip(pictures: Sequence[Image.Image], captions: Sequence[str] = ()) -> Image.Image:
    """Pictures side by side on white, each with its caption below.

    Args:
        pictures: of any sizes; tops are aligned.
        captions: one per picture, or none; cut where they are wider than their picture.

    Returns:
        RGB.

    Raises:
        ValueError: another number of captions, or no picture.
    """
    if not pictures or (captions and len(captions) != len(pictures)):
        raise ValueError(f"{len(captions)} captions do not fit {len(pictures)} pictures")
    tallest = max(p.height for p in pictures)
    width = sum(p.width for p in pictures) + GAP * (len(pictures) - 1)
    row = Image.new("RGB", (width, tallest + (LINE if captions else 0)), "white")
    draw = ImageDraw.Draw(row)
    left = 0
    for place, picture in enumerate(pictures):
        row.paste(in_colours(picture), (left, 0))
        if captions:
            font = picture_font(captions[place], 11)
            text = _cut(drawable(captions[place]), font, picture.width)
            draw.text((left, tallest + 2), text, fill=(60, 60, 60), font=font)
        left += picture.width + GAP
    return row


def stack(rows: Sequence[Image.Image]) -> Image.Image:
    """Pictures below one another on white, left edges aligned.

    Args:
        rows: at least one.

    Returns:
        RGB.
    """
    height = sum(r.height for r in rows) + GAP * (len(rows) - 1)
    whole = Image.new("RGB", (max(r.width for r in rows), height), "white")
    top = 0
    for row in rows:
        whole.paste(row, (0, top))
        top += row.height + GAP
    return whole


def mosaic(
    pictures: Sequence[Image.Image], captions: Sequence[str], side: int = 112, columns: int = 6
) -> Image.Image:
    """Pictures of one size in rows, each with its caption below.

    Args:
        pictures: of any sizes.
        captions: one per picture.
        side: pixels that each is brought to.
        columns: pictures in a row.

    Returns:
        RGB.
    """
    small = [picture.resize((side, side), Image.Resampling.LANCZOS) for picture in pictures]
    starts = range(0, len(small), columns)
    return stack([strip(small[at : at + columns], captions[at : at + columns]) for at in starts])


def _cut(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """As much of a text as fits, with dots where something is missing."""
    kept = text
    while kept and font.getlength(kept if kept == text else f"{kept}...") > width:
        kept = kept[:-1]
    return kept if kept == text else f"{kept}..."


def upright(picture: Image.Image) -> Image.Image:
    """Squares that stand side by side, below one another; another picture as it is."""
    side = picture.height
    if picture.width % side or picture.width == side:
        return picture
    column = Image.new("RGB", (side, picture.width))
    for place in range(picture.width // side):
        column.paste(picture.crop((place * side, 0, (place + 1) * side, side)), (0, place * side))
    return column


def open_picture(path: Path) -> Image.Image:
    """An RGB picture of a file."""
    with Image.open(path) as picture:
        return picture.convert("RGB")
