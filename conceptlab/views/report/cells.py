"""Tables of a report: what each column is called, and each value as text and to sort by."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

HEADS = {
    "model": "network", "n_train": "train images", "n_val": "val images",
    "n_test": "test images",
    "best_unit": "best unit", "best_unit_score": "unit score", "probe_score": "probe score",
    "probe_low": "95 % from", "probe_high": "to", "chance_score": "unit by chance",
    "shuffled_score": "shuffled", "untrained_score": "untrained", "iou_ind": "mean IoU_ind",
    "n_concepts": "concepts", "share_better": "probe better", "share_tied": "tied",
    "share_worse": "probe worse", "position_score": "position alone",
    "colour_score": "colour alone", "plain_score": "position and colour",
    "difference_p": "p, probe against unit",
    "mean_unit": "mean best unit", "mean_probe": "mean probe", "too_few": "too few examples",
    "unique_detectors": "unique detectors", "neighbour": "nearest",
    "share_weight": "share of weight", "share_iou": "share of IoU", "iou": "IoU_set",
    "share_holm": "share, Holm", "share_bh": "share, false discovery rate", "mean_r": "mean r",
    "r2": "explained", "r2_val": "explained, held out", "chance": "packed by chance",
    "p_value": "p", "p_adjusted": "p, adjusted", "model_i": "network i", "model_j": "network j",
    "layer_i": "layer i", "layer_j": "layer j", "low": "95 % from", "high": "to",
    "most": "of units", "used": "TCAV effect", "used_p": "p, TCAV", "encoded": "IoU_set, probe",
    "contributing": "share of logit", "erased": "change when erased", "erased_p": "p, erasure",
    "logit_change": "change of logit", "random_change": "change, random",
    "accuracy_before": "accuracy before", "accuracy_after": "after",
    "accuracy_intact": "learned on intact", "accuracy_refit": "learned anew",
    "accuracy_random": "learned anew, random direction", "accuracy_units": "after, units",
    "accuracy_units_refit": "learned anew, units", "completeness_error": "mean remainder",
    "rho": "rank correlation", "best": "best picture", "field_px": "field, px",
    "theoretical_px": "by architecture, px", "adjusted": "adjusted mutual information",
    "class_a": "class a", "class_b": "class b", "a": "attribution to a", "b": "to b",
}  # fmt: skip


SCORES = {
    "best_unit_score", "probe_score", "probe_low", "probe_high", "chance_score", "shuffled_score",
    "untrained_score", "position_score", "colour_score", "plain_score", "difference_p", "iou_ind",
    "mean_unit", "mean_probe", "cosine", "distance", "iou", "weight",
    "value", "low", "high", "p_value", "p_adjusted", "between", "within", "excess", "r2", "r2_val",
    "reliability", "told_apart", "mean_r", "score", "best", "whole", "magnitude", "effect", "used",
    "used_p", "encoded", "erased", "erased_p", "logit_change", "random_change", "accuracy",
    "coefficient", "contribution", "logit", "explained", "completeness_error", "stability", "rho",
    "accuracy_before", "accuracy_after", "accuracy_intact", "accuracy_refit", "accuracy_random",
    "accuracy_units", "accuracy_units_refit", "start", "attribution", "ratio", "adjusted",
    "mutual_information", "a", "b", "difference", "x", "y", "similarity", "largest",
}  # fmt: skip


LEAST = 0.0001  # p-values below are said to be so


@dataclass(frozen=True)
class Column:
    """A column of a table: its title, and whether it holds numbers."""

    title: str
    numeric: bool


@dataclass(frozen=True)
class Table:
    """A table as the template wants it: columns, rows of (text, value to sort by)."""

    columns: list[Column]
    rows: list[list[tuple[str, str]]]


def table_of(frame: pd.DataFrame | None, columns: tuple[str, ...] = ()) -> Table | None:
    """A frame with numbers rounded for reading, sorted by their full values.

    Args:
        frame: or none.
        columns: which, where they hold anything; all if not given.

    Returns:
        None for a frame without rows.
    """
    if frame is None or not len(frame):
        return None
    chosen = [c for c in (columns or frame.columns) if c in frame and frame[c].notna().any()]
    heads = [
        Column(HEADS.get(c, c.replace("_", " ")), pd.api.types.is_numeric_dtype(frame[c]))
        for c in chosen
    ]
    rows = [
        [_cell(value, c) for value, c in zip(row, chosen, strict=True)]
        for row in frame[chosen].itertuples(index=False)
    ]
    return Table(heads, rows)


def is_chance(column: str) -> bool:
    """Whether a column of this name holds p-values."""
    return column.startswith("p_") or column.endswith("_p")


def chance_text(value: float) -> str:
    """A p-value, that is never written as 0; '-' where there is none."""
    return f"{value:.4f}" if value >= LEAST else ("-" if value != value else f"<{LEAST}")


def _cell(value: Any, column: str) -> tuple[str, str]:
    if isinstance(value, str):
        return value, value
    if pd.isna(value):
        return "-", ""
    number = float(value)
    if column == "best_unit" and number < 0:  # no unit was chosen
        return "-", ""
    if column.startswith("share") or column == "contributing":
        return f"{number:.1%}", repr(number)
    if np.isinf(number):  # a bound that nothing reached
        return "∞" if number > 0 else "-∞", repr(number)
    if is_chance(column):
        return chance_text(number), repr(number)
    whole = number == int(number) and column not in SCORES
    return (f"{int(number)}" if whole else f"{number:.3f}"), repr(number)
