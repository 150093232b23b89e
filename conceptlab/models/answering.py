"""Passes in which the outputs of a network's layers are looked at: shapes, and answers to changes.

A plain pass shows what each layer does with a change of the picture. In a deep network such a
change spreads until every place answers to the whole picture, and what a layer of small reach does
with places is lost in what came before it. In a confined pass each layer whose layout is known, or
found in that very pass, keeps the change in its place for the layers after it.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from conceptlab.models.confined import confine
from conceptlab.models.forward import forward
from conceptlab.models.grid import floating_tensor
from conceptlab.models.moved import PICTURES, Shares, shares
from conceptlab.models.places import NO_MAP, NO_RASTER, Layout, read_places, vector

SLOW = 2.0  # seconds from which on a bar is shown
SILENT = "nothing in it answers to the picture"
DOUBTS = (NO_MAP, NO_RASTER, SILENT)  # reasons that may come from the layers before

#: Layers in order of execution to the shapes of their outputs; None: no floating-point numbers.
Outputs = Mapping[str, tuple[int, ...] | None]


class Bar:
    """Layers looked at, and those still to come; shown where it takes long."""

    def __init__(self) -> None:
        self._bar = tqdm(
            total=0, desc="layouts", unit="layer", delay=SLOW, leave=False, disable=None
        )

    def more(self, layers: int) -> None:
        """Another pass begins."""
        self._bar.total = (self._bar.total or 0) + layers

    def step(self) -> None:
        """A layer is done."""
        self._bar.update()

    def close(self) -> None:
        """All passes are done."""
        self._bar.close()


class Pass(ABC):
    """A pass in which layers are looked at."""

    def run(
        self, module: nn.Module, pictures: Tensor, bar: Bar, layers: Collection[str] | None = None
    ) -> None:
        """Run the network; all its layers are looked at if none are named."""
        named = [(n, p) for n, p in module.named_modules() if n and (layers is None or n in layers)]
        bar.more(len(named))

        def hook(name: str, _: nn.Module, __: Any, output: Any) -> None:
            self._look(name, output)
            bar.step()

        handles = [part.register_forward_hook(partial(hook, name)) for name, part in named]
        try:
            forward(module, pictures)
        finally:
            for handle in handles:
                handle.remove()

    @abstractmethod
    def _look(self, layer: str, output: Any) -> None:
        """Look at a layer's output."""


class Shapes(Pass):
    """The shapes of outputs, where these hold floating-point numbers."""

    def __init__(self) -> None:
        self.found: dict[str, tuple[int, ...] | None] = {}

    def _look(self, layer: str, output: Any) -> None:
        tensor = floating_tensor(output)
        if layer not in self.found:
            self.found[layer] = None if tensor is None else tuple(tensor.shape)


class _Answer(NamedTuple):
    """How the axes of an output answer, after that of the pictures.

    Args:
        order: the output's axes, the pictures' first.
        sizes: of the others.
        shared: (2, BANDS, size) of each; none of a vector's, whatever it answers to.
    """

    order: tuple[int, ...]
    sizes: tuple[int, ...]
    shared: list[Shares]


class Answers(Pass):
    """How outputs answer to changes of the picture, or why they do not.

    Args:
        shapes: of the layers' outputs for one picture.
        pixels: (height, width) of the picture.
    """

    def __init__(self, shapes: Outputs, pixels: Sequence[int]) -> None:
        self._shapes, self._pixels = shapes, pixels
        self._answers: dict[str, _Answer | Layout] = {}
        self._last: tuple[Tensor, int, _Answer | Layout] | None = None

    def _look(self, layer: str, output: Any) -> None:
        if layer in self._answers:
            before = self._answers[layer]
            calls = before.calls if isinstance(before, Layout) else 1
            self._answers[layer] = Layout(reason="it runs more than once", calls=calls + 1)
            return
        tensor, single = floating_tensor(output), self._shapes.get(layer)
        if tensor is None or single is None:
            reason = "its output is no tensor of floating-point numbers"
            self._answers[layer] = Layout(reason=reason)
            return
        if not self._is_last(tensor):
            self._last = tensor, tensor._version, _answer(tensor, single)
        assert self._last is not None
        self._answers[layer] = self._last[2]  # a block gives what its last part gave

    def _is_last(self, tensor: Tensor) -> bool:
        """Whether an output is what the layer before it gave."""
        last = self._last
        return last is not None and tensor is last[0] and tensor._version == last[1]

    def read(self) -> dict[str, Layout]:
        """The layouts of the layers that were looked at."""
        return {layer: _layout(own, self._pixels) for layer, own in self._answers.items()}


