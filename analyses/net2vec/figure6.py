"""Figure 6: networks side by side, probes and best units.

    python analyses/net2vec/figure6.py RUN [--out DIR]

figure6.csv: columns model, layer, task, concepts, mean_unit, mean_probe, gain (their ratio; section
4.3 compares it between networks). figure6-categories.csv: the same by category, with standard
errors. figure6.png: all networks and layers; bars are probes, diamonds best units.
"""

import pandas as pd
from common import Run, by_category, main

from conceptlab.study.tables import summary_table


def make(run: Run) -> None:
    concepts = run.table("concepts")
    run.write("figure6", networks(concepts))
    run.write("figure6-categories", by_category(concepts))
    run.draw_planned("figure6", concepts=concepts)


def networks(concepts: pd.DataFrame) -> pd.DataFrame:
    """Mean scores of each layer, and how much higher those of probes are."""
    table = summary_table(concepts).rename(columns={"n_concepts": "concepts"})
    table = table[["model", "layer", "task", "concepts", "mean_unit", "mean_probe"]]
    return table.assign(gain=table["mean_probe"] / table["mean_unit"])


if __name__ == "__main__":
    main(__doc__, make)
