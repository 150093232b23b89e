"""Commands that show what units, vectors and layers respond to: exemplars, images, atlases."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from conceptlab.cli.options import (
    BatchOpt,
    CacheOpt,
    DataArg,
    DtypeOpt,
    FitOpt,
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
    options,
    say,
    show,
)
from conceptlab.cli.selection import spread, vectors_of
from conceptlab.cli.work import layers_of, run_steps, study_of
from conceptlab.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conceptlab.models.probed import ProbedModel
    from conceptlab.study.folder import RunFolder
    from conceptlab.study.look import Look
    from conceptlab.study.steps import Layer

UnitsOpt = Annotated[
    list[int] | None,
    typer.Option("--unit", "-u", min=0, help="Unit from 0; may be repeated. Without: evenly "
                 "spaced ones."),
]  # fmt: skip
VectorsOpt = Annotated[
    Path | None, typer.Option("--vectors", help="Concept vectors of the layer (.h5).")
]
ConceptsOpt = Annotated[
    list[str] | None,
    typer.Option("--concept", help="Of --vectors; may be repeated. Without: all of them."),
]
LARGEST = 12  # cells that are printed


@app.command()
def exemplars(
    model: ModelArg,
    data: DataArg,
    layer: LayersOpt,
    unit: UnitsOpt = None,
    vectors: VectorsOpt = None,
    concept: ConceptsOpt = None,
    by: Annotated[
        str, typer.Option("--by", help="max, mean, or ROW,COLUMN in the layer's map.")
    ] = "max",
    choose: Annotated[
        list[str] | None,
        typer.Option("--choose", help="top, diverse or range; may be repeated. Without: all."),
    ] = None,
    count: Annotated[int, typer.Option("--count", min=1, help="Pictures of each.")] = 8,
    fields: Annotated[
        int,
        typer.Option(
            "--fields",
            min=0,
            help="Pictures of each that are covered part by part, to see how far it looks; slow.",
        ),
    ] = 0,
    out: OutOpt = Path("runs/look"),
    name: NameOpt = None,
    cache: CacheOpt = None,
    weights: WeightsOpt = None,
    mean: MeanOpt = None,
    std: StdOpt = None,
    size: SizeOpt = None,
    fit: FitOpt = None,
    dtype: DtypeOpt = "float16",
    batch_size: BatchOpt = 32,
) -> None:
    """Show filters, and images that units or vectors respond to."""
    from conceptlab.analysis.units.exemplars import CHOICES
    from conceptlab.study.look import make_exemplars, make_filters
    from conceptlab.study.opening import open_model
    from conceptlab.study.settings import LookSettings

    study = study_of(locals(), look=LookSettings(count=count, fields=fields))
    opened = open_model(study.models[0], study.seed)
    found = layers_of(study, cache, None, model=opened)
    way, ways = _position(by), tuple(choose or CHOICES)

    shown: set[int] = set()

    def step(run: "RunFolder", model: str, name: str, layer: "Layer") -> Path:
        look = _look(layer, opened, unit, vectors_of(vectors, concept, name))
        shown.update(look.of if isinstance(look.of, tuple) else ())
        made = make_exemplars(run, model, name, look, way, ways)
        make_filters(run, model, opened, list(found.values()))
        return made

    run = run_steps(study, out, found, step)
    table = run.gather("exemplars", "exemplars")
    if shown and (unit or not options.json):  # the table has all units
        table = table[table["unit"].isin(shown)]
    show(table if options.json else table[table["rank"] == 1])
    _point(run)


@app.command()
def visualize(
    model: ModelArg,
    data: Annotated[
        str | None,
        typer.Argument(metavar="[DATA]", help="Whose pictures the images are measured against."),
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(
            "--layer", "-l", help="Layer name or glob; may be repeated. Needed for all but classes."
        ),
    ] = None,
    unit: UnitsOpt = None,
    vectors: VectorsOpt = None,
    concept: ConceptsOpt = None,
    classes: Annotated[
        list[str] | None, typer.Option("--class", help="A class's logit; may be repeated.")
    ] = None,
    dream: Annotated[bool, typer.Option("--dream", help="The whole layer (deep dream).")] = False,
    invert: Annotated[
        list[Path] | None,
        typer.Option("--invert", help="A picture that the layer is to take the image for."),
    ] = None,
    caricature: Annotated[
        list[Path] | None,
        typer.Option("--caricature", help="A picture whose response is to be exaggerated."),
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Of each image.")] = None,
    rate: Annotated[float | None, typer.Option("--rate", help="Size of a step.")] = None,
    parameters: Annotated[
        str | None, typer.Option("--parameters", help="fourier, pixels or free.")
    ] = None,
    octaves: Annotated[
        int | None, typer.Option("--octaves", min=1, help="Sizes of a pyramid.")
    ] = None,
    diverse: Annotated[
        int, typer.Option("--diverse", min=1, help="Images of each, pushed apart.")
    ] = 1,
    output: OutputOpt = None,
    out: OutOpt = Path("runs/look"),
    name: NameOpt = None,
    cache: CacheOpt = None,
    weights: WeightsOpt = None,
    mean: MeanOpt = None,
    std: StdOpt = None,
    size: SizeOpt = None,
    fit: FitOpt = None,
    dtype: DtypeOpt = "float16",
    batch_size: BatchOpt = 32,
) -> None:
    """Make images that units, vectors or classes respond to.

    They replace images of the same layer and way that --out holds.
    """
    from conceptlab.cli.images import Images
    from conceptlab.study.folder import RunFolder
    from conceptlab.study.opening import open_model
    from conceptlab.study.shown import gathered
    from conceptlab.study.tables import write_tables

    given = locals()
    if not layer and (not classes or unit or vectors or dream or invert or caricature):
        raise InputError("name the layer with -l; only --class goes without")
    study = study_of({**given, "layer": layer or ["*"], "data": data or "scenes"})
    opened = open_model(study.models[0], study.seed)
    asked = Images(opened, study, given)
    run = RunFolder(out)
    if classes:
        asked.of_classes(run)
    if layer:
        known = {} if data is None else layers_of(study, cache, None, model=opened)
        for one in opened.resolve(layer):
            found = known.get((asked.title, one))
            asked.of_layer(run, one, None if found is None else found.activations)
    write_tables(run, study)
    show(gathered(run, "images*", "images").drop(columns="layer"))
    _point(run)


@app.command()
def atlas(
    model: ModelArg,
    data: DataArg,
    layer: LayersOpt,
    classes: Annotated[
        list[str] | None,
        typer.Option("--class", help="Also an atlas of what speaks for a class; may be repeated."),
    ] = None,
    vectors: VectorsOpt = None,
    method: Annotated[str, typer.Option("--method", help="umap or tsne.")] = "umap",
    neighbours: Annotated[
        int, typer.Option("--neighbours", help="That each vector is placed by.")
    ] = 15,
    grid: Annotated[
        list[int] | None,
        typer.Option("--grid", min=1, help="Cells on a side; may be repeated. Without: as many "
                     "as the vectors fill."),
    ] = None,
    least: Annotated[int, typer.Option("--least", help="Vectors that a cell has to hold.")] = 3,
    per_image: Annotated[
        int, typer.Option("--per-image", help="Positions of each picture.")
    ] = 1,
    most: Annotated[int, typer.Option("--most", min=0, help="Vectors at most; 0: all.")] = 0,
    whiten: Annotated[bool, typer.Option("--whiten", help="Whiten the cells' averages.")] = False,
    icons: Annotated[str, typer.Option("--icons", help="patches or optimised.")] = "patches",
    output: OutputOpt = None,
    out: OutOpt = Path("runs/atlas"),
    name: NameOpt = None,
    cache: CacheOpt = None,
    weights: WeightsOpt = None,
    mean: MeanOpt = None,
    std: StdOpt = None,
    size: SizeOpt = None,
    fit: FitOpt = None,
    dtype: DtypeOpt = "float16",
    batch_size: BatchOpt = 32,
) -> None:  # fmt: skip
    """Lay a layer's activations out as an atlas; writes atlas.html."""
    from conceptlab.study.atlases import PAGE, Territory, make_atlases
    from conceptlab.study.checks import require_known
    from conceptlab.study.folder import read_table
    from conceptlab.study.opening import open_model
    from conceptlab.study.settings import AtlasSettings

    grids = {"grids": tuple(grid)} if grid else {}
    settings = AtlasSettings(
        True, tuple(classes or ()), method, neighbours, least=least, whiten=whiten,
        per_image=per_image, most=most, icons=icons, **grids,
    )  # fmt: skip
    if vectors is not None and not vectors.is_file():
        raise InputError(f"there is no file {vectors}")
    study = study_of(locals(), atlas=settings)
    opened = open_model(study.models[0], study.seed)
    require_known("--class", settings.classes, opened)
    found = layers_of(study, cache, None, model=opened)

    def step(run: "RunFolder", model: str, name: str, layer: "Layer") -> None:
        known = vectors or _learned(run, model, name)
        output = study.models[0].scores
        place = Territory(layer, opened, settings.classes, known, output, options.progress)
        make_atlases(run, model, name, place)

    run = run_steps(study, out, found, step)
    table = read_table(run.path / "tables" / "cells.csv")
    show(table if options.json else _finest(table))
    if not options.json:
        say({"page": str(run.path / PAGE)})


def _look(
    layer: "Layer", model: "ProbedModel", units: "Sequence[int] | None", known: Any
) -> "Look":
    """What `exemplars` shows of a layer: vectors, the units named, or evenly spaced ones."""
    from conceptlab.study.look import Look

    chosen = units or spread(layer.activations.shape[1])
    return Look(layer, model, tuple(chosen) if known is None else known, options.progress)


def _position(by: str) -> Any:
    """max, mean, or a position."""
    row, comma, column = by.partition(",")
    if comma and row.strip().isdecimal() and column.strip().isdecimal():
        return int(row), int(column)
    return by


def _learned(run: "RunFolder", model: str, layer: str) -> Path | None:
    """The segmentation vectors that a run folder holds of a layer."""
    return run.vectors().get((model, layer, "segment"))


def _finest(cells: Any) -> Any:
    """The largest cells of the finest grid of each atlas."""
    finest = cells[cells["resolution"] == cells["resolution"].max()]
    atlases = finest.sort_values("n", ascending=False, kind="stable").groupby(
        ["model", "layer", "focus"], dropna=False
    )
    return atlases.head(LARGEST).sort_index()


def _point(run: "RunFolder") -> None:
    if not options.json:
        say({"figures": str(run.path / "figures")})
