"""Capture at named layers, with an early stop; the model is given back as it was.

This lies with the models because listing layers and applying vectors to a picture need it too.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from conceptlab.errors import LayerError
from conceptlab.models.grid import grid_of
from conceptlab.registry import near_matches

Keep = Callable[[str, Tensor], None]


class _Reached(Exception):  # noqa: N818
    """All layers have been seen; unwinds the forward pass."""


@contextmanager
def watch(
    module: nn.Module, layers: Sequence[str], keep: Keep, stop: bool = True
) -> Iterator[Callable[[Tensor], None]]:
    """Run a module and keep some layers' outputs.

    Args:
        module: in any mode; it runs in evaluation mode, and has its own mode, hooks and
            `requires_grad` back at the end, also after an exception.
        layers: names in `named_modules()`.
        keep: called with the layer's name and its output as (n, K, H, W), inside the hook. It has
            to copy what it wants: an in-place ReLU that follows would overwrite it.
        stop: end the pass when the last of the layers has been reached.

    Yields:
        A function that runs one batch.

    Raises:
        LayerError: an unknown layer; on running, a layer that is not reached or that runs twice.
    """
    modules = dict(module.named_modules())
    for layer in layers:
        if layer not in modules:
            raise LayerError(f"no layer {layer!r}; {near_matches(layer, modules)}")
    seen: dict[str, int] = {}

    def hook_of(layer: str) -> Callable[..., None]:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            seen[layer] = seen.get(layer, 0) + 1
            if seen[layer] > 1:
                raise LayerError(twice(layer, list(modules)))
            keep(layer, grid_of(output, module, layer))
            if stop and len(seen) == len(layers):
                raise _Reached

        return hook

    def run(batch: Tensor) -> None:
        seen.clear()
        try:
            module(batch)
        except _Reached:
            return
        missed = [layer for layer in layers if layer not in seen]
        if missed:
            raise LayerError(
                f"layer {missed[0]} is not reached by a forward pass; choose one that is"
            )

    modes = {m: m.training for m in modules.values()}
    wanted = {p: p.requires_grad for p in module.parameters()}
    handles = [modules[layer].register_forward_hook(hook_of(layer)) for layer in layers]
    try:
        module.eval()
        yield run
    finally:
        for handle in handles:
            handle.remove()
        for part, mode in modes.items():
            part.training = mode
        for parameter, flag in wanted.items():
            parameter.requires_grad_(flag)


def twice(layer: str, names: Sequence[str]) -> str:
    """The sentence about a layer that runs more than once, with what to take instead."""
    parent = layer.rpartition(".")[0]
    inside = [n for n in names if n != layer and n.rpartition(".")[0] == parent and n]
    others = ", ".join([parent, *inside] if parent else inside) or "another layer"
    return (
        f"layer {layer} runs more than once in a forward pass, so its output is ambiguous; "
        f"choose one of {others}"
    )
