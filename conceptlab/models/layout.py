"""How the outputs of a network's layers are laid out: measured, never guessed.

The network runs on one picture, and on it with bands changed (`conceptlab.models.moved`). The axis
of the pictures is the one that grows with their number; what the others are, their answers tell
(`conceptlab.models.places`). A layer that does not behave like a map of the picture, nor is a
vector, has no grid, and its layout says why.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from conceptlab.errors import ModelError
from conceptlab.models.confined import confined
from conceptlab.models.evaluation import evaluating
from conceptlab.models.forward import forward
from conceptlab.models.grid import CLASS, Form, floating_tensor
from conceptlab.models.moved import PICTURES, Shares, moved_pictures, shares
from conceptlab.models.places import NO_MAP, NO_RASTER, Layout, read_places, vector

ROUNDS = 3  # base pictures, at most, where the first leaves a doubt
CONFINED = 2  # passes, at most, in which changes are kept in place, where doubts are left
FEW = 3  # rows or columns, too few to tell places from chance
LARGER = 3  # times the picture's size is tried for layers of few rows or columns

SILENT = "nothing in it answers to the picture"
DOUBTS = (NO_MAP, NO_RASTER, SILENT)  # reasons that may come from the layers before

#: Networks and sizes that were measured: layer to layout.
_MEASURED: WeakKeyDictionary[nn.Module, dict[tuple[Any, ...], dict[str, Layout]]] = (
    WeakKeyDictionary()
)


def layouts(module: nn.Module, like: Tensor) -> dict[str, Layout]:
    """The layout of every layer that a forward pass reaches, in order of execution.

    It takes the forward passes of 16 pictures, and of 15 more where layers answer to the whole
    picture almost alike (attention); once for a network and size. Layers that no map of the picture
    comes out of are measured once more, by 15 or 30 pictures, with changes kept in place in the
    layers before them, and those of two or three rows on larger pictures.

    Args:
        module: in any mode; it is measured in evaluation mode, and has everything back at the end.
        like: (n, C, H, W) pictures; only their shape, type and device matter.
    """
    parts = tuple((name, id(part)) for name, part in module.named_modules())
    key = (tuple(like.shape[1:]), like.dtype, parts)
    known = _MEASURED.setdefault(module, {})
    if key not in known:
        known[key] = _measured(module, like)
    return known[key]


def _measured(module: nn.Module, like: Tensor) -> dict[str, Layout]:
    with torch.inference_mode(False), torch.no_grad(), evaluating(module):
        shapes = _Shapes()
        shapes.run(module, moved_pictures(like[:1], 0)[:1])
        found = _at(module, like, shapes.found)
        few = [layer for layer in _doubts(found) if _has_few_places(shapes.found[layer])]
        if few:
            found.update(_of_larger(module, like, few, shapes.found))
    return dict(_with_class_tokens(found))


def _at(module: nn.Module, like: Tensor, shapes: dict[str, tuple[int, ...]]) -> dict[str, Layout]:
    """What is measured on pictures of one size."""
    pixels, pictures = like.shape[2:], moved_pictures(like[:1], 0)
    answers = _Answers(shapes)
    answers.run(module, pictures)
    found = answers.read(pixels)
    for base in range(1, ROUNDS):
        doubtful = [layer for layer, layout in found.items() if layout.doubtful]
        if not doubtful:
            break
        more = _Answers(shapes)
        more.run(module, moved_pictures(like[:1], base), doubtful)
        answers.add(more, doubtful)
        found.update(answers.read(pixels, doubtful))
    for _ in range(CONFINED):
        doubts = _doubts(found)
        if not doubts:
            break
        local = _Answers(shapes)
        with confined(module, found):
            local.run(module, pictures, doubts)
        now = local.read(pixels, doubts)
        clear = {layer: layout for layer, layout in now.items() if layout.form is not None}
        if not clear:
            break
        found.update(clear)
    return found


def _doubts(found: dict[str, Layout]) -> list[str]:
    return [layer for layer, layout in found.items() if layout.reason in DOUBTS]


def _has_few_places(single: tuple[int, ...]) -> bool:
    return len(single) == 4 and sum(1 < size <= FEW for size in single) >= 2


def _of_larger(
    module: nn.Module, like: Tensor, few: list[str], shapes: dict[str, tuple[int, ...]]
) -> Iterator[tuple[str, Layout]]:
    """Layouts of layers of few rows, as they are on larger pictures, if the network takes such."""
    large = like.new_zeros(1, like.shape[1], *(LARGER * side for side in like.shape[2:]))
    larger = _Shapes()
    try:
        larger.run(module, large)
    except ModelError:
        return
    for layer, layout in _at(module, large, larger.found).items():
        if layer in few and layout.form is not None and len(layout.form.order) == 4:
            rows, units, height, width = (shapes[layer][axis] for axis in layout.form.order)
            shape = units, height, width
            if rows == 1 and layout.shape is not None and shape[0] == layout.shape[0]:
                yield layer, replace(layout, shape=shape)


def _with_class_tokens(found: dict[str, Layout]) -> Iterator[tuple[str, Layout]]:
    """Layers, and after each that has tokens before the map's the first of them by itself."""
    for layer, layout in found.items():
        yield layer, layout
        if layout.form is not None and layout.shape is not None and layout.form.first:
            form = Form(layout.form.order, token=0)
            yield layer + CLASS, Layout(form, (layout.shape[0], 1, 1))


