"""Measuring a layer from where its inputs are known: changes of the picture are kept in place.

In a deep network a change spreads until every place answers to the whole picture, and what a layer
of small reach does with places is lost in what came before it. At layers whose grid is known, what
a change has brought about outside its own band is taken back, so that the layers after them get a
change that lies where the band lies.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from conceptlab.models.grid import Form, floating_tensor
from conceptlab.models.moved import BANDS, PICTURES
from conceptlab.models.places import Layout

STIRRED = 0.1  # deviation of what stands for parameters that are zero


@contextmanager
def confined(module: nn.Module, known: Mapping[str, Layout]) -> Iterator[None]:
    """Passes of moved pictures, within it, have changes in their own bands only.

    Parameters that are all zero, as in blocks that begin as the identity, are noise within it: a
    layer that gives zeros would answer to nothing, and where it computes what does not depend on
    its weights.

    Args:
        module: in evaluation mode, without gradients.
        known: layouts of layers; those without a grid, or that run more than once, stay alone.
    """
    handles = []
    for name, part in module.named_modules():
        layout = known.get(name)
        if layout is not None and layout.form is not None and layout.calls == 1:
            handles.append(part.register_forward_hook(partial(_hook, layout.form)))
    zeros = [own for own in module.parameters() if _is_zero(own)]
    generator = torch.Generator().manual_seed(0)
    try:
        for own in zeros:
            own.copy_(torch.randn(own.shape, generator=generator) * STIRRED)
        yield
    finally:
        for own in zeros:
            own.zero_()
        for handle in handles:
            handle.remove()


def _is_zero(own: Tensor) -> bool:
    """Whether a parameter is all zero, and can be written."""
    return own.is_floating_point() and not own.is_inference() and not bool(own.any())


def _hook(form: Form, _: nn.Module, __: Any, output: Any) -> None:
    """Take back what changed elsewhere, in the output itself: it may lie in a tuple."""
    tensor = floating_tensor(output)
    if tensor is None or tensor.ndim != len(form.order) or 0 in tensor.stride():
        return  # a tensor that repeats itself in memory cannot be written
    ordered = tensor.permute(form.order)
    if len(ordered) == PICTURES:
        kept = _kept(tuple(ordered.shape[2:]), form).to(tensor.device)
        ordered[1:] = torch.where(kept[:, None], ordered[1:], ordered[:1])


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
