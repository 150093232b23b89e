"""The report of a run: one standalone HTML file."""

import base64
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from conceptlab.files import write_text
from conceptlab.views.figures import draw_figures
from conceptlab.views.style import SCORE, TASKS
from conceptlab.views.tables import read_tables

BINS = 20
MOST_NEIGHBOURS = 5
CONCEPT_COLUMNS = (
    "model", "layer", "task", "n_train", "n_val", "best_unit", "best_unit_score", "probe_score",
    "probe_low", "probe_high", "chance_score", "shuffled_score", "untrained_score", "iou_ind",
    "note",
)  # fmt: skip
HEADS = {
    "model": "network", "n_train": "train images", "n_val": "scored images",
    "best_unit": "best unit", "best_unit_score": "unit score", "probe_score": "probe score",
    "probe_low": "from", "probe_high": "to", "chance_score": "unit by chance",
    "shuffled_score": "shuffled", "untrained_score": "untrained", "iou_ind": "mean IoU_ind",
    "n_concepts": "concepts", "share_probe_at_least_unit": "probe at least as good",
    "mean_unit": "mean best unit", "mean_probe": "mean probe", "too_few": "too few examples",
    "unique_detectors": "unique detectors", "neighbour": "nearest",
}  # fmt: skip


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


def write_report(run: Path) -> Path:
    """Draw `report.html` from whatever a run folder holds; it needs no network.

    Args:
        run: the run folder, with `tables/` and, where there are, examples and a manifest.

    Returns:
        The file.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("conceptlab.views"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    page = environment.get_template("report.html.j2").render(**_content(run))
    path = run / "report.html"
    write_text(path, page)
    return path


def anchor(concept: str) -> str:
    """An id for a concept that is safe in a page, whatever its name."""
    plain = "".join(c if c.isascii() and c.isalnum() else "-" for c in concept)
    return f"concept-{plain}-{hashlib.sha256(concept.encode()).hexdigest()[:6]}"


def data_uri(path: Path) -> str:
    """A picture as a data URI."""
    kind = "png" if path.suffix == ".png" else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _content(run: Path) -> dict[str, Any]:
    tables = read_tables(run)
    manifest = _json(run / "manifest.json", {})
    examples = _json(run / "examples" / "index.json", [])
    concepts = tables.get("concepts", pd.DataFrame())
    settings = run / "study.toml"
    return {
        "title": _title(settings, run),
        "settings": settings.read_text(encoding="utf-8") if settings.is_file() else "",
        "manifest": manifest,
        "steps": _steps(manifest),
        "summary": _table(tables.get("summary")),
        "reading": _reading(tables.get("summary")),
        "figures": [
            {"uri": data_uri(d.path), "caption": d.plan.caption} for d in draw_figures(run, tables)
        ],
        "overview": _overview(concepts),
        "pages": _pages(run, tables, examples),
        "units": _units(run, examples),
        "arithmetic": _table(tables.get("arithmetic")),
        "distances": _table(tables.get("distances_by_category")),
        "detectors": _table(tables.get("detectors")),
        "few": _few(concepts),
    }


def _json(path: Path, default: Any) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else default


def _title(settings: Path, run: Path) -> str:
    import tomllib

    if settings.is_file():
        return str(tomllib.loads(settings.read_text(encoding="utf-8")).get("name", run.name))
    return run.resolve().name


def _table(frame: pd.DataFrame | None, columns: tuple[str, ...] = ()) -> Table | None:
    """A frame with numbers rounded for reading, sorted by their full values."""
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


def _cell(value: Any, column: str) -> tuple[str, str]:
    if isinstance(value, str):
        return value, value
    if pd.isna(value):
        return "-", ""
    number = float(value)
    if column.startswith("share"):
        return f"{number:.1%}", repr(number)
    whole = number == int(number) and column not in SCORES
    return (f"{int(number)}" if whole else f"{number:.3f}"), repr(number)


SCORES = {
    "best_unit_score", "probe_score", "probe_low", "probe_high", "chance_score", "shuffled_score",
    "untrained_score", "iou_ind", "mean_unit", "mean_probe", "cosine", "distance",
}  # fmt: skip


def _reading(summary: pd.DataFrame | None) -> list[str]:
    """Sentences that say table 1 in words, from its numbers alone."""
    if summary is None or not len(summary):
        return []
    said = []
    for task, rows in summary.groupby("task", sort=False):
        rows = rows.dropna(subset=["mean_probe"])
        if not len(rows):
            continue
        best = rows.loc[rows["mean_probe"].idxmax()]
        said.append(
            f"{TASKS[str(task)].capitalize()}: the highest mean {SCORE[str(task)]} of a probe is "
            f"{best['mean_probe']:.3f} ({best['model']}, {best['layer']}), where the best single "
            f"units reach {best['mean_unit']:.3f}; there the probe is at least as good as the best "
            f"unit for {best['share_probe_at_least_unit']:.0%} of {int(best['n_concepts'])} "
            "concepts. "
            f"Over all networks and layers that share lies between "
            f"{rows['share_probe_at_least_unit'].min():.0%} and "
            f"{rows['share_probe_at_least_unit'].max():.0%}."
        )
    return said


def _overview(concepts: pd.DataFrame) -> list[dict[str, Any]]:
    """A row per concept: its category and its best probe of each task."""
    if not len(concepts):
        return []
    rows = []
    for (name, category), group in concepts.groupby(["concept", "category"], sort=False):
        row = {"concept": name, "category": category, "anchor": anchor(str(name))}
        for task in TASKS:
            own = group[group["task"] == task].dropna(subset=["probe_score"])
            best = own.loc[own["probe_score"].idxmax()] if len(own) else None
            row[task] = (
                None
                if best is None
                else {
                    "score": float(best["probe_score"]),
                    "unit": float(best["best_unit_score"]),
                    "where": f"{best['model']} {best['layer']}",
                }
            )
        rows.append(row)
    return rows


def _pages(
    run: Path, tables: dict[str, pd.DataFrame], examples: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """A section per concept: scores, examples at each decile, distributions, neighbours."""
    concepts = tables.get("concepts", pd.DataFrame())
    if not len(concepts):
        return []
    deciles = pd.DataFrame([e for e in examples if e["kind"] == "decile"])
    pages = []
    for (name, category), group in concepts.groupby(["concept", "category"], sort=False):
        own = deciles[deciles["concept"] == name] if len(deciles) else deciles
        pages.append(
            {
                "concept": name,
                "category": category,
                "anchor": anchor(str(name)),
                "scores": _table(group, CONCEPT_COLUMNS),
                "examples": [_layer_examples(run, where, rows, str(name), tables)
                             for where, rows in _by_layer(own)],
                "nearest": _neighbours(tables.get("nearest"), str(name)),
            }
        )  # fmt: skip
    return pages


def _by_layer(rows: pd.DataFrame) -> list[tuple[tuple[str, str], pd.DataFrame]]:
    if not len(rows):
        return []
    groups = rows.groupby(["model", "layer"], sort=False)
    return [((str(m), str(n)), part) for (m, n), part in groups]


def _layer_examples(
    run: Path, where: tuple[str, str], rows: pd.DataFrame, concept: str,
    tables: dict[str, pd.DataFrame],
) -> dict[str, Any]:  # fmt: skip
    pictures = [
        {
            "uri": data_uri(run / row.picture),
            "decile": int(row.decile),
            "image": row.image,
            "unit": _number(row.iou_unit),
            "probe": _number(row.iou_probe),
        }
        for row in rows.itertuples()
    ]
    per_image = tables.get("per_image")
    histogram = None
    if per_image is not None:
        own = per_image[
            (per_image["concept"] == concept)
            & (per_image["model"] == where[0])
            & (per_image["layer"] == where[1])
        ]
        histogram = _histogram(own)
    unit = int(rows["unit"].iloc[0])
    return {"where": " ".join(where), "unit": unit, "pictures": pictures, "histogram": histogram}


def _number(value: Any) -> str:
    return "-" if pd.isna(value) else f"{float(value):.2f}"


def _histogram(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Bars of figure 7 for the best unit and the probe, heights as shares of the tallest bar."""
    series = []
    for column, name in (("iou_unit", "best unit"), ("iou_probe", "probe")):
        values = rows[column].dropna().to_numpy(dtype=float)
        counts, _ = np.histogram(values, np.linspace(0, 1, BINS + 1))
        above = values[values > 0]
        series.append(
            {
                "name": name,
                "kind": column.removeprefix("iou_"),
                "counts": counts.tolist(),
                "zeros": f"{float((values == 0).mean()):.0%}" if len(values) else "-",
                "mean": f"{above.mean():.2f}" if len(above) else "-",
                "sd": f"{above.std():.2f}" if len(above) else "-",
            }
        )
    most = max([max(s["counts"], default=0) for s in series] + [1])
    for s in series:
        s["heights"] = [round(60 * c / most, 2) for c in s["counts"]]
    return series


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


