"""Exemplars as rows of pictures, and empirical receptive fields."""

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from conceptlab.activations.patches import require_pictures
from conceptlab.errors import InputError
from conceptlab.models.picture import network_view
from conceptlab.numerics.parallel import ordered_map
from conceptlab.views.pictures.overlay import LINE, overlay, stack, strip
from conceptlab.views.style import axes_or_new, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from conceptlab.analysis.units.exemplars import Exemplars
    from conceptlab.analysis.units.receptive_field import Fields
    from conceptlab.data.base import ProbeDataset

SIDE = 112
SHOWN = ("masked", "whole", "patch")


def exemplar_pictures(
    found: "Exemplars",
    data: "ProbeDataset",
    *,
    show: str = "masked",
    fields: "Fields | None" = None,
    side: int = SIDE,
) -> list[Image.Image]:
    """A picture for each row of the table of exemplars.

    Args:
        found: the exemplars.
        data: the probe data set.
        show: the image grey outside the mask ('masked'), the image as it is ('whole'), or the part
            around the peak ('patch').
        fields: empirical fields, as large as which patches are.
        side: pixels of each picture.

    Returns:
        RGB pictures (side, side), in the order of the table.

    Raises:
        InputError: an unknown way to show them, or another data set.
    """
    if show not in SHOWN:
        raise InputError(f"show is one of {', '.join(SHOWN)}; got {show!r}")
    require_pictures(found.targets.activations, data)
    if show == "patch":
        cut = found.patches(data, None if fields is None else fields.table)
        return [_resized(pixels, side) for pixels in cut]
    rows = found.table["row"].to_numpy()
    geometry = found.targets.activations.geometry
    masked = show == "masked"
    if masked:
        _ = found.levels  # once, before the threads ask for it

    def draw(place: int) -> Image.Image:
        picture = _resized(network_view(data.image(int(rows[place])), geometry), side)
        return overlay(picture, found.mask(place, (side, side))) if masked else picture

    return list(ordered_map(draw, range(len(rows))))


def draw_exemplars(
    found: "Exemplars",
    data: "ProbeDataset",
    *,
    show: str = "masked",
    fields: "Fields | None" = None,
    side: int = SIDE,
) -> Image.Image:
    """A row of pictures for each target, with its name above and values and images below.

    Args:
        found: the exemplars.
        data: the probe data set.
        show: 'masked', 'whole' or 'patch', see `exemplar_pictures`.
        fields: empirical fields, as large as which patches are.
        side: pixels of each picture.

    Returns:
        RGB.
    """
    pictures = exemplar_pictures(found, data, show=show, fields=fields, side=side)
    table = found.table
    captions = [
        f"{value:.3g}  {image.rpartition('/')[2]}"
        for value, image in zip(table["value"], table["image"], strict=True)
    ]
    count = len(table) // len(found.targets)
    rows = []
    for number, name in enumerate(found.targets.names):
        own = slice(number * count, (number + 1) * count)
        rows += [_heading(name), strip(pictures[own], captions[own])]
    return stack(rows)


def plot_exemplars(
    found: "Exemplars",
    data: "ProbeDataset",
    *,
    show: str = "masked",
    fields: "Fields | None" = None,
    side: int = SIDE,
    ax: "Axes | None" = None,
) -> "Axes":
    """The picture of `draw_exemplars` in axes.

    Args:
        found: the exemplars.
        data: the probe data set.
        show: 'masked', 'whole' or 'patch', see `exemplar_pictures`.
        fields: empirical fields, as large as which patches are.
        side: pixels of each picture.
        ax: to draw into; a new figure as large as the picture if not given.

    Returns:
        The axes.
    """
    picture = draw_exemplars(found, data, show=show, fields=fields, side=side)
    ax = axes_or_new(ax, (picture.width / 100, picture.height / 100))
    ax.imshow(np.asarray(picture), interpolation="none")
    ax.set_axis_off()
    return ax


def plot_field(fields: "Fields", target: str, ax: "Axes | None" = None) -> "Axes":
    """How much a target's value changes when a part of the picture is covered.

    Args:
        fields: the empirical fields.
        target: whose.
        ax: to draw into; a new figure if not given.

    Returns:
        The axes, in pixels from the peak; a square is as large as the field, a dashed one as the
        theoretical field.

    Raises:
        InputError: no such target.
    """
    names = fields.table["target"].tolist()
    if target not in names:
        raise InputError(f"no field of {target!r}; there are {', '.join(names[:8])}")
    row = fields.table.iloc[names.index(target)]
    change = fields.maps[names.index(target)]
    ax = axes_or_new(ax, (3.4, 3.4))
    edge = len(change) * fields.step / 2
    ax.imshow(change, cmap="magma", extent=(-edge, edge, edge, -edge))
    for side, style in ((row["field_px"], "-"), (row["theoretical_px"], "--")):
        if np.isfinite(side):
            xs, ys = np.array([[-1, 1, 1, -1, -1], [-1, -1, 1, 1, -1]]) * side / 2
            ax.plot(xs, ys, style, color="white", lw=1)
    said = f"{row['field_px']:.0f} px" if np.isfinite(row["field_px"]) else "no field"
    ax.set_title(plain(f"{target}: {said}"), fontsize=9, loc="left")
    ax.set_xlabel("pixels from the peak", fontsize=8)
    return ax


def _resized(pixels: np.ndarray, side: int) -> Image.Image:
    return Image.fromarray(pixels).resize((side, side), Image.Resampling.BILINEAR)


def _heading(text: str) -> Image.Image:
    """A line of text on white."""
    font = ImageFont.load_default(12)
    line = Image.new("RGB", (int(font.getlength(text)) + 4, LINE), "white")
    ImageDraw.Draw(line).text((0, 1), text, fill=(20, 20, 20), font=font)
    return line
