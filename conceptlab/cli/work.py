"""Commands that run a network, or compute on the activations of its layers."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from conceptlab.cli.options import (
    BatchOpt,
    CacheOpt,
    DataArg,
    DryOpt,
    DtypeOpt,
    FitOpt,
    LabelOpt,
    LayersOpt,
    MeanOpt,
    ModelArg,
    NameOpt,
    OutOpt,
    SizeOpt,
    SplitOpt,
    StdOpt,
    TauOpt,
    WeightsOpt,
    app,
    colours,
    open_data,
    open_model,
    options,
    probe_app,
    say,
    show,
)
from conceptlab.errors import CacheError, InputError

if TYPE_CHECKING:
    import pandas as pd

    from conceptlab.models.probed import ProbedModel
    from conceptlab.study.folder import RunFolder
    from conceptlab.study.settings import Study
    from conceptlab.study.steps import Layer

Maker = Callable[..., object]


@app.command()
def extract(
    model: ModelArg,
    data: DataArg,
    layer: LayersOpt,
    cache: CacheOpt = None,
    weights: WeightsOpt = None,
    mean: MeanOpt = None,
    std: StdOpt = None,
    size: SizeOpt = None,
    fit: FitOpt = None,
    dtype: DtypeOpt = "float16",
    batch_size: BatchOpt = 32,
    dry_run: DryOpt = False,
) -> None:
    """Cache the activations of some layers for every image."""
    from conceptlab.activations.estimate import estimate
    from conceptlab.activations.extract import extract as run

    loaded = open_model(model, weights=weights, mean=mean, std=std, size=size, fit=fit)
    images = open_data(data)
    if dry_run:
        found = estimate(loaded, images, layer, cache, dtype, batch_size)
        say(
            {
                "bytes": found.bytes, "missing_bytes": found.missing, "free_bytes": found.free,
                "expected_seconds": round(found.seconds, 1),
                "layers": found.table["layer"].tolist(),
            }
        )  # fmt: skip
        return
    made = run(loaded, images, layer, cache, dtype, batch_size, options.device, options.progress)
    rows = [
        {"layer": name, "shape": list(a.shape), "dtype": str(a.dtype), "path": str(a.path)}
        for name, a in made.items()
    ]
    if options.json:
        typer.echo(json.dumps(rows))
    else:
        for row in rows:
            typer.echo(f"{row['layer']}: {row['shape']} {row['dtype']} {row['path']}")


@app.command()
def dissect(
    model: ModelArg,
    data: DataArg,
    layer: LayersOpt,
    out: OutOpt = Path("runs/units"),
    name: NameOpt = None,
    cache: CacheOpt = None,
    weights: WeightsOpt = None,
    mean: MeanOpt = None,
    std: StdOpt = None,
    size: SizeOpt = None,
    fit: FitOpt = None,
    dtype: DtypeOpt = "float16",
    batch_size: BatchOpt = 32,
    tau: TauOpt = 0.005,
    label_size: LabelOpt = 0,
    order: Annotated[str, typer.Option(help="threshold-first or upsample-first.")] = (
        "threshold-first"
    ),
    align_corners: Annotated[
        bool, typer.Option("--align-corners", help="As the code of 2018 behaved.")
    ] = False,
    scope: Annotated[str, typer.Option(help="present (eq. 1) or labelled.")] = "present",
    image_level: Annotated[
        bool, typer.Option("--image-level", help="Also scenes and textures.")
    ] = False,
    netdissect_csv: Annotated[
        Path | None, typer.Option(help="Also write Network Dissection's result CSV here.")
    ] = None,
) -> None:
    """IoU of every unit with every concept; best units."""
    from conceptlab.study.layer_steps import make_dissection
    from conceptlab.study.settings import DissectSettings

    settings = DissectSettings(tau, order, align_corners, scope, image_level)
    study = study_of(locals(), dissect=settings)
    found = layers_of(study, cache, single=netdissect_csv is not None)
    run = run_steps(study, out, found, make_dissection)
    if netdissect_csv is not None:
        _write_network_dissection(next(iter(found.values())), netdissect_csv)
    best = run.gather("dissect", "best").drop(columns=["ind_low", "ind_high"], errors="ignore")
    _show_scores(best, "dissect")


@probe_app.command("segment")
def segment(
    model: ModelArg,
    data: DataArg,
    layer: LayersOpt,
    out: OutOpt = Path("runs/probes"),
    name: NameOpt = None,
    cache: CacheOpt = None,
    weights: WeightsOpt = None,
    mean: MeanOpt = None,
    std: StdOpt = None,
    size: SizeOpt = None,
    fit: FitOpt = None,
    dtype: DtypeOpt = "float16",
    batch_size: BatchOpt = 32,
    tau: TauOpt = 0.005,
    label_size: LabelOpt = 0,
    loss: Annotated[str, typer.Option(help="bce, or net2vec for eq. 4 as printed.")] = "bce",
    inputs: Annotated[
        str, typer.Option(help="binary: thresholded units (eq. 2); raw: units as they are.")
    ] = "binary",
    split: SplitOpt = "val",
) -> None:
    """Segment every concept by all units (equations 2 to 4)."""
    from conceptlab.study.layer_steps import make_dissection, make_segmentation
    from conceptlab.study.settings import DissectSettings, SegmentSettings

    settings = SegmentSettings(loss, (inputs,), split=split)
    study = study_of(locals(), dissect=DissectSettings(tau), segment=settings)
    found = layers_of(study, cache)
    run = run_steps(study, out, found, make_dissection, make_segmentation)
    _show_scores(run.gather(settings.task, "scores"), settings.task)


@probe_app.command("classify")
def classify(
    model: ModelArg,
    data: DataArg,
    layer: LayersOpt,
    out: OutOpt = Path("runs/probes"),
    name: NameOpt = None,
    cache: CacheOpt = None,
    weights: WeightsOpt = None,
    mean: MeanOpt = None,
    std: StdOpt = None,
    size: SizeOpt = None,
    fit: FitOpt = None,
    dtype: DtypeOpt = "float16",
    batch_size: BatchOpt = 32,
    label_size: LabelOpt = 0,
    split: SplitOpt = "val",
) -> None:
    """Tell the images that show each concept (equation 5)."""
    from conceptlab.study.layer_steps import make_classification
    from conceptlab.study.settings import ClassifySettings

    study = study_of(locals(), classify=ClassifySettings(split=split))
    found = layers_of(study, cache, task="classify")
    run = run_steps(study, out, found, make_classification)
    _show_scores(run.gather("classify", "scores"), "classify")


def _show_scores(table: "pd.DataFrame", task: str) -> None:
    """Print a task's scores, and which measure they are of."""
    from conceptlab.study.settings import MEASURE

    if "score" in table:
        table.insert(list(table.columns).index("score"), "measure", MEASURE[task])
    show(table)


