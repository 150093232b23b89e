"""The steps of a study: each a function from activations and labels to tables and vectors."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conceptlab.analysis.vectors.intervals import pinned_down
from conceptlab.errors import InputError
from conceptlab.probes.classification import ClassificationProbe, accuracies
from conceptlab.probes.controls import CONTROLS, plain_controls
from conceptlab.probes.paired import accuracy_differences, mask_differences
from conceptlab.probes.resampled import ResampledProbe
from conceptlab.probes.segmentation.probe import SegmentationProbe
from conceptlab.probes.segmentation.problem import PairCounts, pair_counts
from conceptlab.probes.subsets import AnyProbe, subset_scores
from conceptlab.probes.units.dissection import chance_of_best, dissect
from conceptlab.probes.units.packing import pack_units
from conceptlab.study.folder import Names, Outputs, RunFolder
from conceptlab.study.reads import only, values
from conceptlab.study.record import read_record
from conceptlab.study.same import Holds, holds_data, holds_layer
from conceptlab.study.settings import SEGMENT_TASKS, ClassifySettings, SegmentSettings, Study
from conceptlab.vectors import ConceptVectors

if TYPE_CHECKING:
    from conceptlab.activations.store import Activations
    from conceptlab.data.base import ProbeDataset

log = logging.getLogger(__name__)

LABEL_SIZE, SEED = "data.label_size", "seed"


@dataclass(frozen=True)
class Layer:
    """What every step of a layer works on.

    Args:
        activations: the layer's.
        data: the probe data set.
        study: the settings; in a step, those that it reads (`reading`).
        of: the network that the activations are of (`holds_model`); nothing for a control.
        reads: names of the settings that can be read.
    """

    activations: "Activations"
    data: "ProbeDataset"
    study: Study
    of: Holds = field(default_factory=dict)
    reads: tuple[str, ...] = ()

    @property
    def label_size(self) -> int | None:
        """Side of the label maps, None for half the input size."""
        return self.study.data.label_size or None

    def reading(self, *reads: str) -> Self:
        """The same for a step that reads some settings, and can read no others."""
        return replace(self, study=only(self.study, reads), reads=reads)

    def key(self, step: str) -> dict[str, Any]:
        """Everything that a step's outputs depend on; its settings are those that it can read."""
        return {
            "step": step,
            "activations": {
                k: v for k, v in self.activations.provenance.items() if k != "recorded"
            },
            "labels": self.data.label_fingerprint,
            "settings": values(self.study, self.reads),
        }

    @property
    def holds(self) -> Holds:
        """What results are of, for the run folder."""
        size = self.study.data.label_size if LABEL_SIZE in self.reads else None
        own = holds_layer(self.activations.provenance["dtype"]) if self.of else {}
        return {**holds_data(self.data, size), **self.of, **own}


class Context(Protocol):
    """What a step works on: a layer, and perhaps its network."""

    def reading(self, *reads: str) -> Self:
        """The same for a step that reads some settings, and can read no others."""

    def key(self, step: str) -> dict[str, Any]:
        """Everything that a step's outputs depend on."""

    @property
    def holds(self) -> Holds:
        """What results are of, for the run folder."""


C = TypeVar("C", bound=Context)


def made(
    run: RunFolder, names: Names, context: C, make: Callable[[C], Outputs], reads: Sequence[str],
    **more: Any,
) -> Path:  # fmt: skip
    """The folder of a step's outputs, made now unless the same step is there already.

    Args:
        run: the run folder.
        names: model, layer and step.
        context: what the step works on.
        make: computes the outputs from the context.
        reads: the settings that it reads: they are in its key, and reading any other is an error.
        more: what else the outputs depend on, as JSON values; of steps that it takes outputs of,
            their folders.
    """
    own = context.reading(*reads)
    more = {k: read_record(v)["key"] if isinstance(v, Path) else v for k, v in more.items()}
    return run.step(names, own.key(names[2]) | {"more": more}, lambda: make(own), own.holds)


