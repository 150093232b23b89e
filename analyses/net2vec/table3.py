"""Table 3: arithmetic with concept vectors.

    python analyses/net2vec/table3.py RUN [--out DIR] [--sums "grass + blue - green" ...]

table3.csv: columns model, layer, task, sum, rank, nearest (with its cosine).
table3-MODEL-LAYER.png: those of one layer's segmentation vectors, as in the paper.
"""

import argparse

import pandas as pd
from common import Place, Run, main, name_of, of, pick_layer
from pictures import table_figure

from conceptlab.analysis.vectors.neighbours import arithmetic_table
from conceptlab.errors import InputError


def options(parser: argparse.ArgumentParser) -> None:
    pick_layer(parser)
    parser.add_argument("--sums", nargs="+", metavar="SUM", help="which (the study's own)")


def make(run: Run) -> None:
    parts = []
    for place in run.layers():
        for task in ("segment", "classify"):
            sums = run.options.sums or sums_of(run, place, task)
            if not sums:
                continue
            table = arithmetic_table(run.vectors(place, task), sums)
            for text in sums:
                part = table[text].rename("nearest").reset_index()
                parts.append(part.assign(model=place[0], layer=place[1], task=task, sum=text))
            if task == "segment":
                title = f"Arithmetic with concept vectors: {place[0]}, {place[1]}"
                run.draw(f"table3-{name_of(place)}", table_figure(table.reset_index(), title))
    if not parts:
        raise InputError(f"the study of {run.path} asks for no sums in these layers; give --sums")
    run.write("table3", pd.concat(parts)[["model", "layer", "task", "sum", "rank", "nearest"]])


def sums_of(run: Run, place: Place, task: str) -> list[str]:
    """The sums that the run looked up in a layer's vectors, as texts."""
    rows = of(run.table("arithmetic"), place)
    rows = rows[rows["task"] == task][["plus", "minus"]].drop_duplicates()
    return [
        plus + "".join(f" - {term}" for term in minus.split(" + ") if term)
        for plus, minus in rows.itertuples(index=False, name=None)
    ]


if __name__ == "__main__":
    main(__doc__, make, options)
