"""Table 2: nearest concepts by cosine, segmentation and classification side by side.

    python analyses/net2vec/table2.py RUN [--concept NAME ...] [--out DIR]

In each network's layer whose segmentation probes score best; without --concept for the five
concepts that most images show.
"""

import argparse

from common import Run, main

import conceptlab as cl
from conceptlab.errors import InputError

COUNT = 5


def work(run: Run, arguments: argparse.Namespace) -> None:
    both = {task: run.vectors(task) for task in ("segment", "classify")}
    rows = run.table("concepts")
    common = rows[rows["task"] == "segment"].sort_values("n_train", ascending=False, kind="stable")
    names = arguments.concept or list(common["concept"].drop_duplicates()[:COUNT])
    for model, layer in run.best("segment").items():
        place = f"{model} {layer}"
        if place not in both["classify"]:
            raise InputError(f"{run.path} has no classification vectors of {place}")
        table = cl.nearest_table(both["segment"][place], both["classify"][place], names, COUNT)
        table.columns = [f"{concept}, {task}" for concept, task in table.columns]
        run.write(f"table2-{model}", table.reset_index())
        run.draw_table(f"table2-{model}", table.reset_index())


main(__doc__, work, [("--concept", {"action": "append", "help": "may be repeated"})])
