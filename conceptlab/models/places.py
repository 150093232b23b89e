"""From the answers of an output's indices to what each axis is, and where each place lies.

The rows' axis is the one whose indices answer to horizontal bands in the order in which they lie,
the columns' that which answers so to the vertical ones; tokens do both, in the order of a raster.
What is left are the units.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from conceptlab.models.grid import Form
from conceptlab.models.moved import BANDS, Shares, expected

MOST_OTHERS = 16  # tokens beside the map's that are looked for
CLEAR = (0.8, 0.5)  # correlation at least, and what is left unexplained, in bands, at most
BLOCKS = (0.8, 1.0)  # the same of rows and columns: windows of attention answer as one
NOISY = (0.5, 0.2)  # the same where all answers are almost alike, so that noise weighs more
HINT = 0.25  # correlation from which on more pictures are tried there
FAINT = 0.02  # slope below which an order of few places may be chance
CHANCE = 0.5  # the same by the number of places: three come into an order easily
FEW = 50  # places are few
APART = 3.0  # times the slope of every other axis
AHEAD = 0.05  # of the next best raster, where noise is left

NO_MAP = "its answer does not move along two of its axes as the place in the picture does"
NO_RASTER = "its tokens do not lie on the picture row by row in a square"


@dataclass(frozen=True)
class Layout:
    """What was measured of a layer.

    Args:
        form: of its output; None where that is no grid of units.
        shape: (K, H, W) of the grid.
        reason: why there is no grid; empty where there is one.
        calls: how often the layer runs in a pass.
        agreement: correlation of where its indices answer with where they should, of rows or
            columns, whichever is less; NaN for vectors and what was not measured.
        doubtful: whether more pictures might show a grid.
    """

    form: Form | None = None
    shape: tuple[int, int, int] | None = None
    reason: str = ""
    calls: int = 1
    agreement: float = math.nan
    doubtful: bool = False


class Fit(NamedTuple):
    """How the indices of an axis agree with places in some order.

    Args:
        agreement: correlation of the centres of what they answer to with the places.
        slope: 1 if each answers to what lies at its place alone, 0 if to everything alike.
        left: root mean square of what the places leave unexplained of the centres, in bands.
        sharp: correlation of the shares themselves, which tells neighbouring places apart.
    """

    agreement: float
    slope: float
    left: float
    sharp: float


class _Raster(NamedTuple):
    """A square that an axis of tokens could hold."""

    axis: int
    side: int
    first: int
    others: int
    down: Fit
    across: Fit

    @property
    def score(self) -> float:
        """By which the best is found."""
        return min(self.down.sharp, self.across.sharp) + min(
            self.down.agreement, self.across.agreement
        )


def read_places(sizes: Sequence[int], shared: Sequence[Shares], pixels: Sequence[int]) -> Layout:
    """The layout of an output by the answers of its axes.

    Args:
        sizes: of its two or three axes for a picture.
        shared: (2, BANDS, size) of each, see `conceptlab.models.moved.shares`.
        pixels: (height, width) of the picture.

    Returns:
        Its axes numbered with the pictures' as 0.
    """
    along = [axis for axis, size in enumerate(sizes) if size > 1]
    if len(sizes) == 3:
        return vector(sizes) if len(along) <= 1 else _of_maps(sizes, shared, pixels)
    found = _of_tokens(sizes, shared)
    return vector(sizes) if found.form is None and len(along) <= 1 else found


def vector(sizes: Sequence[int]) -> Layout:
    """Of an output that has one axis with more than one index: the units'."""
    units = int(np.argmax(sizes))
    order = (0, 1 + units, *(1 + axis for axis in range(len(sizes)) if axis != units))
    return Layout(Form(order), (sizes[units], 1, 1))


