"""Table 1: how often a concept's probe does at least as well as its best unit.

    python analyses/net2vec/table1.py RUN [--out DIR]

table1.csv and table1.png: the share of concepts, by layer and task. table1-subsets.csv: the same of
probes over F units. table1-failures.csv: the concepts whose best unit is better, with their numbers
of training images, which section 4.1 names as the cause.
"""

import pandas as pd
from common import Run, main
from pictures import table_figure

from conceptlab.study.tables import summary_table
from conceptlab.views.style import TASKS

AT = ["model", "layer", "task"]


def make(run: Run) -> None:
    concepts = run.table("concepts")
    summary = shares(concepts)
    run.write("table1", summary)
    run.write("table1-failures", failures(concepts))
    if "subsets" in run.tables:
        run.write("table1-subsets", by_subset(concepts, run.table("subsets")))
    run.draw("table1", table_figure(layout(summary), "Probe at least as good as the best unit"))


def shares(concepts: pd.DataFrame) -> pd.DataFrame:
    """The study's summary, with the share of the paper's table: probe at least as good."""
    both = concepts.dropna(subset=["probe_score", "best_unit_score"])
    least = (both["probe_score"] >= both["best_unit_score"]).groupby([both[c] for c in AT]).mean()
    table = summary_table(concepts)
    return table.join(least.rename("share_probe_at_least_unit"), on=AT)


def failures(concepts: pd.DataFrame) -> pd.DataFrame:
    """Concepts whose best unit is better than their probe."""
    worse = concepts[concepts["probe_score"] < concepts["best_unit_score"]]
    return worse[[*AT, "concept", "category", "n_train", "best_unit_score", "probe_score"]]


def by_subset(concepts: pd.DataFrame, subsets: pd.DataFrame) -> pd.DataFrame:
    """The share of concepts whose probe over F units is at least as good as the best unit."""
    both = subsets.merge(
        concepts[[*AT, "concept", "category", "best_unit_score"]], on=[*AT, "concept", "category"]
    ).dropna(subset=["score", "best_unit_score"])
    both["share_probe_at_least_unit"] = both["score"] >= both["best_unit_score"]
    groups = both.groupby([*AT, "units"], sort=False)["share_probe_at_least_unit"]
    return groups.agg(n_concepts="size", share_probe_at_least_unit="mean").reset_index()


def layout(summary: pd.DataFrame) -> pd.DataFrame:
    """A row per layer, a column per task that the run has."""
    shares = summary["share_probe_at_least_unit"].map("{:.1%}".format)
    cells = summary.assign(cell=shares + " of " + summary["n_concepts"].astype(str))
    cells = cells[summary["n_concepts"] > 0]
    places = cells[["model", "layer"]].drop_duplicates()
    for task, title in TASKS.items():
        own = cells[cells["task"] == task].set_index(["model", "layer"])["cell"].rename(title)
        places = places.join(own, on=["model", "layer"]) if len(own) else places
    return places.fillna("n/a").rename(columns={"model": "network"})


if __name__ == "__main__":
    main(__doc__, make)
