"""The command line: each command is one public call."""

import json
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from conceptlab.errors import CacheError, ConceptlabError, InputError, UnfinishedError

if TYPE_CHECKING:
    import pandas as pd

    from conceptlab.data.base import ProbeDataset
    from conceptlab.models.probed import ProbedModel
    from conceptlab.study.settings import Study
    from conceptlab.study.steps import Layer

INTERRUPTED = 130
STOPPED = "interrupted; the same command continues where it stopped"
GLOBAL_VALUES = ("--seed", "--device")
GLOBAL_FLAGS = ("--quiet", "--json", "--debug")


@dataclass
class Options:
    """What holds for every command."""

    seed: int = 0
    device: str | None = None
    quiet: bool = False
    json: bool = False

    @property
    def progress(self) -> bool:
        """Whether to show bars."""
        return not self.quiet and sys.stderr.isatty()


app = typer.Typer(
    name="conceptlab",
    help="How concepts are encoded inside vision networks: extract, dissect, probe, compare.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
data_app = typer.Typer(help="Look at a probe data set.", no_args_is_help=True)
probe_app = typer.Typer(help="Learn concept vectors over all units.", no_args_is_help=True)
cache_app = typer.Typer(help="List, check and tidy the cache.", no_args_is_help=True)
units_app = typer.Typer(
    help="Tables of units, ours and Network Dissection's.", no_args_is_help=True
)
app.add_typer(data_app, name="data")
app.add_typer(probe_app, name="probe")
app.add_typer(cache_app, name="cache")
app.add_typer(units_app, name="units")

options = Options()

ModelArg = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="builtin:NAME, torchvision:NAME[@WEIGHTS], timm:NAME[@pretrained] or "
        "file:PATH.py:FACTORY",
    ),
]
DataArg = Annotated[
    str,
    typer.Argument(
        metavar="DATA", help="scenes[:n=1000,seed=0], folder:PATH[,colors=true], broden:PATH"
    ),
]
LayersOpt = Annotated[
    list[str], typer.Option("--layer", "-l", help="Layer name or glob; may be repeated.")
]
CacheOpt = Annotated[
    Path | None, typer.Option("--cache", help="Cache folder (else CONCEPTLAB_CACHE, else cache/).")
]
OutOpt = Annotated[Path, typer.Option("--out", help="Run folder; several commands may share it.")]
WeightsOpt = Annotated[
    str | None, typer.Option("--weights", help="A .safetensors file or a state dict.")
]
MeanOpt = Annotated[str | None, typer.Option("--mean", help="R,G,B")]
StdOpt = Annotated[str | None, typer.Option("--std", help="R,G,B")]
SizeOpt = Annotated[int | None, typer.Option("--size", help="Pixels on a side of the input.")]
FitOpt = Annotated[str | None, typer.Option("--fit", help="whole (default) or crop.")]
DtypeOpt = Annotated[str, typer.Option("--dtype", help="float16 or float32.")]
BatchOpt = Annotated[int, typer.Option("--batch-size", min=1, help="Images a pass.")]
TauOpt = Annotated[float, typer.Option("--tau", help="Share of activations above the threshold.")]
LabelOpt = Annotated[
    int, typer.Option("--label-size", min=0, help="Side of the label maps; 0: half the input.")
]
DryOpt = Annotated[bool, typer.Option("--dry-run", help="Only say bytes and expected time.")]


@app.callback()
def _globals(
    version: Annotated[bool, typer.Option("--version", help="Say the version and stop.")] = False,
    seed: Annotated[int, typer.Option(help="Of everything left to chance.")] = 0,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps.")] = None,
    quiet: Annotated[bool, typer.Option(help="No progress bars, no remarks.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line on stdout.")] = False,
    debug: Annotated[bool, typer.Option(help="Show tracebacks.")] = False,
) -> None:
    del debug, version
    options.seed, options.device, options.quiet, options.json = seed, device, quiet, as_json
    level = logging.WARNING if quiet else logging.INFO
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stderr, force=True)
    logging.getLogger("conceptlab").setLevel(level)
    for name in ("matplotlib", "numba", "PIL"):
        logging.getLogger(name).setLevel(logging.WARNING)


