"""Commands that ask what concepts do to predictions: TCAV, basis decomposition, erasure."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from conceptlab.cli.options import (
    BatchOpt,
    CacheOpt,
    DataArg,
    DtypeOpt,
    FitOpt,
    LabelOpt,
    LayersOpt,
    MeanOpt,
    ModelArg,
    NameOpt,
    OutOpt,
    OutputOpt,
    SizeOpt,
    StdOpt,
    WeightsOpt,
    app,
    open_data,
    options,
    show,
)
from conceptlab.cli.work import layers_of, run_steps, study_of
from conceptlab.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from conceptlab.study.effects import Effects
    from conceptlab.study.folder import RunFolder
    from conceptlab.study.settings import TcavSettings

ClassOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--class",
        help="CLASS, CLASS=CONCEPT (pictures of DATA that show it) or CLASS=FOLDER; may be "
        "repeated. Without: chosen from DATA.",
    ),
]
ImagesOpt = Annotated[int, typer.Option("--images", min=2, help="Pictures of a class at most.")]
AgainstOpt = Annotated[
    str, typer.Option("--against", help="complement, random, or a concept (relative CAVs).")
]
ClassifierOpt = Annotated[
    str, typer.Option("--classifier", help="ridge, logistic, svm or difference.")
]
RandomOpt = Annotated[int, typer.Option("--random", help="Random sets of images.")]
ExamplesOpt = Annotated[int, typer.Option("--examples", help="Images of a set.")]
UnitsOpt = Annotated[int, typer.Option("--units", min=1, help="Top units ablated together.")]
ROWS = 12  # of a class, in what is printed


@app.command()
def tcav(
    model: ModelArg,
    data: DataArg,
    layer: LayersOpt,
    classes: ClassOpt = None,
    output: OutputOpt = None,
    out: OutOpt = Path("runs/effects"),
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
    images: ImagesOpt = 50,
    against: AgainstOpt = "complement",
    classifier: ClassifierOpt = "ridge",
    form: Annotated[str, typer.Option(help="pooled, positions or flattened.")] = "pooled",
    random: RandomOpt = 50,
    examples: ExamplesOpt = 50,
    vectors: Annotated[
        list[Path] | None,
        typer.Option("--vectors", help="Also along these vectors (.h5); may be repeated."),
    ] = None,
) -> None:
    """Test how each class depends on each concept."""
    from conceptlab.study.effects import make_tcav

    given, others = locals(), _vector_files(vectors)

    def make(run: "RunFolder", model: str, name: str, effects: "Effects") -> Path:
        return make_tcav(run, model, name, effects, [o for o in others if _is_of(o, name)])

    run = _run(given, make)
    table = run.gather("tcav", "tcav")
    columns = ["class", "concept", "kind", "score", "magnitude", "effect", "p_value",
               "p_adjusted", "low", "high", "n", "accuracy", "note"]  # fmt: skip
    _show(table, columns, "effect")


@app.command()
def decompose(
    model: ModelArg,
    data: DataArg,
    layer: LayersOpt,
    classes: ClassOpt = None,
    output: OutputOpt = None,
    out: OutOpt = Path("runs/effects"),
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
    images: ImagesOpt = 50,
    against: AgainstOpt = "complement",
    classifier: ClassifierOpt = "ridge",
    examples: ExamplesOpt = 50,
    method: Annotated[str, typer.Option(help="greedy or nnls.")] = "greedy",
    components: Annotated[int, typer.Option(min=1, help="Concepts at most, of greedy.")] = 7,
    centred: Annotated[
        bool, typer.Option("--centred", help="Take from each vector its mean over the units.")
    ] = False,
) -> None:
    """Say what concepts contribute to each class."""
    from conceptlab.study.effects import make_decomposition

    run = _run(locals(), make_decomposition)
    columns = ["class", "concept", "coefficient", "contribution", "share", "low", "high", "n"]
    show(run.gather("decompose", "table")[["model", "layer", *columns]])
    if not options.json:
        show(run.gather("decompose", "classes"))


@app.command()
def erase(
    model: ModelArg,
    data: DataArg,
    layer: LayersOpt,
    classes: ClassOpt = None,
    output: OutputOpt = None,
    concepts: Annotated[
        list[str] | None,
        typer.Option("--concept", help="NAME or CATEGORY/NAME; may be repeated. Without: those "
                     "that TCAV finds most effective."),
    ] = None,
    out: OutOpt = Path("runs/effects"),
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
    images: ImagesOpt = 50,
    against: AgainstOpt = "complement",
    classifier: ClassifierOpt = "ridge",
    random: RandomOpt = 50,
    examples: ExamplesOpt = 50,
    units: UnitsOpt = 10,
) -> None:  # fmt: skip
    """Take concepts out of a layer, and see which classes change."""
    from conceptlab.study.effects import make_erasure, make_tcav

    given = locals()

    def make(run: "RunFolder", model: str, name: str, effects: "Effects") -> Path:
        if not concepts:
            make_tcav(run, model, name, effects)
        return make_erasure(run, model, name, effects, concepts)

    run = _run(given, make)
    columns = ["class", "concept", "ablation", "logit_change", "random_change", "effect",
               "p_value", "p_adjusted", "accuracy_before", "accuracy_after", "n"]  # fmt: skip
    _show(run.gather("erase", "table"), columns, "logit_change")


def _run(given: dict[str, Any], make: "Callable[..., Path]") -> "RunFolder":
    """Make a step of every layer, and put the run folder's tables and figures together."""
    from conceptlab.study.checks import require_known, require_sources
    from conceptlab.study.classes import ClassPictures
    from conceptlab.study.effects import Effects
    from conceptlab.study.finish import draw_figures
    from conceptlab.study.opening import open_model

    settings = _settings(given)
    study = study_of(given, tcav=settings)
    opened = open_model(study.models[0], study.seed)
    require_sources(settings.classes, open_data(study.data.spec).catalogue)
    require_known("--class", settings.classes, opened)
    found = layers_of(study, given["cache"], task="classify", model=opened)
    first = next(iter(found.values()))
    output = study.models[0].scores
    finder = ClassPictures(opened, first.data, first.activations, settings.images, output)
    pictures = finder.of(settings.classes)

    def step(run: "RunFolder", model: str, name: str, layer: Any) -> Path:
        return make(run, model, name, Effects(layer, opened, pictures, output, options.progress))

    run = run_steps(study, given["out"], found, step)
    draw_figures(run)
    return run


