"""Modules of one's own that a network's file imports: what is in them belongs to the network.

Of one's own is what lies neither in the standard library nor among installed packages.
"""

import importlib
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

INSTALLED = ("site-packages", "dist-packages")
#: Modules of one's own that files of networks have imported, by name.
_IMPORTED: dict[str, ModuleType] = {}


class FreshLoader(SourceFileLoader):
    """Runs a file as it is now.

    Python's own loader takes compiled code for as long as size and whole second of the last change
    are the same.
    """

    def get_code(self, fullname: str) -> CodeType:
        """The file's code, compiled anew."""
        code: CodeType = self.source_to_code(self.get_data(self.path), self.path)
        return code


@contextmanager
def importing_anew() -> Iterator[None]:
    """Within it, modules that earlier files of networks imported are imported as they are now."""
    for name, module in _IMPORTED.items():
        parent, _, child = name.rpartition(".")
        above = sys.modules.get(parent)
        if getattr(above, child, None) is module:
            delattr(above, child)
        if sys.modules.get(name) is module:
            del sys.modules[name]
    _IMPORTED.clear()
    importlib.invalidate_caches()
    before, written = set(sys.modules), sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.dont_write_bytecode = written
        new = {name: sys.modules[name] for name in list(sys.modules) if name not in before}
        _IMPORTED.update({name: module for name, module in new.items() if _file(module)})


def sources(begin: Iterable[str]) -> bytes:
    """What stands in modules of one's own: those named, those they use, and those just imported.

    Args:
        begin: names of modules.
    """
    found: dict[str, Path] = {}
    waiting = [*begin, *_IMPORTED]
    while waiting:
        name = waiting.pop()
        module = sys.modules.get(name)
        file = None if module is None or name in found else _file(module)
        if file is not None:
            found[name] = file
            waiting += modules_used(module)
    parts = [b"\0%s\0%s" % (name.encode(), found[name].read_bytes()) for name in sorted(found)]
    return b"".join(parts)


def modules_used(module: ModuleType | None) -> set[str]:
    """The modules that the names in a module lead to."""
    values = list(vars(module).values())
    owners = (v.__name__ if isinstance(v, ModuleType) else _owner(v) for v in values)
    return {owner for owner in owners if isinstance(owner, str)}


def _owner(value: object) -> object:
    return getattr(value, "__module__", None) if callable(value) else None


def _file(module: object) -> Path | None:
    """The file of a module of one's own; None of all others."""
    text = getattr(module, "__file__", None)
    if not isinstance(text, str):
        return None
    path = Path(text).resolve()
    installed = any(part in INSTALLED for part in path.parts)
    if installed or any(path.is_relative_to(root) for root in _libraries()) or not path.is_file():
        return None
    return path


@cache
def _libraries() -> tuple[Path, ...]:
    places = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    places += [*site.getsitepackages(), site.getusersitepackages(), str(Path(__file__).parents[1])]
    return tuple(Path(place).resolve() for place in places)
