"""Networks to probe, from several sources; listing, capturing and applying."""

from conceptlab.models.probed import Preprocessing, ProbedModel
from conceptlab.models.sources.load import load_model
from conceptlab.models.watch import watch

__all__ = ["Preprocessing", "ProbedModel", "load_model", "watch"]