def show(table: "pd.DataFrame", title: str = "") -> None:
    """Print a table, as text or as one JSON line."""
    if options.json:
        typer.echo(table.to_json(orient="records"))
        return
    if title:
        typer.echo(title)
    typer.echo(table.to_string(index=False, max_rows=200, na_rep="-", float_format="%.4f"))


def say(value: dict[str, Any]) -> None:
    """Print a few facts, as lines or as one JSON line."""
    if options.json:
        typer.echo(json.dumps(value, ensure_ascii=False))
        return
    for key, item in value.items():
        typer.echo(f"{key}: {item}")


def open_data(spec: str) -> "ProbeDataset":
    """The data set of a specification."""
    from conceptlab.data import load_data

    return load_data(spec)


def open_model(spec: str, **given: Any) -> "ProbedModel":
    """The model of a specification and the options that override its preprocessing."""
    from conceptlab.models import load_model

    chosen = {k: v for k, v in given.items() if v is not None}
    for name in ("mean", "std"):
        if name in chosen:
            chosen[name] = three(chosen[name], f"--{name}")
    return load_model(spec, **chosen, device=options.device or "cpu", seed=options.seed)


def three(text: str, name: str) -> tuple[float, float, float]:
    """Three numbers written as R,G,B."""
    try:
        r, g, b = (float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"{name} takes three numbers as R,G,B; got {text!r}") from None
    return r, g, b


@app.command()
def demo(
    out: OutOpt = Path("runs/demo"),
    cache: CacheOpt = None,
    images: Annotated[int, typer.Option("--images", min=60, help="Pictures to draw.")] = 400,
) -> None:
    """Probe a small built-in network with drawn scenes, end to end; writes a report."""
    from conceptlab.study.settings import (
        CompareSettings,
        DataSettings,
        ModelSettings,
        SegmentSettings,
        Study,
    )

    study = Study(
        name="demo",
        seed=options.seed,
        data=DataSettings(f"scenes:n={images}"),
        models=tuple(
            ModelSettings(spec=f"builtin:{name}", name=name, layers=layers)
            for name, layers in DEMO_MODELS.items()
        ),
        segment=SegmentSettings(sizes=(1, 2, 4, 8, 16, 32, 64)),
        compare=CompareSettings(arithmetic=("grass - green", "sky - blue", "tree - brown")),
    )
    _run(study, out, cache)


DEMO_MODELS = {
    "scenenet": ("features.8", "features.17"),
    "scenenet-rotation": ("features.17",),
}


@app.command()
def layers(
    model: ModelArg,
    weights: WeightsOpt = None,
    size: SizeOpt = None,
    match: Annotated[list[str] | None, typer.Option("--layer", "-l", help="Only these.")] = None,
) -> None:
    """List a model's layers: shape, stride, receptive field, cache bytes per image."""
    loaded = open_model(model, weights=weights, size=size)
    table = loaded.layers()
    if match:
        table = table[table["layer"].isin(loaded.resolve(match))]
    show(table)


@data_app.command("describe")
def describe(data: DataArg) -> None:
    """Count the images and concepts of a data set."""
    loaded = open_data(data)
    table = loaded.concepts.reset_index(names="id")
    if not options.json:
        import pandas as pd

        counts = pd.Series(loaded.splits).value_counts(sort=False)
        parts = ", ".join(f"{name} {count}" for name, count in counts.items())
        typer.echo(f"{loaded.spec}: {len(loaded)} images ({parts}), {len(table)} concepts")
    show(table)


@data_app.command("validate")
def validate(data: DataArg) -> None:
    """Say what is wrong with a data set, file by file; exit 2 if anything is."""
    problems = open_data(data).validate()
    wrong = [p for p in problems if p.severity == "error"]
    if options.json:
        rows = [{"file": p.file, "message": p.message, "severity": p.severity} for p in problems]
        typer.echo(json.dumps({"errors": len(wrong), "problems": rows}, ensure_ascii=False))
    else:
        for p in problems:
            typer.echo(f"{p.severity}: {p.file}: {p.message}")
        typer.echo(f"{len(wrong)} errors, {len(problems) - len(wrong)} remarks")
    if wrong:
        raise typer.Exit(2)


