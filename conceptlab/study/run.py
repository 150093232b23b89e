"""Run a study: every step of every layer of every model, then the tables, figures and report."""

import importlib.metadata
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from tqdm.auto import tqdm

from conceptlab.activations.extract import extract
from conceptlab.activations.store import Activations
from conceptlab.data import load_data
from conceptlab.errors import InputError
from conceptlab.files import write_text
from conceptlab.models import load_model
from conceptlab.registry import near_matches
from conceptlab.study.atlases import Territory, make_atlases
from conceptlab.study.classes import AUTOMATIC, ClassPictures
from conceptlab.study.comparison import make_comparison, require_references, write_zoom
from conceptlab.study.effects import Effects, make_decomposition, make_erasure, make_tcav
from conceptlab.study.examples import examples_step
from conceptlab.study.folder import Outputs, RunFolder, read_table
from conceptlab.study.look import make_looks
from conceptlab.study.same import holds_model
from conceptlab.study.scale import spread
from conceptlab.study.settings import ModelSettings, Study
from conceptlab.study.space import write_space
from conceptlab.study.steps import (
    LABEL_SIZE,
    SEED,
    Layer,
    classify_step,
    dissect_step,
    made,
    pack_step,
    require_splits,
    resample_step,
    segment_step,
    subsets_step,
    top_units,
    untrained_step,
)
from conceptlab.study.studyfile import study_toml
from conceptlab.study.tables import concept_table, load_vectors, write_tables
from conceptlab.vectors import ConceptVectors

if TYPE_CHECKING:
    from conceptlab.data.base import ProbeDataset
    from conceptlab.models.probed import ProbedModel

log = logging.getLogger(__name__)

PROBES = ("segment", "classify", "dissect.tau", LABEL_SIZE, SEED)  # what both probes read
LIBRARIES = ("conceptlab", "torch", "torchvision", "numpy", "pandas", "h5py", "numba", "Pillow")


@dataclass(frozen=True)
class Session:
    """Where and how a study runs.

    Args:
        run: the run folder.
        cache: folder of activations; see `conceptlab.extract`.
        device: where networks run; where the model is if not given.
        progress: show bars.
    """

    run: RunFolder
    cache: str | Path | None = None
    device: str | None = None
    progress: bool = False


def run_study(
    study: Study,
    out: str | Path,
    *,
    cache: str | Path | None = None,
    device: str | None = None,
    progress: bool = False,
    workers: int = 1,
    scheduler: str | None = None,
) -> Path:
    """Everything that a study asks for; what an earlier run of it finished is not done again.

    Args:
        study: the settings, see `conceptlab.study.studyfile.read_study`.
        out: the run folder.
        cache: folder of activations; else CONCEPTLAB_CACHE, else 'cache'.
        device: where networks run.
        progress: show bars.
        workers: processes that share the models; 1 runs them one after the other.
        scheduler: address of a Dask scheduler whose workers see the same folders.

    Returns:
        The report.
    """
    data = load_data(study.data.spec)
    require_splits(study, data, "segment", "classify")
    require_references(study.compare)
    for settings in study.models[1:]:  # the first one is about to say for itself
        open_model(settings, study.seed).resolve(settings.layers)
    if study.tcav.classes:
        require_classes(study)
    session = Session(RunFolder(out), cache, device, progress)
    write_text(session.run.path / "study.toml", study_toml(study))
    one = partial(_run_model, session, study)
    info = spread(one, study.models, workers=workers, scheduler=scheduler)
    return finish(session.run, study, data, info)


def finish(
    run: RunFolder, study: Study, data: "ProbeDataset", models: Sequence[dict[str, Any]]
) -> Path:
    """Put tables, comparisons, manifest, figures and the report of a run folder together."""
    run.models = [str(model["name"]) for model in models]
    write_tables(run, study)
    loaded = load_vectors(run)
    layers = {
        (str(model["name"]), layer): Activations(path)
        for model in models
        for layer, path in model.pop("files").items()
    }
    make_comparison(run, study, loaded, layers)
    concepts = concept_table(run)
    write_zoom(run, study, loaded, concepts)
    write_space(run, concepts, loaded, study.seed)
    run.write_json("manifest.json", manifest(run, study, data, models))
    return draw(run)


def draw(run: RunFolder) -> Path:
    """Draw the figures and the report of what is in a run folder."""
    from conceptlab.views.figures import write_figures
    from conceptlab.views.report import write_report

    write_figures(run.path)
    return write_report(run.path)


