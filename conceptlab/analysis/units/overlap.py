"""Units and concepts do not match one to one: how far they overlap.

Fong & Vedaldi 2018, sections 4.2 (how many concepts a unit serves), 5.1 (the whole distribution of
scores) and 5.2 (single units beside the weights of the probe).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conceptlab.errors import InputError
from conceptlab.given import checked, require_number, require_seed
from conceptlab.numerics.intervals import FISHER, studentised
from conceptlab.numerics.parallel import ordered_map
from conceptlab.numerics.testing import benjamini_hochberg, holm, permutation_p
from conceptlab.probes.units.detectors import scored_column
from conceptlab.vectors import ConceptVectors

Floats = NDArray[np.float64]
PLACE = ("model", "layer")
ALPHA = 0.01  # of section 5.2
SINGLE = 1e-9  # of the variance: what is left without a unit is rounding
DECILES = np.arange(10, 100, 10)


@checked
def concepts_per_unit(concepts: pd.DataFrame, units: pd.DataFrame | None = None) -> pd.DataFrame:
    """How many concepts each unit is the best one for (section 4.2, figure 5).

    Args:
        concepts: columns task, concept, best_unit (-1: none), and model, layer where there are
            several, such as `tables/concepts.csv`.
        units: columns unit, and model, layer likewise, such as `tables/units.csv`: units that are
            best for nothing then have a row too.

    Returns:
        Columns model, layer (where given), task, unit, concepts (their number), names.

    Raises:
        InputError: a missing column.
    """
    at = [*_places(concepts, ["task", "concept", "best_unit"]), "task"]
    rows = concepts[concepts["best_unit"] >= 0].rename(columns={"best_unit": "unit"})
    rows = rows.assign(unit=rows["unit"].astype(int))
    groups = rows.groupby([*at, "unit"], sort=False)["concept"]
    table = groups.agg(concepts="size", names=", ".join).reset_index()
    if units is not None:
        places = _places(units, ["unit"])
        every = units[[*places, "unit"]].drop_duplicates()
        tasks = concepts[at].drop_duplicates()
        every = tasks.merge(every, on=places) if places else tasks.merge(every, how="cross")
        table = every.merge(table, on=[*at, "unit"], how="left")
        table["concepts"] = table["concepts"].fillna(0).astype(int)
        table["names"] = table["names"].fillna("")
    return table


@checked
def unit_agreement(
    vectors: ConceptVectors, units: pd.DataFrame, *, draws: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Whether units that segment a concept well alone also weigh much in its probe (section 5.2).

    For each concept the correlation over units of IoU_set(c; M_k) and max(w_k, 0). Units of a layer
    depend on one another, so that a p-value speaks of these units only. IoU and weights are skewed:
    where `p_permutation` and `p_value` part, believe the former.

    Args:
        vectors: of a segmentation probe, over all units of a layer.
        units: that layer's table of units: columns unit, concept, category, iou_val (or iou_test).
        draws: permutations of the units; 0 leaves p_permutation out.
        seed: of these.

    Returns:
        A row per concept with a vector: concept, category, units (K), r (Pearson), low, high (95 %,
        by the jackknife), p_value (two-sided, of the t-test that the paper reports), p_permutation,
        p_holm, p_bh (p_value for all concepts at once), spearman (of |w_k| and IoU_set, the ranks
        of both measures of a unit's part). NaN where a side is constant; where it is so but for one
        unit, as of a one-hot vector, only r, p_permutation and spearman are known.

    Raises:
        InputError: a table of other units or concepts.
    """
    from scipy.stats import rankdata
    from scipy.stats import t as student

    require_number(draws, "draws", 0)
    require_seed(seed)
    rows, scores = _aligned(vectors, units)
    weights = vectors.weights[rows]
    count = scores.shape[1]
    first, second = _standard(scores), _standard(np.maximum(weights, 0.0))
    r = np.clip(np.einsum("ck,ck->c", first, second), -1.0, 1.0)
    ranks = (_standard(rankdata(x, axis=1)) for x in (np.abs(weights), scores))
    with np.errstate(divide="ignore", invalid="ignore"):
        chances = 2 * student.sf(np.abs(r) * np.sqrt((count - 2) / (1 - r**2)), count - 2)
        low, high = _interval(first, second, r)
    chances[_alone(first) | _alone(second)] = np.nan
    table = vectors.concepts.iloc[rows]
    return pd.DataFrame(
        {
            "concept": np.array(vectors.names, dtype=object)[rows],
            "category": table["category"].to_numpy(), "units": count, "r": r, "low": low,
            "high": high, "p_value": chances,
            "p_permutation": _permuted(first, second, r, draws, seed),
            "p_holm": holm(chances), "p_bh": benjamini_hochberg(chances),
            "spearman": np.einsum("ck,ck->c", *ranks),
        }
    )  # fmt: skip


