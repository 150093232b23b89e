"""How many units a concept needs: the F at which performance saturates.

Fong & Vedaldi 2018, sections 3.2.2 and 4.1, figure 3.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conceptlab.errors import InputError
from conceptlab.given import checked
from conceptlab.numerics.intervals import mean_bounds

Floats = NDArray[np.float64]
FLOOR = {"segment": 0.0, "classify": 0.5}  # what a probe without units reaches
ALL = "all"
COLUMNS = ["category", "concepts", "units", "low", "high", "score", "best", "whole", "most"]


@checked
def saturation(subsets: pd.DataFrame, share: float = 0.95) -> pd.DataFrame:
    """The number F of units at which mean performance saturates, category by category.

    F is where the mean score over concepts first comes `share` of the way from a probe without
    units (0 IoU, 0.5 accuracy) to the best F, log-linearly between the F that were tried. Its
    interval is over concepts: from the first F that may be there to the first that surely is, by
    the 95 % intervals of the mean over concepts of score - target (Fieller 1954, "Some problems in
    interval estimation", inverts tests likewise). Probes are not learned anew, so it does not hold
    what other training images would change.

    Args:
        subsets: columns task, concept, category, units (F), score, and model, layer where there are
            several, and measure where it is known, such as `tables/subsets.csv`.
        share: of the best.

    Returns:
        Columns model, layer, measure (where given), task, category ('all' too), concepts, units
        (the F of saturation; NaN where none leaves the floor), low, high (95 %; infinite where no F
        surely is), score (there), best (mean score of the best F), whole (of all units), most (K).

    Tasks of which no concept has a score at every F have no rows.

    Raises:
        InputError: a missing column, or a share outside 0..1.
    """
    at = _checked(subsets, share)
    rows = []
    for key, part in subsets.groupby(at, sort=False):
        wide = _wide(part)
        if not len(wide):  # no concept of this task has a score at every F
            continue
        floor = FLOOR.get(str(key[at.index("task")]), 0.0)
        categories = wide.index.get_level_values("category")
        for category in [*categories.drop_duplicates(), ALL]:
            own = wide.to_numpy()[(categories == category) | (category == ALL)]
            units = wide.columns.to_numpy(dtype=float)
            mean = own.mean(axis=0)
            found = _crossings(mean[None], units, floor, share)
            low, high = _interval(own, units, floor, share)
            best = float(mean.max())
            rows.append(
                dict(zip(at, key, strict=True))
                | {"category": category, "concepts": len(own), "units": found[0], "low": low,
                   "high": high, "best": best,
                   "score": floor + share * (best - floor) if np.isfinite(found[0]) else np.nan,
                   "whole": mean[-1], "most": int(units[-1])}
            )  # fmt: skip
    return pd.DataFrame(rows, columns=[*at, *COLUMNS])


@checked
def concept_saturation(subsets: pd.DataFrame, share: float = 0.95) -> pd.DataFrame:
    """The number F of units at which each concept saturates.

    Its range comes from the intervals of the scores over images: from the first F whose upper bound
    reaches the target to the first whose lower bound does. That is no 95 % interval, but wider:
    scores of one image under several F go together, which tables of scores do not tell.

    Args:
        subsets: see `saturation`; with columns low and high for the range.
        share: of the way to the best F.

    Returns:
        Columns model, layer (where given), task, concept, category, units (the F of saturation),
        low, high (NaN without intervals; high is infinite where no lower bound reaches the target),
        best (score of the best F), most (K).

    Raises:
        InputError: a missing column, or a share outside 0..1.
    """
    at = _checked(subsets, share)
    bounds = {"low", "high"} <= set(subsets.columns)
    parts = []
    for key, part in subsets.groupby(at, sort=False):
        floor = FLOOR.get(str(key[at.index("task")]), 0.0)
        wide = _wide(part)
        if not len(wide):
            continue
        units, scores = wide.columns.to_numpy(dtype=float), wide.to_numpy()
        target = floor + share * (scores.max(axis=1) - floor)
        table = wide.index.to_frame(index=False).assign(
            units=_first(scores, units, target, floor), low=np.nan, high=np.nan,
            best=scores.max(axis=1), most=int(units[-1]),
        )  # fmt: skip
        if bounds:
            for column, side in (("low", "high"), ("high", "low")):
                bound = _wide(part, side).reindex(wide.index).to_numpy()
                table[column] = _first(bound, units, target, floor)
        for name, value in zip(at, key, strict=True):
            table[name] = value
        parts.append(table)
    columns = [*at, "concept", "category", "units", "low", "high", "best", "most"]
    whole = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)
    return whole[columns]


def _checked(subsets: pd.DataFrame, share: float) -> list[str]:
    needed = ["task", "concept", "category", "units", "score"]
    missing = [column for column in needed if column not in subsets]
    if missing:
        raise InputError(f"the table lacks the columns {', '.join(missing)}")
    if not 0 < share <= 1:
        raise InputError(f"share is a number above 0 and at most 1; got {share}")
    if not subsets["score"].notna().any():
        raise InputError("the table of subsets holds no score")
    return [c for c in ("model", "layer", "task", "measure") if c in subsets]


def _wide(part: pd.DataFrame, column: str = "score") -> pd.DataFrame:
    """(C, F) values, for concepts that have all of them."""
    index = ["concept", "category"]
    wide = part.pivot_table(index=index, columns="units", values=column, sort=False, dropna=False)
    return wide.reindex(columns=sorted(part["units"].unique())).dropna()


def _crossings(curves: Floats, units: Floats, floor: float, share: float) -> Floats:
    """(R,) F at which each curve comes `share` of the way from the floor to its best."""
    target = floor + share * (curves.max(axis=1) - floor)
    return _first(curves, units, target, floor)


def _interval(own: Floats, units: Floats, floor: float, share: float) -> tuple[float, float]:
    """95 % of the F of saturation of scores (n, F); infinite where never.

    NaN of one concept, or where the mean score never leaves the floor.
    """
    best = own[:, own.mean(axis=0).argmax()]
    if len(own) < 2 or best.mean() <= floor:  # no F saturates what never leaves the floor
        return float("nan"), float("nan")
    target = floor + share * (best - floor)
    bounds = np.stack(mean_bounds((own - target[:, None]).T))
    same = own.mean(axis=0) - target.mean()  # where all concepts are as far from it
    high, low = _first(np.where(np.isnan(bounds), same, bounds), units, np.zeros(2), -np.inf)
    return float(low), float(high)


def _first(curves: Floats, units: Floats, target: Floats, floor: float) -> Floats:
    """(R,) F at which curves (R, F) first reach a target; infinite where they never do.

    Between the F that were tried a curve is taken as linear in log F; before the first of them, F
    is that one. A curve that never leaves the floor needs no unit at all, and has NaN.
    """
    reached = curves >= target[:, None] - 1e-12
    place = reached.argmax(axis=1)
    rows = np.arange(len(curves))
    before = np.maximum(place - 1, 0)
    low, high = curves[rows, before], curves[rows, place]
    part = np.divide(target - low, high - low, out=np.ones_like(target), where=high > low)
    log = np.log(units)
    found: Floats = np.exp(log[before] + np.clip(part, 0, 1) * (log[place] - log[before]))
    found = np.where(place == 0, units[0], found)
    found = np.where(reached.any(axis=1), found, np.inf)
    return np.where(target > floor, found, np.nan)
