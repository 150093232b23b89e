"""The empirical receptive field: how much of a picture around a unit's peak its value depends on.

Zhou, Khosla, Lapedriza, Oliva & Torralba 2015 ("Object Detectors Emerge in Deep Scene CNNs"),
section 3.2: small parts of a unit's top images are covered one after another; where its value at
the peak changes much, it looks. The maps of the changes are centred on the peaks and averaged.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm.auto import tqdm

from conceptlab.activations.patches import require_pictures
from conceptlab.analysis.units.exemplars import Exemplars
from conceptlab.analysis.units.targets import Targets
from conceptlab.errors import InputError
from conceptlab.given import checked, require_number
from conceptlab.numerics.resample import upsample
from conceptlab.passes.occlusion import occluded
from conceptlab.space import ACTIVATIONS

if TYPE_CHECKING:
    from conceptlab.data.base import ProbeDataset
    from conceptlab.models.probed import ProbedModel

Floats = NDArray[np.float64]
STEPS = 14  # of the default grid across the theoretical field
HALF = 0.5


@dataclass(frozen=True)
class Fields:
    """Empirical receptive fields.

    Args:
        table: a row for each target; see `empirical_field`.
        maps: (T, m, m) mean change of the target's value, by how far the covered part's centre is
            from the peak: row and column m // 2 are at it, neighbours `step` apart.
        step: pixels of the network's input.
    """

    table: pd.DataFrame
    maps: Floats
    step: int

    def _repr_html_(self) -> str:
        return str(self.table.to_html(max_rows=30, escape=True))


@dataclass(frozen=True)
class _OcclusionScan:
    """How a layer's map lies over the network's input, and how the input is covered.

    Args:
        size: S, pixels on a side of the input.
        shape: (H, W) of the map.
        stride: pixels between neighbours in it; NaN where that is not known.
        field: the theoretical receptive field in pixels; NaN where a value sees all.
        occluder: pixels on a side of what is covered.
        step: pixels between neighbours of the grid of covered parts.
    """

    size: int
    shape: tuple[int, int]
    stride: float
    field: float
    occluder: int
    step: int

    @property
    def corners(self) -> NDArray[np.int64]:
        """(c,) where covered parts begin along an axis, so that all lie in the picture."""
        last = self.size - self.occluder
        return np.arange(last // 2 % self.step, last + 1, self.step)

    @property
    def along(self) -> Floats:
        """(c,) their centres, in pixels."""
        centres: Floats = self.corners.astype(np.float64) + self.occluder / 2
        return centres

    @property
    def radius(self) -> float:
        """Pixels between a position's centre and that of the farthest part that it can see."""
        if not np.isfinite(self.field):
            return float(self.size)
        # a layer without symmetric padding looks a little beside its centre
        return (self.field + self.occluder) / 2 + max(self.stride, self.step)

    @property
    def reach(self) -> int:
        """Steps from the peak to the border of the averaged map."""
        return math.ceil(min(self.radius, self.size) / self.step)

    def centres(self, places: NDArray[np.int64]) -> Floats:
        """(q, 2) pixels where positions of the map look; the maps lie around the middle."""
        sides = np.array(self.shape)
        stride = self.stride if np.isfinite(self.stride) else self.size / sides
        found: Floats = self.size / 2 + (places - (sides - 1) / 2) * stride
        return found

    def seen(self, centres: Floats) -> NDArray[np.bool_]:
        """(c, c) covered parts that any of some positions can see, in theory."""
        near = np.abs(self.along[:, None] - centres.T[:, None]) <= self.radius
        found: NDArray[np.bool_] = (near[0][:, None] & near[1][None]).any(axis=2)
        return found

    def boxes(self, seen: NDArray[np.bool_]) -> NDArray[np.int64]:
        """(1 + g, 4) an empty box, and those of the covered parts that are seen."""
        top, left = (self.corners[axis] for axis in np.nonzero(seen))
        sides = np.stack([top, left, top + self.occluder, left + self.occluder], axis=1)
        return np.concatenate([np.zeros((1, 4), dtype=np.int64), sides])

    def centred(self, change: Floats, centre: Floats) -> Floats:
        """A map (c, c) over the picture, brought to distances from a centre; NaN outside."""
        apart = self.step * np.arange(-self.reach, self.reach + 1)
        rows, columns = (self._between(c + apart) for c in centre)
        moved: Floats = rows @ change @ columns.T
        return moved

    def _between(self, pixels: Floats) -> Floats:
        """(m, c) matrix that interpolates from the covered parts' centres; NaN rows outside."""
        place = (pixels - self.along[0]) / self.step
        apart = place[:, None] - np.arange(len(self.along))
        matrix: Floats = np.maximum(1 - np.abs(apart), 0.0)
        matrix[(place < 0) | (place > len(self.along) - 1)] = np.nan
        return matrix


