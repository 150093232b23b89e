"""Colours, names and ids that the plots and the report share."""

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from conceptlab.views.fonts import drawable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TASKS = {
    "segment": "segmentation",
    "segment-raw": "segmentation, units not thresholded",
    "classify": "classification",
}
SCORE = {"segment": "IoU_set", "segment-raw": "IoU_set", "classify": "accuracy"}

#: Broden's categories in Okabe & Ito's colours, which colour-blind readers can tell apart.
CATEGORIES = {
    "object": "#0072B2", "part": "#E69F00", "material": "#009E73", "color": "#CC79A7",
    "scene": "#56B4E9", "texture": "#D55E00",
}  # fmt: skip
OTHERS = ("#332288", "#882255", "#999933", "#117733", "#6B6B6B", "#AA4466", "#44AA99", "#661100")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
PROBE, UNIT = "#0072B2", "#E69F00"
LONGEST = 80  # characters of a text in a figure
CHANCE, SHUFFLED, UNTRAINED, PLAIN = "#6B6B6B", "#D55E00", "#009E73", "#8A5AA8"


def axes_or_new(ax: "Axes | None", size: tuple[float, float] = (5.4, 3.4)) -> "Axes":
    """The axes given, or those of a figure of its own that no window shows; both in our style.

    Args:
        ax: or none.
        size: inches of a new figure.
    """
    if ax is None:
        from matplotlib.figure import Figure

        ax = Figure(figsize=size, layout="constrained").subplots()
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=8)
    return ax


def category_colors(categories: Iterable[str]) -> dict[str, str]:
    """A fixed colour for each of Broden's categories; others get one by their name.

    Args:
        categories: those that are drawn; two of them share a colour only if more than eight are
            none of Broden's.
    """
    names = list(dict.fromkeys(categories))
    colors = {name: CATEGORIES[name] for name in names if name in CATEGORIES}
    free = list(OTHERS)
    for name in sorted(set(names) - set(colors)):
        free = free or list(OTHERS)
        place = int(hashlib.sha256(name.encode()).hexdigest(), 16) % len(free)
        colors[name] = free.pop(place)
    return {name: colors[name] for name in names}


def category_markers(categories: Iterable[str]) -> dict[str, str]:
    """A marker for each category, so that colour is not all that tells them apart."""
    names = list(dict.fromkeys(categories))
    known = list(CATEGORIES)
    ranked = sorted(names, key=lambda n: (known.index(n) if n in known else len(known), n))
    return {name: MARKERS[i % len(MARKERS)] for i, name in enumerate(ranked)}


def plain(text: object) -> str:
    r"""A text that matplotlib writes as it stands: no formulas, no labels that vanish.

    Longer texts lose their middle, so that a figure keeps its shape, and characters of other
    scripts get a font that has them (`conceptlab.views.fonts.drawable`).

    >>> plain("_a $b$"), len(plain("x" * 300))
    (' _a \\$b\\$', 80)
    """
    written = str(text)
    if len(written) > LONGEST:
        written = f"{written[: LONGEST - 19]}...{written[-16:]}"
    written = drawable(written).replace("$", r"\$")
    return f" {written}" if written.startswith("_") else written


def slug(text: str) -> str:
    """A name for files and for ids in a page, whatever the text; unequal texts stay unequal.

    >>> slug("scenenet-2.1"), slug("<script>")
    ('scenenet-2.1', '-script--5b63e5')
    """
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "-._") else "-" for c in text)
    if safe == text and text:
        return safe
    return f"{safe}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"
