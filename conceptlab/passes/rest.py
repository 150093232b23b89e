"""Replay cache: run only what follows a layer, with its output changed, as often as is asked.

The intact pass of a batch keeps the outputs of the modules that end before the layer begins. A
later pass of the same batch replays these and computes the rest. The network's own `forward` still
runs, so shortcuts and functions between modules are what they were. Afterwards the model is as it
was.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from conceptlab.errors import LayerError
from conceptlab.models.evaluation import evaluating
from conceptlab.models.forward import forward
from conceptlab.models.grid import first_tensor, part_of, to_grid
from conceptlab.models.probed import ProbedModel
from conceptlab.passes.edit import Change, on_grid, replaced

log = logging.getLogger(__name__)

#: Takes a grid of units (n, K, H, W); gives what replaces it.
Edit = Callable[[Tensor], Tensor]
Forward = Callable[..., Any]
UNKNOWN = -1  # versions of a tensor that does not count them
ROUNDS = 4  # passes in which outputs are found that later layers write over


@dataclass
class _Plan:
    """Which modules are replayed.

    Args:
        skipped: outermost modules that end before the layer begins, each with whether anything but
            another of them reads its output.
        fragile: those of them whose output a later layer writes over.
    """

    skipped: dict[nn.Module, bool] = field(default_factory=dict)
    fragile: set[nn.Module] = field(default_factory=set)


class Rest:
    """A network from one of its layers on; see `rest_of`.

    Args:
        model: in evaluation mode.
        layer: as `ProbedModel.resolve` gives it.
    """

    def __init__(self, model: ProbedModel, layer: str) -> None:
        self._model, self._layer = model, layer
        self._target = dict(model.module.named_modules())[part_of(layer)]
        self._form = model.form(layer)
        self._plan: _Plan | None = None
        self._batch = torch.empty(0)
        self._output: Any = None
        self._kept: dict[nn.Module, Any] = {}
        self._versions: dict[nn.Module, list[int]] = {}

    @property
    def skipped(self) -> list[str]:
        """The modules that do not run again; none before the first batch."""
        plan = self._plan or _Plan()
        return [name for name, part in self._model.module.named_modules() if part in plan.skipped]

    @property
    def grid(self) -> Tensor:
        """(n, K, H, W) the layer's output for the last batch, unchanged."""
        raw = first_tensor(self._output, self._layer)
        return to_grid(raw, self._form)

    def intact(self, batch: Tensor) -> Any:
        """What the network returns for a batch (n, 3, S, S), which `changed` then speaks of."""
        with torch.inference_mode(False), torch.no_grad():
            batch = batch.to(self._model.device)
            if self._plan is None:
                self._plan = _Plan()
                self._plan = self._planned(batch[:1])
            return self._record(batch)

    def changed(self, edit: Edit) -> Any:
        """What the network returns for the last batch when the layer's output is changed."""
        with torch.inference_mode(False), torch.no_grad():
            returned, sound = self._replay(on_grid(edit))
            if not sound:
                log.info("%s: the whole network runs for each change", self._model.name)
                self._plan, self._kept = _Plan(), {}
                returned, _ = self._replay(on_grid(edit))
            return returned

    def _record(self, batch: Tensor) -> Any:
        """An intact pass that keeps the outputs that are given back later."""
        plan = self._plan or _Plan()
        self._batch, self._output, self._kept = batch, None, {}

        def keeping(module: nn.Module, forward: Forward) -> Forward:
            def run(*args: Any, **named: Any) -> Any:
                output = forward(*args, **named)
                copy = module in plan.fragile or module is self._target
                self._kept[module] = _mapped(output, torch.clone) if copy else output
                self._versions[module] = _versions(self._kept[module])
                return output

            return run

        wanted = [module for module, read in plan.skipped.items() if read]
        with _patched({m: keeping(m, m.forward) for m in (*wanted, self._target)}):
            returned = forward(self._model.module, batch.clone())
        if self._target not in self._kept:
            raise LayerError(f"layer {self._layer} is not reached by a forward pass")
        self._output = self._kept.pop(self._target)
        return returned

    def _replay(self, change: Change) -> tuple[Any, bool]:
        """A pass from the layer on, and whether it can be trusted."""
        plan, calls = self._plan or _Plan(), Counter[nn.Module]()
        raw = first_tensor(self._output, self._layer)

        def giving(module: nn.Module) -> Forward:
            def run(*_: Any, **__: Any) -> Any:
                calls[module] += 1
                if module is self._target:
                    rest = _mapped(self._output, torch.clone) if self._output is not raw else raw
                    return replaced(rest, change(self._layer, raw, self._form))
                if module not in self._kept:
                    return torch.empty(0)  # only another module that is skipped would read it
                kept = self._kept[module]
                return _mapped(kept, torch.clone) if module in plan.fragile else kept

            return run

        parts = [*plan.skipped, self._target]
        with _patched({module: giving(module) for module in parts}):
            returned = forward(self._model.module, self._batch.clone())
        return returned, all(calls[m] == 1 for m in parts) and not self._overwritten()

    def _overwritten(self) -> set[nn.Module]:
        """Modules whose kept output was written over since, or might be unseen."""
        fragile = (self._plan or _Plan()).fragile
        return {
            module
            for module, kept in self._kept.items()
            if _versions(kept) != self._versions[module]
            or (UNKNOWN in self._versions[module] and module not in fragile)
        }

    def _planned(self, picture: Tensor) -> _Plan:
        """What need not run again, tried out on one picture (1, 3, S, S)."""
        trace = _Trace(self._target)
        parts = {module: trace.around(module) for module in self._model.module.modules()}
        with _patched(parts):
            forward(self._model.module, picture.clone())
        plan = self._plan = _Plan(trace.skippable())
        for _ in range(ROUNDS):
            self._record(picture)
            written = self._overwritten()
            if not written:
                self._replay(on_grid(torch.clone))
                written = self._overwritten()
            if not written:
                break
            plan.fragile |= written
        return plan if self._agrees(picture) else _Plan()

    def _agrees(self, picture: Tensor) -> bool:
        """Whether replays are equal to the bit to passes of the whole network, on one picture."""
        plan = self._plan
        intact = self._record(picture)
        for edit in (torch.clone, lambda grid: grid * -2.0):
            short, sound = self._replay(on_grid(edit))
            self._plan = _Plan()
            whole, _ = self._replay(on_grid(edit))
            self._plan = plan
            if not sound or not _same(short, whole):
                return False
        return _same(intact, self._replay(on_grid(torch.clone))[0])


