"""Measuring a layer from where its inputs are known: changes of the picture are kept in place.

What a change has brought about outside its own band is taken back at a layer whose grid is known,
so that the layers after it get a change that lies where the band lies. A change that has become
faint is made louder there: deep networks of random weights give almost the same for all pictures,
down to the rounding of their values.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import torch
from torch import Tensor, nn

from conceptlab.models.grid import Form
from conceptlab.models.moved import BANDS, PICTURES

STIRRED = 0.1  # deviation of what stands for parameters that are zero
LOUD = 0.3  # of the values' root mean square is a change, at least, that is kept


@contextmanager
def stirred(module: nn.Module) -> Iterator[None]:
    """Parameters that are all zero, as in blocks that begin as the identity, are noise within it.

    A layer that gives zeros would answer to nothing, and where it computes what does not depend on
    its weights.

    Args:
        module: in evaluation mode, without gradients.
    """
    zeros = [own for own in module.parameters() if _is_zero(own)]
    generator = torch.Generator().manual_seed(0)
    try:
        for own in zeros:
            own.copy_(torch.randn(own.shape, generator=generator) * STIRRED)
        yield
    finally:
        for own in zeros:
            own.zero_()


def _is_zero(own: Tensor) -> bool:
    """Whether a parameter is all zero, and can be written."""
    return own.is_floating_point() and not own.is_inference() and not bool(own.any())


def confine(output: Tensor, form: Form) -> None:
    """Take back what changed elsewhere, and make the rest loud, in the output itself.

    Args:
        output: of a layer for moved pictures.
        form: how it is laid out.
    """
    if output.ndim != len(form.order) or 0 in output.stride():
        return  # a tensor that repeats itself in memory cannot be written
    ordered = output.permute(form.order)
    if len(ordered) == PICTURES:
        kept = _kept(tuple(ordered.shape[2:]), form).to(output.device)[:, None]
        change = torch.where(kept, ordered[1:] - ordered[:1], 0.0)
        ordered[1:] = ordered[:1] + change * _gain(change, ordered[0], kept)


def _gain(change: Tensor, base: Tensor, kept: Tensor) -> Tensor:
    """(PICTURES - 1, 1, ...) by what each picture's change is multiplied, one at least."""
    others = tuple(range(1, change.ndim))
    places = kept.sum(dim=others, keepdim=True).clamp_min(1) * change.shape[1]
    own = (change.float().square().sum(dim=others, keepdim=True) / places).sqrt()
    gain = LOUD * base.float().square().mean().sqrt() / own
    return torch.where(torch.isfinite(gain), gain, 1.0).clamp_min(1.0).to(change.dtype)


@lru_cache(maxsize=64)
def _kept(places: tuple[int, ...], form: Form) -> Tensor:
    """(PICTURES - 1, *places) which places of a grid touch the band of each picture.

    Tokens beside the map's, and vectors, lie in no band.
    """
    if len(places) == 1:
        side = round((places[0] - form.others) ** 0.5)
        tokens = torch.zeros(PICTURES - 1, places[0], dtype=torch.bool)
        own = _raster(side, side).flatten(1)
        tokens[:, form.first : form.first + own.shape[1]] = own
        return tokens
    if not places or places == (1, 1):
        return torch.zeros(PICTURES - 1, *places, dtype=torch.bool)
    return _raster(*places)


def _raster(height: int, width: int) -> Tensor:
    rows = _touched(height)[:, :, None].expand(-1, -1, width)
    columns = _touched(width)[:, None].expand(-1, height, -1)
    return torch.cat([rows, columns])


def _touched(places: int) -> Tensor:
    """(BANDS, places) whether a place in a row touches a band."""
    bands, each = torch.arange(BANDS)[:, None], torch.arange(places)[None]
    return (each * BANDS < (bands + 1) * places) & ((each + 1) * BANDS > bands * places)
