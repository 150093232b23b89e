"""Atlases set side by side: two classes in one, and two layers or networks on the same images."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conceptlab.analysis.atlas.layout import Atlas
from conceptlab.errors import InputError
from conceptlab.given import checked, require_number, require_seed
from conceptlab.numerics.testing import permutation_p
from conceptlab.registry import near_matches

Labels = NDArray[np.int64]
PLACES = ["row_a", "column_a", "row_b", "column_b"]


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
            (share of random pairings of the images, with the observed one, that give as much); both
            are NaN where all pairings give the same, as with a single cell.
    """

    table: pd.DataFrame
    measures: pd.DataFrame

    def _repr_html_(self) -> str:
        return str(self.measures.to_html()) + str(self.table.to_html(max_rows=20))


@checked
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


@checked
def compare_atlases(
    a: Atlas | pd.DataFrame, b: Atlas | pd.DataFrame, *, draws: int = 199, seed: int = 0
) -> AtlasComparison:
    """How two layers or networks part the same images into cells.

    An image counts in the cell of its first vector; images whose cell holds too few vectors are
    left out. With one seed both atlases sample the same part of a picture, so that what is compared
    is about the same thing.

    Args:
        a: an atlas, or its `partition`.
        b: another, of the same data set.
        draws: random pairings of the images, for the p-value.
        seed: of the pairings.

    Raises:
        InputError: atlases without images or resolutions in common.
    """
    require_seed(seed)
    require_number(draws, "draws", 1)
    one, other = (own.partition if isinstance(own, Atlas) else own for own in (a, b))
    if not np.isin(one["image"], other["image"]).any():
        raise InputError("the atlases have no image in common; make both of one data set")
    resolutions = np.intersect1d(one["resolution"], other["resolution"])
    if not len(resolutions):
        raise InputError("the atlases have no resolution in common; lay both out with one Layout")
    both = one.merge(other, on=["resolution", "image"], suffixes=("_a", "_b"))
    both = both[(both["row_a"] >= 0) & (both["row_b"] >= 0)]
    tables, measures = [], []
    for resolution in map(int, resolutions):
        own = both.loc[both["resolution"] == resolution, PLACES]
        if not len(own):
            raise InputError(
                f"no image lies in a cell of both {resolution} x {resolution} grids; sample more, "
                "or take a coarser grid"
            )
        tables.append(_shared(own).assign(resolution=resolution))
        first, second = (own.groupby(side).ngroup() for side in (PLACES[:2], PLACES[2:]))
        generator = np.random.default_rng([seed, resolution])
        found = _measured(first.to_numpy(), second.to_numpy(), draws, generator)
        measures.append({"resolution": resolution, **found})
    table = pd.concat(tables, ignore_index=True)
    return AtlasComparison(table[["resolution", *table.columns[:-1]]], pd.DataFrame(measures))


def _class_of(atlas: Atlas, which: str) -> int:
    """The column of a class."""
    if not atlas.classes:
        raise InputError("this atlas has no attributions; make it with the network: model=")
    if which not in atlas.classes:
        raise InputError(f"the atlas has no class {which!r}; {near_matches(which, atlas.classes)}")
    return atlas.classes.index(which)


def _shared(places: pd.DataFrame) -> pd.DataFrame:
    """The pairs of cells that share images.

    Args:
        places: a row for each image, columns row_a, column_a, row_b, column_b.
    """
    table = places.groupby(PLACES, sort=True).size().rename("shared").reset_index()
    for side in (PLACES[:2], PLACES[2:]):
        sizes = places.groupby(side).size().rename(f"images_{side[0][-1]}")
        table = table.merge(sizes, left_on=side, right_index=True)
    table = table[[*PLACES, "images_a", "images_b", "shared"]]
    table["expected"] = table["images_a"] * table["images_b"] / len(places)
    table["times"] = table["shared"] / table["expected"]
    order = np.argsort((table["expected"] - table["shared"]).to_numpy(), kind="stable")
    return table.iloc[order]


def _measured(a: Labels, b: Labels, draws: int, generator: np.random.Generator) -> dict[str, float]:
    """One number for how alike two partitions are, and its chance.

    Args:
        a: (n,) number of each image's cell.
        b: likewise.
        draws: random pairings.
        generator: of these.
    """
    from sklearn.metrics import adjusted_mutual_info_score

    observed = _information(a, b)
    random = np.array([_information(a, generator.permutation(b)) for _ in range(draws)])
    chance = permutation_p(observed, random)
    tested = np.isfinite(chance)  # else every pairing gives the same, and alike means nothing
    return {
        "images": len(a),
        "cells_a": a.max() + 1,
        "cells_b": b.max() + 1,
        "mutual_information": observed,
        "adjusted": float(adjusted_mutual_info_score(a, b)) if tested else float("nan"),
        "p_value": chance,
    }


def _information(a: Labels, b: Labels) -> float:
    """Mutual information of two partitions, in nats."""
    joint = np.bincount(a * (b.max() + 1) + b, minlength=(a.max() + 1) * (b.max() + 1))
    shares = joint.reshape(a.max() + 1, -1) / len(a)
    chance = np.outer(shares.sum(axis=1), shares.sum(axis=0))
    there = shares > 0
    return float((shares[there] * np.log(shares[there] / chance[there])).sum())
