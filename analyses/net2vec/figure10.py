"""Figure 10: distances between all embeddings, and their means by category.

    python analyses/net2vec/figure10.py RUN [--wordnet] [--words FILE] [--out DIR]

Of each network the layer whose segmentation probes score best, its segmentation (S) and its
classification (C) vectors; WordNet and word vectors on demand. Over the concepts that all have.
"""

import argparse
from pathlib import Path
from typing import Any

from common import TASKS, Run, main

import conceptlab as cl
from conceptlab.views.plots_comparison import plot_distances, plot_distances_by_category


def work(run: Run, arguments: argparse.Namespace) -> None:
    best = run.best("segment")
    spaces: dict[str, Any] = {}
    for task in TASKS:
        for name, vectors in run.vectors(task).items():
            model, _, layer = name.partition(" ")
            if best.get(model) == layer and vectors.usable.any():
                spaces[f"{model}-{task[0].upper()}"] = vectors
    first = next(iter(spaces.values()))
    if arguments.wordnet:
        spaces["WN"] = cl.wordnet(first)
    if arguments.words:
        spaces["W2V"] = cl.word_vectors(arguments.words, first)
    found = cl.embedding_distance(spaces, concepts="shared")
    run.write("figure10", found.table)
    run.write("figure10-categories", found.by_category)
    run.draw("figure10", plot_distances(found.table).figure)
    run.draw("figure10-categories", plot_distances_by_category(found.by_category).figure)


main(__doc__, work, [
    ("--wordnet", {"action": "store_true", "help": "WordNet, too"}),
    ("--words", {"type": Path, "help": "a file of word vectors, too"}),
])  # fmt: skip
