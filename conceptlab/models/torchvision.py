"""`torchvision:NAME[@WEIGHTS]`."""

import contextlib
import inspect
import logging
import sys
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from torch import nn

from conceptlab.errors import ModelError
from conceptlab.models.source import SOURCES, Built, State, first_line
from conceptlab.registry import near_matches

log = logging.getLogger(__name__)


@SOURCES.register("torchvision")
def build(rest: str, bare: bool) -> Built:
    """A network of torchvision; without WEIGHTS, with random ones.

    Preprocessing and class names come from the weights' enum; without WEIGHTS, from the default
    ones, since weights given as a file are most often of that kind. Auxiliary classifiers, which
    only training uses, are left out.
    """
    from torchvision import models

    name, _, tag = rest.partition("@")
    if name not in models.list_models():
        raise ModelError(
            f"torchvision has no model {name!r}; {near_matches(name, models.list_models())}"
        )
    choices = models.get_model_weights(name)
    if tag and tag not in choices.__members__:
        raise ModelError(f"{name} has no weights {tag!r}; {near_matches(tag, choices.__members__)}")
    enum = choices[tag] if tag else getattr(choices, "DEFAULT", None)
    download = bool(tag) and not bare
    options: dict[str, Any] = {"weights": enum, "progress": log.isEnabledFor(logging.INFO)}
    if not download:
        options = _bare_options(name, models.get_model_builder(name))
    try:
        with contextlib.redirect_stdout(sys.stderr):  # stdout is for our own answer
            module = models.get_model(name, **options)
    except (OSError, RuntimeError) as error:
        if not download:
            raise
        reason = first_line(getattr(error, "reason", error))
        raise ModelError(
            f"the weights {tag} of {name} cannot be downloaded ({reason}); give a file with "
            "--weights"
        ) from error
    return Built(
        module, name, trained=download, training_only=TRAINING_ONLY,
        at_size=_at_size(module, models.get_model_builder(name)), fit_state=_fit_state,
        **_preprocessing(enum),
    )  # fmt: skip


def _at_size(module: nn.Module, builder: Any) -> Callable[[int], nn.Module] | None:
    """How a network that is made for one size alone is made for another; None for all others."""
    from torchvision.models import MaxVit, VisionTransformer

    if isinstance(module, VisionTransformer):
        return lambda size: builder(weights=None, image_size=size)
    if isinstance(module, MaxVit):
        return lambda size: builder(weights=None, input_size=(size, size))
    return None


def _fit_state(state: State, module: nn.Module) -> State:
    """Weights for a network of another size: a vision transformer's positions are interpolated."""
    from torchvision.models import VisionTransformer
    from torchvision.models.vision_transformer import interpolate_embeddings

    if not isinstance(module, VisionTransformer) or "encoder.pos_embedding" not in state:
        return state
    own = OrderedDict(state)  # what is interpolated is put into it
    return dict(interpolate_embeddings(module.image_size, module.patch_size, own))


#: Weights of auxiliary classifiers.
TRAINING_ONLY = ("aux1.", "aux2.", "AuxLogits.", "aux_classifier.")
INCEPTIONS = ("googlenet", "inception_v3")


def _bare_options(name: str, builder: Any) -> dict[str, Any]:
    """No weights, not the backbone's either; else what torchvision sets where it loads its own."""
    options: dict[str, Any] = {"weights": None}
    if "weights_backbone" in inspect.signature(builder).parameters:
        options["weights_backbone"] = None
    if name in INCEPTIONS:  # ported from TensorFlow, and scale their input anew
        options |= {"aux_logits": False, "transform_input": True, "init_weights": True}
    return options


def _preprocessing(enum: Any) -> dict[str, Any]:
    if enum is None:
        return {}
    transform = enum.transforms()
    found: dict[str, Any] = {"class_names": enum.meta.get("categories")}
    if hasattr(transform, "crop_size"):
        found |= {
            "size": transform.crop_size[0],
            "resize": transform.resize_size[0],
            "mean": tuple(transform.mean),
            "std": tuple(transform.std),
        }
    return found
