"""Glyphs for names of any script: fonts of this machine that have them, and what is done without.

Figures are drawn with matplotlib's own font, which has Latin, Greek, Cyrillic and little else. For
other characters a font that has them is looked for among those installed, once for each script.
"""

import logging
import unicodedata
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.font_manager import FontEntry
    from PIL import ImageFont

log = logging.getLogger(__name__)

LATIN = 0x17F  # the last character that Pillow's own font has without a gap
PLACEHOLDERS = "Last Resort"  # a font that draws a box for every character


def drawable(text: str) -> str:
    r"""A text in which every character has a glyph in figures.

    Fonts that are needed are appended to matplotlib's `font.family`, behind what is set there. A
    character that no installed font has is written as its code, so that unequal names stay unequal.

    >>> drawable("tree"), drawable("a\tb")
    ('tree', 'a b')
    """
    lines = "".join(" " if _is_gap(c) else c for c in text)
    if lines.isascii():
        return lines
    return "".join(c if c.isascii() or _covered(c) else _code(c) for c in lines)


def picture_font(text: str, size: int) -> "ImageFont.FreeTypeFont | ImageFont.ImageFont":
    """A font for text written into a picture: Pillow's own, or one that has all its characters.

    Args:
        text: that is to be written.
        size: pixels.
    """
    from PIL import ImageFont

    wanted = set(map(ord, drawable(text)))
    if max(wanted, default=0) > LATIN:
        for entry in [*_own(), *_others()]:
            if wanted <= _characters(entry.fname):
                return ImageFont.truetype(entry.fname, size)
    return ImageFont.load_default(size)


def _is_gap(character: str) -> bool:
    """Whether a character is drawn as a space: all blanks and controls but the end of a line."""
    return character != "\n" and (character.isspace() or unicodedata.category(character) == "Cc")


@cache
def _covered(character: str) -> bool:
    """Whether a font that is in use has a character, or one could be taken into use."""
    import matplotlib

    if any(ord(character) in _characters(entry.fname) for entry in _own()):
        return True
    for entry in _others():
        if ord(character) in _characters(entry.fname):
            families = list(matplotlib.rcParams["font.family"])
            if entry.name not in families:
                matplotlib.rcParams["font.family"] = [*families, entry.name]
            return True
    log.warning(
        "no installed font has the character U+%04X, so figures show its code; install one for its "
        "script, such as Noto Sans",
        ord(character),
    )
    return False


@cache
def _own() -> "list[FontEntry]":
    """The font that matplotlib draws with."""
    from matplotlib import font_manager

    path = font_manager.findfont(font_manager.FontProperties())
    return [entry for entry in font_manager.fontManager.ttflist if entry.fname == path]


@cache
def _others() -> "list[FontEntry]":
    """All other upright fonts of usual weight, plain ones before those with serifs."""
    from matplotlib import font_manager

    regular = [
        entry for entry in font_manager.fontManager.ttflist
        if entry.style == "normal" and entry.weight == 400 and PLACEHOLDERS not in entry.name
    ]  # fmt: skip
    return sorted(regular, key=lambda e: ("Sans" not in e.name, "Mono" in e.name, e.name))


@cache
def _characters(path: str) -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(FT2Font(path).get_charmap())
    except RuntimeError:  # a format that matplotlib cannot draw, such as coloured bitmaps
        return frozenset()


def _code(character: str) -> str:
    return f"\\u{ord(character):04x}"
