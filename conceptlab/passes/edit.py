"""Change a layer's output while the network runs: what comes after it sees the change.

The same hook serves gradients at a layer (the output becomes a leaf) and erasure (a part of it is
taken out). The model is given back as it was.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from threading import get_ident
from typing import Any

import torch
from torch import Tensor, nn

from conceptlab.errors import LayerError
from conceptlab.models.evaluation import evaluating
from conceptlab.models.grid import Form, first_tensor, part_of, place, to_grid
from conceptlab.models.probed import ProbedModel

#: Takes a layer's name, its raw output and the output's form; gives what replaces it.
Change = Callable[[str, Tensor, Form], Tensor]


@contextmanager
def changing(model: ProbedModel, layers: Mapping[str, Change]) -> Iterator[None]:
    """Within it, every pass by this thread goes on with changed outputs of some layers.

    Args:
        model: in any mode; it runs in evaluation mode with frozen weights, and has its own mode,
            hooks and `requires_grad` back at the end, also after an exception.
        layers: names, as `ProbedModel.resolve` gives them, to the change of each.
    """
    modules = dict(model.module.named_modules())
    own = get_ident()
    forms = {layer: model.form(layer) for layer in layers}

    def hook(layer: str, change: Change, _: nn.Module, __: Any, output: Any) -> Any:
        if own != get_ident():
            return None  # a pass of somebody else
        raw = first_tensor(output, layer)
        if not torch.is_floating_point(raw):
            raise LayerError(f"layer {layer} gives {raw.dtype} values, which cannot be changed")
        return replaced(output, change(layer, raw, forms[layer]))

    with evaluating(model.module):
        for parameter in model.module.parameters():
            if not parameter.is_inference():  # those could not be given back as they were
                parameter.requires_grad_(False)
        handles = [
            modules[part_of(layer)].register_forward_hook(partial(hook, layer, change))
            for layer, change in layers.items()
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def on_grid(edit: Callable[[Tensor], Tensor]) -> Change:
    """A change that works on the grid of units (n, K, H, W); class tokens stay as they are."""

    def change(_: str, raw: Tensor, form: Form) -> Tensor:
        grid = edit(to_grid(raw, form))
        fresh = grid.data_ptr() != raw.data_ptr() and grid.dtype == raw.dtype
        if form.is_map and fresh and grid.stride() == raw.stride():
            return grid
        changed = raw.clone(memory_format=torch.preserve_format)
        place(changed, form, grid)
        return changed

    return change


def replaced(output: Any, tensor: Tensor) -> Any:
    """An output with another first tensor (see `conceptlab.models.grid.first_tensor`)."""
    if isinstance(output, Tensor):
        return tensor
    if isinstance(output, dict):
        first = next(iter(output))
        changed = {**output, first: replaced(output[first], tensor)}
        return changed if type(output) is dict else type(output)(changed)
    rest = [replaced(output[0], tensor), *output[1:]]
    return type(output)(*rest) if hasattr(output, "_fields") else type(output)(rest)
