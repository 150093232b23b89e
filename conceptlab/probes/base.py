"""What all probes share: the registry, the held-out part, and what is said of a fit."""

from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conceptlab.errors import InputError
from conceptlab.registry import Registry
from conceptlab.vectors import ConceptVectors

if TYPE_CHECKING:
    from conceptlab.activations.store import Activations
    from conceptlab.data.base import ProbeDataset

TOO_FEW = "too few examples"
CONSTANT = "no unit varies"
FOLDS = 5
RUNS = 25

T = TypeVar("T")


class Probe(Protocol):
    """A fitter: settings in the constructor, `fit` learns, `vectors` is the result."""

    @property
    def vectors(self) -> ConceptVectors:
        """The fitted vectors."""
        ...

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The settings."""
        ...

    def fit(self, activations: "Activations", data: "ProbeDataset") -> Self:
        """Learn all concepts from the training images."""
        ...

    def score(
        self, activations: "Activations", data: "ProbeDataset", split: str = "val"
    ) -> pd.DataFrame:
        """Scores per concept on a split."""
        ...


class BaseProbe:
    """What probes have in common: their settings, and the vectors that `fit` leaves behind."""

    vectors_: ConceptVectors

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The settings, as scikit-learn wants them."""
        del deep
        return {k: v for k, v in vars(self).items() if not k.endswith("_")}

    def described(self) -> dict[str, Any]:
        """The probe's name and settings, for the provenance of its vectors."""
        return {"probe": type(self).__name__, **self.get_params()}

    @property
    def vectors(self) -> ConceptVectors:
        """The fitted vectors.

        Raises:
            InputError: before `fit`.
        """
        if not hasattr(self, "vectors_"):
            raise InputError(f"this {type(self).__name__} is not fitted yet: call fit first")
        return self.vectors_


PROBES: Registry[type[Probe]] = Registry("probe")


def require_map(activations: "Activations", what: str) -> None:
    """Raise unless a layer says where in a picture something is.

    Args:
        activations: the layer's.
        what: needs it.

    Raises:
        InputError: a layer of one vector a picture (a class token, a 1 x 1 grid).
    """
    if not activations.has_map:
        raise InputError(
            f"layer {activations.layer} gives one vector a picture, which says nothing of where in "
            f"it a concept is: {what}"
        )


def folds(count: int) -> NDArray[np.int64]:
    """(n,) the fold, 0..4, of each training image, for judging penalties.

    Images lie in order of their names, and neighbours are often alike (frames of a film, shots of a
    place): so folds are made of runs of neighbours, and not of single images.
    """
    run = np.arange(count) * RUNS // max(count, 1)
    return run % FOLDS