@data_app.command("prepare")
def prepare(
    data: DataArg,
    cache: CacheOpt = None,
    size: Annotated[int, typer.Option("--size", help="The network's input size.")] = 224,
    label_size: LabelOpt = 0,
) -> None:
    """Bring the label maps to the label size and keep them in the cache."""
    from conceptlab.activations.labels import prepare_labels
    from conceptlab.activations.store import cache_root
    from conceptlab.numerics.geometry import Geometry

    side = label_size or size // 2
    store = prepare_labels(open_data(data), Geometry(size), (side, side), cache_root(cache))
    say({"images": len(store.present), "concepts": len(store.concepts), "label_size": side})


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
    found_layers = run(
        loaded, images, layer, cache, dtype, batch_size, options.device, options.progress
    )
    rows = [
        {"layer": name, "shape": list(a.shape), "dtype": str(a.dtype), "path": str(a.path)}
        for name, a in found_layers.items()
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
    align_corners: Annotated[bool, typer.Option(help="As the code of 2018 behaved.")] = False,
    scope: Annotated[str, typer.Option(help="present (eq. 1) or labelled.")] = "present",
    image_level: Annotated[bool, typer.Option(help="Also scenes and textures.")] = False,
    netdissect_csv: Annotated[
        Path | None, typer.Option(help="Also write Network Dissection's result CSV here.")
    ] = None,
) -> None:
    """IoU of every unit with every concept, best units and detectors."""
    from conceptlab.study.run import make_dissection
    from conceptlab.study.settings import DissectSettings

    study = _study(locals(), DissectSettings(tau, order, align_corners, scope, image_level))
    run = _steps(study, out, cache, make_dissection)
    if netdissect_csv is not None:
        _write_network_dissection(study, cache, netdissect_csv)
    show(run.gather("dissect", "best").drop(columns=["ind_low", "ind_high"], errors="ignore"))


@probe_app.command("segment")
def segment(
    model: ModelArg,
    data: DataArg,
    layer: LayersOpt,
    out: OutOpt = Path("runs/probes"),
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
    split: Annotated[str, typer.Option(help="Split to score on.")] = "val",
) -> None:
    """Learn to segment every concept by all units (eq. 2-4)."""
    from conceptlab.study.run import make_dissection, make_segmentation
    from conceptlab.study.settings import DissectSettings, SegmentSettings

    study = _study(locals(), DissectSettings(tau))
    study = replace(study, segment=SegmentSettings(loss, split=split))
    run = _steps(study, out, cache, make_dissection, make_segmentation)
    show(run.gather("segment", "scores"))


@probe_app.command("classify")
def classify(
    model: ModelArg,
    data: DataArg,
    layer: LayersOpt,
    out: OutOpt = Path("runs/probes"),
    cache: CacheOpt = None,
    weights: WeightsOpt = None,
    mean: MeanOpt = None,
    std: StdOpt = None,
    size: SizeOpt = None,
    fit: FitOpt = None,
    dtype: DtypeOpt = "float16",
    batch_size: BatchOpt = 32,
    split: Annotated[str, typer.Option(help="Split to score on.")] = "val",
) -> None:
    """Learn to tell the images that show each concept (eq. 5)."""
    from conceptlab.study.run import make_classification
    from conceptlab.study.settings import ClassifySettings, DissectSettings

    study = _study(locals() | {"label_size": 0}, DissectSettings())
    study = replace(study, classify=ClassifySettings(split=split))
    run = _steps(study, out, cache, make_classification)
    show(run.gather("classify", "scores"))


