"""`file:PATH.py:FACTORY`: a network of one's own."""

import contextlib
import importlib.util
import logging
import sys
from collections.abc import Collection
from pathlib import Path

from torch import nn

from conceptlab.errors import ModelError
from conceptlab.files import is_file, user_path
from conceptlab.models.local import FreshLoader, importing_anew, modules_used, sources
from conceptlab.models.settings import READERS, settings_of
from conceptlab.models.sources.source import FILES, SOURCES, Built
from conceptlab.registry import near_matches

log = logging.getLogger(__name__)


@SOURCES.register("file")
def build(rest: str, bare: bool) -> Built:
    """The module that a function without arguments returns; the file is run to get at it.

    The module takes pictures (n, 3, S, S) alone: a network of several or of named inputs is wrapped
    in one whose forward gives them. The factory may set the attributes `size`, `mean`, `std` and
    `class_names` on the module (see `conceptlab.models.settings`).
    """
    del bare  # only the factory knows whether it loads weights
    text, _, factory = rest.rpartition(":")
    path = user_path(text)  # no shell expands ~ behind a colon
    if not text or not factory:
        raise ModelError(f"write a model of your own as file:PATH.py:FACTORY; got file:{rest}")
    if not is_file(path):
        raise ModelError(f"there is no file {path} to take a model from")
    name = FILES + path.stem
    with importing_anew():
        module = _call(name, path, factory)
    if not isinstance(module, nn.Module):
        kind = type(module).__name__
        raise ModelError(f"{factory} in {path} returns {kind}, which is no torch.nn.Module")
    given = settings_of(module, f"{factory} in {path}")
    _tell_unread(path, factory, given)
    code = path.read_bytes() + _others(name, module)
    return Built(module, f"{path.stem}-{factory}", code=code, **given)


def _tell_unread(path: Path, factory: str, given: Collection[str]) -> None:
    """Warn of settings that stand in the file alone; `mean` may also be a function's name there."""
    code = vars(sys.modules[FILES + path.stem])
    for setting in READERS:
        value = code.get(setting)
        if setting not in given and value is not None and not callable(value):
            log.warning(
                "%s sets %s, and %s returns a network without it: it is not read; set it on the "
                "network",
                *(path, setting, factory),
            )


def _others(name: str, module: nn.Module) -> bytes:
    """What stands in the other files that a factory's network is made from."""
    used = {type(part).__module__ for part in module.modules()}
    file = sys.modules.pop(name)
    try:
        return sources([*used, *modules_used(file)])
    finally:
        sys.modules[name] = file


def _call(name: str, path: Path, factory: str) -> object:
    loader = FreshLoader(name, str(path))
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    if spec is None or spec.loader is None:
        raise ModelError(f"{path} is no Python file")
    code = importlib.util.module_from_spec(spec)
    sys.modules[name] = code
    try:
        with contextlib.redirect_stdout(sys.stderr):  # stdout is for our own answer
            spec.loader.exec_module(code)
            functions = [k for k, v in vars(code).items() if callable(v) and not k.startswith("_")]
            if not hasattr(code, factory):
                raise ModelError(f"{path} has no {factory!r}; {near_matches(factory, functions)}")
            made: object = getattr(code, factory)()
        return made
    except ModelError:
        raise
    except (Exception, SystemExit) as error:  # the user's own code may raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ModelError(f"{factory} in {path} fails ({reason})") from error
