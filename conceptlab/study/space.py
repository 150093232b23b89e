"""The tables of a run that show an embedding as a whole: a plane, and clusters."""

import logging

import pandas as pd

from conceptlab.analysis.vectors.clusters import clusters
from conceptlab.analysis.vectors.projection import project
from conceptlab.errors import InputError
from conceptlab.study.folder import RunFolder
from conceptlab.study.frames import joined, labelled, learned
from conceptlab.vectors import ConceptVectors
from conceptlab.views.figures.panels import best_layers

log = logging.getLogger(__name__)
METHOD = "tsne"  # what the paper shows, and needs no extra


def write_space(
    run: RunFolder, concepts: pd.DataFrame, loaded: dict[tuple[str, str, str], ConceptVectors],
    seed: int,
) -> None:  # fmt: skip
    """Write where the concepts of each network's best layer lie, and in which clusters.

    Args:
        run: the run folder.
        concepts: its table of concepts.
        loaded: its vectors, by model, layer and task.
        seed: of planes and clusters.
    """
    parts = []
    for task in ("segment", "classify") if len(concepts) else ():
        for model, layer in best_layers(concepts, task).items():
            vectors, names = learned(loaded[model, layer, task])
            try:
                plane, groups = project(vectors, METHOD, seed=seed), clusters(vectors, seed=seed)
            except InputError as error:
                log.info("%s %s: no plane of %s vectors: %s", model, layer, task, error)
                continue
            at = {"model": model, "layer": layer, "task": task, "method": METHOD,
                  "trustworthiness": plane.trustworthiness}  # fmt: skip
            named = plane.table["concept"].map(names)
            table = plane.table.assign(concept=named, cluster=groups.table["cluster"])
            parts.append(labelled(table.assign(stability=groups.stability), at))
    run.table("projection", joined(parts))
