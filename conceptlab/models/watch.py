"""Capture at named layers, with an early stop; the model is given back as it was.

This lies with the models because listing layers and applying vectors to a picture need it too.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from threading import get_ident
from typing import Any

from torch import Tensor, nn

from conceptlab.errors import LayerError
from conceptlab.models.evaluation import evaluating
from conceptlab.models.forward import forward
from conceptlab.models.grid import Form, first_tensor, part_of, to_grid
from conceptlab.models.layout import layouts
from conceptlab.models.places import Layout
from conceptlab.registry import near_matches

Keep = Callable[[str, Tensor], None]


class _Reached(BaseException):
    """All layers have been seen; unwinds the forward pass, whatever that catches."""


@contextmanager
def watch(
    module: nn.Module, layers: Sequence[str], keep: Keep, stop: bool = True
) -> Iterator[Callable[[Tensor], None]]:
    """Run a module and keep some layers' outputs.

    How the layers' outputs are laid out, and whether they run once in a pass, which an early stop
    would hide, is measured before the first batch of a size, if `ProbedModel` has not done so.

    Args:
        module: in any mode; it runs in evaluation mode, and has its own mode, hooks and
            `requires_grad` back at the end, also after an exception.
        layers: names in `named_modules()`, or with `[cls]` after one: its class token.
        keep: called with the layer's name and its output as (n, K, H, W), inside the hook. It has
            to copy what it wants: an in-place ReLU that follows would overwrite it.
        stop: end the pass when the last of the layers has been reached.

    Yields:
        A function that runs one batch.

    Raises:
        LayerError: no layer, or an unknown one; on running, a layer that is not reached, that runs
            twice, or whose output is no grid of units for each picture (Swin's windows).
    """
    modules = dict(module.named_modules())
    layers = list(dict.fromkeys(layers))
    if not layers:
        raise LayerError("name at least one layer")
    for layer in layers:
        if part_of(layer) not in modules:
            raise LayerError(f"no layer {layer!r}; {near_matches(layer, modules)}")
    capture = _Capture(module, layers, keep, stop)
    with evaluating(module):
        handles = [
            modules[part_of(n)].register_forward_hook(partial(capture.hook, n)) for n in layers
        ]
        try:
            yield capture.run
        finally:
            for handle in handles:
                handle.remove()


class _Capture:
    """One watch: what has been seen in the batch that runs."""

    def __init__(self, module: nn.Module, layers: Sequence[str], keep: Keep, stop: bool) -> None:
        self._module, self._layers, self._keep, self._stop = module, layers, keep, stop
        self._seen: set[str] = set()
        self._thread: int | None = None  # the one that runs a pass of this watch, while it does
        self._layouts: dict[str, Form] = {}
        self._pictures = 0

    def hook(self, layer: str, _: nn.Module, __: Any, output: Any) -> None:
        """Keep a layer's output; the last one unwinds the pass. Passes of others do not count."""
        if self._thread != get_ident():
            return
        if layer in self._seen:
            raise LayerError(twice(layer, [n for n, _ in self._module.named_modules()]))
        self._seen.add(layer)
        grid = to_grid(first_tensor(output, layer), self._layouts[layer])
        if len(grid) != self._pictures:
            raise LayerError(f"layer {layer} gives {len(grid)} rows for {self._pictures} pictures")
        self._keep(layer, grid)
        if self._stop and len(self._seen) == len(self._layers):
            raise _Reached

    def run(self, batch: Tensor) -> None:
        """Run one batch."""
        found = layouts(self._module, batch, self._layers)
        self._layouts = {layer: form_in(found, layer) for layer in self._layers}
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
                raise LayerError(unreached(layer))


def form_in(found: Mapping[str, Layout], layer: str) -> Form:
    """How the output of a layer is laid out, which has to be a grid of units for each picture.

    Raises:
        LayerError: one that has none, with the reason.
    """
    if layer not in found:
        raise LayerError(unreached(layer))
    layout = found[layer]
    if layout.calls > 1:
        raise LayerError(twice(layer, list(found)))
    if layout.form is None:
        raise LayerError(
            f"layer {layer} gives no grid of units per picture: {layout.reason}; choose the block "
            "around it"
        )
    return layout.form


def unreached(layer: str) -> str:
    """The sentence about a layer that no pass reaches."""
    return f"layer {layer} is not reached by a forward pass; choose one that is"


def twice(layer: str, names: Sequence[str]) -> str:
    """The sentence about a layer that runs more than once, with what to take instead."""
    parent = layer.rpartition(".")[0]
    inside = [n for n in names if n != layer and n.rpartition(".")[0] == parent and n]
    others = ", ".join([parent, *inside] if parent else inside) or "another layer"
    return (
        f"layer {layer} runs more than once in a forward pass, so its output is ambiguous; "
        f"choose one of {others}"
    )
