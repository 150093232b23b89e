"""Detectors and unique detectors per category, and which concept a unit detects.

Bau et al. 2017, section 3: a unit is a detector of a concept where its IoU exceeds 0.04; the number
of different concepts detected is the layer's interpretability.
"""

import numpy as np
import pandas as pd

from conceptlab.errors import InputError

SCORED = ("iou_test", "iou_val", "iou_train")
RULES = ("every-category", "best-label")


def _best_rows(table: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """The row of highest IoU for each combination of keys; the first of equals."""
    ranked = table.dropna(subset=["iou"]).sort_values("iou", ascending=False, kind="stable")
    return ranked.drop_duplicates(keys).sort_values(keys, kind="stable").reset_index(drop=True)


def unit_labels(table: pd.DataFrame) -> pd.DataFrame:
    """The best concept of each unit.

    Args:
        table: columns unit, concept, category, iou.

    Returns:
        Columns unit, concept, category, iou; a row per unit with any finite IoU.
    """
    return _best_rows(table, ["unit"])[["unit", "concept", "category", "iou"]]


def detector_counts(
    table: pd.DataFrame, threshold: float = 0.04, rule: str = "every-category"
) -> pd.DataFrame:
    """Detectors and unique detectors per category.

    Args:
        table: columns unit, concept, category, iou. Rows with an empty concept never count.
        threshold: a unit detects a concept where its IoU exceeds this.
        rule: 'every-category': a unit counts in every category where its best concept of that
            category passes; 'best-label': only for its best concept of all.

    Returns:
        Columns category, detectors (units), unique_detectors (different concepts).

    Raises:
        InputError: an unknown rule.
    """
    if rule not in RULES:
        raise InputError(f"rule is one of {', '.join(RULES)}; got {rule!r}")
    categories = [str(c) for c in table["category"].drop_duplicates() if str(c)]
    named = table[table["concept"].astype(str) != ""]
    best = _best_rows(named, ["unit", "category"] if rule == RULES[0] else ["unit"])
    passed = best[best["iou"] > threshold].groupby("category")["concept"]
    return pd.DataFrame(
        {
            "category": categories,
            "detectors": passed.size().reindex(categories, fill_value=0).to_numpy(),
            "unique_detectors": passed.nunique().reindex(categories, fill_value=0).to_numpy(),
        }
    )


def scored_column(units: pd.DataFrame) -> str:
    """The column of a table of units that holds held-out scores; of train where it has no other.

    Args:
        units: columns unit, concept, category, and iou_test, iou_val or iou_train.

    Raises:
        InputError: it has none of them.
    """
    there = [name for name in SCORED if name in units]
    if not there:
        raise InputError(f"a table of units has a column {' or '.join(SCORED)}")
    filled = [name for name in there if not units[name].isin(["", np.nan]).all()]
    return (filled or there)[0]
