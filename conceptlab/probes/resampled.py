"""Probabilistic probes: the distribution of concept vectors over the choice of training images.

The thesis, section 7.2.2, asks for distributions of concept vectors. Here it is a block bootstrap
(Efron 1979; Kunsch 1989): runs of neighbouring images are drawn with repeats, and every concept is
learned anew from them.
"""

import html
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from conceptlab.errors import InputError
from conceptlab.given import checked, require_number, require_seed
from conceptlab.hdf5 import array, sealed, text
from conceptlab.vectorfile import vectors_file
from conceptlab.vectors import ConceptVectors

if TYPE_CHECKING:
    from conceptlab.activations.store import Activations
    from conceptlab.data.base import ProbeDataset

SLOW = 2.0  # seconds after which a bar is worth showing
ASSUMPTION = (
    "Runs of {block} neighbouring training images are exchangeable, and those drawn stand for all "
    "that might have been taken. Penalties, thresholds and the decision for a single unit are "
    "fixed at those of the whole fit; labels and network are taken as given."
)


class Redrawable(Protocol):
    """A probe that learns anew from drawn images."""

    @property
    def vectors(self) -> ConceptVectors:
        """The fitted vectors."""
        ...

    def redrawing(
        self, activations: "Activations", data: "ProbeDataset"
    ) -> Callable[[NDArray[np.int64]], NDArray[np.float64]]:
        """See `conceptlab.SegmentationProbe.redrawing`."""
        ...


@dataclass(frozen=True)
class VectorDistribution:
    """Concept vectors, and what they would be had other images been drawn.

    Args:
        vectors: of the whole fit.
        draws: (R, C, K) weights of each draw; zero for a concept without a vector, NaN where a draw
            holds no image of it.
        assumption: what the draws take for granted.

    Raises:
        InputError: draws of another shape, or fewer than two.
    """

    vectors: ConceptVectors
    draws: NDArray[np.float32]
    assumption: str

    def __post_init__(self) -> None:
        if self.draws.shape[1:] != self.vectors.weights.shape or len(self.draws) < 2:
            raise InputError(
                f"draws of shape {self.draws.shape} do not fit vectors of shape "
                f"{self.vectors.weights.shape}: two draws or more, each (C, K)"
            )

    def __len__(self) -> int:
        """R, the number of draws."""
        return len(self.draws)

    def _repr_html_(self) -> str:
        text = html.escape(f"{len(self)} draws. {self.assumption}")
        return f"<p>{text}</p>{self.vectors._repr_html_()}"

    def save(self, path: str | Path) -> None:
        """Write a sealed HDF5 file, whole or not at all; it can be read as vectors, too."""
        with sealed(Path(path)) as file:
            self.vectors.write(file)
            file["draws"] = self.draws
            file["assumption"] = self.assumption

    @classmethod
    def load(cls, path: str | Path) -> "VectorDistribution":
        """Read what `save` wrote.

        Raises:
            InputError: no such file, or not a file of a distribution.
        """
        with vectors_file(Path(path)) as file:
            vectors = ConceptVectors.read(file)
            if "draws" not in file:
                raise InputError(f"{path} holds vectors and no distribution of them")
            draws = array(file, "draws", kinds="f", shape=(None, *vectors.weights.shape))
            return cls(vectors, draws, text(file, "assumption"))


class ResampledProbe:
    """A fitted probe with the distribution of its vectors, by a block bootstrap.

    Args:
        probe: fitted; learned anew from every draw, from where it stands.
        draws: R.
        block: neighbouring images that are drawn together; as many as are alike, such as frames of
            one scene. Images lie in order of their names.
        seed: of the draws.

    Attributes:
        distribution: the `VectorDistribution`, after `fit`.

    Raises:
        InputError: fewer than two draws, or a block below 1.
    """

    distribution_: VectorDistribution

    @checked
    def __init__(
        self, probe: Redrawable, draws: int = 50, block: int = 5, *, seed: int = 0
    ) -> None:
        if not hasattr(probe, "redrawing"):
            raise InputError(
                "probe is a fitted SegmentationProbe or ClassificationProbe; got a "
                f"{type(probe).__name__}"
            )
        require_number(draws, "draws", 2)
        require_number(block, "block", 1)
        require_seed(seed)
        self.probe, self.draws, self.block, self.seed = probe, draws, block, seed

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The settings, as scikit-learn wants them."""
        del deep
        return {"probe": self.probe, "draws": self.draws, "block": self.block, "seed": self.seed}

    def fit(self, activations: "Activations", data: "ProbeDataset") -> Self:
        """Learn from every draw.

        Args:
            activations: that the probe was fitted on.
            data: likewise.

        Raises:
            InputError: a probe that is not fitted, a block as long as all training images.
        """
        vectors = self.probe.vectors
        vectors.space.require_equal(activations.space(vectors.space.inputs))
        images = activations.rows("train")
        if self.block > len(images) // 2:
            raise InputError(
                f"blocks of {self.block} images are too long for {len(images)} training images"
            )
        weights_of = self.probe.redrawing(activations, data)
        found = np.empty((self.draws, *vectors.weights.shape), dtype=np.float32)
        streams = np.random.SeedSequence(self.seed).spawn(self.draws)
        bar = tqdm(streams, desc="resampling", delay=SLOW, leave=False, disable=None)
        for place, stream in enumerate(bar):
            found[place] = weights_of(self._draw(images, np.random.default_rng(stream)))
        assumption = ASSUMPTION.format(block=self.block)
        self.distribution_ = VectorDistribution(vectors, found, assumption)
        return self

    @property
    def distribution(self) -> VectorDistribution:
        """The distribution.

        Raises:
            InputError: before `fit`.
        """
        if not hasattr(self, "distribution_"):
            raise InputError("this ResampledProbe is not fitted yet: call fit first")
        return self.distribution_

    def _draw(self, images: NDArray[np.int64], generator: np.random.Generator) -> NDArray[np.int64]:
        """(n,) images: runs that begin anywhere, the last one joined to the first, ascending."""
        starts = generator.integers(len(images), size=-(-len(images) // self.block))
        places = (starts[:, None] + np.arange(self.block)).ravel()[: len(images)]
        return np.sort(images[places % len(images)])
