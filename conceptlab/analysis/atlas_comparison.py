"""Atlases set side by side: two classes in one, and two layers or networks on the same images."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conceptlab.analysis.atlas import Atlas
from conceptlab.analysis.directions import require_number
from conceptlab.analysis.grid import Cells, Grid, cells_of
from conceptlab.errors import InputError
from conceptlab.registry import near_matches

Places = NDArray[np.int64]


@dataclass(frozen=True)
class AtlasComparison:
    """Which cells of two atlases hold the same images.

    Args:
        table: columns resolution, row_a, column_a, row_b, column_b, images_a, images_b (of the
            cell), shared (by both), expected (by chance, were the cells independent),
            times (shared over expected); a row for each pair of cells that shares an image, those
            first that share most beyond chance.
        measures: a row for each resolution: columns resolution, images (in a cell of both),
            cells_a, cells_b, mutual_information (nats), adjusted (mutual information, 0 by chance
            and 1 where the cells part the images alike; Vinh, Epps & Bailey 2010) and p_value
            (share of random pairings of the images, with the observed one, that give as much).
    """

    table: pd.DataFrame
    measures: pd.DataFrame

    def _repr_html_(self) -> str:
        return str(self.measures.to_html()) + str(self.table.to_html(max_rows=20))


def compare_classes(atlas: Atlas, a: str, b: str) -> pd.DataFrame:
    """What each cell of an atlas says for two classes.

    An atlas of what speaks for either is `conceptlab.atlas(..., focus=[a, b])`.

    Args:
        atlas: with attributions.
        a: a class, as `Atlas.classes` writes it.
        b: another.

    Returns:
        Columns resolution, row, column, x, y, n, a, b (mean attribution of the cell to each) and
        difference (a - b).

    Raises:
        InputError: an atlas without attributions, or a class that it does not know.
    """
    columns = [_class_of(atlas, which) for which in (a, b)]
    found = np.concatenate([np.asarray(grid.attributions)[:, columns] for grid in atlas.grids])
    table = atlas.cells[["resolution", "row", "column", "x", "y", "n"]]
    return table.assign(a=found[:, 0], b=found[:, 1], difference=found[:, 0] - found[:, 1])


def compare_atlases(a: Atlas, b: Atlas, *, draws: int = 199, seed: int = 0) -> AtlasComparison:
    """How two layers or networks part the same images into cells.

    An image counts in the cell of its first vector; images whose cell holds too few vectors are
    left out. With one seed both atlases sample the same part of a picture, so that what is compared
    is about the same thing.

    Args:
        a: an atlas.
        b: another, of the same data set.
        draws: random pairings of the images, for the p-value.
        seed: of the pairings.

    Raises:
        InputError: atlases without images or resolutions in common.
    """
    require_number(draws, "draws", 1)
    _, first, second = np.intersect1d(a.sample.names, b.sample.names, return_indices=True)
    if not len(first):
        raise InputError("the atlases have no image in common; make both of one data set")
    pairs = [(g, h) for g in a.grids for h in b.grids if g.resolution == h.resolution]
    if not pairs:
        raise InputError("the atlases have no resolution in common; lay both out with one Layout")
    tables, measures = [], []
    for one, other in pairs:
        cells = _cells(a, one), _cells(b, other)
        labels = np.stack([cells[0].of[first], cells[1].of[second]])
        labels = labels[:, (labels >= 0).all(axis=0)]
        if not labels.shape[1]:
            raise InputError(
                f"no image lies in a cell of both {one.resolution} x {one.resolution} grids; "
                "sample more, or take a coarser grid"
            )
        tables.append(_shared(labels, one, other))
        found = _measured(labels, draws, np.random.default_rng([seed, one.resolution]))
        measures.append({"resolution": one.resolution, **found})
    return AtlasComparison(pd.concat(tables, ignore_index=True), pd.DataFrame(measures))


def _class_of(atlas: Atlas, which: str) -> int:
    """The column of a class."""
    if not atlas.classes:
        raise InputError("this atlas has no attributions; make it with the network: model=")
    if which not in atlas.classes:
        raise InputError(f"the atlas has no class {which!r}; {near_matches(which, atlas.classes)}")
    return atlas.classes.index(which)


def _cells(atlas: Atlas, grid: Grid) -> Cells:
    return cells_of(atlas.points, grid.resolution, int(grid.counts.min()))


def _shared(labels: Places, one: Grid, other: Grid) -> pd.DataFrame:
    """The pairs of cells that share images.

    Args:
        labels: (2, n) place of each image's cell in either grid.
        one: the grid of the first.
        other: of the second.
    """
    (a, b), shared = np.unique(labels, axis=1, return_counts=True)
    images_a, images_b = (np.bincount(own) for own in labels)
    expected = images_a[a] * images_b[b] / labels.shape[1]
    table = pd.DataFrame(
        {
            "resolution": one.resolution,
            "row_a": one.rows[a],
            "column_a": one.columns[a],
            "row_b": other.rows[b],
            "column_b": other.columns[b],
            "images_a": images_a[a],
            "images_b": images_b[b],
            "shared": shared,
            "expected": expected,
            "times": shared / expected,
        }
    )
    return table.iloc[np.argsort(expected - shared, kind="stable")]


def _measured(labels: Places, draws: int, generator: np.random.Generator) -> dict[str, float]:
    """One number for how alike two partitions are, and its chance."""
    from sklearn.metrics import adjusted_mutual_info_score

    a, b = (np.unique(own, return_inverse=True)[1] for own in labels)
    observed = _information(a, b)
    random = np.array([_information(a, generator.permutation(b)) for _ in range(draws)])
    as_much = random >= observed - 1e-12  # sums of the same terms in another order
    return {
        "images": len(a),
        "cells_a": a.max() + 1,
        "cells_b": b.max() + 1,
        "mutual_information": observed,
        "adjusted": float(adjusted_mutual_info_score(a, b)),
        "p_value": (1 + int(as_much.sum())) / (1 + draws),
    }


def _information(a: Places, b: Places) -> float:
    """Mutual information of two partitions, in nats."""
    joint = np.bincount(a * (b.max() + 1) + b, minlength=(a.max() + 1) * (b.max() + 1))
    shares = joint.reshape(a.max() + 1, -1) / len(a)
    chance = np.outer(shares.sum(axis=1), shares.sum(axis=0))
    there = shares > 0
    return float((shares[there] * np.log(shares[there] / chance[there])).sum())
