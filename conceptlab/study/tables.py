"""The tables of a run, put together from its steps."""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from conceptlab.analysis.vectors.neighbours import neighbours, parse_sum
from conceptlab.errors import InputError
from conceptlab.probes.base import TOO_FEW
from conceptlab.study.atlases import write_atlases
from conceptlab.study.comparison import ALL, write_distances
from conceptlab.study.effects import write_effects
from conceptlab.study.examples import publish_examples
from conceptlab.study.folder import RunFolder, safe
from conceptlab.study.frames import joined, labelled, learned
from conceptlab.study.kinds import write_kinds
from conceptlab.study.overlaps import distributions, subset_table, write_overlaps
from conceptlab.study.settings import MEASURE, SEGMENT_TASKS, CompareSettings, Study
from conceptlab.study.shown import gathered, write_shown
from conceptlab.vectors import ConceptVectors

log = logging.getLogger(__name__)

LEVEL = 0.05  # of the test that tells probe and unit apart
OF_STUDIES = ("comparison", "zoom", "projection")  # tables that studies alone write
KEYS = ["model", "layer", "concept", "category"]
CONCEPT_COLUMNS = [
    "model", "layer", "task", "concept", "category", "n_train", "n_val", "best_unit",
    "best_unit_score", "probe_score", "train_score", "unit_low", "unit_high", "probe_low",
    "probe_high", "chance_score", "chance_high", "shuffled_score", "untrained_score",
    "untrained_unit_score", "position_score", "colour_score", "plain_score", "difference_p",
    "iou_ind", "unit_iou_ind", "note", "split", "measure",
]  # fmt: skip


def write_tables(run: RunFolder, study: Study) -> None:
    """Write `tables/*.csv`, `vectors/` and the examples of whatever steps a run folder has.

    Where some of it fails, the rest stands, and what an earlier run wrote in its place goes.
    """
    units = run.gather("dissect", "units")
    run.table("units", units)
    run.table("detectors", run.gather("dissect", "detectors"))
    concepts = concept_table(run)
    run.table("concepts", concepts)
    run.table("summary", summary_table(concepts))
    run.table("subsets", subset_table(run))
    per_image = _per_image(run)
    run.table("per_image", per_image)
    loaded = load_vectors(run)
    parts: dict[str, Callable[[], object]] = {
        "vectors": lambda: _write_vectors(run, loaded),
        "distributions": lambda: run.table("distributions", distributions(per_image)),
        "overlap": lambda: write_overlaps(run, concepts, loaded, study.seed),
        "effects": lambda: write_effects(run, concepts),
        "neighbours": lambda: _write_neighbours(run, loaded, study.compare),
        "distances": lambda: write_distances(run, loaded, study.compare),
        "examples": lambda: publish_examples(run),
    }
    for name, write in parts.items():
        with run.part(ALL, ALL, name):
            write()
    write_looks(run, study.seed)
    run.forget_tables(OF_STUDIES)
    run.write_unmade()


def _write_vectors(run: RunFolder, loaded: dict[tuple[str, str, str], ConceptVectors]) -> None:
    """Write `vectors/` anew, without those of steps that are no longer there."""
    folder, kept = run.path / "vectors", set()
    for (model, layer, task), vectors in loaded.items():
        path = folder / safe(model) / safe(layer) / f"{task}.h5"
        vectors.save(path)
        kept.add(path)
    for path in set(folder.rglob("*.h5")) - kept:
        path.unlink(missing_ok=True)


def write_looks(run: RunFolder, seed: int) -> None:
    """Write what a run folder's steps show of its layers: tables, pictures, atlases."""
    parts: dict[str, Callable[[], object]] = {
        "exemplars": lambda: run.table("exemplars", run.gather("exemplars", "exemplars")),
        "fields": lambda: run.table("fields", run.gather("exemplars", "fields")),
        "images": lambda: run.table("images", gathered(run, "images*", "images")),
        "kinds": lambda: write_kinds(run),
        "pictures": lambda: write_shown(run),
        "atlases": lambda: write_atlases(run, seed),
    }
    for name, write in parts.items():
        with run.part(ALL, ALL, name):
            write()


def concept_table(run: RunFolder) -> pd.DataFrame:
    """A row per model, layer, task and concept: scores, intervals, controls."""
    parts = [*(_segment_rows(run, task) for task in SEGMENT_TASKS.values()), _classify_rows(run)]
    table = joined([p for p in parts if len(p)])
    return _with_counts(table) if len(table) else table


def _with_counts(table: pd.DataFrame) -> pd.DataFrame:
    """The columns of a run's concepts, with n under the name of the split that it counts."""
    columns = list(CONCEPT_COLUMNS)
    for split in dict.fromkeys(["val", *table["split"]]):
        own, name = table["split"] == split, f"n_{split}"
        if name not in columns:
            columns.insert(columns.index("n_val") + 1, name)
        if split != "train":  # the probe has said how many it had of those
            table[name] = table["n"] if own.all() else table["n"].where(own).astype("Int64")
    table["measure"] = table["task"].map(MEASURE)
    return table.reindex(columns=columns)


