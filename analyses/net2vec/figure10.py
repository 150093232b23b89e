"""Figure 10: distances between embeddings, of whole spaces (left) and by category (right).

    python analyses/net2vec/figure10.py RUN [--out DIR] [--wordnet [path|wup]] [--words FILE]

Embeddings are the segmentation (S) and classification (C) vectors of each network's layer, over the
concepts that all of them have. figure10.csv: columns i, j, concepts, distance (D_ij).
figure10-categories.csv: columns i, j, category, distance (mean of D_ij,c). figure10-spaces.csv:
which layer each name stands for. figure10.png: both.
"""

import argparse
from pathlib import Path
from typing import Any

import pandas as pd
from common import Place, Run, main, pick_layer
from matplotlib.figure import Figure

from conceptlab.analysis.comparison.distances import EmbeddingDistances, embedding_distance
from conceptlab.analysis.references.word_vectors import word_vectors
from conceptlab.analysis.references.wordnet import MEASURES, wordnet
from conceptlab.views.plots.comparison import MOST, plot_distances, plot_distances_by_category

TASKS = {"segment": "S", "classify": "C"}


def options(parser: argparse.ArgumentParser) -> None:
    pick_layer(parser)
    parser.add_argument(
        "--wordnet", nargs="?", const="path", choices=MEASURES, help="also WordNet (path)"
    )
    parser.add_argument("--words", type=Path, metavar="FILE", help="also word vectors of a file")


def make(run: Run) -> None:
    sources = {
        f"{model} {letter}": ((model, layer), task)
        for task, letter in TASKS.items()
        for model, layer in run.layers()
    }
    found = embedding_distance(spaces(run, sources), concepts="shared")
    rows = [(name, *place, task) for name, (place, task) in sources.items()]
    run.write("figure10-spaces", pd.DataFrame(rows, columns=["name", "model", "layer", "task"]))
    run.write("figure10", found.table)
    run.write("figure10-categories", found.by_category)
    run.draw("figure10", drawn(found))


def spaces(run: Run, sources: dict[str, tuple[Place, str]]) -> dict[str, Any]:
    """All embeddings, by name; those asked for beside the networks' last."""
    made: dict[str, Any] = {name: run.vectors(*source) for name, source in sources.items()}
    first = next(iter(made.values()))
    if run.options.wordnet:
        made["WordNet"] = wordnet(first, run.options.wordnet)
    if run.options.words:
        made["words"] = word_vectors(run.options.words, first)
    return made


def drawn(found: EmbeddingDistances) -> Figure:
    """D_ij at the left, D_ij,c by category at the right."""
    names, by_category = len(found.names), found.by_category
    pairs = min(MOST, names * (names - 1) // 2)
    categories = by_category["category"].nunique()
    width, height = 1.4 + 0.55 * names, 1.4 + 0.3 * max(names, pairs)
    figure = Figure(figsize=(width + 2.6 + 0.6 * categories, height), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[names, 1.1 * categories])
    plot_distances(found.table, ax=left)
    left.set_box_aspect(0.7)
    left.set_anchor("N")
    plot_distances_by_category(by_category, ax=right)
    return figure


if __name__ == "__main__":
    main(__doc__, make, options)
