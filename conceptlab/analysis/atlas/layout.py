"""Activation atlases: a layer's activation vectors on a plane, averaged in the cells of a grid.

Carter, Armstrong, Schubert, Johnson & Olah 2019 ("Activation Atlas", Distill), as Nenavath &
Khatsuriya describe it in section 3.6.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conceptlab.activations.sample import Sample, sample
from conceptlab.analysis.atlas.grid import (
    Cells,
    Grid,
    cell_means,
    cells_of,
    concept_scores,
    nearest_vectors,
    whitened,
)
from conceptlab.analysis.effects.erasure_passes import require_pointwise
from conceptlab.analysis.vectors.projection import plane
from conceptlab.errors import InputError
from conceptlab.given import checked, require_fields, require_number, require_seed
from conceptlab.vectors import ConceptVectors

if TYPE_CHECKING:
    from conceptlab.activations.store import Activations
    from conceptlab.analysis.atlas.class_attributions import ClassAttributions
    from conceptlab.data.base import ProbeDataset
    from conceptlab.models.outputs import Output
    from conceptlab.models.probed import ProbedModel

__all__ = ["Atlas", "Grid", "Layout", "atlas"]

Floats = NDArray[np.float64]
METHODS = ("umap", "tsne")
TRIMMED, MARGIN = 1.0, 0.1  # per cent of points outside the box, and what it is widened by
FEWEST, MOST = 4, 40  # cells on a side of the finest grid, where none is named
CLEAR = 1.0  # standard deviations: below, a concept's score says nothing
TOLD = 5  # classes and concepts that a table names


@dataclass(frozen=True)
class Layout:
    """How the vectors of an atlas are sampled, laid out, and averaged.

    Args:
        method: 'umap' (needs the extra `umap`) or 'tsne', by the cosines of the vectors.
        neighbours: that each vector is placed by; t-SNE's perplexity is a third of it.
        grids: cells on a side of each grid; without any, three, of which the finest has a cell for
            every four vectors, and at most 40 x 40.
        least: vectors that a cell has to hold.
        whiten: whether `Grid.means` are whitened.
        per_image: positions sampled from each image.
        most: vectors at most: of the sample, or of each class in the atlas of a class, where they
            are the strongest.
        nearest: vectors nearest to the cell's mean that are kept.
        seed: of the sample and the layout.

    Raises:
        InputError: numbers that do not fit, or an unknown method.
    """

    method: str = "umap"
    neighbours: int = 15
    grids: tuple[int, ...] = ()
    least: int = 3
    whiten: bool = False
    per_image: int = 1
    most: int | None = None
    nearest: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the settings."""
        require_fields(self)
        if self.method not in METHODS:
            raise InputError(f"method is one of {', '.join(METHODS)}; got {self.method!r}")
        require_number(self.neighbours, "neighbours", 2)
        for name in ("least", "per_image", "nearest"):
            require_number(getattr(self, name), name, 1)
        if self.most is not None:
            require_number(self.most, "most", 1)
        require_seed(self.seed)
        for resolution in self.grids:
            require_number(resolution, "a grid's resolution", 1)
        object.__setattr__(self, "grids", tuple(sorted(set(self.grids))))

    def cells(self, points: Floats) -> list[Cells]:
        """The grids over points (n, 2), coarsest first.

        Raises:
            InputError: a grid that was asked for, or the coarsest of those chosen, has no cell that
                holds enough.
        """
        if self.grids:
            return [cells_of(points, resolution, self.least) for resolution in self.grids]
        finest = int(np.clip(np.sqrt(len(points)) / 2, FEWEST, MOST))
        found = []
        for resolution in sorted({finest // 4, finest // 2, finest} - {0, 1}):
            try:
                found.append(cells_of(points, resolution, self.least))
            except InputError:
                if not found:
                    raise
        return found


@dataclass(frozen=True)
class Atlas:
    """An activation atlas.

    Args:
        sample: the vectors.
        points: (n, 2) x and y of each vector, 0..1.
        grids: coarsest first.
        classes: names of the C classes; empty without attributions.
        concepts: names of the Q concepts; empty without scores.
        focus: the class that it is an atlas of (of several, joined by ' and '), or '' for the whole
            layer.
        whitened: whether `Grid.means` are whitened.
    """

    sample: Sample
    points: Floats
    grids: tuple[Grid, ...]
    classes: tuple[str, ...]
    concepts: tuple[str, ...]
    focus: str = ""
    whitened: bool = False

    def __repr__(self) -> str:
        grids = ", ".join(f"{len(g)} of {g.resolution} x {g.resolution}" for g in self.grids)
        of = f" for {self.focus}" if self.focus else ""
        return (
            f"<Atlas of {self.sample.space.model} {self.sample.space.layer}{of}: "
            f"{len(self.sample)} vectors, cells {grids}>"
        )

    def _repr_html_(self) -> str:
        return str(self.cells.to_html(max_rows=20, escape=True))

    @property
    def cells(self) -> pd.DataFrame:
        """The cells of all grids.

        Returns:
            Columns resolution, row, column, x, y (of the centre, 0..1), n (vectors), images; class,
            attribution and classes (the highest, its mean attribution, and the five highest as
            'name (0.31); ...'), where there are attributions; concept, score and concepts in the
            same way, where there are concept scores (in standard deviations). No concept is named
            where none reaches 1: of a vector near zero, too, some concept's score is the highest.
        """
        tables = [self._cells_of(grid) for grid in self.grids]
        return pd.concat(tables, ignore_index=True)

    @property
    def partition(self) -> pd.DataFrame:
        """Which cell of each grid an image lies in, by its first vector.

        Returns:
            Columns resolution, image ('split/NAME'), row, column; both -1 where the cell holds too
            few vectors.
        """
        names, first = np.unique(self.sample.names, return_index=True)
        tables = []
        for grid in self.grids:
            of = cells_of(self.points, grid.resolution, int(grid.counts.min())).of[first]
            rows, columns = (np.append(own, -1)[of] for own in (grid.rows, grid.columns))
            tables.append(
                pd.DataFrame({"resolution": grid.resolution, "image": names, "row": rows,
                              "column": columns})
            )  # fmt: skip
        return pd.concat(tables, ignore_index=True)

    def _cells_of(self, grid: Grid) -> pd.DataFrame:
        table = pd.DataFrame(
            {
                "resolution": grid.resolution,
                "row": grid.rows,
                "column": grid.columns,
                "x": (grid.columns + 0.5) / grid.resolution,
                "y": (grid.rows + 0.5) / grid.resolution,
                "n": grid.counts,
                "images": self._images_of(grid),
            }
        )
        if grid.attributions is not None:
            table = table.assign(**_told("class", "attribution", grid.attributions, self.classes))
        if grid.scores is not None:
            table = table.assign(**_told("concept", "score", grid.scores, self.concepts, CLEAR))
        return table

    def _images_of(self, grid: Grid) -> NDArray[np.int64]:
        """(m,) different images in each cell."""
        of = cells_of(self.points, grid.resolution, int(grid.counts.min())).of
        pairs = np.unique(np.stack([of, self.sample.images]), axis=1)[0]
        return np.bincount(pairs[pairs >= 0], minlength=len(grid))


@checked
def atlas(
    activations: "Activations",
    model: "ProbedModel | None" = None,
    vectors: "ConceptVectors | None" = None,
    *,
    focus: str | int | Sequence[str | int] | None = None,
    layout: Layout = Layout(),
    data: "ProbeDataset | None" = None,
    output: "Output" = None,
    progress: bool = False,
) -> Atlas:
    """The activation atlas of a layer, or of what in it speaks for a class.

    Vectors at random positions of the images are laid out on a plane and averaged in the cells of
    grids over it. The plane is scaled so that its box from the 1st to the 99th percentile of each
    axis, widened by a tenth on each side, is the unit square; what lies farther out is moved to its
    edge, as Carter et al. do.

    Vectors that are all zero, as rectifiers leave where they see nothing, have no direction and are
    left out.

    The attribution of a vector h at (x, y) to a class is h . d logit / d h; that of a cell is the
    mean over its vectors. A concept's score in a cell is the mean of its logit there, in standard
    deviations over all vectors of the atlas.

    Args:
        activations: of the layer.
        model: the network, for attributions.
        vectors: over the same layer (raw or thresholded), for concept scores.
        focus: a class, by name or column, or several: an atlas of the vectors that speak most for
            it (it is among their five highest attributions, or the higher half of fewer than ten
            classes, and positive), laid out anew.
        layout: see there.
        data: the pictures, where a network reads more than this layer (a shortcut around it, a
            class token), so that they have to run again for attributions.
        output: where the scores are, see `conceptlab.models.outputs.scores_of`.
        progress: show what is done and the time left.

    Raises:
        InputError: too few vectors, NaN among them, a class that no vector speaks for, a grid
            without a cell that holds enough.
        SpaceError: vectors or a model that do not belong to the activations.
        LayerError: a layer that the gradient does not reach, or pictures that are needed.
    """
    speaking = _speaking(activations, model, data, output, progress)
    if vectors is not None:
        if not isinstance(vectors, ConceptVectors):
            raise InputError(f"vectors are ConceptVectors; got a {type(vectors).__name__}")
        vectors.space.require_layer(activations.space())
        require_pointwise(vectors)
    classes = _classes(focus)
    title = _title(speaking, classes)
    most = None if classes else layout.most
    drawn = sample(activations, layout.per_image, most, seed=layout.seed, progress=progress)
    drawn = _checked(drawn)
    if speaking is not None and classes:
        drawn = drawn.take(speaking.strongest(drawn, classes, layout.most))
    points = _laid_out(drawn, layout)
    grids = layout.cells(points)
    found = _averaged(drawn, grids, layout)
    if speaking is not None:
        parts = speaking.in_cells(drawn, grids)
        found = [replace(g, attributions=_single(p)) for g, p in zip(found, parts, strict=True)]
    if vectors is not None:
        parts = concept_scores(drawn, vectors, grids)
        found = [replace(g, scores=_single(p)) for g, p in zip(found, parts, strict=True)]
    names = () if speaking is None else speaking.classes
    concepts = () if vectors is None else tuple(vectors.names)
    return Atlas(drawn, points, tuple(found), names, concepts, title, layout.whiten)


def _classes(focus: Any) -> list[str | int]:
    """Classes as a list; refuses what are none."""
    found: list[Any] = [focus] if isinstance(focus, str | int | float) else list(focus or ())
    for which in found:
        if not isinstance(which, str | int | np.integer):
            raise InputError(f"focus is a class by name or column, or several; got {which!r}")
    return found


def _title(speaking: "ClassAttributions | None", classes: list[str | int]) -> str:
    """The classes that an atlas is of; refuses what cannot be asked."""
    if not classes:
        return ""
    if speaking is None:
        raise InputError("the atlas of a class needs the network: give model=")
    speaking.columns_of(classes)
    return " and ".join(speaking.names_of(classes))


def _speaking(
    activations: "Activations",
    model: "ProbedModel | None",
    data: "ProbeDataset | None",
    output: "Output",
    progress: bool,
) -> "ClassAttributions | None":
    """Who gives attributions, where there is a network."""
    if model is None:
        return None
    from conceptlab.analysis.atlas.class_attributions import ClassAttributions

    return ClassAttributions(model, activations, data, output, progress)


def _checked(drawn: Sample) -> Sample:
    """Those vectors that have a direction; refuses values that are no numbers."""
    finite = np.isfinite(drawn.values.sum(axis=1))
    if not finite.all():
        raise InputError(
            f"{(~finite).sum()} vectors of layer {drawn.space.layer} hold NaN or infinite values "
            f"(the first of image {drawn.names[~finite][0]}); extract the activations again"
        )
    alive = drawn.values.any(axis=1)
    return drawn if alive.all() else drawn.take(np.flatnonzero(alive))


def _laid_out(drawn: Sample, layout: Layout) -> Floats:
    """(n, 2) points of the unit square."""
    if len(drawn) <= layout.neighbours:
        raise InputError(
            f"each vector is placed by its {layout.neighbours} nearest, and there are "
            f"{len(drawn)} vectors; sample more (per_image), or take fewer neighbours"
        )
    points = plane(drawn.values, layout.method, layout.neighbours, layout.seed)
    low, high = np.percentile(points, [TRIMMED, 100 - TRIMMED], axis=0)
    wide = (high - low) * MARGIN
    side = np.where(high > low, high - low + 2 * wide, 1.0)
    scaled: Floats = np.clip((points - low + wide) / side, 0.0, 1.0)
    return scaled


def _averaged(drawn: Sample, grids: list[Cells], layout: Layout) -> list[Grid]:
    """Grids with means and nearest vectors alone."""
    means = cell_means(drawn.values, grids)
    shown = whitened(means, drawn.values) if layout.whiten else means
    found = []
    for cells, mean, own in zip(grids, means, shown, strict=True):
        rows, columns = np.divmod(cells.numbers, cells.resolution)
        near = nearest_vectors(drawn, cells, mean, layout.nearest)
        found.append(
            Grid(cells.resolution, rows, columns, cells.counts, _single(own), None, None, near)
        )
    return found


def _single(values: Floats) -> NDArray[np.float32]:
    return values.astype(np.float32)


def _told(
    one: str,
    value: str,
    values: NDArray[np.float32],
    names: tuple[str, ...],
    least: float = -np.inf,
) -> dict[str, list[str] | list[float]]:
    """The highest name and value of each row, '' below `least`; the highest few as text."""
    known = np.where(np.isnan(values), -np.inf, values)
    order = np.argsort(-known, axis=1, kind="stable")[:, :TOLD]
    texts = [
        "; ".join(f"{names[i]} ({row[i]:.2f})" for i in places if np.isfinite(row[i]))
        for row, places in zip(known, order, strict=True)
    ]
    several = {"class": "top_classes", "concept": "top_concepts"}[one]
    first = known[np.arange(len(known)), order[:, 0]]
    return {
        one: [names[i] if v >= least else "" for i, v in zip(order[:, 0], first, strict=True)],
        value: first.tolist(),
        several: texts,
    }