@contextmanager
def rest_of(model: ProbedModel, layer: str) -> Iterator[Rest]:
    """Within it, the network can run from a layer on.

    Exact to the bit: on the first picture, passes of what follows are compared with passes of the
    whole network, and where they differ, or a later pass runs something twice that is given back
    from memory or writes over it, the whole network runs each time.

    Args:
        model: in any mode; it runs in evaluation mode, and has everything back at the end, also
            after an exception.
        layer: the name of one that runs once in a pass.

    Yields:
        `Rest`: `intact(batch)`, then `changed(edit)` as often as is wanted. One batch's outputs of
        what ended before the layer are held.

    Raises:
        LayerError: no such layer, or one that cannot be probed.
    """
    name = model.resolve([layer])[0]
    with evaluating(model.module):
        yield Rest(model, name)


class _Trace:
    """Who runs when in a pass: finds the modules that end before the layer begins."""

    def __init__(self, target: nn.Module) -> None:
        self._target = target
        self._stack: list[nn.Module] = []
        self._calls: Counter[nn.Module] = Counter()
        self._ended: dict[nn.Module, list[nn.Module]] = {}

    def around(self, module: nn.Module) -> Forward:
        """A module's `forward` that says when it runs."""
        forward = module.forward

        def run(*args: Any, **named: Any) -> Any:
            self._calls[module] += 1
            self._stack.append(module)
            try:
                output = forward(*args, **named)
            finally:
                self._stack.pop()
            if not self._calls[self._target] and _is_plain(output):
                self._ended[module] = list(self._stack)
            return output

        return run

    def skippable(self) -> dict[nn.Module, bool]:
        """Outermost modules that ran once and ended in time, to whether their output is read."""
        once = {m: s for m, s in self._ended.items() if self._calls[m] == 1}
        outermost = {m: s for m, s in once.items() if not any(above in once for above in s)}
        return {m: self._is_read(m, stack, outermost) for m, stack in outermost.items()}

    def _is_read(
        self, module: nn.Module, stack: list[nn.Module], skipped: Mapping[nn.Module, Any]
    ) -> bool:
        """False inside a plain `Sequential` where the next module does not run again either."""
        above = stack[-1] if stack else None
        if not isinstance(above, nn.Sequential) or type(above).forward is not nn.Sequential.forward:
            return True
        chain = list(above)
        place = chain.index(module)
        if place + 1 == len(chain):
            return True
        following = chain[place + 1]
        hooked = any(part._forward_hooks or part._forward_pre_hooks for part in (module, following))
        return hooked or not (following in skipped or following is self._target)


@contextmanager
def _patched(forwards: Mapping[nn.Module, Forward]) -> Iterator[None]:
    """Modules with another `forward`, and their own back at the end."""
    own = {module: vars(module).get("forward") for module in forwards}
    try:
        for module, forward in forwards.items():
            vars(module)["forward"] = forward
        yield
    finally:
        for module, before in own.items():
            vars(module).pop("forward", None)
            if before is not None:
                vars(module)["forward"] = before


def _mapped(output: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """An output with a function of each of its tensors; what is no container stays as it is."""
    if isinstance(output, Tensor):
        return function(output)
    if isinstance(output, dict):
        changed = {key: _mapped(value, function) for key, value in output.items()}
        return changed if type(output) is dict else type(output)(changed)
    if isinstance(output, tuple | list):
        parts = [_mapped(value, function) for value in output]
        return type(output)(*parts) if hasattr(output, "_fields") else type(output)(parts)
    return output


def _leaves(output: Any) -> list[Any]:
    """What an output's containers hold."""
    if isinstance(output, dict):
        output = list(output.values())
    if isinstance(output, tuple | list):
        return [leaf for part in output for leaf in _leaves(part)]
    return [output]


def _tensors(output: Any) -> list[Tensor]:
    return [leaf for leaf in _leaves(output) if isinstance(leaf, Tensor)]


def _is_plain(output: Any) -> bool:
    """Whether there are tensors in an output, and nothing else that could be written over."""
    plain = Tensor | bool | int | float | str | None
    return bool(_tensors(output)) and all(isinstance(leaf, plain) for leaf in _leaves(output))


def _versions(output: Any) -> list[int]:
    """How often each tensor of an output was written into."""
    return [UNKNOWN if tensor.is_inference() else tensor._version for tensor in _tensors(output)]


def _same(one: Any, other: Any) -> bool:
    """Whether two returned values are equal to the bit."""
    first, second = _tensors(one), _tensors(other)
    return len(first) == len(second) > 0 and all(map(torch.equal, first, second))