def summary_table(concepts: pd.DataFrame) -> pd.DataFrame:
    """Table 1: the shares of concepts whose probe is better than, as good as, worse than the unit.

    Better or worse is what a test at 5 % says of the same held-out images; all else is tied.
    """
    if not len(concepts):
        return concepts
    rows: list[dict[str, Any]] = []
    for (model, layer, task), group in concepts.groupby(["model", "layer", "task"], sort=False):
        both = group.dropna(subset=["probe_score", "best_unit_score"])
        gain = np.sign(both["probe_score"] - both["best_unit_score"])
        told = gain.where(both["difference_p"] <= LEVEL, 0.0)
        rows.append(
            {
                "model": model,
                "layer": layer,
                "task": task,
                "n_concepts": len(both),
                "share_better": (told > 0).mean() if len(both) else float("nan"),
                "share_tied": (told == 0).mean() if len(both) else float("nan"),
                "share_worse": (told < 0).mean() if len(both) else float("nan"),
                "mean_unit": both["best_unit_score"].mean(),
                "mean_probe": both["probe_score"].mean(),
                "too_few": int((group["note"] == TOO_FEW).sum()),
            }
        )
    return pd.DataFrame(rows)


def _segment_rows(run: RunFolder, task: str) -> pd.DataFrame:
    scores = run.gather(task, "scores")
    best = run.gather("dissect", "best")
    if not len(scores) or not len(best):
        return pd.DataFrame()
    scores = scores.rename(
        columns={"score": "probe_score", "low": "probe_low", "high": "probe_high"}
    )
    best = best.rename(
        columns={
            "unit": "best_unit", "score": "best_unit_score", "low": "unit_low",
            "high": "unit_high", "iou_ind": "unit_iou_ind",
        }
    ).drop(columns=["n", "train_score", "ind_low", "ind_high"])  # fmt: skip
    table = scores.merge(best, on=KEYS, how="left")
    return _with_untrained(run, table, task).assign(task=task)


def _classify_rows(run: RunFolder) -> pd.DataFrame:
    scores = run.gather("classify", "scores")
    if not len(scores):
        return scores
    table = scores.rename(
        columns={
            "score": "probe_score", "low": "probe_low", "high": "probe_high",
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
    parts = (run.gather(task, "per_image") for task in SEGMENT_TASKS.values())
    probe = next((part for part in parts if len(part)), pd.DataFrame())
    unit = run.gather("dissect", "per_image")
    if not len(probe) or not len(unit):
        return pd.DataFrame()
    return probe.rename(columns={"iou": "iou_probe"}).merge(
        unit.rename(columns={"iou": "iou_unit"}), on=["image", *KEYS], how="left"
    )


def load_vectors(run: RunFolder) -> dict[tuple[str, str, str], ConceptVectors]:
    """(model, layer, task) to the vectors, of all steps."""
    return {at: ConceptVectors.load(path) for at, path in run.vectors().items()}


def _write_neighbours(
    run: RunFolder,
    loaded: dict[tuple[str, str, str], ConceptVectors],
    settings: CompareSettings,
) -> None:
    nearest, sums = [], []
    for (model, layer, task), vectors in loaded.items():
        if task == "unit":
            continue
        at = {"model": model, "layer": layer, "task": task}
        nearest.append(labelled(_nearest(vectors, settings.neighbours), at))
        for text in settings.arithmetic:
            try:
                sums.append(labelled(_sum(vectors, text, settings.neighbours), at))
            except InputError as error:
                log.info("%s %s %s: no %r: %s", *at.values(), text, error)
    run.table("nearest", joined(nearest))
    run.table("arithmetic", joined(sums))


def _nearest(vectors: ConceptVectors, count: int) -> pd.DataFrame:
    columns = ["concept", "rank", "neighbour", "cosine"]
    some, names = learned(vectors)
    try:
        found = neighbours(some, count, draws=0)[columns]
        both = {column: found[column].map(names) for column in ("concept", "neighbour")}
        return found.assign(**both)
    except InputError as error:
        log.info("no neighbours: %s", error)
        return pd.DataFrame(columns=columns)


def _sum(vectors: ConceptVectors, text: str, count: int) -> pd.DataFrame:
    """One sum of table 3.

    Raises:
        InputError: a term has no vector here.
    """
    plus, minus = parse_sum(text)
    found = vectors.arithmetic(plus, minus, count)
    found.insert(0, "rank", range(1, len(found) + 1))
    return found.drop(columns="category").assign(plus=" + ".join(plus), minus=" + ".join(minus))
