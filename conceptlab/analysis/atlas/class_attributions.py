"""What the sampled vectors of a layer say for each class, batch by batch.

Section 3.6 of Nenavath & Khatsuriya; see `conceptlab.passes.tangent`.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from conceptlab.activations.patches import require_pictures
from conceptlab.activations.pictures import DatasetPictures, batches
from conceptlab.activations.sample import Sample, runs
from conceptlab.analysis.atlas.grid import Cells
from conceptlab.errors import InputError, LayerError, ModelError
from conceptlab.models.outputs import Output, class_columns, class_name
from conceptlab.numerics.parallel import ordered_map
from conceptlab.passes.tangent import Tangent
from conceptlab.space import ACTIVATIONS

if TYPE_CHECKING:
    from conceptlab.activations.store import Activations
    from conceptlab.data.base import ProbeDataset
    from conceptlab.models.probed import ProbedModel

BATCH = 64
TOP_CLASSES = 5  # a vector speaks for the classes of its highest attributions, at most half of them


class ClassAttributions:
    """Attributions of sampled vectors to every class.

    Args:
        model: the network.
        activations: that the vectors are sampled from.
        data: their pictures, needed where the layer's output is not all that the rest reads.
        output: where the scores are, see `conceptlab.models.outputs.scores_of`.
        progress: show vectors done and the time left.

    Raises:
        SpaceError: activations of another network.
        LayerError: a layer that scores do not depend on, or whose activations are not enough.
    """

    def __init__(
        self,
        model: "ProbedModel",
        activations: "Activations",
        data: "ProbeDataset | None" = None,
        output: Output = None,
        progress: bool = False,
    ) -> None:
        space = activations.space()
        space.require_model(model, of=ACTIVATIONS)
        if data is not None:
            require_pictures(activations, data)
        self._model, self._activations, self._data = model, activations, data
        self._progress = progress
        self._tangent = Tangent(model, space.layer, output)
        if not self._tangent.alone and data is None:
            raise LayerError(
                f"what follows layer {space.layer} also reads what the cache does not hold (a "
                "shortcut around it, or a class token): give data=, or choose the block around it"
            )

    @property
    def classes(self) -> tuple[str, ...]:
        """(C,) names of all classes, as tables write them."""
        return self.names_of(range(self._tangent.classes))

    def names_of(self, classes: Sequence[str | int]) -> tuple[str, ...]:
        """Classes as tables write them."""
        return tuple(class_name(self._model, which) for which in classes)

    def columns_of(self, classes: Sequence[str | int]) -> NDArray[np.int64]:
        """Columns of some classes.

        Raises:
            InputError: an unknown class.
        """
        return class_columns(self._model, classes, self._tangent.classes)

    def of(self, sample: Sample) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Where each batch begins, and its (b, C) attributions.

        Args:
            sample: of the activations.
        """
        with tqdm(total=len(sample), unit="vector", disable=not self._progress) as bar:
            start = 0
            for found in self._batches(sample):
                yield start, found
                start += len(found)
                bar.update(len(found))

    def strongest(
        self, sample: Sample, classes: Sequence[str | int], most: int | None
    ) -> NDArray[np.int64]:
        """Vectors whose attribution to one of some classes is positive and among their highest.

        That is the highest five, or the higher half of fewer than ten classes. Rows of the sample,
        in its order.

        Args:
            sample: of the activations.
            classes: names, or columns from 0.
            most: how many at most of each class, the strongest.

        Raises:
            InputError: a class that no vector speaks for, or an unknown one.
        """
        columns = self.columns_of(classes)
        strength = np.zeros((len(sample), len(classes)))
        highest = min(TOP_CLASSES, max(self._tangent.classes // 2, 1))
        for start, found in self.of(sample):
            least = np.partition(found, -highest, axis=1)[:, -highest]
            own = found[:, columns]
            speaks = (own >= least[:, None]) & (own > 0)
            strength[start : start + len(found)] = np.where(speaks, own, 0.0)
        chosen = [np.argsort(-own, kind="stable")[: (own > 0).sum()][:most] for own in strength.T]
        for which, rows in zip(classes, chosen, strict=True):
            if not len(rows):
                raise InputError(
                    f"no sampled vector of layer {sample.space.layer} speaks for class "
                    f"{class_name(self._model, which)}: sample more, or images that show it"
                )
        return np.unique(np.concatenate(chosen))

    def in_cells(self, sample: Sample, grids: list[Cells]) -> list[NDArray[np.float64]]:
        """(m, C) mean attribution of each cell to each class, for each grid.

        Args:
            sample: of the activations.
            grids: over it.
        """
        sums = [np.zeros((len(cells.numbers), self._tangent.classes)) for cells in grids]
        for start, found in self.of(sample):
            if not np.isfinite(found).all():
                raise ModelError(
                    f"{self._model.name} gives NaN or infinite attributions at layer "
                    f"{sample.space.layer}: check its weights and its preprocessing"
                )
            for total, cells in zip(sums, grids, strict=True):
                cells.add(total, found, start)
        return [total / cells.counts[:, None] for total, cells in zip(sums, grids, strict=True)]

    def _batches(self, sample: Sample) -> Iterator[NDArray[np.float32]]:
        starts = range(0, len(sample), BATCH)
        if self._tangent.alone:

            def grids_of(start: int) -> NDArray[np.floating]:
                images, place = np.unique(sample.images[start : start + BATCH], return_inverse=True)
                parts = [images[piece] for piece in runs(images, BATCH)]
                read = [self._activations.read(int(p[0]), int(p[-1]) + 1) for p in parts]
                return np.concatenate(read)[place]

            for start, grids in zip(starts, ordered_map(grids_of, starts), strict=True):
                yield self._tangent.of_grids(grids, sample.places[start : start + BATCH])
            return
        assert self._data is not None  # `__init__` has seen to it
        pictures = batches(self._model, DatasetPictures(self._data, sample.images), BATCH)
        for start, batch in zip(starts, pictures, strict=True):
            yield self._tangent.of_pictures(batch, sample.places[start : start + BATCH])