def _of_maps(sizes: Sequence[int], shared: Sequence[Shares], pixels: Sequence[int]) -> Layout:
    """Of an output of three axes for a picture, of which two are rows and columns."""
    fits = [[fit(share[way], expected(share.shape[2])) for share in shared] for way in range(2)]
    rows, columns = (int(np.argmax([found.slope for found in way])) for way in fits)
    down, across = fits[0][rows], fits[1][columns]
    agreement = min(down.agreement, across.agreement)
    apart = all(
        way[chosen].slope >= APART * abs(way[axis].slope)
        for way, chosen in zip(fits, (rows, columns), strict=True)
        for axis in range(3)
        if axis != chosen
    )
    clear = _is_clear(down, sizes[rows], BLOCKS) and _is_clear(across, sizes[columns], BLOCKS)
    if rows == columns or not (clear and apart):
        hint = rows != columns and (clear or (_is_hint(down) and _is_hint(across)))
        return Layout(reason=NO_MAP, agreement=agreement, doubtful=hint)
    height, width = sizes[rows], sizes[columns]
    if abs(height * pixels[1] - width * pixels[0]) >= max(pixels):
        reason = f"its {height} rows and {width} columns have not the picture's proportions"
        return Layout(reason=reason, agreement=agreement)
    units = 3 - rows - columns
    form = Form((0, 1 + units, 1 + rows, 1 + columns))
    return Layout(form, (sizes[units], height, width), agreement=agreement)


def _of_tokens(sizes: Sequence[int], shared: Sequence[Shares]) -> Layout:
    """Of an output of two axes for a picture, of which one is that of the tokens."""
    rasters = sorted(_rasters(sizes, shared), key=lambda raster: raster.score, reverse=True)
    if not rasters:
        return Layout(reason=NO_RASTER)
    best = rasters[0]
    agreement = min(best.down.agreement, best.across.agreement)
    count = best.side**2
    clear = _is_clear(best.down, count, CLEAR) and _is_clear(best.across, count, CLEAR)
    ahead = agreement >= CLEAR[0] or len(rasters) == 1 or best.score >= rasters[1].score + AHEAD
    if not (clear and ahead):
        hint = _is_hint(best.down) and _is_hint(best.across)
        return Layout(reason=NO_RASTER, agreement=agreement, doubtful=hint)
    form = Form((0, 2 - best.axis, 1 + best.axis), best.first, best.others)
    return Layout(form, (sizes[1 - best.axis], best.side, best.side), agreement=agreement)


def _rasters(sizes: Sequence[int], shared: Sequence[Shares]) -> Iterator[_Raster]:
    """Every square that an axis could hold, row by row, with how it agrees."""
    for axis, count in enumerate(sizes):
        for side in range(math.isqrt(count), 1, -1):
            others = count - side * side
            if others > MOST_OTHERS:
                break
            places = expected(side)
            raster = places.repeat(side, axis=1), np.tile(places, side)
            for first in range(others + 1):
                own = slice(first, first + side * side)
                down, across = (
                    fit(share, wanted, own)
                    for share, wanted in zip(shared[axis], raster, strict=True)
                )
                yield _Raster(axis, side, first, others, down, across)


def fit(found: Shares, wanted: Shares, own: slice = slice(None)) -> Fit:
    """How shares agree with those of places.

    Args:
        found: (BANDS, size) of the indices of an axis.
        wanted: (BANDS, places) of the places.
        own: the indices that stand for them; the others answer to everything alike.
    """
    every = np.full(found.shape, 1 / BANDS)
    every[:, own] = wanted
    bands = np.arange(BANDS) - (BANDS - 1) / 2
    centres, places = bands @ found, bands @ every
    agreement, slope, left = _regressed(centres - centres.mean(), places - places.mean())
    sharp, _, _ = _regressed(_interaction(found), _interaction(every))
    return Fit(agreement, slope, left, sharp)


def _regressed(found: Shares, wanted: Shares) -> tuple[float, float, float]:
    """Correlation, slope and root mean square of the rest, of centred values."""
    own, other, both = (found**2).sum(), (wanted**2).sum(), (found * wanted).sum()
    if own == 0 or other == 0:
        return 0.0, 0.0, math.sqrt(own / found.size)
    slope = both / other
    left = ((found - slope * wanted) ** 2).mean()
    return float(both / math.sqrt(own * other)), float(slope), math.sqrt(left)


def _interaction(values: Shares) -> Shares:
    rows, columns = values.mean(axis=1, keepdims=True), values.mean(axis=0, keepdims=True)
    centred: Shares = values - rows - columns + values.mean()
    return centred


def _is_clear(found: Fit, places: int, enough: tuple[float, float]) -> bool:
    """Whether an axis moves as places do."""
    if places < FEW and found.slope < max(FAINT, CHANCE / places):
        return False
    return any(found.agreement >= least and found.left <= most for least, most in (enough, NOISY))


def _is_hint(found: Fit) -> bool:
    return found.agreement >= HINT and found.left <= NOISY[1]
