"""Figure 5: units by the number of concepts that they are the best one for.

python analyses/net2vec/figure5.py RUN [--out DIR]
"""

from common import Run, main

import conceptlab as cl


def work(run: Run, _: object) -> None:
    found = cl.concepts_per_unit(run.table("concepts"), run.table("units"))
    run.write("figure5", found)
    groups = found.groupby(["model", "layer", "task"], sort=False)["concepts"]
    never = groups.agg(units="size", never_best=lambda n: (n == 0).mean(), most="max")
    run.write("figure5-shares", never.reset_index())
    run.draw_planned("figure5")


main(__doc__, work)
