"""The tables of a run that compare networks and layers: embeddings, activations, references."""

import json
import logging
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import pandas as pd

from conceptlab.analysis.comparison.compare import compare
from conceptlab.analysis.comparison.distances import embedding_distance
from conceptlab.analysis.comparison.items import ConceptSimilarities
from conceptlab.analysis.comparison.runs import zoom
from conceptlab.analysis.references.synsets import wordnet_reader
from conceptlab.analysis.references.word_vectors import word_vectors
from conceptlab.analysis.references.wordnet import wordnet
from conceptlab.errors import InputError
from conceptlab.keys import digest, digest_chunks
from conceptlab.study.folder import Outputs, RunFolder
from conceptlab.study.frames import joined, labelled
from conceptlab.study.reads import only, values
from conceptlab.study.settings import SEGMENT_TASKS, CompareSettings, Study
from conceptlab.vectors import ConceptVectors

if TYPE_CHECKING:
    from conceptlab.activations.store import Activations

log = logging.getLogger(__name__)

Loaded = dict[tuple[str, str, str], ConceptVectors]
TASKS = (*SEGMENT_TASKS.values(), "classify")
READS = ("compare.measures", "compare.draws", "seed")
ALL = "all"  # the model and the layer of what concerns all of them


def require_references(settings: CompareSettings) -> None:
    """Raise now, and not after hours, if a reference space is not there.

    Raises:
        InputError: no WordNet, or word vectors that cannot be read.
    """
    if settings.wordnet:
        wordnet_reader()
    if settings.words:
        word_vectors(settings.words, ["thing"])


def write_distances(run: RunFolder, loaded: Loaded, settings: CompareSettings) -> None:
    """Write D_ij, and its means by category, between all embeddings of a task."""
    whole: list[pd.DataFrame] = []
    parts: list[pd.DataFrame] = []
    for task in TASKS:
        if not any(own == task for _, _, own in loaded):
            continue
        try:
            spaces = _spaces(loaded, task, settings)
            if len(spaces) < 2:
                continue
            found = embedding_distance(spaces, concepts="shared")
        except InputError as error:
            log.info("no distances of %s vectors: %s", task, error)
            continue
        for table, made in ((found.table, whole), (found.by_category, parts)):
            made.append(_split_names(table, task))
    run.table("distances", joined(whole))
    run.table("distances_by_category", joined(parts))


def make_comparison(
    run: RunFolder, study: Study, loaded: Loaded,
    activations: Mapping[tuple[str, str], "Activations"],
) -> None:  # fmt: skip
    """Compare all embeddings of a task, and all layers' activations, by the study's measures.

    Args:
        run: the run folder.
        study: the settings.
        loaded: vectors by model, layer and task.
        activations: of every layer, by model and layer.
    """
    settings = study.compare
    sides: dict[str, dict[str, Any]] = {task: _spaces(loaded, task, settings) for task in TASKS}
    sides["activations"] = {"\t".join(at): a for at, a in activations.items()}
    key = {
        "step": "compare", "settings": values(study, READS),
        "sides": {
            what: {name: _mark(space) for name, space in spaces.items()}
            for what, spaces in sides.items()
        },
    }  # fmt: skip
    table, own = pd.DataFrame(), only(study, READS)
    if settings.measures:
        run.step((ALL, ALL, "compare"), key, lambda: _comparison(own, sides))
        found = run.gather("compare", "comparison")
        table = found.drop(columns=["model", "layer"], errors="ignore")
    run.table("comparison", table)


