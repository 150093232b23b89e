"""A report's sections for every concept and for the best units."""

import base64
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from conceptlab.views.plots.paper import iou_label
from conceptlab.views.report.cells import table_of
from conceptlab.views.style import TASKS

BINS = 20
TALLEST = 60  # pixels of a histogram's bar
MOST_NEIGHBOURS = 5
CONCEPT_COLUMNS = (
    "model", "layer", "task", "n_train", "n_val", "n_test", "best_unit", "best_unit_score",
    "probe_score", "probe_low", "probe_high", "difference_p", "chance_score", "shuffled_score",
    "untrained_score", "position_score", "colour_score", "plain_score", "iou_ind", "note",
)  # fmt: skip

Tables = dict[str, pd.DataFrame]


def anchor(concept: str) -> str:
    """An id for a concept that is safe in a page, whatever its name."""
    plain = "".join(c if c.isascii() and c.isalnum() else "-" for c in concept)
    return f"concept-{plain}-{hashlib.sha256(concept.encode()).hexdigest()[:6]}"


def data_uri(path: Path) -> str:
    """A picture as a data URI."""
    kind = "png" if path.suffix == ".png" else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def overview(concepts: pd.DataFrame) -> list[dict[str, Any]]:
    """A row per concept: its category and its best probe of each task.

    Args:
        concepts: the table of concepts.
    """
    rows = []
    for name, category, group in _by_concept(concepts):
        row: dict[str, Any] = {"concept": name, "category": category, "anchor": anchor(name)}
        for task in TASKS:
            own = group[group["task"] == task].dropna(subset=["probe_score"])
            best = own.loc[own["probe_score"].idxmax()] if len(own) else None
            row[task] = None if best is None else _best(best)
        rows.append(row)
    return rows


def concept_pages(tables: Tables, examples: pd.DataFrame) -> list[dict[str, Any]]:
    """A section per concept: scores, examples at each decile, distributions, neighbours.

    Args:
        tables: of the run, as `read_tables` gives them.
        examples: as `read_examples` gives them.
    """
    deciles = examples[examples["kind"] == "decile"]
    return [
        {
            "concept": name,
            "category": category,
            "anchor": anchor(name),
            "scores": table_of(group, CONCEPT_COLUMNS),
            "examples": [
                _layer(str(model), str(layer), rows, tables.get("per_image"))
                for (model, layer), rows in deciles[deciles["concept"] == name].groupby(
                    ["model", "layer"], sort=False
                )
            ],
            "nearest": _neighbours(tables.get("nearest"), name),
            "shares": table_of(_shares(tables.get("unit_shares"), name, group)),
        }
        for name, category, group in _by_concept(tables.get("concepts", pd.DataFrame()))
    ]


def unit_rows(examples: pd.DataFrame) -> list[dict[str, Any]]:
    """The best units with their top images (figure 1).

    Args:
        examples: as `read_examples` gives them.
    """
    top = examples[examples["kind"] == "top"]
    return [
        {
            "where": f"{model} {layer}",
            "unit": int(unit),
            "label": f"{part['concept'].iloc[0]} ({part['category'].iloc[0]})",
            "score": _number(part["iou_unit"].iloc[0]),
            "pictures": [
                {"uri": data_uri(r.file), "rank": int(r.rank), "image": r.image}
                for r in part.itertuples()
            ],
        }
        for (model, layer, unit), part in top.groupby(["model", "layer", "unit"], sort=False)
    ]


def too_few(concepts: pd.DataFrame) -> list[str]:
    """Concepts that some task could not learn, with how many images there were.

    Args:
        concepts: the table of concepts.
    """
    if not len(concepts):
        return []
    rows = concepts[concepts["note"] == "too few examples"]
    rows = rows.drop_duplicates(["task", "concept"])
    return [
        f"{r.concept} ({TASKS[r.task]}: {int(r.n_train)} training images show it)"
        for r in rows.itertuples()
    ]


def _by_concept(concepts: pd.DataFrame) -> list[tuple[str, str, pd.DataFrame]]:
    if not len(concepts):
        return []
    groups = concepts.groupby(["concept", "category"], sort=False)
    return [(str(name), str(category), group) for (name, category), group in groups]


def _best(row: "pd.Series[Any]") -> dict[str, Any]:
    return {
        "score": float(row["probe_score"]),
        "unit": float(row["best_unit_score"]),
        "where": f"{row['model']} {row['layer']}",
    }


def _layer(
    model: str, layer: str, rows: pd.DataFrame, per_image: pd.DataFrame | None
) -> dict[str, Any]:
    """A concept's examples in one layer."""
    pictures = [
        {
            "uri": data_uri(row.file),
            "decile": int(row.decile),
            "image": row.image,
            "unit": _number(row.iou_unit),
            "probe": _number(row.iou_probe),
        }
        for row in rows.itertuples()
    ]
    histogram = None
    if per_image is not None:
        own = per_image[
            (per_image["concept"] == rows["concept"].iloc[0])
            & (per_image["model"] == model)
            & (per_image["layer"] == layer)
        ]
        histogram = _histogram(own)
    unit = int(rows["unit"].iloc[0])
    return {
        "where": f"{model} {layer}", "unit": unit, "pictures": pictures, "histogram": histogram,
    }  # fmt: skip


def _number(value: Any) -> str:
    return "-" if pd.isna(value) else f"{float(value):.2f}"


def _histogram(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Bars of figure 7 for the best unit and the probe: heights in pixels, zeros apart."""
    series: list[dict[str, Any]] = []
    for column, name in (("iou_unit", "best unit"), ("iou_probe", "probe")):
        values = rows[column].dropna().to_numpy(dtype=float)
        counts, _ = np.histogram(values[values > 0], np.linspace(0, 1, BINS + 1))
        series.append(
            {
                "label": iou_label(rows[column], name),
                "kind": column.removeprefix("iou_"),
                "counts": counts,
            }
        )
    most = max(1, *(int(s["counts"].max()) for s in series))
    for s in series:
        s["heights"] = [round(TALLEST * int(c) / most, 2) for c in s["counts"]]
    return series


def _shares(shares: pd.DataFrame | None, concept: str, scores: pd.DataFrame) -> pd.DataFrame | None:
    """The units with the largest weights, in each network's layer that segments it best."""
    own = scores[scores["task"] == "segment"].dropna(subset=["probe_score"])
    if shares is None or not len(own):
        return None
    best = own.loc[own.groupby("model", sort=False)["probe_score"].idxmax(), ["model", "layer"]]
    rows = shares[shares["concept"] == concept].merge(best, on=["model", "layer"])
    largest = rows.groupby("model")["share_weight"].rank(ascending=False, method="first")
    columns = ["model", "layer", "unit", "weight", "share_weight", "iou", "share_iou"]
    return rows.loc[largest <= MOST_NEIGHBOURS, columns].sort_values(
        ["model", "share_weight"], ascending=[True, False], kind="stable"
    )


def _neighbours(nearest: pd.DataFrame | None, concept: str) -> list[dict[str, Any]]:
    if nearest is None:
        return []
    own = nearest[(nearest["concept"] == concept) & (nearest["rank"] <= MOST_NEIGHBOURS)]
    return [
        {
            "where": f"{model} {layer}",
            "task": TASKS.get(str(task), str(task)),
            "found": ", ".join(
                f"{n} ({c:.2f})" for n, c in zip(rows["neighbour"], rows["cosine"], strict=True)
            ),
        }
        for (model, layer, task), rows in own.groupby(["model", "layer", "task"], sort=False)
    ]
