"""The steps of one layer: which there are, what each reads, and which of them it needs."""

from collections.abc import Callable
from pathlib import Path

from conceptlab.study.examples import examples_step
from conceptlab.study.folder import Outputs, RunFolder, read_table
from conceptlab.study.settings import SEGMENT_TASKS
from conceptlab.study.steps import (
    LABEL_SIZE,
    SEED,
    Layer,
    classify_step,
    dissect_step,
    made,
    pack_step,
    resample_step,
    segment_step,
    subsets_step,
)
from conceptlab.vectors import ConceptVectors

PROBES = ("segment", "classify", "dissect.tau", LABEL_SIZE, SEED)  # what both probes read


def make_dissection(run: RunFolder, model: str, name: str, layer: Layer) -> Path:
    """The single units of a layer."""
    reads = ("dissect", "segment.split", LABEL_SIZE, SEED)
    return made(run, (model, name, "dissect"), layer, dissect_step, reads)


def make_segmentation(run: RunFolder, model: str, name: str, layer: Layer) -> Path:
    """The segmentation probes of a layer; the folder of that of the first kind of inputs."""
    units = make_dissection(run, model, name, layer)
    reads = ("segment", "dissect.tau", LABEL_SIZE, SEED)
    folders = []
    for inputs in layer.study.segment.inputs:

        def make(layer: Layer, inputs: str = inputs) -> Outputs:
            return segment_step(layer, inputs, ConceptVectors.load(units / "unit.h5"))

        names = model, name, SEGMENT_TASKS[inputs]
        folders.append(made(run, names, layer, make, reads, units=units, inputs=inputs))
    return folders[0]


def make_classification(run: RunFolder, model: str, name: str, layer: Layer) -> Path:
    """The classification probe of a layer."""
    reads = ("classify", LABEL_SIZE, SEED)
    return made(run, (model, name, "classify"), layer, classify_step, reads)


def make_subsets(run: RunFolder, model: str, name: str, layer: Layer) -> Path:
    """The probes of a layer over few units."""
    return made(run, (model, name, "subsets"), layer, subsets_step, PROBES)


def make_packing(run: RunFolder, model: str, name: str, layer: Layer) -> Path | None:
    """The concepts packed into a layer's units, unless the study leaves it out."""
    if not layer.study.pack.enabled:
        return None
    reads = ("pack.least", "segment.split", "segment.min_examples", LABEL_SIZE, SEED)
    return made(run, (model, name, "pack"), layer, pack_step, reads)


def make_distributions(run: RunFolder, model: str, name: str, layer: Layer) -> Path | None:
    """The distributions of a layer's vectors, where the study asks for them."""
    if not layer.study.resample.draws:
        return None
    folders = {}
    if layer.activations.has_map:
        folders[layer.study.segment.task] = make_segmentation(run, model, name, layer)
    folders["classify"] = make_classification(run, model, name, layer)

    def make(layer: Layer) -> Outputs:
        fitted = {task: ConceptVectors.load(at / f"{task}.h5") for task, at in folders.items()}
        return resample_step(layer, fitted)

    return made(run, (model, name, "resample"), layer, make, ("resample", *PROBES), **folders)


LAYER_STEPS: tuple[Callable[[RunFolder, str, str, Layer], Path | None], ...] = (
    make_dissection,
    make_segmentation,
    make_classification,
    make_subsets,
    make_packing,
    make_distributions,
)


def steps_of(layer: Layer) -> tuple[Callable[[RunFolder, str, str, Layer], Path | None], ...]:
    """The steps of a layer; of one without a map, those that ask what is in a picture, not where.

    Single units are dissected there only for concepts of whole pictures, where the study has them.
    """
    if layer.activations.has_map:
        return LAYER_STEPS
    without = {make_segmentation}
    if not layer.study.dissect.image_level:
        without.add(make_dissection)
    return tuple(step for step in LAYER_STEPS if step not in without)


def with_map(layers: dict[str, Layer]) -> list[str]:
    """The names of those layers that say where in a picture something is."""
    return [key for key, layer in layers.items() if layer.activations.has_map]


def make_examples(run: RunFolder, model: str, name: str, layer: Layer) -> Path:
    """The pictures of a layer; needs its dissection and its segmentation probe."""
    units = make_dissection(run, model, name, layer)
    probe = make_segmentation(run, model, name, layer)
    task = layer.study.segment.task

    def make(layer: Layer) -> Outputs:
        return examples_step(
            layer,
            ConceptVectors.load(units / "unit.h5"),
            ConceptVectors.load(probe / f"{task}.h5"),
            read_table(units / "best.csv"),
            read_table(units / "per_image.csv"),
            read_table(probe / "per_image.csv"),
        )

    return made(
        run, (model, name, "examples"), layer, make, ("dissect.tau", LABEL_SIZE),
        units=units, probe=probe,
    )  # fmt: skip
