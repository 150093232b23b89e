"""`torchvision:NAME[@WEIGHTS]`."""

from typing import Any

from conceptlab.errors import ModelError
from conceptlab.models.source import SOURCES, Built
from conceptlab.registry import near_matches


@SOURCES.register("torchvision")
def build(rest: str, untrained: bool) -> Built:
    """A network of torchvision; without WEIGHTS, with random ones.

    Preprocessing and class names come from the weights' enum; without WEIGHTS, from the default
    ones, since weights given as a file are most often of that kind.
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
    try:
        module = models.get_model(name, weights=enum if tag and not untrained else None)
    except OSError as error:
        raise ModelError(
            f"the weights {tag} of {name} cannot be downloaded ({error}); give a file by --weights"
        ) from error
    return Built(module, name, **_preprocessing(enum))


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