def study_of(given: dict[str, Any], **tables: Any) -> "Study":
    """A study of one model from a command's arguments and some of the study's tables."""
    from conceptlab.study.settings import DataSettings, ModelSettings, Study

    known = ("name", "weights", "size", "fit", "output")
    kept = {k: given[k] for k in known if given.get(k)} | colours(given)
    model = ModelSettings(
        spec=given["model"],
        layers=tuple(given["layer"]),
        dtype=given["dtype"],
        batch_size=given["batch_size"],
        **kept,
    )
    data = DataSettings(given["data"], given.get("label_size", 0))
    return Study(data, (model,), seed=options.seed, **tables)


def layers_of(
    study: "Study",
    cache: Path | None,
    task: str | None = "segment",
    single: bool = False,
    model: "ProbedModel | None" = None,
) -> "dict[tuple[str, str], Layer]":
    """(model, layer) to the layer's activations, extracted now where the cache lacks them."""
    from conceptlab.activations.extract import extract as run
    from conceptlab.study.opening import open_model as open_settings
    from conceptlab.study.same import holds_model
    from conceptlab.study.steps import Layer, require_splits

    settings, data = study.models[0], open_data(study.data.spec)
    model = model or open_settings(settings, study.seed)
    if task is not None:
        require_splits(study, data, task)
    names = model.resolve(settings.layers)
    if single and len(names) > 1:
        raise InputError(f"--netdissect-csv takes one layer; -l gives {', '.join(names)}")
    made = run(
        model, data, names, cache, settings.dtype, settings.batch_size,
        options.device, options.progress,
    )  # fmt: skip
    title, of = settings.name or model.name, holds_model(model, settings)
    return {(title, name): Layer(a, data, study, of) for name, a in made.items()}


def run_steps(
    study: "Study", out: Path, layers: "dict[tuple[str, str], Layer]", *makers: Maker
) -> "RunFolder":
    """Run some steps of layers, and put the run folder's tables together.

    What cannot be made is told when the command ends, unless it is all of it.
    """
    from conceptlab.study.folder import RunFolder
    from conceptlab.study.studyfile import read_study
    from conceptlab.study.tables import write_tables

    folder = RunFolder(out)
    for (model, name), layer in layers.items():
        for make in makers:
            with folder.part(model, name, getattr(make, "__name__", "")):
                make(folder, model, name, layer)
    if folder.failure is not None and not folder.asked.keys() - folder.unmade.keys():
        raise folder.failure
    earlier = folder.path / "study.toml"  # of the study that this folder is of; it may list sums
    if earlier.is_file():
        study = replace(study, compare=read_study(earlier).compare)
    write_tables(folder, study)
    options.unmade = folder.unmade
    return folder


def _write_network_dissection(layer: "Layer", path: Path) -> None:
    from conceptlab.probes.units.dissection import dissect as run
    from conceptlab.probes.units.netdissect_csv import write_network_dissection

    settings = {k: v for k, v in asdict(layer.study.dissect).items() if k != "permutations"}
    found = run(layer.activations, layer.data, label_size=layer.label_size, **settings)
    try:
        write_network_dissection(found, path)
    except OSError as error:
        raise CacheError(f"cannot write {path} ({error.strerror})") from error
