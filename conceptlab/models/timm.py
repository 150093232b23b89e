"""`timm:NAME[@pretrained]`."""

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager

from conceptlab.errors import ModelError
from conceptlab.models.source import SOURCES, Built, first_line
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
            raise
        raise ModelError(
            f"the weights of {name} cannot be downloaded ({first_line(error)}); "
            "give a file with --weights"
        ) from error
    from timm.data.config import resolve_model_data_config

    config = resolve_model_data_config(module)  # type: ignore[no-untyped-call]
    size = config["input_size"][-1]
    return Built(
        module,
        name,
        size=size,
        resize=math.floor(size / config.get("crop_pct", 1.0)),
        mean=config["mean"],
        std=config["std"],
        trained=download,
    )


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
