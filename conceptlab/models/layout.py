"""How the outputs of a network's layers are laid out: measured, never guessed.

The network runs on one picture, and on it with bands changed (`conceptlab.models.moved`). The axis
of the pictures is the one that grows with their number; what the others are, their answers tell
(`conceptlab.models.places`). A layer that does not behave like a map of the picture, nor is a
vector, has no grid, and its layout says why.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from conceptlab.errors import ModelError
from conceptlab.models.answering import DOUBTS, Answers, Bar, ConfinedAnswers, Outputs, Shapes
from conceptlab.models.confined import stirred
from conceptlab.models.evaluation import evaluating
from conceptlab.models.grid import CLASS, Form, part_of
from conceptlab.models.moved import moved_pictures
from conceptlab.models.places import NO_RASTER, Layout

ROUNDS = 3  # base pictures, at most, with changes kept in place, where doubts are left
FEW = 3  # rows or columns, too few to tell places from chance
#: Times the picture's size, tried for layers of few rows or columns: base pictures, at most.
LARGER = {2: 1, 3: ROUNDS}


@dataclass
class _Known:
    """What is known of a network at a size.

    Args:
        shapes: of what its layers give for one picture, in order of execution.
        found: layouts of those that were measured.
        whole: whether all were.
    """

    shapes: dict[str, tuple[int, ...] | None] = field(default_factory=dict)
    found: dict[str, Layout] = field(default_factory=dict)
    whole: bool = False


_KNOWN: WeakKeyDictionary[nn.Module, dict[tuple[Any, ...], _Known]] = WeakKeyDictionary()


def layouts(
    module: nn.Module, like: Tensor, layers: Collection[str] | None = None
) -> dict[str, Layout]:
    """The layout of every layer that a forward pass reaches, in order of execution.

    It takes the forward passes of 16 pictures; where these leave doubts, of 15 more with changes
    kept in place in the layers before (45 at most); and of 15 of larger pictures for layers of two
    or three rows. Where layers are named that show themselves in the first 16, it ends there. Once
    for a network and size.

    Args:
        module: in any mode; it is measured in evaluation mode, and has everything back at the end.
        like: (n, C, H, W) pictures; only their shape, type and device matter.
        layers: names, perhaps of class tokens, that have to be among those measured; if not given,
            all are.
    """
    parts = tuple((name, id(part)) for name, part in module.named_modules())
    key = (tuple(like.shape[1:]), like.dtype, parts)
    known = _KNOWN.setdefault(module, {}).setdefault(key, _Known())
    wanted = None if layers is None else {part_of(layer) for layer in layers}
    if not _is_done(known, wanted):
        with (
            torch.inference_mode(False),
            torch.no_grad(),
            evaluating(module),
            closing(Bar()) as bar,
        ):
            _Measuring(module, like, known, bar).do(wanted)
    ordered = {layer: known.found[layer] for layer in known.shapes if layer in known.found}
    return dict(_with_class_tokens(ordered))


def executed(module: nn.Module, like: Tensor) -> list[str]:
    """The layers that a forward pass reaches, in order of execution, without measuring any."""
    layouts(module, like, ())
    parts = tuple((name, id(part)) for name, part in module.named_modules())
    return list(_KNOWN[module][tuple(like.shape[1:]), like.dtype, parts].shapes)


def _is_done(known: _Known, wanted: Collection[str] | None) -> bool:
    if known.whole or wanted is None or not known.shapes:
        return known.whole
    return all(layer in known.found for layer in wanted if layer in known.shapes)


class _Measuring:
    """The passes of a network at a size.

    Args:
        module: in evaluation mode, without gradients.
        like: (n, C, H, W) pictures of that size.
        known: what is found is entered there.
        bar: shown where it takes long.
    """

    def __init__(self, module: nn.Module, like: Tensor, known: _Known, bar: Bar) -> None:
        self._module, self._like, self._known, self._bar = module, like[:1], known, bar

    def do(self, wanted: Collection[str] | None) -> None:
        """Measure some layers, or all: if none are named, or one gives no grid so."""
        known = self._known
        if _is_done(known, wanted):
            return  # by another thread, for which this one had to wait
        if not known.shapes:
            known.shapes = self._shapes(moved_pictures(self._like, 0)[:1])
        if wanted is not None:
            new = [layer for layer in wanted if layer in known.shapes and layer not in known.found]
            found = self._plain(new) if new else {}
            if all(layout.form is not None for layout in found.values()):
                known.found |= found
                return
        found = self._plain()
        self._confined(self._like, known.shapes, found)
        self._larger(found)
        known.found, known.whole = found, True

    def _shapes(self, picture: Tensor) -> dict[str, tuple[int, ...] | None]:
        shapes = Shapes()
        shapes.run(self._module, picture, self._bar)
        return shapes.found

    def _plain(self, layers: Collection[str] | None = None) -> dict[str, Layout]:
        answers = Answers(self._known.shapes, self._like.shape[2:])
        answers.run(self._module, moved_pictures(self._like, 0), self._bar, layers)
        return answers.read()

    def _confined(
        self, like: Tensor, shapes: Outputs, found: dict[str, Layout], rounds: int = ROUNDS
    ) -> None:
        """Layouts with changes kept in place, entered where there were doubts."""
        earlier = None
        for base in range(rounds):
            if not _doubts(found):
                return
            answers = ConfinedAnswers(shapes, like.shape[2:], found, earlier)
            with stirred(self._module):
                answers.run(self._module, moved_pictures(like, base), self._bar)
            if not answers.doubtful:
                return
            earlier = answers

    def _larger(self, found: dict[str, Layout]) -> None:
        """Layouts of layers of few rows, as they are on larger pictures, if it takes such."""
        for times, rounds in LARGER.items():
            few = [layer for layer in _doubts(found) if self._has_few_places(layer)]
            if not few:
                return
            height, width = self._like.shape[2:]
            large = self._like.new_zeros(*self._like.shape[:2], times * height, times * width)
            try:
                shapes = self._shapes(large)
            except ModelError:
                return
            known = {layer: _at_any_size(layout) for layer, layout in found.items()}
            self._confined(large, shapes, known, rounds)
            for layer in few:
                found[layer] = self._at_own_size(layer, known[layer]) or found[layer]

    def _has_few_places(self, layer: str) -> bool:
        single = self._known.shapes[layer]
        return single is not None and len(single) == 4 and sum(1 < s <= FEW for s in single) >= 2

    def _at_own_size(self, layer: str, layout: Layout) -> Layout | None:
        """A layout of a larger picture at the network's own size."""
        single = self._known.shapes[layer]
        if single is None or layout.form is None or layout.shape is None:
            return None
        if len(layout.form.order) != 4:
            return None
        rows, units, height, width = (single[axis] for axis in layout.form.order)
        if rows != 1 or layout.shape[0] != units:
            return None
        return replace(layout, shape=(units, height, width))


def _doubts(found: Mapping[str, Layout]) -> list[str]:
    return [layer for layer, layout in found.items() if layout.reason in DOUBTS]


def _at_any_size(layout: Layout) -> Layout:
    """What of a layout holds at other sizes too: an order of axes does, a count of tokens not."""
    if layout.form is not None and len(layout.form.order) == 3:
        return Layout(reason=NO_RASTER)
    return layout


def _with_class_tokens(found: dict[str, Layout]) -> Iterator[tuple[str, Layout]]:
    """Layers, and after each that has tokens before the map's the first of them by itself."""
    for layer, layout in found.items():
        yield layer, layout
        if layout.form is not None and layout.shape is not None and layout.form.first:
            form = Form(layout.form.order, token=0)
            yield layer + CLASS, Layout(form, (layout.shape[0], 1, 1))