def require_splits(study: Study, data: "ProbeDataset", *tasks: str) -> None:
    """Raise unless the data set has images of the splits that tasks score on.

    Args:
        study: the settings.
        data: the probe data set.
        tasks: 'segment' (whose split dissections report too) and 'classify'.

    Raises:
        InputError: with the splits that there are.
    """
    for task in tasks:
        split = getattr(study, task).split
        if split not in data.splits:
            known = ", ".join(dict.fromkeys(map(str, data.splits)))
            raise InputError(f"the data set has no {split!r} images; its splits: {known}")


def dissect_step(layer: Layer) -> Outputs:
    """Every unit with every concept; best units, with intervals and their chance level."""
    settings, data, acts = layer.study.dissect, layer.data, layer.activations
    split = layer.study.segment.split
    found = dissect(
        acts, data, settings.tau, label_size=layer.label_size, order=settings.order,
        align_corners=settings.align_corners, scope=settings.scope,
        image_level=settings.image_level,
    )  # fmt: skip
    scored = dict.fromkeys(["iou_train", f"iou_{split}"])
    table = found.table[["unit", "concept", "category", *scored, "threshold"]]
    if not settings.image_level:  # those concepts have no pixels, and so no IoU
        per_pixel = found.concepts["level"].to_numpy() == "pixel"
        table = table[np.tile(per_pixel, len(found.thresholds))]
    vectors = found.vectors
    counts = pair_counts(vectors, acts, data, split, label_size=layer.label_size)
    every = found.best()
    best = _scored(vectors, counts).assign(unit=every["unit"], train_score=every["iou_train"])
    whole = (found.concepts["level"] == "image").to_numpy()  # these have no pairs of pixels
    best.loc[whole, ["score", "n"]] = every.loc[whole, [f"iou_{split}", f"n_{split}"]].to_numpy()
    if settings.permutations and acts.has_map:
        chance = chance_of_best(
            acts, data, settings.tau, label_size=layer.label_size,
            permutations=settings.permutations, seed=layer.study.seed, split=split,
        )  # fmt: skip
        best = best.assign(chance_score=chance["chance"], chance_high=chance["chance_high"])
    detectors = pd.concat(
        found.detectors(rule=rule, split=split).assign(rule=rule, threshold=0.04)
        for rule in ("every-category", "best-label")
    )
    tables = {
        "units": table,
        "best": best.astype({"n": int}),
        "detectors": detectors,
        "per_image": _per_image(acts, counts),
    }
    return Outputs(tables, {"unit": vectors}, {})


def segment_step(layer: Layer, inputs: str, units: ConceptVectors) -> Outputs:
    """The segmentation probe: vectors, scores with intervals, and controls.

    Args:
        layer: activations, labels and settings.
        inputs: 'binary' or 'raw'.
        units: the best units, to compare with.
    """
    settings, data, acts = layer.study.segment, layer.data, layer.activations
    probe = _segmenter(layer, inputs).fit(acts, data)
    counts = probe.counts(acts, data, settings.split)
    scores = _scored(probe.vectors, counts)
    for column in ("n_train", "train_score", "note"):
        scores[column] = probe.vectors.concepts[column]
    single = pair_counts(units, acts, data, settings.split, label_size=layer.label_size)
    scores["difference_p"] = mask_differences(counts, single, layer.study.seed)
    if settings.shuffle_control:
        control = _segmenter(layer, inputs, shuffle=True).fit(acts, data)
        scores["shuffled_score"] = control.score(acts, data, settings.split)["iou_set"]
    if settings.plain_control:
        plain = plain_controls(
            acts, data, settings.split, label_size=layer.label_size,
            min_examples=settings.min_examples,
        )  # fmt: skip
        names = ["position_score", "colour_score", "plain_score"]
        scores[names] = plain[list(CONTROLS)].to_numpy()
    tables = {"scores": _noted(scores, settings.split), "per_image": _per_image(acts, counts)}
    return Outputs(tables, {SEGMENT_TASKS[inputs]: probe.vectors}, {})