@app.command()
def run(
    study: Annotated[Path, typer.Argument(metavar="STUDY.toml")],
    out: Annotated[Path | None, typer.Option("--out", help="Run folder.")] = None,
    cache: CacheOpt = None,
    workers: Annotated[int, typer.Option(help="Processes that share the models.")] = 1,
    scheduler: Annotated[str | None, typer.Option(help="Address of a Dask scheduler.")] = None,
    dry_run: DryOpt = False,
) -> None:
    """Run a study: all its models and layers, tables, figures and report."""
    from conceptlab.study.settings import read_study, study_toml

    settings = read_study(study)
    if dry_run:
        typer.echo(study_toml(settings))
        return
    _run(settings, out or Path("runs") / settings.name, cache, workers, scheduler)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
) -> None:
    """Draw the figures and the report of what is in a run folder."""
    from conceptlab.study.run import draw

    if not (folder / "tables").is_dir():
        raise InputError(f"{folder} is no run folder: it has no tables/")
    from conceptlab.study.folder import RunFolder

    say({"report": str(draw(RunFolder(folder)))})


@cache_app.command("ls")
def cache_ls(cache: CacheOpt = None) -> None:
    """List what the cache holds."""
    from conceptlab.activations.maintain import cache_table
    from conceptlab.activations.store import cache_root

    show(cache_table(cache_root(cache)))


@cache_app.command("verify")
def cache_verify(cache: CacheOpt = None) -> None:
    """Check every block against its checksum; name each damaged one and exit 3 if there are any."""
    from conceptlab.activations.maintain import verify
    from conceptlab.activations.store import cache_root

    damage = verify(cache_root(cache))
    if options.json or len(damage):
        show(damage)
    if len(damage):
        raise UnfinishedError(
            f"{len(damage)} blocks or files are damaged; extract them again to repair them"
        )
    if not options.json:
        typer.echo("no damage")


@cache_app.command("prune")
def cache_prune(
    cache: CacheOpt = None,
    incomplete: Annotated[bool, typer.Option(help="Also what an extraction has begun.")] = False,
    dry_run: DryOpt = False,
) -> None:
    """Remove damaged and temporary files."""
    from conceptlab.activations.maintain import prune
    from conceptlab.activations.store import cache_root

    show(prune(cache_root(cache), incomplete, dry_run))


@units_app.command("summarize")
def units_summarize(
    file: Annotated[Path, typer.Argument(metavar="FILE.csv")],
    threshold: Annotated[float, typer.Option(help="IoU above which a unit detects.")] = 0.04,
    rule: Annotated[str, typer.Option(help="every-category or best-label.")] = "every-category",
) -> None:
    """Count detectors and unique detectors in a table of units, theirs or ours."""
    from conceptlab.probes.summary import summarize_units

    say(summarize_units(file, threshold, rule))


def _study(given: dict[str, Any], dissect_settings: Any) -> "Study":
    """A study of one model from a command's arguments."""
    from conceptlab.study.settings import DataSettings, ModelSettings, Study

    kept = {k: given[k] for k in ("weights", "size", "fit") if given[k]}
    kept |= {k: three(given[k], f"--{k}") for k in ("mean", "std") if given[k]}
    model = ModelSettings(
        spec=given["model"], layers=tuple(given["layer"]), dtype=given["dtype"],
        batch_size=given["batch_size"], **kept,
    )  # fmt: skip
    return Study(
        data=DataSettings(given["data"], given["label_size"]),
        models=(model,),
        name=str(given["out"].name),
        seed=options.seed,
        dissect=dissect_settings,
    )


def _steps(study: "Study", out: Path, cache: Path | None, *makers: Callable[..., Path]) -> Any:
    """Run some steps of one model's layers, and put the folder's tables together."""
    from conceptlab.study.folder import RunFolder
    from conceptlab.study.tables import write_tables

    folder = RunFolder(out)
    model, layers_ = _layers(study, cache)
    for name, layer in layers_.items():
        for make in makers:
            make(folder, model.name, name, layer)
    write_tables(folder, study)
    return folder


