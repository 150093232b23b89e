"""A report's section on what concepts do to predictions: the tests' outcomes at a glance."""

from pathlib import Path
from typing import Any

import pandas as pd

from conceptlab.analysis.effects.families import (
    CHANGED,
    NOTHING,
    OPPOSED,
    SENSITIVE,
    SIGNIFICANT,
    USED,
)
from conceptlab.views.report.concepts import data_uri

MINUS = "\u2212"
MOST = 25  # concepts of one table of verdicts
DOUBTFUL = "chance"  # in the note of a vector that is no better


def effects_of(run: Path, tables: dict[str, pd.DataFrame]) -> dict[str, Any] | None:
    """What the section shows; None for a run without TCAV.

    Args:
        run: the run folder.
        tables: by name, as `read_tables` gives them.
    """
    families = tables.get("families")
    if families is None and "decomposition" not in tables and "erasure" not in tables:
        return None
    pictures = tables.get("decomposed_pictures", pd.DataFrame())
    return {
        "reading": [] if families is None else _reading(families),
        "matrix": [] if families is None else _matrices(families),
        "rows": [
            {"uri": data_uri(run / r.picture), "name": r.name, "where": f"{r.model}, {r.layer}"}
            for r in pictures.rename(columns={"class": "name"}).itertuples()
            if (run / r.picture).is_file()
        ],
    }


def _reading(families: pd.DataFrame) -> list[str]:
    """The outcomes of all tests in a sentence for each layer."""
    said = []
    for (model, layer), rows in families.groupby(["model", "layer"], sort=False):
        count = rows["verdict"].value_counts()
        weak = rows["note"].astype(str).str.contains(DOUBTFUL)
        doubtful = rows.loc[weak, "concept"].nunique()
        sensitive = int((rows["used_p"] < SIGNIFICANT).sum())
        text = (
            f"{model}, {layer}: of {len(rows)} pairs of a class and a concept, {sensitive} are "
            f"significant in TCAV after Holm's correction"
        )
        erased = int(rows["erased_p"].notna().sum())
        if erased:
            text += (
                f"; {erased} were put to the test of erasure, which confirms {count.get(USED, 0)}"
                f", and contradicts {count.get(OPPOSED, 0)}"
            )
        said.append(
            f"{text}. The CAVs of {doubtful} of {rows['concept'].nunique()} concepts are no better "
            "than chance."
        )
    return said


def _matrices(families: pd.DataFrame) -> list[dict[str, Any]]:
    """A table of verdicts for each layer, concepts by classes."""
    found = []
    for (model, layer), rows in families.groupby(["model", "layer"], sort=False):
        shown = rows[rows["verdict"] != NOTHING]
        size = shown["used"].abs().groupby(shown["concept"], sort=False).max()
        concepts = list(size.sort_values(ascending=False, kind="stable").index[:MOST])
        if not concepts:
            continue
        classes = list(rows["class"].drop_duplicates())
        cells = {(r["class"], r["concept"]): _cell(r) for r in rows.to_dict("records")}
        found.append(
            {
                "where": f"{model}, {layer}",
                "classes": classes,
                "rows": [
                    {"concept": name, "cells": [cells.get((c, name), _cell({})) for c in classes]}
                    for name in concepts
                ],
            }
        )
    return found


def _cell(row: dict[Any, Any]) -> dict[str, str]:
    """How a verdict looks: its class of style, its sign, and what a pointer is told."""
    verdict = row.get("verdict", NOTHING)
    if DOUBTFUL in str(row.get("note", "")):
        return {"kind": "chance", "text": "?", "title": str(row["note"])}
    if verdict == NOTHING:
        return {"kind": "", "text": "", "title": NOTHING}
    up = row["used"] > 0 if verdict in (USED, SENSITIVE, OPPOSED) else row["erased"] < 0
    way = "up" if up else "down"
    kind = {USED: way, SENSITIVE: f"maybe-{way}", CHANGED: f"maybe-{way}", OPPOSED: "torn"}
    title = (
        f"{verdict}: TCAV effect {row['used']:.1f} (p {row['used_p']:.2g}), change when erased "
        f"{row['erased']:.2f} (p {row['erased_p']:.2g})"
    )
    return {"kind": kind[verdict], "text": "+" if up else MINUS, "title": title}
