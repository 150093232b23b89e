"""The networks of a study."""

from typing import TYPE_CHECKING

from conceptlab.models import load_model
from conceptlab.study.settings import ModelSettings

if TYPE_CHECKING:
    from conceptlab.models.probed import ProbedModel


def open_model(settings: ModelSettings, seed: int, untrained: bool = False) -> "ProbedModel":
    """The network that a study's table describes, or its architecture with random weights."""
    return load_model(settings.spec, **settings.loading(), seed=seed, untrained=untrained)