def _layers(study: "Study", cache: Path | None) -> tuple["ProbedModel", dict[str, "Layer"]]:
    from conceptlab.activations.extract import extract as run
    from conceptlab.study.run import open_model as open_settings
    from conceptlab.study.steps import Layer

    settings = study.models[0]
    model, data = open_settings(settings, study.seed), open_data(study.data.spec)
    acts = run(
        model, data, settings.layers, cache, settings.dtype, settings.batch_size,
        options.device, options.progress,
    )  # fmt: skip
    return model, {name: Layer(a, data, study) for name, a in acts.items()}


def _write_network_dissection(study: "Study", cache: Path | None, path: Path) -> None:
    from dataclasses import asdict

    from conceptlab.probes.dissect import dissect as run
    from conceptlab.probes.summary import write_network_dissection

    _, layers_ = _layers(study, cache)
    if len(layers_) != 1:
        raise InputError("--netdissect-csv takes one layer; give a single -l")
    layer = next(iter(layers_.values()))
    settings = {k: v for k, v in asdict(study.dissect).items() if k != "permutations"}
    found = run(layer.activations, layer.data, label_size=layer.label_size, **settings)
    write_network_dissection(found, path)


def _run(
    study: "Study",
    out: Path,
    cache: Path | None,
    workers: int = 1,
    scheduler: str | None = None,
) -> None:
    from conceptlab.study.folder import read_table
    from conceptlab.study.run import run_study

    path = run_study(
        study,
        out,
        cache=cache,
        device=options.device,
        progress=options.progress,
        workers=workers,
        scheduler=scheduler,
    )
    summary = read_table(out / "tables" / "summary.csv")
    if options.json:
        rows = json.loads(summary.to_json(orient="records"))
        typer.echo(json.dumps({"report": str(path), "summary": rows}))
    else:
        show(summary)
        typer.echo(f"report: {path}")


def reorder(arguments: list[str]) -> list[str]:
    """Global options moved before the command, so that they may stand after it as well."""
    front: list[str] = []
    rest: list[str] = []
    waiting = list(arguments)
    while waiting:
        word = waiting.pop(0)
        if word == "--":
            rest += ["--", *waiting]
            break
        if word in GLOBAL_FLAGS or word.startswith(tuple(f"{v}=" for v in GLOBAL_VALUES)):
            front.append(word)
        elif word in GLOBAL_VALUES and waiting:
            front += [word, waiting.pop(0)]
        else:
            rest.append(word)
    return front + rest


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; every failure is one sentence on stderr and an exit code."""
    words = reorder(sys.argv[1:] if arguments is None else arguments)
    if "--version" in words:
        from conceptlab import __version__

        typer.echo(f"conceptlab {__version__}")
        sys.exit(0)
    try:
        sys.exit(_call(words))
    except Exception as error:
        if "--debug" in words:
            raise
        sys.exit(_explain(error))


def _call(words: list[str]) -> int:
    _keep_memory(words)
    try:
        return int(app(words, standalone_mode=False) or 0)
    except KeyboardInterrupt:
        typer.echo(STOPPED, err=True)
        return INTERRUPTED


def _keep_memory(words: list[str]) -> None:
    """The allocator switch that the command line makes (DESIGN: it is opt-in in the library)."""
    if words and words[0] not in ("--help", "--version"):
        from conceptlab.activations.allocator import keep_freed_memory

        keep_freed_memory()


def _explain(error: Exception) -> int:
    """Say what went wrong in one sentence; the exit code."""
    if isinstance(error, typer.Exit):
        return int(error.exit_code)
    if isinstance(error, typer.Abort):
        typer.echo(STOPPED, err=True)
        return INTERRUPTED
    code, text = 1, f"{type(error).__name__}: {error} (this is a bug; --debug shows where)"
    if isinstance(error, ConceptlabError):
        code, text = error.exit_code, str(error)
    elif isinstance(error, OSError):
        code, text = CacheError.exit_code, f"{error.strerror or error}: {error.filename or ''}"
    elif hasattr(error, "format_message"):  # of the option parser
        code, text = 2, error.format_message()
    typer.echo(f"error: {text}", err=True)
    return code


if __name__ == "__main__":
    main()