class ConfinedAnswers(Answers):
    """The same with changes kept in place at layers whose layout is known or found here.

    Args:
        shapes: of the layers' outputs for one picture.
        pixels: (height, width) of the picture.
        known: layouts; those that are found in place of doubts are entered.
        earlier: a confined pass of another picture, whose answers count too.
    """

    def __init__(
        self,
        shapes: Outputs,
        pixels: Sequence[int],
        known: dict[str, Layout],
        earlier: "ConfinedAnswers | None" = None,
    ) -> None:
        super().__init__(shapes, pixels)
        self._known, self._earlier = known, earlier
        self.doubtful = False  # whether another picture might show more

    def _look(self, layer: str, output: Any) -> None:
        layout = self._known.get(layer) or Layout(reason=NO_MAP)
        if layout.reason in DOUBTS:
            layout = self._found(layer, output)
        if layout.form is None or layout.calls > 1:
            return
        tensor = floating_tensor(output)
        if tensor is not None:
            measured = self._is_last(tensor)
            confine(tensor, layout.form)
            if measured and self._last is not None:  # a block gives it on, now changed in place
                self._last = tensor, tensor._version, self._last[2]

    def _found(self, layer: str, output: Any) -> Layout:
        """The layout that a layer shows now."""
        super()._look(layer, output)
        layout = _layout(self._answers[layer], self._pixels)
        if layout.form is None and self._earlier is not None:
            self._answers[layer] = _sum(self._answers[layer], self._earlier._answers.get(layer))
            layout = _layout(self._answers[layer], self._pixels)
        self.doubtful |= layout.doubtful
        if layout.form is not None:
            self._known[layer] = layout
        return layout


def _sum(own: _Answer | Layout, other: _Answer | Layout | None) -> _Answer | Layout:
    """Two pictures' answers together."""
    if isinstance(own, _Answer) and isinstance(other, _Answer):
        both = [a + b for a, b in zip(own.shared, other.shared, strict=True)]
        return own._replace(shared=both)
    return own


def _answer(outputs: Tensor, single: tuple[int, ...]) -> _Answer | Layout:
    """How an output of all pictures answers, given its shape for one."""
    shape = tuple(outputs.shape)
    if len(shape) != len(single):
        return Layout(reason=f"its output has {len(single)} axes or {len(shape)}, as it comes")
    grown = [axis for axis, size in enumerate(shape) if size != single[axis]]
    if not grown:
        return Layout(reason=f"none of the axes of its output {single} is that of the pictures")
    if len(grown) > 1 or (single[grown[0]], shape[grown[0]]) != (1, PICTURES):
        return Layout(reason=f"of its output {single} for one picture no row is a picture")
    if not 2 <= len(shape) <= 4:
        return Layout(reason=f"its output {single} has {len(shape)} axes; a grid has 2 to 4")
    order = (grown[0], *(axis for axis in range(len(shape)) if axis != grown[0]))
    ordered = outputs.permute(order)
    sizes = tuple(ordered.shape[1:])
    if len(shape) == 2 or 0 in sizes or (len(sizes) == 3 and sorted(sizes)[1] == 1):
        return _Answer(order, sizes, [])
    found = shares(ordered)
    if not any((alive > 0).any() for _, alive in found):
        finite = bool(torch.isfinite(outputs).all())
        why = "its values are not finite (check the weights and the preprocessing)"
        return Layout(reason=SILENT if finite else why)
    return _Answer(order, sizes, [shared for shared, _ in found])


def _layout(answer: _Answer | Layout, pixels: Sequence[int]) -> Layout:
    """What an answer says, with the axes as the output has them."""
    if isinstance(answer, Layout):
        return answer
    if 0 in answer.sizes:
        return Layout(reason="its output is empty")
    if answer.shared:
        whole = [shared / shared.sum(axis=1, keepdims=True) for shared in answer.shared]
        found = read_places(answer.sizes, whole, pixels)
    else:
        found = vector(answer.sizes)
    if found.form is None:
        return found
    order = tuple(answer.order[axis] for axis in found.form.order)
    return replace(found, form=replace(found.form, order=order))
