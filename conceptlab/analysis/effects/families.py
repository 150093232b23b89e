"""Three families on one page: where a concept is encoded, whether it is used, what it contributes.

The thesis, section 7.2.1, sets Net2Vec, TCAV and basis decomposition beside one another; erasure is
the control that a claim of use has to survive.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conceptlab.numerics.rounding import varies
from conceptlab.numerics.testing import holm

Floats = NDArray[np.float64]

KEYS = ["model", "layer", "concept", "category"]
SIGNIFICANT = 0.05
FEWEST = 4  # concepts of a rank correlation
PAIRINGS = 9999  # orders that its p-value looks at; all of them where there are no more
MEASURES = ("encoded", "accuracy", "used", "contributing", "erased")
USED, SENSITIVE, CHANGED, OPPOSED, NOTHING = (
    "used", "sensitive, not confirmed", "changed by erasure only", "contradictory", "not shown",
)  # fmt: skip


def concept_families(
    concepts: pd.DataFrame, tcav: pd.DataFrame, decomposition: pd.DataFrame, erasure: pd.DataFrame
) -> pd.DataFrame:
    """A row per model, layer, class and concept that has a CAV: every family's answer.

    Args:
        concepts: the scores of probes: columns model, layer, concept, category, task, probe_score;
            may be empty, and so may all but tcav.
        tcav: tables of `conceptlab.tcav` with columns model and layer.
        decomposition: those of `conceptlab.decompose`, likewise.
        erasure: those of `conceptlab.erase`, likewise.

    Returns:
        Columns model, layer, class, concept, category; encoded (IoU_set of the segmentation probe),
        accuracy (of the classification probe), used (TCAV effect, in standard deviations of random
        sets), used_p (Holm), contributing (share of the logit in the basis decomposition, 0 for a
        concept that is not in the basis), erased (change of the logit when the concept's direction
        is taken out), erased_p (Holm), note, and verdict: 'used' where TCAV and erasure are both
        significant and say the same (more of it raises the class, taking it out lowers it, or the
        other way round); 'contradictory' where they say opposite things; 'sensitive, not confirmed'
        and 'changed by erasure only' where one is; else 'not shown'. NaN where a family was not
        asked.
    """
    if not len(tcav):
        return pd.DataFrame()
    own = tcav[tcav["kind"] == "cav"]
    table = own[["model", "layer", "class", "concept", "category", "note"]].assign(
        used=own["effect"], used_p=own["p_adjusted"]
    )
    for task, name in (("segment", "encoded"), ("classify", "accuracy")):
        table = _joined(table, _scores(concepts, task), KEYS, {"probe_score": name})
    every = ["model", "layer", "class", "concept", "category"]
    contributed = decomposition[decomposition["category"] != ""] if len(decomposition) else None
    table = _joined(table, contributed, every, {"share": "contributing"})
    if contributed is not None:
        asked = pd.MultiIndex.from_frame(contributed[every[:3]]).unique()
        here = pd.MultiIndex.from_frame(table[every[:3]]).isin(asked)
        table.loc[here, "contributing"] = table.loc[here, "contributing"].fillna(0.0)
    taken = erasure[erasure["ablation"] == "direction"] if len(erasure) else None
    table = _joined(table, taken, every, {"logit_change": "erased", "p_adjusted": "erased_p"})
    order = ["model", "layer", "class", "concept", "category", *MEASURES[:3], "used_p",
             "contributing", "erased", "erased_p", "note"]  # fmt: skip
    return table[order].assign(verdict=_verdicts(table))


def family_correlations(families: pd.DataFrame) -> pd.DataFrame:
    """Spearman's rank correlation over concepts between the families' answers, for each class.

    What erasure does is taken with the opposite sign, so that agreement is positive.

    Args:
        families: as `concept_families` gives it.

    Returns:
        Columns model, layer, class, first, second, rho, p_value, p_adjusted (Holm over all rows),
        n (concepts that both speak of; pairs of fewer than four are left out).
    """
    rows = []
    if not len(families):
        return pd.DataFrame()
    for (model, layer, name), part in families.groupby(["model", "layer", "class"], sort=False):
        signed = part.assign(erased=-part["erased"])
        for place, first in enumerate(MEASURES):
            for second in MEASURES[place + 1 :]:
                both = signed[[first, second]].dropna()
                if len(both) < FEWEST or not varies(both.to_numpy(dtype=np.float64)).all():
                    continue
                rho, chance = _rank_test(both[first].to_numpy(), both[second].to_numpy())
                rows.append(
                    {
                        "model": model, "layer": layer, "class": name, "first": first,
                        "second": second, "rho": rho,
                        "p_value": chance, "n": len(both),
                    }
                )  # fmt: skip
    table = pd.DataFrame(rows)
    if len(table):
        table.insert(7, "p_adjusted", holm(table["p_value"].to_numpy()))
    return table


def _rank_test(first: Floats, second: Floats) -> tuple[float, float]:
    """Spearman's correlation and its two-sided p-value, by permutation: exact up to 7 concepts.

    Student's t would call a perfect order of four concepts certain, which one order in 24 has.
    """
    from scipy.stats import permutation_test, rankdata

    x, y = (rankdata(side) - (len(side) + 1) / 2 for side in (first, second))
    length = float(np.sqrt((x @ x) * (y @ y)))
    found = permutation_test(
        (x,), lambda x, axis: (x * y).sum(axis=axis) / length, permutation_type="pairings",
        n_resamples=PAIRINGS, rng=np.random.default_rng(0), vectorized=True,
    )  # fmt: skip
    return float(found.statistic), float(found.pvalue)


def _scores(concepts: pd.DataFrame, task: str) -> pd.DataFrame | None:
    return concepts[concepts["task"] == task] if len(concepts) else None


def _joined(
    table: pd.DataFrame, other: pd.DataFrame | None, keys: list[str], columns: dict[str, str]
) -> pd.DataFrame:
    """A table with some columns of another, where there is one."""
    if other is None or not len(other):
        return table.assign(**dict.fromkeys(columns.values(), np.nan))
    chosen = other[[*keys, *columns]].rename(columns=columns).drop_duplicates(keys)
    return table.merge(chosen, on=keys, how="left")


def _verdicts(table: pd.DataFrame) -> list[str]:
    found = []
    for row in table.itertuples():
        sensitive, changed = row.used_p < SIGNIFICANT, row.erased_p < SIGNIFICANT
        if sensitive and changed:
            found.append(USED if row.used * row.erased < 0 else OPPOSED)
        elif sensitive:
            found.append(SENSITIVE)
        else:
            found.append(CHANGED if changed else NOTHING)
    return found
