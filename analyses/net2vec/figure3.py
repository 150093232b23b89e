"""Figure 3: performance against the number F of units, and the F at which it saturates.

python analyses/net2vec/figure3.py RUN [--share 0.95] [--out DIR]
"""

import argparse

from common import Run, main

import conceptlab as cl


def work(run: Run, arguments: argparse.Namespace) -> None:
    subsets = run.table("subsets")
    at = ["model", "layer", "task", "category", "units"]
    curves = subsets.groupby(at, sort=False)["score"].agg(["mean", "sem", "count"])
    run.write("figure3", curves.reset_index())
    run.tables["saturation"] = cl.saturation(subsets, arguments.share)
    run.write("figure3-saturation", run.tables["saturation"])
    run.write("figure3-concepts", cl.concept_saturation(subsets, arguments.share))
    run.draw_planned("figure3")


main(__doc__, work, [("--share", {"type": float, "default": 0.95, "help": "of the best F"})])
