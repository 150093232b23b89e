"""`timm:NAME[@pretrained]`."""

import logging
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from conceptlab.errors import ModelError, first_line
from conceptlab.models.sources.source import SOURCES, Built, State
from conceptlab.registry import near_matches

log = logging.getLogger(__name__)


@SOURCES.register("timm")
def build(rest: str, bare: bool) -> Built:
    """A network of timm, with the preprocessing of its own configuration."""
    try:
        import timm
    except ImportError as error:
        raise ModelError("timm is not installed; pip install 'conceptlab[timm]'") from error
    name, _, tag = rest.partition("@")
    if tag not in ("", "pretrained"):
        raise ModelError(f"after timm:{name} comes @pretrained or nothing; got @{tag}")
    if name.partition(".")[0] not in timm.list_models():
        raise ModelError(f"timm has no model {name!r}; {near_matches(name, timm.list_models())}")
    download = bool(tag) and not bare
    if download:
        log.info(
            "the weights of %s are downloaded unless they were before; this may take a while", name
        )
    try:
        with _silent_hub():
            module = timm.create_model(name, pretrained=download)
    except Exception as error:  # the hub's client has a family of errors of its own
        if not download:
            raise ModelError(f"timm cannot make {name} ({first_line(error)})") from error
        raise ModelError(
            f"the weights of {name} cannot be downloaded ({first_line(error)}); "
            "give a file with --weights"
        ) from error
    from timm.data.config import resolve_model_data_config

    config = resolve_model_data_config(module)  # type: ignore[no-untyped-call]
    return Built(
        module,
        name,
        **_geometry(name, config),
        mean=config["mean"],
        std=config["std"],
        trained=download,
        class_names=_class_names(module),
        at_size=lambda other: timm.create_model(name, pretrained=False, img_size=other),
        fit_state=_fit_state,
    )


def _geometry(name: str, config: dict[str, Any]) -> dict[str, Any]:
    """Size, crop and interpolation of a configuration.

    Raises:
        ModelError: pictures that are no squares.
    """
    _, height, width = config["input_size"]
    if height != width:
        raise ModelError(
            f"timm:{name} takes pictures of {height} x {width} pixels (h x w), and here all are "
            "squares: make it for a square size in a factory, file:PATH.py:FACTORY"
        )
    found = {"size": width, "interpolation": config["interpolation"]}
    if config["crop_mode"] == "center":
        return found | {"resize": math.floor(width / config["crop_pct"])}
    ways = {"squash": "resizes the whole picture", "border": "pads the whole picture"}
    mode = config["crop_mode"]
    return found | {"uncropped": f"{ways.get(mode, 'crops otherwise')} (its crop_mode is {mode!r})"}


def _class_names(module: Any) -> list[str] | None:
    """The first name of each class, where timm's own ImageNet tables have the network's classes."""
    from timm.data.imagenet_info import ImageNetInfo, infer_imagenet_subset

    subset = infer_imagenet_subset(module)
    if subset is None:
        return None
    table = ImageNetInfo(subset)
    texts = [table.index_to_description(i) for i in range(module.num_classes)]
    return [text.partition(",")[0] for text in texts]


def _fit_state(state: State, module: nn.Module) -> State:
    """Weights for a network of another size, by what timm has for its own checkpoints."""
    fit = getattr(sys.modules[type(module).__module__], "checkpoint_filter_fn", None)
    return state if fit is None else dict(fit(dict(state), module))


@contextmanager
def _silent_hub() -> Iterator[None]:
    """Without a network, the hub's client tells of every one of a dozen attempts."""
    hub = logging.getLogger("huggingface_hub")
    level = hub.level
    hub.setLevel(logging.ERROR)
    try:
        yield
    finally:
        hub.setLevel(level)
