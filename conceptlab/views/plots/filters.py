"""Learned filters of a convolution, and the feature maps of a picture, as tiles."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from conceptlab.errors import InputError
from conceptlab.views.style import axes_or_new, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
GAP = 0.1  # of a tile's side
LABEL = 0.24  # room for its number
SIGNED, POSITIVE = "RdBu_r", "viridis"
TILE, TALL = 0.52, 1.8  # inches of a tile, and of all rows, at least
ROW = 4  # tiles that always stand in one row


def plot_filters(
    weights: ArrayLike,
    channel: int | None = None,
    *,
    units: Sequence[int] | None = None,
    most: int = 64,
    title: str = "",
    ax: "Axes | None" = None,
) -> "Axes":
    """Filters as tiles, each scaled by its own largest weight, so that all show their pattern.

    Filters over three channels are in colour: grey is 0, a channel is brighter where its weight is
    positive. Others show the average over their input channels, or one of them, in blue and red.

    Args:
        weights: (K, C, h, w), as `conceptlab.models.filters.filters` gives them.
        channel: an input channel; all if not given.
        units: which filters, in this order; if not given all, or those of the largest norm.
        most: tiles at most, where no units are given.
        title: what comes before the caption, such as the layer's name.
        ax: where to draw.

    Raises:
        InputError: no such channel or unit, or weights of another shape.
    """
    values = np.asarray(weights, dtype=np.float64)
    if values.ndim != 4 or 0 in values.shape or not np.isfinite(values).all():
        raise InputError(f"filters are (K, C, h, w), finite, not empty; got {values.shape}")
    kernels, what = _seen(values, channel)
    norms = np.sqrt(np.einsum("kchw,kchw->k", values, values))
    chosen, said = _chosen(units, norms, most, "filters", "norm", in_order=True)
    scaled = _scaled(kernels[chosen])
    ax = _axes(ax, len(chosen), 0)
    if scaled.ndim == 4:
        for at, tile in zip(_places(len(chosen)), 0.5 + scaled / 2, strict=True):
            _show(ax, tile.transpose(1, 2, 0), at)
    else:
        _tiles(ax, scaled, SIGNED, "weight / largest |weight| of the filter")
    _number(ax, [str(unit) for unit in chosen])
    _finish(ax, len(chosen), title, f"{said}, {what}")
    return ax


def plot_feature_maps(
    maps: ArrayLike,
    units: Sequence[int] | None = None,
    *,
    picture: NDArray[np.uint8] | None = None,
    most: int = 36,
    title: str = "",
    ax: "Axes | None" = None,
) -> "Axes":
    """What each unit makes of a picture, as tiles, each scaled by its own largest activation.

    Args:
        maps: (K, H, W), such as `model.activations(image, [layer])[layer][0]`.
        units: which, in this order; those with the highest peaks, highest first, if not given.
        picture: (S, S, 3) what the network saw (`model.decode(image)`), drawn to the left.
        most: tiles at most, where no units are given.
        title: what comes before the caption, such as the layer's name.
        ax: where to draw; under each tile stand the unit and its largest activation.

    Raises:
        InputError: no such unit, or maps of another shape.
    """
    values = np.asarray(maps, dtype=np.float64)
    if values.ndim != 3 or 0 in values.shape or not np.isfinite(values).all():
        raise InputError(f"feature maps are (K, H, W), finite, not empty; got {values.shape}")
    peaks = values.max(axis=(1, 2))
    chosen, said = _chosen(units, peaks, most, "units", "peak", in_order=False)
    ax = _axes(ax, len(chosen), 0 if picture is None else 1)
    signed = values[chosen].min() < 0
    _tiles(ax, _scaled(values[chosen]), SIGNED if signed else POSITIVE,
           "activation / largest of the unit")  # fmt: skip
    _number(ax, [f"{unit}: {_short(peaks[unit])}" for unit in chosen])
    if picture is not None:
        side = _bottom(len(chosen))
        _show(ax, np.asarray(picture), (-side - 3 * GAP, 0.0), side)
    _finish(ax, len(chosen), title, said)
    return ax


def _seen(values: Floats, channel: int | None) -> tuple[Floats, str]:
    """What is drawn of filters, (K, 3, h, w) or (K, h, w), and what it is."""
    channels = values.shape[1]
    if channel is not None:
        if not 0 <= channel < channels:
            raise InputError(f"filters have input channels 0 to {channels - 1}; got {channel}")
        return values[:, channel], f"input channel {channel}"
    if channels == 3:
        return values, "in colour: grey is 0"
    if channels == 1:
        return values[:, 0], "their only input channel"
    return values.mean(axis=1), f"average over {channels} input channels"


def _chosen(
    units: Sequence[int] | None, sizes: Floats, most: int, name: str, by: str, *, in_order: bool
) -> tuple[Integers, str]:
    """Which tiles, and how that is said."""
    total = len(sizes)
    if units is not None:
        asked = np.asarray(units)
        whole = asked.ndim == 1 and len(asked) and np.issubdtype(asked.dtype, np.integer)
        if not whole or asked.min() < 0 or asked.max() >= total:
            raise InputError(f"{name} are numbers from 0 to {total - 1}; got {units!r}")
        return asked, f"{len(asked)} of {total} {name}"
    if most < 1:
        raise InputError(f"most is a number of tiles, at least 1; got {most}")
    if total <= most and in_order:
        return np.arange(total), f"{total} {name}"
    first = np.argsort(-sizes, kind="stable")[:most]
    said = f"the {len(first)} of {total} {name} with the largest {by}"
    return first, said if total > most else f"{total} {name}, largest {by} first"


def _scaled(tiles: Floats) -> Floats:
    """Tiles over their own largest absolute value; what is 0 throughout stays 0."""
    axes = tuple(range(1, tiles.ndim))
    largest = np.abs(tiles).max(axis=axes, keepdims=True)
    scaled: Floats = np.divide(tiles, largest, out=np.zeros_like(tiles), where=largest > 0)
    return scaled


def _columns(count: int) -> int:
    """Tiles in a row: about a square of tiles, with few places left empty."""
    if count <= ROW:
        return count
    square = math.ceil(math.sqrt(count * (1 + GAP + LABEL) / (1 + GAP)))
    return min(range(square - 1, square + 3), key=lambda c: (-count % c, abs(c - square)))


def _bottom(count: int) -> float:
    return math.ceil(count / _columns(count)) * (1 + GAP + LABEL) - GAP


def _places(count: int) -> list[tuple[float, float]]:
    """Left and top of each tile of side 1, row by row."""
    columns = _columns(count)
    return [((i % columns) * (1 + GAP), (i // columns) * (1 + GAP + LABEL)) for i in range(count)]


def _axes(ax: "Axes | None", count: int, beside: int) -> "Axes":
    inches = max(TILE, TALL / _bottom(count))
    width = inches * (_width(count) + beside * (_bottom(count) + 3 * GAP)) + 1.0
    ax = axes_or_new(ax, (max(width, 4.2), inches * _bottom(count) + 0.7))
    ax.set_axis_off()
    return ax


def _show(
    ax: "Axes", tile: NDArray[Any], at: tuple[float, float], side: float = 1.0, **colors: Any
) -> "AxesImage":
    """One tile in its place."""
    left, top = at
    extent = (left, left + side, top + side, top)
    return ax.imshow(tile, extent=extent, interpolation="nearest", **colors)


def _tiles(ax: "Axes", tiles: Floats, colors: str, label: str) -> None:
    """Tiles (n, h, w) of values up to 1 in size, and their colour bar."""
    low = -1.0 if colors == SIGNED else 0.0
    for at, tile in zip(_places(len(tiles)), tiles, strict=True):
        drawn = _show(ax, tile, at, cmap=colors, vmin=low, vmax=1.0)
    bar = ax.figure.colorbar(drawn, ax=ax, shrink=0.6, aspect=28, pad=0.02)
    bar.set_label(label, fontsize=8)
    bar.set_ticks([low, 0.0, 1.0] if low else [0.0, 0.5, 1.0])
    bar.ax.tick_params(labelsize=7)


def _number(ax: "Axes", labels: Sequence[str]) -> None:
    """A label under each tile."""
    for (left, top), text in zip(_places(len(labels)), labels, strict=True):
        ax.text(left + 0.5, top + 1.03, text, ha="center", va="top", fontsize=6, color="#5b6675")


def _finish(ax: "Axes", count: int, title: str, caption: str) -> None:
    """Limits around all that is drawn, and the title."""
    left = min(image.get_extent()[0] for image in ax.images)
    ax.set_xlim(left - GAP, _width(count) + GAP)
    ax.set_ylim(_bottom(count) + GAP, -GAP)
    ax.set_aspect("equal")
    ax.set_title(plain(f"{title}\n{caption}" if title else caption), fontsize=8.5, loc="left")


def _short(value: float) -> str:
    """A number in few letters."""
    return f"{value:.0f}" if 100 <= abs(value) < 1e5 else f"{value:.2g}"


def _width(count: int) -> float:
    return min(count, _columns(count)) * (1 + GAP) - GAP
