"""Calls that share a part of a network exclude each other, from whatever threads they come.

Hooks, modes and `requires_grad` belong to a module and not to a call: a pass of one thread would
run through the hooks of another.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

_CHANGED = threading.Condition()
SETTINGS = 0  # stands for PyTorch's own settings; no part of a network has this id
#: What is taken (a part of a network, by its id) to the thread that has it, and how often.
_TAKEN: dict[int, tuple[int, int]] = {}


@contextmanager
def alone(module: nn.Module, settings: bool = False) -> Iterator[None]:
    """Within it, no other thread is in such a block with a network that shares a part with this.

    Parts are modules and parameters. A thread may enter again what it is in.

    Args:
        module: the network.
        settings: whether PyTorch's own settings are changed too, which all networks share; then no
            other thread is in such a block at all.
    """
    me = threading.get_ident()
    parts = {id(part) for part in (*module.modules(), *module.parameters())}
    parts |= {SETTINGS} if settings else set()
    with _CHANGED:
        _CHANGED.wait_for(lambda: _is_free(parts, me))
        for part in parts:
            _TAKEN[part] = me, _TAKEN.get(part, (me, 0))[1] + 1
    try:
        yield
    finally:
        with _CHANGED:  # a generator that nobody finished may be closed by another thread
            for part in parts:
                times = _TAKEN.pop(part)[1] - 1
                if times:
                    _TAKEN[part] = me, times
            _CHANGED.notify_all()


def _is_free(parts: set[int], me: int) -> bool:
    """Whether a thread may take some parts; the settings go with everything."""
    if SETTINGS in parts:
        return all(thread == me for thread, _ in _TAKEN.values())
    return all(_TAKEN.get(part, (me, 0))[0] == me for part in (*parts, SETTINGS))