@checked
def agreement_by_layer(agreement: pd.DataFrame, alpha: float = ALPHA) -> pd.DataFrame:
    """The share of concepts whose units agree significantly, layer by layer (section 5.2).

    Args:
        agreement: of `unit_agreement`, with columns model and layer where there are several.
        alpha: level; the paper has 0.01, without correction.

    Returns:
        Columns model, layer (where given), concepts (those with a p_value), mean_r, share
        (p_value below alpha), share_holm, share_bh (corrected within the layer), alpha.
    """
    at = _places(agreement, ["r", "p_value", "p_holm", "p_bh"])
    known = agreement.dropna(subset=["r", "p_value"])
    parts = known.groupby(at, sort=False) if at else [((), known)]
    rows = [
        dict(zip(at, key, strict=True))
        | {"concepts": len(part), "mean_r": part["r"].mean()}
        | {
            share: (part[column] < alpha).mean()
            for share, column in (
                ("share", "p_value"), ("share_holm", "p_holm"), ("share_bh", "p_bh"),
            )
        }
        | {"alpha": alpha}
        for key, part in parts
    ]  # fmt: skip
    return pd.DataFrame(rows)


@checked
def unit_shares(vectors: ConceptVectors, units: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """Both measures of a unit's part in a concept (section 5.2).

    Args:
        vectors: of a segmentation probe, over all units of a layer.
        units: that layer's table of units: columns unit, concept, category, iou_val (or iou_test).
        scores: of the probe: columns concept, probe_score (IoU_set on the same images).

    Returns:
        A row per concept with a vector and unit: concept, category, unit, weight, share_weight
        (|w_k| / ||w||_1), iou (IoU_set of the unit alone), share_iou (iou / IoU_set of the probe;
        above 1 where the unit is the better; NaN where the probe's is 0).

    Raises:
        InputError: a table of other units or concepts.
    """
    _places(scores, ["concept", "probe_score"])
    rows, alone = _aligned(vectors, units)
    names = np.array(vectors.names, dtype=object)[rows]
    probe = scores.drop_duplicates("concept").set_index("concept")["probe_score"].reindex(names)
    weights = vectors.weights[rows]
    count = weights.shape[1]
    whole = np.abs(weights).sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        whole_iou = probe.to_numpy(dtype=float)[:, None]
        ratio = alone / np.where(whole_iou > 0, whole_iou, np.nan)
    category = vectors.concepts["category"].to_numpy()[rows]
    return pd.DataFrame(
        {
            "concept": names.repeat(count), "category": category.repeat(count),
            "unit": np.tile(np.arange(count), len(names)), "weight": weights.ravel(),
            "share_weight": (np.abs(weights) / whole).ravel(), "iou": alone.ravel(),
            "share_iou": ratio.ravel(),
        }
    )  # fmt: skip


@checked
def iou_distribution(per_image: pd.DataFrame) -> pd.DataFrame:
    """IoU_ind of best unit and probe over all images that show a concept (section 5.1, figure 7).

    Args:
        per_image: columns image, concept, category, iou_probe, iou_unit, and model, layer where
            there are several, such as `tables/per_image.csv`.

    Returns:
        A row per concept: its columns, images, then for 'unit' and 'probe' each: zeros_ (share),
        mean_, std_ and deciles _10.._90 of the part above zero; better (share of the images on
        which the two differ where the probe is ahead), p_value (two-sided sign test of that; frames
        of one scene are not independent, and make it too small) and p_bh.

    Raises:
        InputError: a missing column; an image that a concept has twice.
    """
    columns = ["image", "concept", "category", "iou_probe", "iou_unit"]
    at = [*_places(per_image, columns), "concept"]
    twice = per_image.duplicated([*at, "category", "image"])
    if twice.any():
        first = per_image[twice].iloc[0]
        raise InputError(
            f"image {first['image']!r} of concept {first['concept']!r} stands in the table "
            "twice: columns model and layer tell runs apart"
        )
    known = per_image.dropna(subset=["iou_probe", "iou_unit"])
    rows = [
        dict(zip(at, key, strict=True)) | _distribution(part)
        for key, part in known.groupby(at, sort=False)
    ]
    table = pd.DataFrame(rows)
    return table.assign(p_bh=benjamini_hochberg(table["p_value"])) if len(table) else table


def _distribution(part: pd.DataFrame) -> dict[str, Any]:
    from scipy.stats import binomtest

    row: dict[str, Any] = {"category": part["category"].iloc[0], "images": len(part)}
    for side in ("unit", "probe"):
        values = part[f"iou_{side}"].to_numpy(dtype=float)
        above = values[values > 0]
        row[f"zeros_{side}"] = float((values == 0).mean())
        row[f"mean_{side}"] = above.mean() if len(above) else np.nan
        row[f"std_{side}"] = above.std() if len(above) else np.nan
        deciles = np.quantile(above, DECILES / 100) if len(above) else np.full(9, np.nan)
        row |= {f"{side}_{d}": value for d, value in zip(DECILES, deciles, strict=True)}
    ahead = part["iou_probe"] - part["iou_unit"]
    wins, differ = int((ahead > 0).sum()), int((ahead != 0).sum())
    row["better"] = wins / differ if differ else np.nan
    row["p_value"] = float(binomtest(wins, differ).pvalue) if differ else np.nan
    return row


def _aligned(vectors: ConceptVectors, units: pd.DataFrame) -> tuple[NDArray[np.int64], Floats]:
    """Rows of the vectors that have one and stand in the table, and their (C, K) IoU_set."""
    _places(units, ["unit", "concept", "category"])
    scored = scored_column(units)
    count = vectors.space.units
    places = {name: row for row, name in enumerate(_full(vectors.names, vectors.concepts))}
    names = _full(units["concept"].astype(str), units)
    row = np.array([places.get(name, -1) for name in names])
    unit = units["unit"].to_numpy()
    if len(units) and (unit.max() + 1 != count or unit.min() != 0):
        raise InputError(
            f"the table has units 0 to {unit.max()} and the vectors {count}: they are of different "
            "layers"
        )
    if units.duplicated(["unit", "concept", "category"]).any():
        raise InputError("the table has several rows of one unit and concept: take one layer")
    scores = np.full((len(vectors), count), np.nan)
    scores[row[row >= 0], unit[row >= 0]] = units[scored].to_numpy()[row >= 0]
    rows = np.flatnonzero(vectors.usable & np.isfinite(scores).all(axis=1))
    if not len(rows):
        raise InputError("no concept has a vector and a score of every unit in the table")
    return rows, scores[rows]


def _full(names: Sequence[str] | pd.Series, table: pd.DataFrame) -> list[str]:
    """'category/name' of each row, also where the name is written so already."""
    return [
        name if name.startswith(f"{category}/") else f"{category}/{name}"
        for name, category in zip(names, table["category"].astype(str), strict=True)
    ]


def _standard(rows: NDArray[Any]) -> Floats:
    """Rows with mean 0 and length 1; NaN where they are constant."""
    away = rows - rows.mean(axis=1, keepdims=True)
    length = np.linalg.norm(away, axis=1, keepdims=True)
    large = length > 1e-12 * np.abs(rows).max(axis=1, keepdims=True, initial=0.0)
    found: Floats = np.divide(away, length, out=np.full(away.shape, np.nan), where=large)
    return found


def _interval(first: Floats, second: Floats, r: Floats) -> tuple[Floats, Floats]:
    """(C,) 95 % of correlations (C,) of standardised rows, by the jackknife on Fisher's scale.

    Fisher's own error, 1 / sqrt(K - 3), is that of normal values, and weights and IoU are not.
    """
    more = first.shape[1] / (first.shape[1] - 1)
    both = r[:, None] - more * first * second
    sides = np.clip(1 - more * first**2, 0, None) * np.clip(1 - more * second**2, 0, None)
    left_out = np.clip(both / np.sqrt(sides), -1.0, 1.0)
    left_out[_alone(first) | _alone(second)] = np.nan  # without that unit there is no correlation
    values = (first.shape[1] - 1) * (FISHER.to(r)[:, None] - FISHER.to(left_out))
    low, high = studentised(FISHER.to(r), values, float(first.shape[1]))
    return FISHER.back(low), FISHER.back(high)


def _alone(standard: Floats) -> NDArray[np.bool_]:
    """(C,) whether standardised rows are constant but for one unit."""
    count = standard.shape[1]
    rest = 1 - count / (count - 1) * standard**2  # the variance without each unit, of the whole's
    found: NDArray[np.bool_] = (rest <= SINGLE).any(axis=1)
    return found


def _permuted(first: Floats, second: Floats, r: Floats, draws: int, seed: int) -> Floats:
    """(C,) share of permutations of the units with a correlation as far from 0."""
    if not draws:
        return np.full(len(r), np.nan)
    units = np.tile(np.arange(first.shape[1]), (draws, 1))
    orders = np.random.default_rng(seed).permuted(units, axis=1)

    def one(concept: int) -> float:
        null = np.abs(first[concept][orders] @ second[concept])
        return permutation_p(abs(float(r[concept])), null)

    return np.array(list(ordered_map(one, range(len(r)))))


def _places(table: pd.DataFrame, needed: Sequence[str]) -> list[str]:
    """Which of model and layer a table has.

    Raises:
        InputError: it lacks a column that is needed.
    """
    missing = [column for column in needed if column not in table]
    if missing:
        raise InputError(f"the table lacks the columns {', '.join(missing)}")
    return [column for column in PLACE if column in table]
