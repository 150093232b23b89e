"""Figure 3: mean score against the number F of units, with the F at which it saturates.

    python analyses/net2vec/figure3.py RUN [--out DIR]

figure3.csv: the F of saturation of every layer, task and category, with its 95 % interval (columns
as `conceptlab.saturation` gives them). figure3-means.csv: the curves (columns model, layer, task,
category, units, concepts, score). figure3-TASK-MODEL.png: a panel per layer.
"""

from common import Run, main

from conceptlab.analysis.units.saturation import saturation


def make(run: Run) -> None:
    subsets = run.table("subsets").dropna(subset=["score"])
    found = saturation(subsets)
    run.write("figure3", found)
    groups = subsets.groupby(["model", "layer", "task", "category", "units"], sort=False)["score"]
    run.write("figure3-means", groups.agg(concepts="size", score="mean").reset_index())
    run.draw_planned("figure3", subsets=subsets, saturation=found)


if __name__ == "__main__":
    main(__doc__, make)