def manifest(
    run: RunFolder, study: Study, data: "ProbeDataset", models: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Versions, fingerprints, seeds, and the seconds and peak memory of every step."""
    return {
        "versions": {name: importlib.metadata.version(name) for name in LIBRARIES},
        "seed": study.seed,
        "data": {
            "spec": study.data.spec,
            "name": data.name,
            "fingerprint": data.fingerprint,
            "label_fingerprint": data.label_fingerprint,
            "images": len(data),
            "splits": {str(k): int(v) for k, v in pd.Series(data.splits).value_counts().items()},
            "concepts": len(data.catalogue),
        },
        "models": list(models),
        "steps": {
            f"{r['model']} {r['layer']} {r['step']}": {
                k: r[k] for k in ("key", "seconds", "peak_memory_mb", "finished")
            }
            for r in run.records()
        },
    }


def open_model(settings: ModelSettings, seed: int, untrained: bool = False) -> "ProbedModel":
    """The network that a study's table describes, or its architecture with random weights."""
    return load_model(settings.spec, **settings.loading(), seed=seed, untrained=untrained)


def _run_model(session: Session, study: Study, settings: ModelSettings) -> dict[str, Any]:
    """Every step of one model; runs wherever the folders are seen."""
    data = load_data(study.data.spec)
    model = open_model(settings, study.seed)
    name = settings.name or model.name
    acts = _extract(session, model, data, settings)
    of = holds_model(model, settings)
    layers = {key: Layer(a, data, study, of) for key, a in acts.items()}
    with _bar(session, f"{name}: steps", len(layers) * len(LAYER_STEPS)) as done:
        for key, layer in layers.items():
            for step in LAYER_STEPS:
                step(session.run, name, key, layer)
                done()
    make_effects(session, study, settings, model, layers)
    make_pictures(session, study, settings, model, layers)
    if study.compare.untrained:
        _run_untrained(session, study, data, settings, name)
    best = _best_layer(session.run, name, list(layers))
    make_examples(session.run, name, best, layers[best])
    return {
        "name": name, "spec": model.spec, "fingerprint": model.fingerprint,
        "weights": settings.weights, "preprocessing": model.preprocessing.spec(),
        "layers": list(layers), "report_layer": best,
        "files": {key: str(a.path) for key, a in acts.items()},
    }  # fmt: skip


def make_effects(
    session: Session, study: Study, settings: ModelSettings, model: "ProbedModel",
    layers: dict[str, Layer],
) -> None:  # fmt: skip
    """What concepts do to the study's classes, at every layer of a model that has such classes."""
    name = settings.name or model.name
    wanted = known_classes(model, study.tcav.classes)
    if not wanted:
        return
    first = next(iter(layers.values()))
    finder = ClassPictures(model, first.data, first.activations, study.tcav.images, settings.scores)
    pictures = finder.of(wanted)
    with _bar(session, f"{name}: effects", 3 * len(layers)) as done:
        for key, layer in layers.items():
            effects = Effects(layer, model, pictures, settings.scores)
            others = [
                make(session.run, name, key, layer) / f"{task}.h5"
                for make, task in (
                    (make_segmentation, "segment"), (make_classification, "classify"),
                )
            ]  # fmt: skip
            make_tcav(session.run, name, key, effects, others)
            done()
            if study.tcav.form != "flattened":
                make_decomposition(session.run, name, key, effects)
                done()
                make_erasure(session.run, name, key, effects)
                done()


def make_pictures(
    session: Session, study: Study, settings: ModelSettings, model: "ProbedModel",
    layers: dict[str, Layer],
) -> None:  # fmt: skip
    """What the layers of a model respond to, and their atlases, where the study asks for them."""
    name, run, count = settings.name or model.name, session.run, study.look.units
    if count:
        best = {k: read_table(make_dissection(run, name, k, v) / "best.csv")
                for k, v in layers.items()}  # fmt: skip
        units = {key: top_units(table, count) for key, table in best.items()}
        make_looks(run, name, model, layers, units, session.progress)
    if not study.atlas.enabled:
        return
    classes = tuple(known_classes(model, study.atlas.classes))
    for key, layer in layers.items():
        vectors = make_segmentation(run, name, key, layer) / "segment.h5"
        make_atlases(
            run, name, key,
            Territory(layer, model, classes, vectors, settings.scores, session.progress),
        )  # fmt: skip


def require_classes(study: Study) -> None:
    """Raise now, and not after hours, if no network has a class that the study asks about.

    Raises:
        InputError: with the nearest names.
    """
    models = [open_model(settings, study.seed) for settings in study.models]
    names = [name for model in models for name in model.class_names or []]
    for entry in study.tcav.classes:
        name = entry.partition("=")[0]
        if not any(known_classes(model, [entry]) for model in models):
            raise InputError(
                f"[tcav]: no network of the study has a class {name!r}; {near_matches(name, names)}"
            )


def known_classes(model: "ProbedModel", entries: Sequence[str]) -> list[str]:
    """Those of a study's classes that a network has; the others are told in the log."""
    known = set(model.class_names or [])
    found = []
    for entry in entries:
        name = entry.partition("=")[0]
        if name == AUTOMATIC or name.isdecimal() or name in known:
            found.append(entry)
        else:
            log.info("%s has no class %r", model.name, name)
    return found


def _extract(
    session: Session, model: "ProbedModel", data: "ProbeDataset", settings: ModelSettings
) -> "dict[str, Activations]":
    return extract(
        model, data, settings.layers, cache=session.cache, dtype=settings.dtype,
        batch_size=settings.batch_size, device=session.device, progress=session.progress,
    )  # fmt: skip


def make_dissection(run: RunFolder, model: str, name: str, layer: Layer) -> Path:
    """The single units of a layer."""
    reads = ("dissect", "segment.split", LABEL_SIZE, SEED)
    return made(run, (model, name, "dissect"), layer, dissect_step, reads)


def make_segmentation(run: RunFolder, model: str, name: str, layer: Layer) -> Path:
    """The segmentation probe of a layer."""
    reads = ("segment", "dissect.tau", LABEL_SIZE, SEED)
    return made(run, (model, name, "segment"), layer, segment_step, reads)


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
    segment = make_segmentation(run, model, name, layer)
    classify = make_classification(run, model, name, layer)

    def make(layer: Layer) -> Outputs:
        vectors = segment / "segment.h5", classify / "classify.h5"
        return resample_step(layer, *map(ConceptVectors.load, vectors))

    return made(
        run, (model, name, "resample"), layer, make, ("resample", *PROBES),
        segment=segment, classify=classify,
    )  # fmt: skip


LAYER_STEPS: tuple[Callable[[RunFolder, str, str, Layer], Path | None], ...] = (
    make_dissection,
    make_segmentation,
    make_classification,
    make_subsets,
    make_packing,
    make_distributions,
)


def make_examples(run: RunFolder, model: str, name: str, layer: Layer) -> Path:
    """The pictures of a layer; needs its dissection and its segmentation probe."""
    units = make_dissection(run, model, name, layer)
    probe = make_segmentation(run, model, name, layer)

    def make(layer: Layer) -> Outputs:
        return examples_step(
            layer,
            ConceptVectors.load(units / "unit.h5"),
            ConceptVectors.load(probe / "segment.h5"),
            read_table(units / "best.csv"),
            read_table(units / "per_image.csv"),
            read_table(probe / "per_image.csv"),
        )

    return made(
        run, (model, name, "examples"), layer, make, ("dissect.tau", LABEL_SIZE),
        units=units, probe=probe,
    )  # fmt: skip


def _run_untrained(
    session: Session, study: Study, data: "ProbeDataset", settings: ModelSettings, name: str
) -> None:
    model = open_model(settings, study.seed, untrained=True)
    acts = _extract(session, model, data, settings)
    with _bar(session, f"{name}: untrained control", len(acts)) as done:
        for key, activations in acts.items():
            layer = Layer(activations, data, study)
            made(session.run, (name, key, "untrained"), layer, untrained_step, PROBES)
            done()


def _best_layer(run: RunFolder, model: str, layers: Sequence[str]) -> str:
    """The layer whose segmentation probe scores best on average: the one shown in pictures."""
    scores = run.gather("segment", "scores")
    mean = scores[scores["model"] == model].groupby("layer")["score"].mean()
    known = [layer for layer in layers if layer in mean.index and pd.notna(mean[layer])]
    return max(known, key=lambda layer: float(mean[layer]), default=layers[-1])


@contextmanager
def _bar(session: Session, title: str, total: int) -> Iterator[Callable[[], object]]:
    with tqdm(total=total, desc=title, disable=not session.progress, unit="step") as bar:
        yield bar.update
