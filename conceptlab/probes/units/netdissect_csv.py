"""Tables of units in files: Network Dissection's result CSV, read and written, and our own.

Bau et al. 2017, section 3, and the columns of the published code's result file.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from conceptlab.csvtable import read_table, write_table
from conceptlab.errors import InputError
from conceptlab.given import checked
from conceptlab.probes.units.detectors import SCORED, detector_counts, scored_column
from conceptlab.probes.units.dissection import Dissection
from conceptlab.vectors import qualified_names

FIELDS = ("label", "truth", "activation", "intersect", "iou")


def read_units(path: str | Path) -> pd.DataFrame:
    """A table of units from Network Dissection's result CSV, or from our own `units.csv`.

    Args:
        path: a CSV with columns unit, category, label, score, CATEGORY-label, CATEGORY-iou, ...;
            or with columns unit, concept, category, iou_val or iou_test (and model, layer).

    Returns:
        Columns unit, concept, category, iou; an empty concept where the file names none.

    Raises:
        InputError: no such file, or columns of neither kind.
    """
    try:
        frame = read_table(path, texts=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"cannot read {path} as a CSV of units: {reason}") from error
    columns = set(frame.columns)
    if {"unit", "category", "label", "score"} <= columns:
        return _from_network_dissection(frame, path)
    if {"unit", "concept", "category"} <= columns and columns & set(SCORED):
        unit = frame["unit"]
        for name in ("layer", "model"):
            if name in columns:
                unit = frame[name] + " " + unit
        return pd.DataFrame(
            {
                "unit": unit,
                "concept": frame["concept"],
                "category": frame["category"],
                "iou": _numbers(frame[scored_column(frame)], path),
            }
        )
    raise InputError(
        f"{path} is no table of units: it wants columns unit, category, label, score (Network "
        "Dissection's) or unit, concept, category, iou_val (ours)"
    )


def _from_network_dissection(frame: pd.DataFrame, path: str | Path) -> pd.DataFrame:
    suffix = "-label"
    categories = [c[: -len(suffix)] for c in frame.columns if c.endswith(suffix)]
    missing = [c for c in categories if f"{c}-iou" not in frame.columns]
    if missing:
        raise InputError(f"{path} has a column {missing[0]}-label but no {missing[0]}-iou")
    if not categories:
        parts = [(frame["category"], frame["label"], frame["score"])]
    else:
        parts = [
            (pd.Series(c, index=frame.index), frame[f"{c}-label"], frame[f"{c}-iou"])
            for c in categories
        ]
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "unit": frame["unit"],
                    "concept": label.str.strip(),
                    "category": category,
                    "iou": _numbers(score, path),
                }
            )
            for category, label, score in parts
        ],
        ignore_index=True,
    )


def _numbers(column: "pd.Series[str]", path: str | Path) -> Any:
    try:
        return pd.to_numeric(column.where(~column.isin(["", "nan", "NaN"])))
    except ValueError as error:
        raise InputError(f"{path}: column {column.name!r} holds a non-number ({error})") from error


def write_network_dissection(dissection: Dissection, path: str | Path, split: str = "val") -> None:
    """Write Network Dissection's result CSV, a row per unit, units counted from 1.

    Columns unit, category, label, score, then for every category its best label, and the pixels of
    that label (truth), of the unit's mask (activation), of both (intersect), and their IoU.
    """
    concepts = dissection.concepts
    names = np.array(qualified_names(concepts), dtype=object)
    kinds = concepts["category"].to_numpy(dtype=object)
    scores = np.nan_to_num(dissection.iou(split), nan=-1.0)
    units = np.arange(len(scores))
    columns: dict[str, Any] = {"unit": units + 1}
    best = scores.argmax(axis=1)
    known = scores[units, best] >= 0
    columns["category"] = np.where(known, kinds[best], "")
    columns["label"] = np.where(known, names[best], "")
    columns["score"] = np.where(known, scores[units, best], 0.0)
    for category in dict.fromkeys(kinds):
        members = np.flatnonzero(kinds == category)
        pick = members[scores[:, members].argmax(axis=1)]
        known = scores[units, pick] >= 0
        values = (
            np.where(known, names[pick], ""),
            np.where(known, dissection.labelled[split][pick], 0),
            np.where(known, dissection.area[split][units, pick], 0),
            np.where(known, dissection.both[split][units, pick], 0),
            np.where(known, scores[units, pick], 0.0),
        )
        columns |= {f"{category}-{f}": v for f, v in zip(FIELDS, values, strict=True)}
    write_table(Path(path), pd.DataFrame(columns), [f"{kind}-label" for kind in kinds])


@checked
def summarize_units(
    path: str | Path, threshold: float = 0.04, rule: str = "every-category"
) -> dict[str, Any]:
    """The counts of a CSV of units, theirs or ours, as JSON values.

    Returns:
        {"rule", "threshold", "detectors": {category: n}, "unique_detectors": {category: n},
        "unique_total": n}.
    """
    counts = detector_counts(read_units(path), threshold, rule)
    unique = dict(zip(counts["category"], map(int, counts["unique_detectors"]), strict=True))
    return {
        "rule": rule,
        "threshold": threshold,
        "detectors": dict(zip(counts["category"], map(int, counts["detectors"]), strict=True)),
        "unique_detectors": unique,
        "unique_total": sum(unique.values()),
    }
