"""Figure 2: scores by category along the layers, probe (left) and best single unit (right).

python analyses/net2vec/figure2.py RUN [--out DIR]
"""

from common import Run, main, means


def work(run: Run, _: object) -> None:
    run.write("figure2", means(run.table("concepts"), ["model", "layer", "task", "category"]))
    run.draw_planned("figure2")


main(__doc__, work)
