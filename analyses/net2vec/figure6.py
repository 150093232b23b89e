"""Figure 6: networks and layers, by category.

python analyses/net2vec/figure6.py RUN [--out DIR]
"""

from common import Run, main, means


def work(run: Run, _: object) -> None:
    table = means(run.table("concepts"), ["task", "model", "layer", "category"])
    run.write("figure6", table.assign(gain=table["probe"] / table["best_unit"]))
    run.draw_planned("figure6")


main(__doc__, work)
