"""The tables of a run, put together from its steps."""

import logging
from typing import Any

import pandas as pd

from conceptlab.analysis.distances import embedding_distance
from conceptlab.analysis.neighbours import parse_sum
from conceptlab.errors import InputError
from conceptlab.probes.base import TOO_FEW
from conceptlab.study.examples import publish_examples
from conceptlab.study.folder import RunFolder, safe
from conceptlab.study.settings import CompareSettings, Study
from conceptlab.vectors import ConceptVectors

log = logging.getLogger(__name__)

KEYS = ["model", "layer", "concept", "category"]
CONCEPT_COLUMNS = [
    "model", "layer", "task", "concept", "category", "n_train", "n_val", "best_unit",
    "best_unit_score", "probe_score", "train_score", "unit_low", "unit_high", "probe_low",
    "probe_high", "chance_score", "chance_high", "shuffled_score", "untrained_score",
    "untrained_unit_score", "iou_ind", "unit_iou_ind", "note",
]  # fmt: skip


def write_tables(run: RunFolder, study: Study) -> None:
    """Write `tables/*.csv`, `vectors/` and the examples of whatever steps a run folder has."""
    units = run.gather("dissect", "units")
    run.table("units", units)
    run.table("detectors", run.gather("dissect", "detectors"))
    concepts = concept_table(run)
    run.table("concepts", concepts)
    run.table("summary", summary_table(concepts))
    run.table("subsets", run.gather("subsets", "subsets"))
    run.table("per_image", _per_image(run))
    loaded = _copy_vectors(run)
    _write_similarity(run, loaded, study.compare)
    publish_examples(run)


def concept_table(run: RunFolder) -> pd.DataFrame:
    """A row per model, layer, task and concept: scores, intervals, controls."""
    parts = [_segment_rows(run), _classify_rows(run)]
    table = (
        pd.concat([p for p in parts if len(p)], ignore_index=True)
        if any(len(p) for p in parts)
        else pd.DataFrame()
    )
    return table.reindex(columns=CONCEPT_COLUMNS) if len(table) else table


def summary_table(concepts: pd.DataFrame) -> pd.DataFrame:
    """Table 1: the share of concepts whose probe is at least as good as the best unit."""
    if not len(concepts):
        return concepts
    rows: list[dict[str, Any]] = []
    for (model, layer, task), group in concepts.groupby(["model", "layer", "task"], sort=False):
        both = group.dropna(subset=["probe_score", "best_unit_score"])
        better = both["probe_score"] >= both["best_unit_score"]
        rows.append(
            {
                "model": model,
                "layer": layer,
                "task": task,
                "n_concepts": len(both),
                "share_probe_at_least_unit": better.mean() if len(both) else float("nan"),
                "mean_unit": both["best_unit_score"].mean(),
                "mean_probe": both["probe_score"].mean(),
                "too_few": int((group["note"] == TOO_FEW).sum()),
            }
        )
    return pd.DataFrame(rows)


def _segment_rows(run: RunFolder) -> pd.DataFrame:
    scores = run.gather("segment", "scores")
    best = run.gather("dissect", "best")
    if not len(scores) or not len(best):
        return pd.DataFrame()
    scores = scores.rename(
        columns={"score": "probe_score", "low": "probe_low", "high": "probe_high", "n": "n_val"}
    )
    best = best.rename(
        columns={
            "unit": "best_unit", "score": "best_unit_score", "low": "unit_low",
            "high": "unit_high", "iou_ind": "unit_iou_ind",
        }
    ).drop(columns=["n", "train_score", "ind_low", "ind_high"])  # fmt: skip
    table = scores.merge(best, on=KEYS, how="left")
    return _with_untrained(run, table, "segment").assign(task="segment")


def _classify_rows(run: RunFolder) -> pd.DataFrame:
    scores = run.gather("classify", "scores")
    if not len(scores):
        return scores
    table = scores.rename(
        columns={
            "score": "probe_score", "low": "probe_low", "high": "probe_high", "n": "n_val",
            "unit": "best_unit", "unit_score": "best_unit_score",
        }
    )  # fmt: skip
    return _with_untrained(run, table, "classify").assign(task="classify")