def write_zoom(run: RunFolder, study: Study, loaded: Loaded, concepts: pd.DataFrame) -> None:
    """Write where networks differ by more than their training runs, where a study has such runs.

    Each network is seen in the layer where its runs' probes score best on average.
    """
    networks: dict[str, list[str]] = {}
    for model in study.models:
        networks.setdefault(model.network or model.title, []).append(model.title)
    levels: dict[str, list[pd.DataFrame]] = {
        "zoom": [],
        "zoom_by_category": [],
        "zoom_by_concept": [],
    }
    several = len(networks) > 1 and any(len(runs) > 1 for runs in networks.values())
    for task in TASKS if several else ():
        try:
            chosen = {name: _best_layer(concepts, task, runs) for name, runs in networks.items()}
            found = zoom(
                {f"{name} {chosen[name]}": [loaded[run_, chosen[name], task] for run_ in runs]
                 for name, runs in networks.items()},
                seed=study.seed,
            )  # fmt: skip
        except (InputError, KeyError) as error:
            log.info("no zoom on %s vectors: %s", task, error)
            continue
        for level, table in zip(levels.values(), (found.whole, found.by_category, found.by_concept),
                                strict=True):  # fmt: skip
            level.append(labelled(table, {"task": task}))
    for name, parts in levels.items():
        run.table(name, joined(parts))


def _best_layer(concepts: pd.DataFrame, task: str, runs: list[str]) -> str:
    """The layer that all runs have where their probes score best on average."""
    rows = concepts[(concepts["task"] == task) & concepts["model"].isin(runs)]
    layers = rows.dropna(subset=["probe_score"]).groupby("layer")
    means = layers["probe_score"].mean()[layers["model"].nunique() == len(runs)]
    if not len(means):
        raise InputError(f"{', '.join(runs)} have no layer in common that has scores")
    return str(means.idxmax())


def _comparison(study: Study, sides: Mapping[str, Mapping[str, Any]]) -> Outputs:
    settings, parts = study.compare, []
    for what, spaces in sides.items():
        if len(spaces) < 2:
            continue
        try:
            found = compare(spaces, settings.measures, draws=settings.draws, seed=study.seed)
            parts.append(_split_names(found, what))
        except InputError as error:
            log.info("no comparison of %s: %s", what, error)
    return Outputs({"comparison": joined(parts)}, {}, {})


def _spaces(loaded: Loaded, task: str, settings: CompareSettings) -> dict[str, Any]:
    """The embeddings of a task by 'MODEL<tab>LAYER', and the references after them."""
    spaces: dict[str, Any] = {
        f"{model}\t{layer}": vectors
        for (model, layer, own), vectors in loaded.items()
        if own == task and vectors.usable.any()
    }
    if spaces:
        table = next(iter(spaces.values())).concepts[["name", "category"]]
        concepts = tuple(table.itertuples(index=False, name=None))
        if settings.wordnet:
            spaces[f"WordNet\t{settings.wordnet}"] = _wordnet(concepts, settings.wordnet)
        if settings.words:
            found = _words(concepts, settings.words)
            spaces[f"words\t{found.space.model}"] = found
    return spaces


@lru_cache(maxsize=4)
def _wordnet(concepts: tuple[tuple[str, str], ...], measure: str) -> ConceptSimilarities:
    return wordnet(pd.DataFrame(concepts, columns=["name", "category"]), measure)


@lru_cache(maxsize=4)
def _words(concepts: tuple[tuple[str, str], ...], file: str) -> ConceptVectors:
    return word_vectors(file, pd.DataFrame(concepts, columns=["name", "category"]))


def _mark(space: Any) -> str:
    """What changes when an embedding, a reference or a layer's activations do."""
    if isinstance(space, ConceptVectors):
        names = json.dumps(space.names).encode()
        return digest_chunks([names, space.weights.tobytes(), space.bias.tobytes()])
    if isinstance(space, ConceptSimilarities):
        return digest_chunks([json.dumps(space.names).encode(), space.similarity.tobytes()])
    return digest({k: v for k, v in space.provenance.items() if k != "recorded"})


def _split_names(table: pd.DataFrame, task: str) -> pd.DataFrame:
    """With columns task, model_i, layer_i, model_j, layer_j in place of i and j."""
    names = {
        f"{what}_{side}": table[side].str.split("\t").str[place]
        for side in ("i", "j")
        for place, what in enumerate(("model", "layer"))
    }
    return labelled(table.drop(columns=["i", "j"]), {"task": task} | names)
