"""Reading a run folder's tables for drawing."""

import json
import logging
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.errors import EmptyDataError

from conceptlab.csvtable import TEXTS, read_table
from conceptlab.errors import InputError

log = logging.getLogger(__name__)

#: What each table must have, and what a run may leave out (read as missing values).
WANTED = {
    "units": (["model", "layer", "unit", "concept", "category"], []),
    "concepts": (
        ["model", "layer", "task", "concept", "category", "n_train", "n_val", "best_unit",
         "best_unit_score", "probe_score"],
        ["train_score", "unit_low", "unit_high", "probe_low", "probe_high", "chance_score",
         "shuffled_score", "untrained_score", "untrained_unit_score", "position_score",
         "colour_score", "plain_score", "difference_p", "iou_ind", "unit_iou_ind", "note"],
    ),
    "summary": (
        ["model", "layer", "task", "n_concepts", "mean_unit", "mean_probe"],
        ["share_better", "share_tied", "share_worse"],
    ),
    "detectors": (
        ["model", "layer", "rule", "threshold", "category", "detectors", "unique_detectors"], [],
    ),
    "subsets": (["model", "layer", "task", "concept", "category", "units", "score"], []),
    "per_image": (
        ["model", "layer", "image", "concept", "category", "iou_unit", "iou_probe"], [],
    ),
    "nearest": (["model", "layer", "task", "concept", "rank", "neighbour", "cosine"], []),
    "arithmetic": (
        ["model", "layer", "task", "plus", "minus", "rank", "concept", "cosine"], [],
    ),
    "distances": (
        ["task", "model_i", "layer_i", "model_j", "layer_j", "distance"], ["concepts"],
    ),
    "distances_by_category": (
        ["task", "model_i", "layer_i", "model_j", "layer_j", "category", "distance"], [],
    ),
    "agreement_by_layer": (
        ["model", "layer", "concepts", "mean_r", "share", "share_holm", "share_bh", "alpha"], [],
    ),
    "saturation": (
        ["model", "layer", "task", "category", "concepts", "units", "low", "high", "score"], [],
    ),
    "distributions": (
        ["model", "layer", "concept", "images", "zeros_unit", "zeros_probe"], [],
    ),
    "packing": (["model", "layer", "unit", "packed", "names", "r2", "r2_val", "chance"], []),
    "pinned": (
        ["model", "layer", "task", "concept", "reliability", "low", "pinned"], [],
    ),
    "unit_shares": (
        ["model", "layer", "concept", "unit", "weight", "share_weight", "iou", "share_iou"], [],
    ),
    "comparison": (
        ["task", "model_i", "layer_i", "model_j", "layer_j", "measure", "value", "low", "high",
         "p_value"],
        [],
    ),
    "projection": (
        ["model", "layer", "task", "method", "trustworthiness", "concept", "category", "x", "y"],
        [],
    ),
    "tcav": (
        ["model", "layer", "class", "concept", "category", "kind", "score", "magnitude",
         "effect", "p_value", "p_adjusted", "low", "high", "n", "note"],
        ["accuracy", "stability"],
    ),
    "cavs": (
        ["model", "layer", "name", "category", "examples", "accuracy", "chance", "stability"],
        ["note"],
    ),
    "decomposition": (
        ["model", "layer", "class", "concept", "category", "coefficient", "contribution", "share",
         "low", "high", "n", "note"],
        [],
    ),
    "decomposed_classes": (
        ["model", "layer", "class", "n", "logit", "explained", "completeness_error", "accuracy"],
        [],
    ),
    "decomposed_pictures": (["model", "layer", "class", "picture"], []),
    "erasure": (
        ["model", "layer", "class", "concept", "category", "ablation", "logit_change",
         "random_change", "effect", "p_value", "p_adjusted", "accuracy_before", "accuracy_after",
         "n", "note"],
        [],
    ),
    "erased_probe": (
        ["model", "layer", "concept", "category", "accuracy_before", "accuracy_after",
         "accuracy_refit"],
        [],
    ),
    "families": (
        ["model", "layer", "class", "concept", "category", "encoded", "accuracy", "used",
         "used_p", "contributing", "erased", "erased_p", "verdict"],
        ["note"],
    ),
    "family_correlations": (
        ["model", "layer", "class", "first", "second", "rho", "p_value", "p_adjusted", "n"], [],
    ),
    "exemplars": (
        ["model", "layer", "target", "unit", "rank", "image", "value", "share", "y", "x", "way"],
        [],
    ),
    "fields": (["model", "layer", "target", "unit", "field_px", "theoretical_px", "images"], []),
    "images": (
        ["model", "layer", "objective", "start", "value", "kind", "picture"],
        ["best", "note"],
    ),
    "polysemanticity": (
        ["model", "layer", "unit", "exemplars", "clusters", "similarity", "largest", "p_value"],
        [],
    ),
    "polysemanticity_members": (
        ["model", "layer", "unit", "rank", "image", "value", "cluster", "picture"], [],
    ),
    "polysemanticity_pictures": (["model", "layer", "unit", "picture"], []),
    "unmade": (["model", "layer", "step", "reason"], []),
    "pictures": (["model", "layer", "kind", "title", "caption", "picture"], []),
    "cells": (
        ["model", "layer", "focus", "resolution", "row", "column", "x", "y", "n", "images"],
        ["class", "attribution", "concept", "score"],
    ),
    "atlas_classes": (
        ["model", "layer", "class_a", "class_b", "resolution", "row", "column", "n", "a", "b",
         "difference"],
        [],
    ),
    "atlas_comparison": (
        ["model_i", "layer_i", "model_j", "layer_j", "resolution", "images", "adjusted",
         "p_value"],
        [],
    ),
    "zoom": (["task", "i", "j", "between", "within", "p_value"], []),
    "zoom_by_category": (["task", "i", "j", "category", "between", "within", "p_value"], []),
    "zoom_by_concept": (["task", "i", "j", "concept", "between", "within", "p_value"], []),
}  # fmt: skip