def classify_step(layer: Layer) -> Outputs:
    """The classification probe: vectors, accuracies with intervals, best unit, shuffled control."""
    settings, data, acts = layer.study.classify, layer.data, layer.activations
    probe = _classifier(layer).fit(acts, data)
    single = probe.best_units(acts, data)

    def scored(vectors: ConceptVectors) -> pd.DataFrame:
        return accuracies(vectors, acts, data, settings.split, layer.label_size, True)

    scores = scored(probe.vectors).rename(columns={"accuracy": "score"})
    best = scored(single)
    for column in ("n_train", "train_score", "note"):
        scores[column] = probe.vectors.concepts[column]
    scores["difference_p"] = accuracy_differences(
        probe.vectors, single, acts, data, settings.split, layer.label_size, layer.study.seed
    )
    used = single.weights.any(axis=1)
    scores["unit"] = np.where(used, np.abs(single.weights).argmax(axis=1), -1)
    scores[["unit_score", "unit_low", "unit_high"]] = best[["accuracy", "low", "high"]].to_numpy()
    if settings.shuffle_control:
        control = _classifier(layer, shuffle=True).fit(acts, data)
        scores["shuffled_score"] = scored(control.vectors)["accuracy"]
    tables = {"scores": _noted(scores, settings.split)}
    return Outputs(tables, {"classify": probe.vectors}, {})


def _noted(scores: pd.DataFrame, split: str) -> pd.DataFrame:
    """Scores with their split, and a note wherever a vector has no score, interval or p-value."""
    unscored, unbounded = scores["score"].isna(), scores["low"].isna()
    untested = scores["difference_p"].isna()
    none, alone = f"no image of {split} shows it", f"no other image of {split} to tell it from"
    note = np.select(
        [scores["note"] != "", unscored & (scores["n"] == 0), unscored, unbounded, untested],
        [
            scores["note"],
            none,
            alone,
            "too few images for an interval",
            "nothing to test against the best unit",
        ],
        default="",
    )
    return scores.assign(note=note, split=split)


def subsets_step(layer: Layer) -> Outputs:
    """Scores of probes over the F units of largest weight (section 3.2.2, figure 3)."""
    units = layer.activations.shape[1]
    study, parts = layer.study, []
    probes: list[tuple[AnyProbe, SegmentSettings | ClassifySettings, str]] = [
        (_segmenter(layer, inputs), study.segment, SEGMENT_TASKS[inputs])
        for inputs in study.segment.inputs
    ]
    probes.append((_classifier(layer), study.classify, "classify"))
    for probe, settings, task in probes:
        sizes = [f for f in settings.sizes if f < units]
        if sizes and (layer.activations.has_map or task == "classify"):
            table = subset_scores(
                probe.fit(layer.activations, layer.data),
                layer.activations,
                layer.data,
                sizes,
                split=settings.split,
                intervals=True,
            )
            parts.append(table.assign(task=task))
    return Outputs({"subsets": pd.concat(parts) if parts else pd.DataFrame()}, {}, {})


def pack_step(layer: Layer) -> Outputs:
    """The inverse map: the concepts that are packed into each unit."""
    study = layer.study
    try:
        found = pack_units(
            layer.activations, layer.data, split=study.segment.split, label_size=layer.label_size,
            min_examples=study.segment.min_examples, least=study.pack.least, seed=study.seed,
        )  # fmt: skip
    except InputError as error:  # data without label maps, or too few images: the rest stands
        log.info("%s: no packing: %s", layer.activations.layer, error)
        return Outputs({"units": pd.DataFrame(), "table": pd.DataFrame()}, {}, {})
    return Outputs({"units": found.units, "table": found.table}, {}, {})


