"""Run a study: every step of every layer of every model, then what stands at its end."""

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
from conceptlab.study.comparison import ALL
from conceptlab.study.effects import Effects, make_decomposition, make_erasure, make_tcav
from conceptlab.study.finish import finish
from conceptlab.study.folder import RunFolder, read_table
from conceptlab.study.layer_steps import (
    PROBES,
    make_classification,
    make_dissection,
    make_examples,
    make_segmentation,
    steps_of,
    with_map,
)
from conceptlab.study.look import make_looks
from conceptlab.study.opening import open_model
from conceptlab.study.same import holds_model
from conceptlab.study.scale import spread
from conceptlab.study.settings import ModelSettings, Study
from conceptlab.study.steps import (
    Layer,
    made,
    top_units,
    untrained_step,
)
from conceptlab.study.studyfile import study_toml

if TYPE_CHECKING:
    from conceptlab.activations.pictures import Pictures
    from conceptlab.data.base import ProbeDataset
    from conceptlab.models.probed import ProbedModel

log = logging.getLogger(__name__)


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