def read_tables(run: Path) -> dict[str, pd.DataFrame]:
    """The tables of a run that views know, by name; those without rows are left out.

    Texts stay texts, also one that reads 'nan'.

    Args:
        run: the run folder.

    Raises:
        InputError: a table that is damaged, or lacks a column.
    """
    found = {}
    for name in WANTED:
        path = run / "tables" / f"{name}.csv"
        table = _read(path, *WANTED[name]) if path.is_file() else None
        if table is not None and len(table):
            found[name] = table
    return found


def _read(path: Path, needed: list[str], optional: list[str]) -> pd.DataFrame | None:
    try:
        table = read_table(path)
    except EmptyDataError:
        return None
    except ValueError as error:
        raise InputError(
            f"{path} is not a table that can be read ({error}); delete it and run the study again"
        ) from error
    missing = [c for c in needed if c not in table]
    if missing:
        raise InputError(
            f"{path} lacks the columns {', '.join(missing)}; delete it and run the study again"
        )
    for column in optional:
        if column not in table:
            table[column] = "" if column in TEXTS else float("nan")
    return table


def read_json(path: Path, default: Any) -> Any:
    """A JSON file's value, or `default` where there is none.

    Raises:
        InputError: a file that is no JSON, or holds another kind of value.
    """
    if not path.is_file():
        return default
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error}); run the study again") from error
    if not isinstance(value, type(default)):
        raise InputError(f"{path} does not hold what it should; run the study again")
    return value


def read_examples(run: Path) -> pd.DataFrame:
    """`examples/index.json` as a table; pictures that are not there are left out, with a warning.

    Args:
        run: the run folder.

    Returns:
        Columns kind, model, layer, concept, category, unit, decile, rank, image, iou_unit,
        iou_probe, picture, and file (the picture's path); none where there are no examples.
    """
    columns = ["kind", "model", "layer", "concept", "category", "unit", "decile", "rank", "image",
               "iou_unit", "iou_probe", "picture"]  # fmt: skip
    table = pd.DataFrame(read_json(run / "examples" / "index.json", []))
    table = table.reindex(columns=columns)
    table["file"] = [run / str(p) for p in table["picture"]]
    there = pd.Series([path.is_file() for path in table["file"]], table.index, dtype=bool)
    if not there.all():
        log.warning("%d pictures of %s are gone", (~there).sum(), run / "examples")
    return table[there].reset_index(drop=True)