def resample_step(layer: Layer, fitted: Mapping[str, ConceptVectors]) -> Outputs:
    """The distribution of the probes' vectors over the choice of images.

    Args:
        layer: activations, labels and settings.
        fitted: task to the probe's vectors.
    """
    settings = layer.study.resample
    tables, found = [], {}
    for task, vectors in fitted.items():
        if task != "classify" and layer.study.segment.loss != "bce":
            continue
        first = layer.study.segment.inputs[0]
        probe: AnyProbe = _classifier(layer) if task == "classify" else _segmenter(layer, first)
        probe.vectors_ = vectors
        resampled = ResampledProbe(probe, settings.draws, settings.block, seed=layer.study.seed)
        found[f"{task}-draws"] = resampled.fit(layer.activations, layer.data).distribution
        if vectors.usable.any():
            tables.append(pinned_down(found[f"{task}-draws"]).assign(task=task))
    pinned = pd.concat(tables) if tables else pd.DataFrame()
    return Outputs({"pinned": pinned}, found, {})


def untrained_step(layer: Layer) -> Outputs:
    """What the same probes reach on the same architecture with random weights."""
    acts, data, study = layer.activations, layer.data, layer.study
    best, segment = pd.DataFrame(), {}
    if acts.has_map:
        units = dissect(acts, data, study.dissect.tau, label_size=layer.label_size)
        best = pair_counts(
            units.vectors, acts, data, study.segment.split, label_size=layer.label_size
        ).table()
        segment = {
            SEGMENT_TASKS[inputs]: _segmenter(layer, inputs)
            .fit(acts, data)
            .score(acts, data, study.segment.split)
            for inputs in study.segment.inputs
        }
    probe = _classifier(layer).fit(acts, data)
    classify = probe.score(acts, data, study.classify.split)
    single = accuracies(
        probe.best_units(acts, data), acts, data, study.classify.split, layer.label_size
    )
    columns = {"concept": classify["concept"], "category": classify["category"]}
    return Outputs(
        {
            task: pd.DataFrame(
                {**columns, "score": table["iou_set"], "unit_score": best["iou_set"]}
            )
            for task, table in segment.items()
        }
        | {
            "classify": pd.DataFrame(
                {**columns, "score": classify["accuracy"], "unit_score": single["accuracy"]}
            ),
        },
        {},
        {},
    )


def top_units(best: pd.DataFrame, count: int) -> Sequence[int]:
    """The units with the highest best scores, each once."""
    ranked = best[best["unit"] >= 0].sort_values("score", ascending=False, kind="stable")
    return [int(u) for u in ranked["unit"].drop_duplicates().head(count)]


def _segmenter(layer: Layer, inputs: str, shuffle: bool = False) -> SegmentationProbe:
    settings = layer.study.segment
    return SegmentationProbe(
        settings.loss, layer.study.dissect.tau, inputs=inputs, label_size=layer.label_size,
        min_examples=settings.min_examples, shuffle=shuffle, seed=layer.study.seed,
    )  # fmt: skip


def _classifier(layer: Layer, shuffle: bool = False) -> ClassificationProbe:
    return ClassificationProbe(
        min_examples=layer.study.classify.min_examples, label_size=layer.label_size,
        shuffle=shuffle, seed=layer.study.seed,
    )  # fmt: skip


def _scored(vectors: ConceptVectors, counts: PairCounts) -> pd.DataFrame:
    """concept, category, n, score, iou_ind, low, high, ind_low, ind_high of fitted vectors."""
    table = counts.table(True).rename(columns={"iou_set": "score"})
    table["score"] = np.where(vectors.weights.any(axis=1), table["score"], np.nan)
    return table


def _per_image(acts: "Activations", counts: PairCounts) -> pd.DataFrame:
    names: NDArray[np.str_] = acts.names[counts.images]
    rows = counts.concepts.iloc[counts.concept].reset_index(drop=True)
    rows.insert(0, "image", names)
    return rows.assign(iou=counts.iou_ind())
