"""Table 3: arithmetic with segmentation vectors.

    python analyses/net2vec/table3.py RUN [--sum "grass + blue - green" ...] [--out DIR]

In each network's layer whose segmentation probes score best; without --sum those of the study.
"""

import argparse

from common import Run, main

import conceptlab as cl
from conceptlab.errors import InputError
from conceptlab.study.settings import read_study


def work(run: Run, arguments: argparse.Namespace) -> None:
    sums = arguments.sum or list(read_study(run.path / "study.toml").compare.arithmetic)
    if not sums:
        raise InputError("the study lists no sums: say some with --sum 'grass + blue - green'")
    vectors = run.vectors("segment")
    for model, layer in run.best("segment").items():
        table = cl.arithmetic_table(vectors[f"{model} {layer}"], sums)
        run.write(f"table3-{model}", table.reset_index())
        run.draw_table(f"table3-{model}", table.reset_index())


main(__doc__, work, [("--sum", {"action": "append", "help": "may be repeated"})])
