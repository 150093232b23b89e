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
from conceptlab.errors import UnfinishedError
from conceptlab.files import write_text
from conceptlab.given import checked
from conceptlab.study.atlases import Territory, make_atlases
from conceptlab.study.checks import check_study
from conceptlab.study.classes import ClassPictures, known_classes
from conceptlab.study.comparison import ALL, make_comparison, write_zoom
from conceptlab.study.effects import Effects, make_decomposition, make_erasure, make_tcav
from conceptlab.study.examples import examples_step
from conceptlab.study.folder import Outputs, RunFolder, read_table
from conceptlab.study.look import make_looks
from conceptlab.study.opening import open_model
from conceptlab.study.same import holds_model
from conceptlab.study.scale import spread
from conceptlab.study.settings import SEGMENT_TASKS, ModelSettings, Study
from conceptlab.study.space import write_space
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
    top_units,
    untrained_step,
)
from conceptlab.study.studyfile import study_toml
from conceptlab.study.tables import concept_table, load_vectors, write_tables
from conceptlab.vectors import ConceptVectors

if TYPE_CHECKING:
    from conceptlab.activations.pictures import Pictures
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


@checked
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
    session = Session(RunFolder(out, study=True), cache, device, progress)
    check_study(study, data, session.run)
    write_text(session.run.path / "study.toml", study_toml(study))
    one = partial(_run_model, session, study)
    info = spread(one, study.models, workers=workers, scheduler=scheduler)
    return finish(session.run, study, data, info)


def finish(
    run: RunFolder, study: Study, data: "ProbeDataset", models: Sequence[dict[str, Any]]
) -> Path:
    """Put tables, comparisons, manifest, figures and the report of a run folder together."""
    for model in models:
        run.asked |= model.pop("asked")
        run.unmade |= model.pop("unmade")
    run.models = [str(model["name"]) for model in models]
    run.keep_asked()
    others = run.forget_figures()
    write_tables(run, study)
    loaded = load_vectors(run)
    layers = {
        (str(model["name"]), layer): Activations(path)
        for model in models
        for layer, path in model.pop("files").items()
    }
    concepts = concept_table(run)
    with run.part(ALL, ALL, "compare"):
        make_comparison(run, study, loaded, layers)
    with run.part(ALL, ALL, "zoom"):
        write_zoom(run, study, loaded, concepts)
    with run.part(ALL, ALL, "projection"):
        write_space(run, concepts, loaded, study.seed)
    run.forget_tables()
    run.write_json("manifest.json", manifest(run, study, data, models))
    report = draw(run)
    run.note_figures(others)
    return report


def draw(run: RunFolder) -> Path:
    """Draw the figures and the report of what is in a run folder; what fails is named there."""
    from conceptlab.views.report.report import write_report

    draw_figures(run)
    known = len(run.unmade)
    report = write_report(run.path, partial(run.part, ALL, ALL))
    if len(run.unmade) > known:  # a section: the page is to say so
        run.write_unmade()
        report = write_report(run.path, partial(run.part, ALL, ALL))
    return report


def draw_figures(run: RunFolder) -> None:
    """Draw the figures that a run folder's tables allow; one that fails leaves the others."""
    from conceptlab.views.figures.planned import write_figures

    write_figures(run.path, partial(run.part, ALL, ALL))
    run.write_unmade()


