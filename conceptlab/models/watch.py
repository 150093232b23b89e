"""Capture at named layers, with an early stop; the model is given back as it was.

This lies with the models because listing layers and applying vectors to a picture need it too.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from threading import get_ident
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from conceptlab.errors import LayerError
from conceptlab.models.alone import alone
from conceptlab.models.forward import forward
from conceptlab.models.grid import grid_of
from conceptlab.registry import near_matches

Keep = Callable[[str, Tensor], None]

#: Layers of a network that are known to run once in a pass.
_ONCE: WeakKeyDictionary[nn.Module, set[str]] = WeakKeyDictionary()


class _Reached(BaseException):
    """All layers have been seen; unwinds the forward pass, whatever that catches."""


@contextmanager
def watch(
    module: nn.Module, layers: Sequence[str], keep: Keep, stop: bool = True
) -> Iterator[Callable[[Tensor], None]]:
    """Run a module and keep some layers' outputs.

    An early stop would hide that a layer runs again after it. So where it is not yet known that the
    layers run once (`ProbedModel.layers` finds out for all), the first picture of the first batch
    goes through the whole network beforehand.

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
        LayerError: no layer, or an unknown one; on running, a layer that is not reached, that runs
            twice, or whose output has not one row per picture (Swin's windows).
    """
    modules = dict(module.named_modules())
    layers = list(dict.fromkeys(layers))
    if not layers:
        raise LayerError("name at least one layer")
    for layer in layers:
        if layer not in modules:
            raise LayerError(f"no layer {layer!r}; {near_matches(layer, modules)}")
    capture = _Capture(module, layers, keep, stop)
    with evaluating(module):
        handles = [modules[n].register_forward_hook(partial(capture.hook, n)) for n in layers]
        try:
            yield capture.run
        finally:
            for handle in handles:
                handle.remove()


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode, and every part's own mode, `requires_grad` and buffers back at the end.

    Other threads wait, see `conceptlab.models.alone`.
    """
    with alone(module):
        modes = {part: part.training for part in module.modules()}
        buffers = [(buffer, buffer.detach().clone()) for buffer in module.buffers()]
        wanted = {parameter: parameter.requires_grad for parameter in module.parameters()}
        try:
            module.eval()
            yield
        finally:
            for part, mode in modes.items():
                part.training = mode
            for parameter, flag in wanted.items():
                parameter.requires_grad_(flag)
            with torch.no_grad():
                for buffer, before in buffers:
                    if not torch.equal(buffer, before):  # statistics of what stays in training
                        buffer.copy_(before)


class _Capture:
    """One watch: what has been seen in the batch that runs."""

    def __init__(self, module: nn.Module, layers: Sequence[str], keep: Keep, stop: bool) -> None:
        self._module, self._layers, self._keep, self._stop = module, layers, keep, stop
        self._seen: set[str] = set()
        self._thread: int | None = None  # the one that runs a pass of this watch, while it does
        self._pictures = 0
        self._counting = stop and not _ONCE.get(module, set()).issuperset(layers)

    def hook(self, layer: str, _: nn.Module, __: Any, output: Any) -> None:
        """Keep a layer's output; the last one unwinds the pass. Passes of others do not count."""
        if self._thread != get_ident():
            return
        if layer in self._seen:
            raise LayerError(twice(layer, [n for n, _ in self._module.named_modules()]))
        self._seen.add(layer)
        if self._counting:
            return
        grid = grid_of(output, self._module, layer)
        if len(grid) != self._pictures:
            raise LayerError(
                f"layer {layer} gives {len(grid)} rows for {self._pictures} pictures, so a row is "
                "no picture (windows of one, say); choose the block around it"
            )
        self._keep(layer, grid)
        if self._stop and len(self._seen) == len(self._layers):
            raise _Reached

    def run(self, batch: Tensor) -> None:
        """Run one batch."""
        if self._counting:
            self._pass(batch[:1])
            self._counting = False
            runs_once(self._module, self._layers)
        self._pass(batch)

    def _pass(self, batch: Tensor) -> None:
        self._seen.clear()
        self._pictures = len(batch)
        self._thread = get_ident()
        try:
            forward(self._module, batch)
        except _Reached:
            return
        finally:
            self._thread = None
        for layer in self._layers:
            if layer not in self._seen:
                raise LayerError(
                    f"layer {layer} is not reached by a forward pass; choose one that is"
                )


def runs_once(module: nn.Module, layers: Iterable[str]) -> None:
    """Remember of some layers that they run once in a pass."""
    _ONCE.setdefault(module, set()).update(layers)


def twice(layer: str, names: Sequence[str]) -> str:
    """The sentence about a layer that runs more than once, with what to take instead."""
    parent = layer.rpartition(".")[0]
    inside = [n for n in names if n != layer and n.rpartition(".")[0] == parent and n]
    others = ", ".join([parent, *inside] if parent else inside) or "another layer"
    return (
        f"layer {layer} runs more than once in a forward pass, so its output is ambiguous; "
        f"choose one of {others}"
    )
