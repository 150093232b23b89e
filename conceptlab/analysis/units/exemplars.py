"""Exemplars: the images that a unit, a concept vector or a direction responds to.

Its strongest images; strong images that differ from one another; or images across the whole range
of its values (section 3.1 of Nenavath & Khatsuriya; Fong & Vedaldi 2018, figure 1 and section 5.1).
"""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm.auto import tqdm

from conceptlab.activations.patches import patches
from conceptlab.analysis.units.targets import By, Floats, Targets, targets_of
from conceptlab.errors import ActivationError, CacheError, InputError
from conceptlab.given import checked, require_number
from conceptlab.numerics.parallel import ordered_map
from conceptlab.numerics.resample import upsample
from conceptlab.numerics.running import tail_count
from conceptlab.vectors import unit_rows

if TYPE_CHECKING:
    from conceptlab.activations.store import Activations
    from conceptlab.data.base import ProbeDataset

Index = NDArray[np.int64]
CHOICES = ("top", "diverse", "range")
STRONG = 0.05  # share of the images that diverse ones are chosen from
CHOICE = 4096  # but no more, which bounds memory and time
WIDER = 10  # or so many times as many as are wanted


@dataclass(frozen=True)
class Exemplars:
    """Images that some targets of a layer respond to.

    Args:
        table: a row for each target and image; see `exemplars`.
        targets: what they are exemplars of, in the order of the table.
        tau: the share of positions at which a unit counts as active.
    """

    table: pd.DataFrame
    targets: Targets
    tau: float = 0.005

    def __len__(self) -> int:
        """How many rows the table has."""
        return len(self.table)

    def _repr_html_(self) -> str:
        return str(self.table.to_html(max_rows=30, escape=True))

    @cached_property
    def levels(self) -> Floats:
        """(T,) the value above which each target is active; see `Targets.levels`."""
        return self.targets.levels(self.tau)

    @cached_property
    def places(self) -> Index:
        """(n,) for each row of the table, which of the targets it is of."""
        return np.repeat(np.arange(len(self.targets)), len(self.table) // len(self.targets))

    @checked
    def mask(self, place: int, size: tuple[int, int]) -> NDArray[np.bool_]:
        """Where the target of a row of the table is active in its image.

        Args:
            place: position of the row.
            size: (h, w) of the mask; the map is upsampled first, for smoothness.

        Returns:
            (h, w).
        """
        target = self.places[place]
        values = self.targets.maps_of(int(self.table["row"].iloc[place]), target[None])[0]
        mask: NDArray[np.bool_] = upsample(values, size) > self.levels[target]
        return mask

    def patches(
        self, data: "ProbeDataset", fields: pd.DataFrame | None = None
    ) -> list[NDArray[np.uint8]]:
        """The part of each image around the position where its target is strongest.

        Args:
            data: the probe data set that the activations were extracted from.
            fields: the table of `empirical_field`, whose fields are then the patches' sides; for
                targets without one, `conceptlab.activations.patches` has a default.

        Returns:
            n arrays (s, s, 3), in the order of the table.
        """
        sides: dict[str, float] = {}
        if fields is not None:
            sides = dict(zip(fields["target"], fields["field_px"], strict=True))
        found: list[NDArray[np.uint8]] = []
        for target, own in self.table.groupby(self.places):
            side = sides.get(self.targets.names[int(str(target))], np.nan)
            found += patches(
                self.targets.activations, data, own["row"].to_numpy(), own[["y", "x"]].to_numpy(),
                side if np.isfinite(side) else None,
            )  # fmt: skip
        return found


@checked
def exemplars(
    activations: "Activations",
    of: Any = None,
    *,
    by: By = "max",
    count: int = 9,
    choose: str = "top",
    split: str | None = None,
    tau: float = 0.005,
    progress: bool = False,
) -> Exemplars:
    """The images that units, concept vectors or directions respond to, from the cache.

    One stream over the activations, in blocks; only one value for each image and target is kept
    (in a temporary file).

    'diverse' chooses among the strongest 5 % of the images (4,096 at most), or ten times as many as
    are wanted, where they lie above the middle of the target's range (and always among as many as
    are wanted). The strongest comes first, and then always the image that is least like its nearest
    among those chosen: by the cosine of the pooled activations of the layer, less their mean over
    the candidates, with the target itself projected out.

    Args:
        activations: of the layer.
        of: None for all units; unit numbers; `ConceptVectors`; or directions (D, K).
        by: the value of an image: the largest over its positions ('max'), their 'mean', or that of
            one position (row, column). Of a vector, at a position, w.a + b, with a thresholded
            where the vector was learned so.
        count: images per target; all of them if there are fewer.
        choose: the highest ('top'), high ones that differ ('diverse'), or evenly spaced quantiles
            from lowest to highest ('range').
        split: 'train', 'val' or 'test'; all images if not given.
        tau: of the masks, see `Exemplars.mask`.
        progress: show images done and the time left.

    Returns:
        `.table` with columns target, unit (-1 for a vector), rank (from 1; in the order of choice,
        of 'range' the lowest first), image ('split/NAME'), row (of the activations), value, share
        (of the images, with a value of at most this), y and x (the position `by` names, else the
        first where the target is strongest). Of equals, the first image is taken as the higher.

    Raises:
        InputError: no such unit, split, position or way to choose; directions of another length.
        SpaceError: vectors of another network or layer.
        ActivationError: NaN in the activations.
        CacheError: no room for a temporary file.
    """
    require_number(count, "count", 1)
    tail_count(tau, 1)
    if choose not in CHOICES:
        raise InputError(f"choose is one of {', '.join(CHOICES)}; got {choose!r}")
    by = _way(activations, by)
    rows = activations.rows(split)
    targets = targets_of(activations, of)
    with tempfile.TemporaryFile() as file:
        values = _array_in(file, (len(targets), len(rows)))
        _fill(values, targets, rows, by, progress)
        choice = _chooser(values, targets, rows, count, choose)
        found = list(ordered_map(choice, range(len(targets))))
    chosen, value, share = (np.stack(part) for part in zip(*found, strict=True))
    number, rank = np.indices(chosen.shape)
    table = pd.DataFrame(
        {
            "target": np.array(targets.names, dtype=object)[number.ravel()],
            "unit": targets.units[number.ravel()],
            "rank": rank.ravel() + 1,
            "image": activations.names[chosen.ravel()].astype(object),
            "row": chosen.ravel(),
            "value": value.ravel(),
            "share": share.ravel(),
        }
    )
    if isinstance(by, str):
        table["y"], table["x"] = _strongest(targets, chosen.ravel(), number.ravel()).T
    else:
        table["y"], table["x"] = by
    return Exemplars(table, targets, tau)


def _array_in(file: IO[bytes], shape: tuple[int, int]) -> Floats:
    """A float32 array in a file. Its room is taken now: a full disk cannot be reported later."""
    size = 4 * shape[0] * shape[1]
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        return np.memmap(file, np.float32, "w+", shape=shape)
    except OSError as error:
        raise CacheError(
            f"no room for {size / 1e6:.0f} MB in {tempfile.gettempdir()} ({error.strerror}): free "
            "some, or name another folder in TMPDIR"
        ) from error


def _way(activations: "Activations", by: Any) -> By:
    """The value asked for; refuses what is none."""
    if isinstance(by, str) and by in ("max", "mean"):
        return by
    height, width = activations.shape[2:]
    place = np.atleast_1d(np.asarray(by))
    whole = place.shape == (2,) and place.dtype.kind in "iu"
    row, column = (int(v) for v in place) if whole else (-1, -1)
    if not (0 <= row < height and 0 <= column < width):
        raise InputError(
            f"by is 'max', 'mean', or a position (row, column) in the {height} x {width} map of "
            f"layer {activations.layer}; got {by!r}"
        )
    return row, column


def _fill(values: Floats, targets: Targets, rows: Index, by: By, progress: bool) -> None:
    """Write the value of each target for each image."""
    start, stop = int(rows[0]), int(rows[-1]) + 1

    def read(piece: tuple[int, int]) -> Floats:
        return targets.values(*piece, by)

    pieces = list(targets.blocks(start, stop))
    with tqdm(total=len(rows), unit="image", disable=not progress) as bar:
        for (first, last), part in zip(pieces, ordered_map(read, pieces), strict=True):
            if np.isnan(part).any():
                image, target = np.argwhere(np.isnan(part))[0]
                raise ActivationError(
                    f"{targets.names[target]} of {targets.activations.layer} is NaN in image "
                    f"{targets.activations.names[first + image]}; extract the activations again"
                )
            values[:, first - start : last - start] = part.T
            bar.update(last - first)


def _chooser(
    values: Floats, targets: Targets, rows: Index, count: int, choose: str
) -> Callable[[int], tuple[Index, Floats, NDArray[np.float64]]]:
    """A function from a target's number to the images chosen, their values and shares."""
    total = len(rows)
    wanted = min(count, total)

    def choice(target: int) -> tuple[Index, Floats, NDArray[np.float64]]:
        own = np.array(values[target])
        order = np.argsort(-own, kind="stable")
        if choose == "top":
            chosen = order[:wanted]
        elif choose == "range":
            chosen = order[np.round(np.linspace(total - 1, 0, wanted)).astype(np.int64)]
        else:
            strong = order[: _strong(own[order], wanted)]
            chosen = strong[farthest(_others(targets, target, rows[strong]), wanted)]
        share = np.searchsorted(own[order][::-1], own[chosen], side="right") / total
        return rows[chosen], own[chosen], share

    return choice


def _strong(values: Floats, wanted: int) -> int:
    """How many of some values, highest first, diverse ones are chosen from."""
    most = max(min(round(STRONG * len(values)), CHOICE), WIDER * wanted)
    high = int((values > (values[0] + values[-1]) / 2).sum())
    return max(min(most, high), wanted)


def _others(targets: Targets, target: int, rows: Index) -> NDArray[np.float64]:
    """(m, K) pooled activations of some images, less their mean, without the target itself."""
    pooled = targets.activations.read_pooled(rows).astype(np.float64)
    pooled -= pooled.mean(axis=0)
    if targets.weights is None:
        pooled[:, targets.units[target]] = 0.0
        return pooled
    along = unit_rows(targets.weights[target : target + 1])[0]
    return pooled - np.outer(pooled @ along, along)


def farthest(features: NDArray[np.floating], count: int) -> Index:
    """Rows that are far from one another: the first, then always the farthest from those chosen.

    Farthest is the row whose largest cosine with a chosen one is smallest; of equals, the first.

    Args:
        features: (m, K), m at least `count`.
        count: how many.

    Returns:
        (count,) in the order of choice.
    """
    rows = unit_rows(features)
    chosen = np.zeros(count, dtype=np.int64)
    alike = rows @ rows[0]
    alike[0] = np.inf
    for turn in range(1, count):
        chosen[turn] = np.argmin(alike)
        alike = np.maximum(alike, rows @ rows[chosen[turn]])
        alike[chosen[turn]] = np.inf
    return chosen


def _strongest(targets: Targets, rows: Index, which: Index) -> Index:
    """(n, 2) row and column of the first position where a target is strongest in an image.

    Args:
        targets: of a layer.
        rows: (n,) images.
        which: (n,) numbers of targets.
    """
    order = np.argsort(rows, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(rows[order])) + 1)
    peaks = np.empty(len(rows), dtype=np.int64)

    def look(group: Index) -> Index:
        maps = targets.maps_of(int(rows[group[0]]), which[group])
        found: Index = maps.reshape(len(group), -1).argmax(axis=1)
        return found

    for group, found in zip(groups, ordered_map(look, groups), strict=True):
        peaks[group] = found
    return np.stack(np.unravel_index(peaks, targets.activations.shape[2:]), axis=1)
