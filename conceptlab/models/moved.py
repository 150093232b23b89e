"""How the indices of a layer's output share the answer to a change at different places.

A base picture, and the same picture with one of a few horizontal bands taken from another picture,
then with one of as many vertical ones. The share of an index is how much of all its change comes
from a band: an index that stands for a row answers to the band where that row lies, an index that
stands for a unit to all of them alike. Shares are taken for each number of an output before they
are averaged, so that a unit of a thousand times the others' scale counts as much as they do.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

BANDS = 7
PICTURES = 1 + 2 * BANDS
NUMBERS = 2**14  # of an output and picture are looked at for each axis, where it has more
ROUNDING = 8.0  # of these a change is no change, in units of the precision of the values
SILENT = 1e-3  # share of an index's numbers that answer, below which it counts as silent
BOUND = 2.0  # of the pictures' values, as those of pictures are that were normalised
COARSE = (4, 16, 64)  # sides of the coarser noise that the pictures are made of

Shares = NDArray[np.float64]


def moved_pictures(like: Tensor, number: int) -> Tensor:
    """(PICTURES, C, H, W) a base picture, and it with one band after another changed.

    Args:
        like: (1, C, H, W) whose shape, type and device they have.
        number: of the base picture.
    """
    base, other = (_noise(like.shape[1:], seed) for seed in (2 * number, 2 * number + 1))
    pictures = base.repeat(PICTURES, 1, 1, 1).contiguous(memory_format=torch.channels_last)
    height, width = like.shape[2:]
    for band in range(BANDS):
        rows, columns = _band(band, height), _band(band, width)
        pictures[1 + band, :, rows] = other[:, rows]
        pictures[1 + BANDS + band, :, :, columns] = other[:, :, columns]
    return pictures.to(like)


def _noise(shape: torch.Size, seed: int) -> Tensor:
    """(C, H, W) of deviation about 1, as coarse as fine; torch's generator stays as it is."""
    generator = torch.Generator().manual_seed(seed)
    channels, height, width = shape
    total = torch.randn(channels, height, width, generator=generator)
    for side in COARSE:
        small = torch.randn(1, channels, min(side, height), min(side, width), generator=generator)
        total += interpolate(small, size=(height, width), mode="bilinear")[0]
    return (total / math.sqrt(1 + len(COARSE))).clamp_(-BOUND, BOUND)


def _band(band: int, pixels: int) -> slice:
    return slice(round(band * pixels / BANDS), round((band + 1) * pixels / BANDS))


def shares(outputs: Tensor) -> list[tuple[Shares, Shares]]:
    """How much of the change of each index along each axis comes from each band.

    Args:
        outputs: (PICTURES, ...) of a layer, the pictures first.

    Returns:
        For each other axis: (2, BANDS, size) of the rows' and of the columns' bands; each index's
        sum to 1 over the bands, and all are equal where it is silent. And (size,) how much of it
        answers at all; values that are not finite answer nothing.
    """
    outputs, axes = outputs.detach(), range(1, outputs.ndim)
    if outputs[0].numel() <= NUMBERS:
        found = _found(outputs)
        return [_along(found, axis) for axis in axes]
    return [_along(_found(_thinned(outputs, axis)), axis) for axis in axes]


def _found(outputs: Tensor) -> Tensor:
    """(2, BANDS, ...) the share of each band in all change of each number."""
    values = outputs.to(torch.float32)
    if not math.isfinite(float(values.sum())):
        values = torch.where(torch.isfinite(values), values, 0.0)
    change = (values[1:] - values[:1]).abs_().view(2, BANDS, *values.shape[1:])
    scale = values[0].abs().mean() * torch.finfo(outputs.dtype).eps
    floor = ROUNDING * BANDS * float(scale) + torch.finfo(torch.float32).tiny
    total = change.sum(dim=1, keepdim=True) + floor
    return change.div_(total)


def _along(found: Tensor, axis: int) -> tuple[Shares, Shares]:
    """The shares of the indices along an axis of an output."""
    others = [other for other in range(2, found.ndim) if other != axis + 1]
    own = (found.mean(dim=others) if others else found).cpu().double().numpy()
    total = own.sum(axis=1, keepdims=True)
    alive = total > SILENT
    shared = np.where(alive, own / np.where(alive, total, 1.0), 1 / BANDS)
    return shared, total[:, 0].mean(axis=0)


def _thinned(outputs: Tensor, axis: int) -> Tensor:
    """Every index along an axis, and some along the others, evenly spaced; a view.

    Steps are odd, so that they do not keep to one place of windows or heads, of even sizes.
    """
    most = max(NUMBERS // outputs.shape[axis], 1)
    others = sorted((a for a in range(1, outputs.ndim) if a != axis), key=outputs.shape.__getitem__)
    for place, other in enumerate(others):
        each = round(most ** (1 / (len(others) - place)))
        size = outputs.shape[other]
        step = math.ceil(size / max(min(size, each), 1))
        step += step > 1 and step % 2 == 0
        chosen = [slice(None)] * outputs.ndim
        chosen[other] = slice((size - 1) % step // 2, None, step)
        outputs = outputs[tuple(chosen)]
        most = max(most // outputs.shape[other], 1)
    return outputs


def expected(places: int) -> Shares:
    """(BANDS, places) the shares of places in a row that answer to what lies at them."""
    bands, edges = np.arange(BANDS + 1) / BANDS, np.arange(places + 1) / places
    last = np.minimum(bands[1:, None], edges[None, 1:])
    overlap: Shares = (last - np.maximum(bands[:-1, None], edges[None, :-1])).clip(0) * places
    return overlap