def _settings(given: dict[str, Any]) -> "TcavSettings":
    """A study's [tcav] from a command's arguments."""
    from dataclasses import fields

    from conceptlab.study.settings import TcavSettings

    known = {f.name for f in fields(TcavSettings)} - {"classes"}
    chosen = {k: v for k, v in given.items() if k in known}
    return replace(TcavSettings(**chosen), classes=tuple(given["classes"] or ("*",)))


def _vector_files(paths: "Sequence[Path] | None") -> list[Path]:
    for path in paths or ():
        if not path.is_file():
            raise InputError(f"there is no file {path}")
    return list(paths or ())


def _is_of(path: Path, layer: str) -> bool:
    from conceptlab.vectors import ConceptVectors

    return ConceptVectors.load(path).space.layer == layer


def _show(table: Any, columns: "Sequence[str]", by: str) -> None:
    """Print the rows of each class with the largest values; all of them as JSON."""
    rows = table[["model", "layer", *columns]]
    if options.json or not len(rows):
        show(rows)
        return
    size = rows[by].abs().groupby([rows["model"], rows["layer"], rows["class"]], sort=False)
    kept = rows[size.rank(ascending=False, method="first") <= ROWS]
    show(kept.sort_values(["model", "layer", "class", by], ascending=[True, True, True, False]))
    if len(kept) < len(rows):
        typer.echo(f"{len(kept)} of {len(rows)} rows, those of largest {by}; tables/ has all")
