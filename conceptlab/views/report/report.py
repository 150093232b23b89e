"""The report of a run: one standalone HTML file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from conceptlab.analysis.comparison.compare import adequacy
from conceptlab.files import write_text
from conceptlab.views.figures.panels import DPI, Part, whole
from conceptlab.views.figures.planned import planned
from conceptlab.views.report.cells import Table, table_of
from conceptlab.views.report.concepts import concept_pages, data_uri, overview, too_few, unit_rows
from conceptlab.views.report.effects import effects_of
from conceptlab.views.report.polysemanticity import polysemanticity_of
from conceptlab.views.report.responses import PIXELS, look_of
from conceptlab.views.report.sections import EFFECTS, EMBEDDING, LOOK, OVERLAP, sections
from conceptlab.views.style import SCORE, TASKS
from conceptlab.views.tables import read_examples, read_json, read_tables


def write_report(run: Path, part: Part = whole) -> Path:
    """Write `report.html` from whatever a run folder holds; it needs no network.

    Args:
        run: the run folder, with `tables/` and, where there are, figures (see
            `conceptlab.views.figures.planned.write_figures`), examples and a manifest.
        part: what becomes of a section that fails; see `conceptlab.views.figures.panels.Part`. The
            page is then without it.

    Returns:
        The file.

    Raises:
        InputError: a table, the manifest or the index of examples is damaged.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("conceptlab.views"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    page = environment.get_template("report.html.j2").render(**_content(run, part))
    path = run / "report.html"
    write_text(path, page)
    return path


def _content(run: Path, part: Part) -> dict[str, Any]:
    tables = read_tables(run)
    manifest = read_json(run / "manifest.json", {})
    examples = read_examples(run)
    concepts = tables.get("concepts", pd.DataFrame())
    summary = tables.get("summary")
    settings = run / "study.toml"
    makers: dict[str, Callable[[], Any]] = {
        "steps": lambda: _steps(manifest),
        "summary": lambda: table_of(summary),
        "reading": lambda: _reading(summary),
        "figures": lambda: _figures(run, tables, part),
        "overview": lambda: overview(concepts),
        "pages": lambda: concept_pages(tables, examples),
        "units": lambda: unit_rows(examples),
        "overlap": lambda: sections(tables, OVERLAP),
        "embedding": lambda: sections(tables, EMBEDDING),
        "look": lambda: look_of(run, tables),
        "look_tables": lambda: sections(tables, LOOK),
        "polysemanticity": lambda: polysemanticity_of(run, tables),
        "effects": lambda: effects_of(run, tables),
        "effect_tables": lambda: sections(tables, EFFECTS),
        "detectors": lambda: table_of(_detectors(tables.get("detectors"))),
        "adequate": lambda: _adequate(tables.get("comparison")),
        "few": lambda: too_few(concepts),
    }
    content: dict[str, Any] = {
        "title": _title(settings, run),
        "size": _size(manifest),
        "facts": _facts(manifest),
        "settings": settings.read_text(encoding="utf-8") if settings.is_file() else "",
        "unmade": table_of(tables.get("unmade")),
        **dict.fromkeys(makers, ()),
    }
    for name, make in makers.items():
        with part(f"report {name.replace('_', ' ')}"):
            content[name] = make()
    return content


def _adequate(comparison: pd.DataFrame | None) -> list[tuple[str, str]]:
    """When each measure that was taken says something."""
    if comparison is None:
        return []
    said = adequacy().set_index("measure")["adequate"]
    return [(str(m), str(said[m])) for m in comparison["measure"].drop_duplicates() if m in said]


def _title(settings: Path, run: Path) -> str:
    import tomllib

    if settings.is_file():
        return str(tomllib.loads(settings.read_text(encoding="utf-8")).get("name", run.name))
    return run.resolve().name


def _figures(run: Path, tables: dict[str, pd.DataFrame], part: Part) -> list[dict[str, Any]]:
    """The figures that the tables allow and that have been drawn, with titles and captions."""
    from PIL import Image

    found = []
    for plan in planned(tables, part):
        path = run / "figures" / f"{plan.name}.png"
        if path.is_file():
            with Image.open(path) as picture:
                width = round(picture.width * PIXELS / DPI)
            found.append(
                {"uri": data_uri(path), "title": plan.title, "caption": plan.caption,
                 "width": width}
            )  # fmt: skip
    return found


def _size(manifest: dict[str, Any]) -> str:
    """How large the study is, in words; a run of single commands may not say."""
    counts = {
        "network": len(manifest.get("models", [])),
        "image": manifest.get("data", {}).get("images", 0),
        "concept": manifest.get("data", {}).get("concepts", 0),
    }
    return ", ".join(f"{n} {name}{'' if n == 1 else 's'}" for name, n in counts.items() if n)


def _facts(manifest: dict[str, Any]) -> list[tuple[str, str]]:
    """Where the numbers come from: data, networks, seed and versions, as far as recorded."""
    data, facts = manifest.get("data", {}), []
    if data:
        splits = ", ".join(f"{name} {count}" for name, count in data.get("splits", {}).items())
        facts.append(("data", _with_details(data.get("spec", ""), splits, _short(data))))
    for model in manifest.get("models", []):
        layers = ", ".join(model.get("layers", []))
        text = _with_details(model.get("spec", ""), _short(model), f"layers {layers}")
        facts.append((model.get("name", "network"), text))
    if "seed" in manifest:
        facts.append(("seed", str(manifest["seed"])))
    versions = manifest.get("versions", {})
    if versions:
        facts.append(("versions", ", ".join(f"{k} {v}" for k, v in versions.items())))
    return facts


def _short(record: dict[str, Any]) -> str:
    return str(record.get("fingerprint", ""))[:12]


def _with_details(text: str, *details: str) -> str:
    known = "; ".join(d for d in details if d)
    return f"{text} ({known})" if known else text


def _reading(summary: pd.DataFrame | None) -> list[str]:
    """Sentences that say table 1 in words, from its numbers alone."""
    if summary is None:
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
            f"units reach {best['mean_unit']:.3f}; there the probe is better than the best unit "
            f"for {best['share_better']:.0%} of {int(best['n_concepts'])} concepts, worse for "
            f"{best['share_worse']:.0%}, and not told apart from it for the others."
        )
    return said


def _detectors(rows: pd.DataFrame | None) -> pd.DataFrame | None:
    """A row per layer and rule of counting, a column per category: 'detectors (unique)'."""
    if rows is None:
        return None
    keys = ["model", "layer", "rule", "threshold"]
    cells = rows["detectors"].astype(str) + " (" + rows["unique_detectors"].astype(str) + ")"
    wide = rows[keys].assign(category=rows["category"], cell=cells)
    categories = list(rows["category"].drop_duplicates())
    table = wide.pivot_table(
        index=keys, columns="category", values="cell", aggfunc="first", sort=False
    )
    return table[categories].fillna("0 (0)").reset_index()


def _steps(manifest: dict[str, Any]) -> Table | None:
    steps = manifest.get("steps", {})
    rows = [{"step": name, **values} for name, values in steps.items()]
    return table_of(pd.DataFrame(rows), ("step", "seconds", "peak_memory_mb", "finished"))
