"""From a specification to a network that is ready to be probed."""

from collections.abc import Sequence

import torch
from torch import nn

from conceptlab.errors import InputError
from conceptlab.models import builtin, file, timm, torchvision
from conceptlab.models.probed import Preprocessing, ProbedModel
from conceptlab.models.source import SOURCES, Built
from conceptlab.models.weights import load_weights
from conceptlab.numerics.geometry import Geometry

__all__ = ["builtin", "file", "load_model", "timm", "torchvision"]


def load_model(  # noqa: PLR0913 (the contract's own)
    spec: str | nn.Module,
    *,
    weights: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    size: int | None = None,
    fit: str | None = None,
    device: str = "cpu",
    seed: int = 0,
    untrained: bool = False,
) -> ProbedModel:
    """A network with its preprocessing, in evaluation mode.

    Args:
        spec: `builtin:NAME`, `torchvision:NAME[@WEIGHTS]`, `timm:NAME[@pretrained]`,
            `file:PATH.py:FACTORY`; or a module, which is taken as it is.
        weights: a `.safetensors` file or a state dict that torch saved.
        mean: per channel, in place of the source's; so are std, size (pixels) and fit.
        std: see there.
        size: see there.
        fit: 'whole' (default) or 'crop', see `conceptlab.numerics.geometry.Geometry`.
        device: where it goes.
        seed: of the weights that are random; torch's own generators are left as they were.
        untrained: the same architecture with random weights, as a control.

    Raises:
        InputError: an unknown source, a setting that makes no sense.
        ModelError: the network cannot be built, or its weights do not fit.
    """
    built = _build(spec, seed, untrained)
    if weights is not None and not untrained:
        load_weights(built.module, weights)
    side = size or built.size
    crops = (fit or "whole") == "crop"
    resize = round((built.resize or built.size) * side / built.size) if crops else None
    preprocessing = Preprocessing(
        Geometry(side, fit or "whole", resize), _three(mean or built.mean), _three(std or built.std)
    )
    model = ProbedModel(
        built.module,
        preprocessing,
        name=built.name + ("-untrained" if untrained else ""),
        spec=spec if isinstance(spec, str) else f"module:{type(spec).__name__}",
        class_names=built.class_names,
        code=built.code,
    )
    return model if device == "cpu" and model.device.type == "cpu" else model.to(device)


def _build(spec: str | nn.Module, seed: int, untrained: bool) -> Built:
    if isinstance(spec, nn.Module):
        return Built(spec, type(spec).__name__)
    source, colon, rest = spec.partition(":")
    if not colon or not rest:
        raise InputError(
            f"a model is written SOURCE:NAME, with SOURCE one of {', '.join(SOURCES)}; got {spec!r}"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SOURCES[source](rest, untrained)


def _three(values: Sequence[float]) -> tuple[float, float, float]:
    if len(values) != 3:
        raise InputError(f"mean and std take three numbers; got {tuple(values)}")
    r, g, b = (float(v) for v in values)
    return r, g, b