@checked
def empirical_field(
    model: "ProbedModel",
    data: "ProbeDataset",
    found: Exemplars,
    *,
    occluder: int | None = None,
    step: int | None = None,
    batch_size: int = 64,
    progress: bool = False,
) -> Fields:
    """Cover the exemplars part by part, and see how far from its peak each target looks.

    The parts are squares of the colour that the network takes for the mean, on a grid over the
    whole picture (without those that the theoretical field rules out). The change is absolute. The
    field is the side of a square as large as the region in which the mean change exceeds half its
    largest value: for a unit that looks at everything in its field alike, it is the field.

    It costs a pass up to the layer for each place of the grid and each distinct image, whose
    targets share them: by default some 400 for a peak, and more for several that lie apart.

    Args:
        model: the network.
        data: the probe data set.
        found: exemplars, by 'max' or a position; the more images a target has, the smoother.
        occluder: pixels on a side of what is covered; twice the step if not given.
        step: pixels between neighbours of the grid; a 14th of the theoretical field, or of the
            input where that is smaller, if not given.
        batch_size: covered pictures a pass.
        progress: show images done and the time left.

    Returns:
        `.table` with columns target, unit, field_px, theoretical_px (NaN where a value depends on
        the whole picture), images (whose values changed at all); field_px is NaN without any.

    Raises:
        InputError: other pictures, or numbers that do not fit.
        SpaceError: exemplars in another network.
    """
    acts = found.targets.activations
    acts.space().require_model(model, of=ACTIVATIONS)
    require_pictures(acts, data)
    require_number(batch_size, "batch_size", 1)
    lens = _lens(model, found, occluder, step)
    side = 2 * lens.reach + 1
    total, known = (np.zeros((len(found.targets), side, side)) for _ in range(2))
    images = np.zeros(len(found.targets), dtype=np.int64)
    groups = found.table.assign(number=found.places).groupby("row")
    for row, own in tqdm(groups, unit="image", disable=not progress):
        centres = lens.centres(own[["y", "x"]].to_numpy())
        pixels = model.decode(data.picture(int(str(row))))
        changes = _changes(model, pixels, found.targets, own, lens, batch_size)
        for number, change, centre in zip(own["number"], changes, centres, strict=True):
            moved = lens.centred(change, centre)
            total[number] += np.nan_to_num(moved)
            known[number] += np.isfinite(moved)
            images[number] += bool(change.any())
    maps = np.divide(total, known, out=np.zeros_like(total), where=known > 0)
    table = pd.DataFrame(
        {
            "target": found.targets.names,
            "unit": found.targets.units,
            "field_px": [field_side(part, lens.step) for part in maps],
            "theoretical_px": lens.field,
            "images": images,
        }
    )
    return Fields(table, maps, lens.step)


def _lens(
    model: "ProbedModel", found: Exemplars, occluder: int | None, step: int | None
) -> _OcclusionScan:
    acts = found.targets.activations
    size = acts.input_size
    field, stride = model.field(acts.layer)
    apart = max(round(np.fmin(field, size) / STEPS), 1) if step is None else step
    covered = 2 * apart if occluder is None else occluder
    for value, name in ((apart, "step"), (covered, "occluder")):
        require_number(value, name, 1)
        if value > size / 2:
            raise InputError(f"{name} is at most half the input's {size} pixels; got {value}")
    return _OcclusionScan(size, acts.shape[2:], stride, field, covered, apart)


def _changes(
    model: "ProbedModel", pixels: NDArray[np.uint8], targets: Targets, own: pd.DataFrame,
    lens: _OcclusionScan, batch_size: int,
) -> Floats:  # fmt: skip
    """(r, c, c) how much each row's value at its peak changes as each part is covered."""
    places, which = np.unique(own[["y", "x"]].to_numpy(), axis=0, return_inverse=True)
    number = own["number"].to_numpy()
    seen = lens.seen(lens.centres(places))
    parts = occluded(model, targets.activations.layer, pixels, lens.boxes(seen), places, batch_size)
    values = np.concatenate([_values(targets, part, number, which.ravel()) for part in parts])
    changes = np.zeros((len(own), *seen.shape))
    changes[:, seen] = np.abs(values[1:] - values[0]).T
    return changes


def _values(
    targets: Targets, part: NDArray[np.float32], number: NDArray[np.int64],
    which: NDArray[np.int64],
) -> Floats:  # fmt: skip
    """(n, r) the value of each row's target at its place, from outputs (n, q, K)."""
    maps = targets.maps(part.transpose(0, 2, 1)[:, :, None])[:, :, 0]
    values: Floats = maps[:, number, which].astype(np.float64)
    return values


def field_side(change: Floats, step: float) -> float:
    """The side of a square as large as the region above half the largest change.

    Args:
        change: (m, m), `step` pixels apart.
        step: pixels.

    Returns:
        Pixels; NaN where nothing changes.
    """
    largest = float(change.max())
    if not largest > 0:
        return float("nan")
    pixels = upsample(change, (len(change) * round(step),) * 2)
    return float(np.sqrt((pixels > HALF * largest).sum()))
