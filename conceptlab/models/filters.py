"""The learned filters of a convolution."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from conceptlab.errors import LayerError
from conceptlab.given import checked
from conceptlab.models.probed import ProbedModel
from conceptlab.registry import near_matches

NAMED = 6


@checked
def filters(model: ProbedModel, layer: str) -> NDArray[np.float32]:
    """The weights of a two-dimensional convolution, without what follows it.

    Args:
        model: the network.
        layer: the convolution's own name in `named_modules()`, also inside a block.

    Returns:
        (K, C / groups, kh, kw), a copy.

    Raises:
        LayerError: no such layer, or no convolution; names those inside it, or the nearest.
    """
    modules = dict(model.module.named_modules())
    found = modules.get(layer)
    if isinstance(found, nn.Conv2d):
        with torch.no_grad():
            return found.weight.to("cpu", torch.float32, copy=True).numpy()
    known = [name for name, module in modules.items() if isinstance(module, nn.Conv2d)]
    if not known:
        raise LayerError(f"{model.name} has no two-dimensional convolution, so no filters to see")
    if not layer or found is None:
        raise LayerError(f"{model.name} has no layer {layer!r}; {near_matches(layer, known)}")
    inside = [name for name in known if name.startswith(f"{layer}.")]
    hint = f"inside it: {_some(inside)}" if inside else near_matches(layer, known)
    raise LayerError(f"layer {layer} is a {type(found).__name__}, no convolution; {hint}")


def _some(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