def _with_untrained(run: RunFolder, table: pd.DataFrame, task: str) -> pd.DataFrame:
    control = run.gather("untrained", task)
    if not len(control):
        return table
    control = control.rename(
        columns={"score": "untrained_score", "unit_score": "untrained_unit_score"}
    )
    return table.merge(control, on=KEYS, how="left")


def _per_image(run: RunFolder) -> pd.DataFrame:
    probe, unit = run.gather("segment", "per_image"), run.gather("dissect", "per_image")
    if not len(probe) or not len(unit):
        return pd.DataFrame()
    return probe.rename(columns={"iou": "iou_probe"}).merge(
        unit.rename(columns={"iou": "iou_unit"}), on=["image", *KEYS], how="left"
    )


def _copy_vectors(run: RunFolder) -> dict[tuple[str, str, str], ConceptVectors]:
    loaded = {}
    for (model, layer, task), path in run.vectors().items():
        loaded[model, layer, task] = ConceptVectors.load(path)
        place = run.path / "vectors" / safe(model) / safe(layer) / f"{task}.h5"
        loaded[model, layer, task].save(place)
    return loaded


def _write_similarity(
    run: RunFolder,
    loaded: dict[tuple[str, str, str], ConceptVectors],
    settings: CompareSettings,
) -> None:
    nearest, sums = [], []
    for (model, layer, task), vectors in loaded.items():
        if task == "unit":
            continue
        at = {"model": model, "layer": layer, "task": task}
        nearest.append(_nearest(vectors, settings.neighbours).assign(**at))
        for text in settings.arithmetic:
            try:
                sums.append(_sum(vectors, text, settings.neighbours).assign(**at))
            except InputError as error:
                log.info("%s %s %s: no %r: %s", *at.values(), text, error)
    run.table("nearest", _first(nearest, ["model", "layer", "task"]))
    run.table("arithmetic", _first(sums, ["model", "layer", "task"]))
    whole: list[pd.DataFrame] = []
    parts: list[pd.DataFrame] = []
    for task in ("segment", "classify"):
        spaces = {f"{m}\t{n}": v for (m, n, t), v in loaded.items() if t == task}
        try:
            found = embedding_distance(spaces, concepts="shared")
        except InputError as error:
            log.info("no distances of %s vectors: %s", task, error)
            continue
        for table, made in ((found.table, whole), (found.by_category, parts)):
            made.append(_split_names(table).assign(task=task))
    run.table("distances", _first(whole, ["task"]))
    run.table("distances_by_category", _first(parts, ["task"]))


def _first(parts: list[pd.DataFrame], columns: list[str]) -> pd.DataFrame:
    """Parts below one another, with some columns first."""
    if not parts:
        return pd.DataFrame()
    table = pd.concat(parts, ignore_index=True)
    return table[columns + [c for c in table.columns if c not in columns]]


def _nearest(vectors: ConceptVectors, count: int) -> pd.DataFrame:
    parts = []
    for name, used in zip(vectors.names, vectors.usable, strict=True):
        if used:
            found = vectors.nearest(name, count).rename(columns={"concept": "neighbour"})
            found.insert(0, "rank", range(1, len(found) + 1))
            parts.append(found.drop(columns="category").assign(concept=name))
    return _first(parts, ["concept"])


def _sum(vectors: ConceptVectors, text: str, count: int) -> pd.DataFrame:
    """One sum of table 3.

    Raises:
        InputError: a term has no vector here.
    """
    plus, minus = parse_sum(text)
    found = vectors.arithmetic(plus, minus, count)
    found.insert(0, "rank", range(1, len(found) + 1))
    return found.drop(columns="category").assign(plus=" + ".join(plus), minus=" + ".join(minus))


def _split_names(table: pd.DataFrame) -> pd.DataFrame:
    for side in ("i", "j"):
        parts = table[side].str.split("\t", expand=True)
        table[f"model_{side}"], table[f"layer_{side}"] = parts[0], parts[1]
    return table.drop(columns=["i", "j"])