class _Pass(ABC):
    """A pass in which layers are looked at."""

    def run(self, module: nn.Module, pictures: Tensor, layers: Collection[str] = ()) -> None:
        """Run the network; all its layers are looked at if none are named."""
        named = [
            (n, part) for n, part in module.named_modules() if n in layers or (n and not layers)
        ]
        handles = [p.register_forward_hook(partial(self._hook, name)) for name, p in named]
        try:
            forward(module, pictures)
        finally:
            for handle in handles:
                handle.remove()

    @abstractmethod
    def _hook(self, layer: str, _: nn.Module, __: Any, output: Any) -> None:
        """Look at a layer's output."""


class _Shapes(_Pass):
    """The shapes of outputs, where these hold floating-point numbers."""

    def __init__(self) -> None:
        self.found: dict[str, tuple[int, ...]] = {}

    def _hook(self, layer: str, _: nn.Module, __: Any, output: Any) -> None:
        tensor = floating_tensor(output)
        if layer not in self.found and tensor is not None:
            self.found[layer] = tuple(tensor.shape)


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


class _Answers(_Pass):
    """How outputs answer to changes of the picture, or why they do not.

    Args:
        shapes: of the layers' outputs for one picture.
    """

    def __init__(self, shapes: dict[str, tuple[int, ...]]) -> None:
        self._shapes = shapes
        self._found: dict[str, _Answer | Layout] = {}
        self._last: tuple[Tensor, int, _Answer | Layout] | None = None

    def _hook(self, layer: str, _: nn.Module, __: Any, output: Any) -> None:
        if layer in self._found:
            before = self._found[layer]
            calls = before.calls if isinstance(before, Layout) else 1
            self._found[layer] = Layout(reason="it runs more than once", calls=calls + 1)
            return
        tensor = floating_tensor(output)
        if tensor is None or layer not in self._shapes:
            self._found[layer] = Layout(reason="its output is no tensor of floating-point numbers")
            return
        last = self._last
        if last is None or tensor is not last[0] or tensor._version != last[1]:
            answer = _answer(tensor, self._shapes[layer])
            last = self._last = (tensor, tensor._version, answer)
        self._found[layer] = last[2]  # a block gives what its last part gave

    def add(self, more: "_Answers", layers: Collection[str]) -> None:
        """The sum of two pictures' answers, of some layers."""
        for layer in layers:
            own, other = self._found[layer], more._found[layer]
            if isinstance(own, _Answer) and isinstance(other, _Answer):
                both = [a + b for a, b in zip(own.shared, other.shared, strict=True)]
                self._found[layer] = own._replace(shared=both)

    def read(self, pixels: Sequence[int], layers: Collection[str] = ()) -> dict[str, Layout]:
        """The layouts of some layers, of all if none are named."""
        return {
            layer: _layout(answer, pixels)
            for layer, answer in self._found.items()
            if layer in layers or not layers
        }


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
    found = [shares(ordered, axis) for axis in range(1, len(shape))]
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
