"""Figure 5: how many units are the best one for how many concepts.

    python analyses/net2vec/figure5.py RUN [--out DIR]

figure5.csv: how many units of each layer are best for 0, 1, 2 ... concepts (columns model, layer,
task, concepts, units, share of the layer's units). figure5-units.csv: every unit and its concepts.
figure5-MODEL.png: the counts, by layer.
"""

import pandas as pd
from common import Run, main

from conceptlab.analysis.units.overlap import concepts_per_unit

AT = ["model", "layer", "task"]


def make(run: Run) -> None:
    concepts, units = run.table("concepts"), run.table("units")
    counted = concepts_per_unit(concepts.dropna(subset=["best_unit_score"]), units)
    run.write("figure5-units", counted)
    run.write("figure5", binned(counted))
    run.draw_planned("figure5", concepts=concepts, units=units)


def binned(counted: pd.DataFrame) -> pd.DataFrame:
    """How many units serve each number of concepts."""
    groups = counted.groupby(AT, sort=False)["concepts"]
    numbers = groups.value_counts(sort=False).rename("units").reset_index()
    whole = groups.size().rename("whole").reset_index()
    numbers = numbers.merge(whole, on=AT)
    numbers["share"] = numbers["units"] / numbers.pop("whole")
    order = numbers.groupby(AT, sort=False).ngroup()
    return numbers.assign(order=order).sort_values(["order", "concepts"]).drop(columns="order")


if __name__ == "__main__":
    main(__doc__, make)
