"""From a specification to a network that is ready to be probed."""

import copy
import inspect
import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from conceptlab.errors import InputError, ModelError
from conceptlab.given import checked, require_seed
from conceptlab.models.probed import Preprocessing, ProbedModel
from conceptlab.models.sources import builtin, file, timm, torchvision
from conceptlab.models.sources.source import SOURCES, Built
from conceptlab.models.sources.weights import load_weights, redraw_weights
from conceptlab.numerics.geometry import Geometry

__all__ = ["builtin", "file", "load_model", "timm", "torchvision"]

log = logging.getLogger(__name__)

#: Generators, imports and streams belong to the process: one network is built after another.
_BUILDING = threading.RLock()

LIBRARIES = ("torch.", "torchvision.", "timm.")


@checked
def load_model(  # noqa: PLR0913 (the contract's own)
    spec: str | nn.Module,
    *,
    weights: str | Path | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    size: int | None = None,
    fit: str | None = None,
    device: str | None = None,
    seed: int = 0,
    untrained: bool = False,
) -> ProbedModel:
    """A network with its preprocessing, in evaluation mode.

    Args:
        spec: `builtin:NAME`, `torchvision:NAME[@WEIGHTS]`, `timm:NAME[@pretrained]`,
            `file:PATH.py:FACTORY`; or a module, which is brought into evaluation mode (with
            `untrained`, a copy of it).
        weights: a `.safetensors` file or a state dict that torch saved; with it, weights that the
            specification names only say the preprocessing, and are not downloaded.
        mean: per channel, in place of the source's; so are std, size (pixels) and fit. One number
            each for a network of grey pictures (the luminance), four for one of RGBA.
        std: see there.
        size: see there; has to be given with a module.
        fit: 'whole' (default) or 'crop', see `conceptlab.numerics.geometry.Geometry`.
        device: where it goes; if not given, a module stays where it is.
        seed: of the weights that are random; torch's own generators are left as they were.
        untrained: the same architecture with random weights, as a control. A factory's are taken
            as it makes them if the trained ones come from `weights`, and else drawn anew.

    Raises:
        InputError: an unknown source, a setting that makes no sense.
        ModelError: the network cannot be built, or its weights do not fit.
    """
    require_seed(seed)
    with _BUILDING, torch.inference_mode(False), _seeded(seed):
        built = _sized(_build(spec, size, weights, untrained), size)
    if weights is not None and not untrained:
        load_weights(built.module, weights, built.training_only, built.fit_state)
    elif not built.trained and not untrained:
        log.warning("%s has random weights: name some after @, or give a file of them", spec)
    model = ProbedModel(
        built.module,
        preprocessing_of(built, mean=mean, std=std, size=size, fit=fit),
        name=built.name + ("-untrained" if untrained else ""),
        spec=spec if isinstance(spec, str) else f"module:{type(spec).__name__}",
        class_names=built.class_names,
        code=built.code,
    )
    return model if device is None else model.to(device)


def preprocessing_of(
    built: Built,
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    size: int | None = None,
    fit: str | None = None,
) -> Preprocessing:
    """How pictures are prepared for a network: as its source says, but for what is given.

    Raises:
        InputError: a setting that makes no sense, a crop that is none of the network's own ways.
    """
    side, fit = built.size if size is None else size, fit or "whole"
    if fit == "crop" and built.uncropped:
        raise InputError(f"{built.name} {built.uncropped}: leave out the fit 'crop'")
    resize = round((built.resize or built.size) * side / built.size) if fit == "crop" else None
    mean, std = (
        tuple(map(float, own if given is None else given))
        for own, given in ((built.mean, mean), (built.std, std))
    )
    return Preprocessing(Geometry(side, fit, resize, built.interpolation), mean, std)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Draws from torch's generator depend on the seed, and leave it as it was; so do GPUs'."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def _build(
    spec: str | nn.Module, size: int | None, weights: str | Path | None, untrained: bool
) -> Built:
    if isinstance(spec, nn.Module):
        if size is None:
            raise InputError("say the input size of the module: size=PIXELS")
        plain = getattr(spec, "_orig_mod", spec)  # what torch.compile wraps
        module = copy.deepcopy(plain) if untrained else plain
        built = Built(module, type(plain).__name__, code=_source_of(plain))
        own = True
    else:
        built = _from_source(spec, bare=untrained or weights is not None)
        own = spec.startswith("file:")
    if isinstance(built.module, torch.jit.ScriptModule):
        raise ModelError(
            f"{built.name} is a TorchScript network, whose layers cannot be read or changed; give "
            "the Python module that it was made from"
        )
    if untrained and own and weights is None:
        redraw_weights(built.module)
    return built


def _sized(built: Built, size: int | None) -> Built:
    """The network made for another size of input, where it was made for one alone.

    Whether it was is tried: a network of convolutions takes any size as it is.
    """
    if size in (None, built.size) or built.at_size is None or _takes(built, size):
        return built
    module = built.at_size(size)
    if built.trained and built.fit_state is not None:
        module.load_state_dict(built.fit_state(built.module.state_dict(), module))
    return replace(built, module=module)


def _takes(built: Built, size: int) -> bool:
    try:
        with torch.inference_mode():
            built.module.eval()(torch.zeros(1, len(built.mean), size, size))
    except (RuntimeError, AssertionError, ValueError):
        return False
    return True


def _from_source(spec: str, bare: bool) -> Built:
    source, colon, rest = spec.partition(":")
    if not colon or not rest:
        raise InputError(
            f"a model is written SOURCE:NAME, with SOURCE one of {', '.join(SOURCES)}; got {spec!r}"
        )
    return SOURCES[source](rest, bare)


def _source_of(module: nn.Module) -> bytes:
    """What a network of one's own computes is in its classes' source, not in its weights."""
    classes = {type(part) for part in module.modules()}
    own = [c for c in classes if not f"{c.__module__}.".startswith(LIBRARIES)]
    texts = []
    for c in sorted(own, key=lambda c: c.__qualname__):
        try:
            texts.append(inspect.getsource(c))
        except (OSError, TypeError):  # typed at a prompt
            texts.append(c.__qualname__)
    return "\n".join(texts).encode()