def _units(run: Path, examples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The best units with their top images (figure 1)."""
    rows = pd.DataFrame([e for e in examples if e["kind"] == "top"])
    if not len(rows):
        return []
    return [
        {
            "where": f"{model} {layer}",
            "unit": int(unit),
            "label": f"{part['concept'].iloc[0]} ({part['category'].iloc[0]})",
            "score": _number(part["iou_unit"].iloc[0]),
            "pictures": [
                {"uri": data_uri(run / r.picture), "rank": int(r.rank), "image": r.image}
                for r in part.itertuples()
            ],
        }
        for (model, layer, unit), part in rows.groupby(["model", "layer", "unit"], sort=False)
    ]


def _few(concepts: pd.DataFrame) -> list[str]:
    """Concepts that some task could not learn, with how many images there were."""
    if not len(concepts):
        return []
    rows = concepts[concepts["note"] == "too few examples"]
    rows = rows.drop_duplicates(["task", "concept"])
    return [
        f"{r.concept} ({TASKS[r.task]}: {int(r.n_train)} training images show it)"
        for r in rows.itertuples()
    ]


def _steps(manifest: dict[str, Any]) -> Table | None:
    steps = manifest.get("steps", {})
    rows = [{"step": name, **values} for name, values in steps.items()]
    return _table(pd.DataFrame(rows), ("step", "seconds", "peak_memory_mb", "finished"))