def manifest(
    run: RunFolder, study: Study, data: "ProbeDataset", models: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Versions, fingerprints, seeds, and the seconds and peak memory of every step."""
    prints = data.fingerprints()
    return {
        "versions": {name: importlib.metadata.version(name) for name in LIBRARIES},
        "seed": study.seed,
        "data": {
            "spec": study.data.spec,
            "name": data.name,
            "fingerprint": prints.pictures,
            "label_fingerprint": prints.labels,
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


def _run_model(session: Session, study: Study, settings: ModelSettings) -> dict[str, Any]:
    """Every step of one model; runs wherever the folders are seen."""
    run, name = session.run, settings.title
    found: dict[str, Any] = {"name": name, "layers": [], "files": {}}
    with run.part(name, ALL, "network"):
        data = load_data(study.data.spec)
        model = open_model(settings, study.seed)
        acts = _extract(session, model, data, settings)
        of = holds_model(model, settings)
        layers = {key: Layer(a, data, study, of) for key, a in acts.items()}
        found |= {
            "spec": model.spec, "fingerprint": model.fingerprint,
            "weights": settings.weights, "preprocessing": model.preprocessing.spec(),
            "layers": list(layers), "files": {key: str(a.path) for key, a in acts.items()},
        }  # fmt: skip
        if layers:
            found["report_layer"] = _make_all(session, study, settings, model, layers)
    return found | {"asked": run.asked, "unmade": run.unmade}


def _make_all(
    session: Session, study: Study, settings: ModelSettings, model: "ProbedModel",
    layers: dict[str, Layer],
) -> str:  # fmt: skip
    """Every step of the layers of one model; the layer that is shown in pictures."""
    run, name = session.run, settings.title
    with _bar(session, f"{name}: steps", sum(len(steps_of(la)) for la in layers.values())) as done:
        for key, layer in layers.items():
            for step in steps_of(layer):
                with run.part(name, key, step.__name__.removeprefix("make_")):
                    step(run, name, key, layer)
                done()
    with run.part(name, ALL, "effects"):
        make_effects(session, study, settings, model, layers)
    with run.part(name, ALL, "pictures"):
        make_pictures(session, study, settings, model, layers)
    if study.compare.untrained:
        with run.part(name, ALL, "untrained"):
            _run_untrained(session, study, layers, settings)
    best = _best_layer(run, study.segment.task, name, with_map(layers) or list(layers))
    if layers[best].activations.has_map:
        with run.part(name, best, "examples"):
            make_examples(run, name, best, layers[best])
    return best


def make_effects(
    session: Session, study: Study, settings: ModelSettings, model: "ProbedModel",
    layers: dict[str, Layer],
) -> None:  # fmt: skip
    """What concepts do to the study's classes, at every layer of a model that has such classes."""
    run, name = session.run, settings.title
    wanted = known_classes(model, study.tcav.classes)
    if not wanted:
        return
    first = next(iter(layers.values()))
    finder = ClassPictures(model, first.data, first.activations, study.tcav.images, settings.scores)
    pictures: dict[str, Pictures] = {}
    for entry in wanted:
        with run.part(name, ALL, f"class {entry}"):
            pictures |= finder.of([entry])
    makers = [make_decomposition, make_erasure] if study.tcav.form != "flattened" else []
    with _bar(session, f"{name}: effects", (1 + len(makers)) * len(layers)) as done:
        for key, layer in layers.items() if pictures else ():
            effects = Effects(layer, model, pictures, settings.scores)
            with run.part(name, key, "tcav"):
                make_tcav(run, name, key, effects, _probes(run, name, key, layer))
            done()
            for make in makers:
                with run.part(name, key, make.__name__.removeprefix("make_")):
                    make(run, name, key, effects)
                done()


def _probes(run: RunFolder, name: str, key: str, layer: Layer) -> list[Path]:
    """The files of vectors of a layer's probes, of those that could be made."""
    found = []
    first = layer.study.segment.task
    makers = [(make_segmentation, first)] if layer.activations.has_map else []
    for make, task in (*makers, (make_classification, "classify")):
        with run.part(name, key, task):
            found.append(make(run, name, key, layer) / f"{task}.h5")
    return found


def make_pictures(
    session: Session, study: Study, settings: ModelSettings, model: "ProbedModel",
    layers: dict[str, Layer],
) -> None:  # fmt: skip
    """What the layers of a model respond to, and their atlases, where the study asks for them."""
    run, name, count = session.run, settings.title, study.look.units
    if count:
        units: dict[str, Sequence[int]] = {}
        for key in with_map(layers):
            with run.part(name, key, "dissect"):
                best = read_table(make_dissection(run, name, key, layers[key]) / "best.csv")
                units[key] = top_units(best, count)
        make_looks(run, name, model, layers, units, session.progress)
    if not study.atlas.enabled:
        return
    classes = tuple(known_classes(model, study.atlas.classes))
    for key, layer in layers.items():
        vectors = None
        if layer.activations.has_map:
            with run.part(name, key, "segment"):
                vectors = make_segmentation(run, name, key, layer) / f"{study.segment.task}.h5"
        with run.part(name, key, "atlas"):
            make_atlases(
                run, name, key,
                Territory(layer, model, classes, vectors, settings.scores, session.progress),
            )  # fmt: skip


def _extract(
    session: Session, model: "ProbedModel", data: "ProbeDataset", settings: ModelSettings,
    step: str = "activations",
) -> "dict[str, Activations]":  # fmt: skip
    """The activations of a model's layers; where one fails, a step's, those of the others."""
    run, name = session.run, settings.title

    def some(layers: Sequence[str]) -> "dict[str, Activations]":
        return extract(
            model, data, layers, cache=session.cache, dtype=settings.dtype,
            batch_size=settings.batch_size, device=session.device, progress=session.progress,
        )  # fmt: skip

    try:
        return some(settings.layers)
    except (UnfinishedError, MemoryError):
        raise
    except (Exception, SystemExit):
        log.debug("%s: the layers' activations", name, exc_info=True)
    found: dict[str, Activations] = {}
    for layer in model.resolve(settings.layers):
        with run.part(name, layer, step):
            found |= some([layer])
    return found


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


def _run_untrained(
    session: Session, study: Study, layers: dict[str, Layer], settings: ModelSettings
) -> None:
    """The control of all layers: the same probes on random weights."""
    run, name, data = session.run, settings.title, next(iter(layers.values())).data
    model = open_model(settings, study.seed, untrained=True)
    acts = _extract(session, model, data, settings, "untrained")
    with _bar(session, f"{name}: untrained control", len(acts)) as done:
        for key, activations in acts.items():
            with run.part(name, key, "untrained"):
                layer = Layer(activations, data, study)
                made(run, (name, key, "untrained"), layer, untrained_step, PROBES)
            done()


def _best_layer(run: RunFolder, task: str, model: str, layers: Sequence[str]) -> str:
    """The layer whose segmentation probe scores best on average: the one shown in pictures."""
    scores = run.gather(task, "scores")
    if not len(scores):
        return layers[-1]
    mean = scores[scores["model"] == model].groupby("layer")["score"].mean()
    known = [layer for layer in layers if layer in mean.index and pd.notna(mean[layer])]
    return max(known, key=lambda layer: float(mean[layer]), default=layers[-1])


@contextmanager
def _bar(session: Session, title: str, total: int) -> Iterator[Callable[[], object]]:
    with tqdm(total=total, desc=title, disable=not session.progress, unit="step") as bar:
        yield bar.update
