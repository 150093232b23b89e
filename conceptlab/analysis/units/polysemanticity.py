"""Polysemanticity: how many distinct kinds of image a unit answers to.

What a unit's strongest images have in common besides the unit itself shows in the other units of
its layer, at the positions of its peaks. A unit of one mind has one cluster there.
"""

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm.auto import tqdm

from conceptlab.analysis.units.cluster_count import FEWEST, KindCounter
from conceptlab.analysis.units.exemplars import exemplars
from conceptlab.errors import InputError
from conceptlab.given import checked, require_number, require_seed
from conceptlab.vectors import unit_rows

if TYPE_CHECKING:
    from conceptlab.activations.store import Activations
    from conceptlab.probes.units.packing import Packing

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
LEAST = 2 * FEWEST  # exemplars that can form two clusters
BLOCK = 64  # images of a read
HELD = 256 * 2**20  # bytes of vectors at a time
MEMBER_COLUMNS = ["unit", "rank", "image", "row", "y", "x", "value", "cluster"]


@dataclass(frozen=True)
class Polysemanticity:
    """Units of a layer, and the kinds of image that each answers to.

    Args:
        units: a row per unit: unit, exemplars (images that it was judged by), clusters (of them,
            1 unless more can be shown; 0 for a unit that never fires), similarity (mean cosine of
            two exemplars, the unit itself left out), largest (share of the largest cluster),
            p_value (of there being one cluster; NaN with fewer than 8 exemplars, or where all are
            the same); where the packing is known, packed and names, as `Packing.units` has them.
        members: a row per unit and exemplar: unit, rank (1 the strongest), image ('split/NAME'),
            row (of the activations), y and x (of the peak in the layer's map), value, cluster (from
            0, the largest first).
    """

    units: pd.DataFrame
    members: pd.DataFrame

    def _repr_html_(self) -> str:
        many = int((self.units["clusters"] > 1).sum())
        title = f"{many} of {len(self.units)} units answer to more than one kind of image"
        return f"<p>{html.escape(title)}</p>{self.units.to_html(max_rows=20, escape=True)}"


@checked
def polysemanticity(
    activations: "Activations",
    units: Integers | list[int] | None = None,
    *,
    count: int = 40,
    packing: "Packing | None" = None,
    most: int = 6,
    split: str | None = None,
    seed: int = 0,
    progress: bool = False,
) -> Polysemanticity:
    """How many distinct clusters the exemplars of each unit form in the layer's own space.

    The `count` images with a unit's highest peaks are taken, one position of each: the peak. Their
    activation vectors there, without the unit's own coordinate, at unit length, are split while the
    split is tighter than in references of the same covariance (see
    `conceptlab.analysis.units.cluster_count.KindCounter.count`); a unit whose vectors are one
    Gaussian cloud is split with a chance of at most 5 %, so of many single-minded units up to a
    twentieth count as more. Images of one scene (frames of a video) are a kind of their own where
    the layer tells them from others. So is either end of a continuum that bends, at times.

    Where a layer is rectified, images in which the unit is 0 everywhere are no exemplars of it.

    Args:
        activations: a layer's cached outputs.
        units: (U,) which; all if not given.
        count: images per unit; at least 8.
        packing: of the same layer, for the columns packed and names.
        most: clusters at most.
        split: 'train', 'val' or 'test'; all images if not given.
        seed: of the references.
        progress: show a bar.

    Raises:
        InputError: no such unit or split, fewer than 8 images, or a packing of another layer.
    """
    require_number(count, "count", LEAST)
    require_number(most, "most", 1)
    require_seed(seed)
    if packing is not None and len(packing.units) != activations.shape[1]:
        raise InputError(
            f"the packing knows {len(packing.units)} units and {activations.layer} has "
            f"{activations.shape[1]}; take the packing of the same layer"
        )
    strongest = exemplars(activations, units, count=count, split=split, progress=progress).table
    if (strongest["unit"] < 0).any():
        raise InputError("polysemanticity is asked of units, by their numbers, not of directions")
    shown = int(strongest["rank"].max())
    counter = KindCounter(seed)
    group = max(1, HELD // (4 * shown * activations.shape[1])) * shown
    rows, members = [], []
    total = len(strongest) // shown
    with tqdm(total=total, desc="clusters", unit="unit", disable=not progress) as bar:
        for start in range(0, len(strongest), group):
            part = strongest[start : start + group]
            vectors = _vectors(activations, part)
            for first in range(0, len(part), shown):
                own = slice(first, first + shown)
                unit = int(part["unit"].iloc[first])
                judged = _judged(unit, part[own], vectors[own].astype(np.float64), counter, most)
                rows.append(judged[0])
                members.append(judged[1])
                bar.update()
    table = pd.DataFrame(rows)
    if packing is not None:
        table = table.merge(packing.units[["unit", "packed", "names"]], on="unit", how="left")
    return Polysemanticity(table, pd.concat(members, ignore_index=True))


def _vectors(activations: "Activations", peaks: pd.DataFrame) -> NDArray[np.float32]:
    """(n, K) what the layer says at some positions, read from the cache in its order."""
    vectors = np.empty((len(peaks), activations.shape[1]), dtype=np.float32)
    rows, y, x = (peaks[name].to_numpy() for name in ("row", "y", "x"))
    order = np.argsort(rows, kind="stable")
    starts = np.unique(rows // BLOCK) * BLOCK
    parts = np.split(order, np.searchsorted(rows[order], starts[1:]))
    for start, own in zip(starts, parts, strict=True):
        block = activations.read(int(start), int(min(start + BLOCK, len(activations))))
        vectors[own] = block[rows[own] - start, :, y[own], x[own]]
    return vectors


def _judged(
    unit: int, exemplars: pd.DataFrame, vectors: Floats, counter: KindCounter, most: int
) -> tuple[dict[str, float], pd.DataFrame]:
    """A unit's row, and its exemplars.

    Args:
        unit: which.
        exemplars: n rows of its strongest images.
        vectors: (n, K) the layer at its peaks in them.
        counter: of clusters.
        most: clusters at most.
    """
    values = vectors[:, unit]
    fires = values > 0 if vectors.min() >= 0 else np.full(len(values), np.ptp(values) > 0)
    members, others = exemplars[fires], vectors[fires]
    others[:, unit] = 0
    rays = unit_rows(others)
    cosines = rays @ rays.T
    kinds = counter.count(cosines, most)
    pairs = cosines[np.triu_indices(len(rays), 1)]
    row = {
        "unit": unit, "exemplars": len(rays), "clusters": kinds.count,
        "similarity": float(pairs.mean()) if len(pairs) else np.nan,
        "largest": float((kinds.labels == 0).mean()) if len(rays) else np.nan,
        "p_value": kinds.p_value,
    }  # fmt: skip
    return row, members.assign(cluster=kinds.labels)[MEMBER_COLUMNS]
