"""`torchvision:NAME[@WEIGHTS]`."""

import contextlib
import inspect
import logging
import sys
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from torch import nn

from conceptlab.errors import ModelError, first_line
from conceptlab.models.sources.source import SOURCES, Built, State
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
        options = _bare_options(name, models.get_model_builder(name), enum)
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
        **preprocessing(enum, module),
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


def _bare_options(name: str, builder: Any, enum: Any) -> dict[str, Any]:
    """No weights, not the backbone's either; else what torchvision sets where it loads its own."""
    options: dict[str, Any] = {"weights": None}
    if name.startswith("vit_") and enum is not None:  # made for the size of the weights
        options["image_size"] = enum.transforms().crop_size[0]
    if "weights_backbone" in inspect.signature(builder).parameters:
        options["weights_backbone"] = None
    if name in INCEPTIONS:  # ported from TensorFlow, and scale their input anew
        options |= {"aux_logits": False, "transform_input": True, "init_weights": True}
    return options


KINDS = ("ImageClassification", "SemanticSegmentation", "ObjectDetection")


def preprocessing(enum: Any, module: nn.Module) -> dict[str, Any]:
    """What the transform of a weights' enum does to a picture, as fields of `Built`.

    Segmentation networks get the size to which their own transform brings the shorter side.
    Detectors normalise and resize their input themselves (`GeneralizedRCNNTransform`), so they get
    pictures in 0..1, of the size at which their own resizing does nothing.

    Raises:
        ModelError: a network of no single pictures.
    """
    from torchvision.models.detection.transform import GeneralizedRCNNTransform

    if enum is None:
        return {}
    transform = enum.transforms()
    kind = type(transform).__name__
    if kind not in KINDS:
        raise ModelError(
            f"{type(module).__name__} of torchvision takes no single pictures (its transform is "
            f"{kind})"
        )
    found: dict[str, Any] = {"class_names": enum.meta.get("categories")}
    own = getattr(module, "transform", None)
    if isinstance(own, GeneralizedRCNNTransform):
        size = own.fixed_size[0] if own.fixed_size else own.min_size[-1]
        return found | {"size": size, "resize": size, "mean": (0.0,) * 3, "std": (1.0,) * 3}
    sides = getattr(transform, "crop_size", transform.resize_size)
    return found | {
        "size": sides[0],
        "resize": transform.resize_size[0],
        "interpolation": transform.interpolation.value,
        "mean": tuple(transform.mean),
        "std": tuple(transform.std),
    }
