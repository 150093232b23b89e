"""Commands that look at models, data sets, the cache and tables of units."""

import json
import math
from pathlib import Path
from typing import Annotated

import typer

from conceptlab.cli.options import (
    CacheOpt,
    DataArg,
    LabelOpt,
    ModelArg,
    SizeOpt,
    WeightsOpt,
    app,
    cache_app,
    data_app,
    open_data,
    open_model,
    options,
    say,
    show,
    units_app,
)
from conceptlab.errors import InputError, UnfinishedError


@app.command()
def layers(
    model: ModelArg,
    weights: WeightsOpt = None,
    size: SizeOpt = None,
    match: Annotated[
        list[str] | None, typer.Option("--layer", "-l", help="Only these: names or globs.")
    ] = None,
) -> None:
    """List layers: shape, stride, receptive field, bytes per image."""
    loaded = open_model(model, weights=weights, size=size)
    show(loaded.layers(match or None))


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
    """Say what is wrong, file by file. Exit 2 if anything is; remarks stop nothing."""
    from conceptlab.data.base import grouped

    problems = open_data(data).validate()
    wrong = [p for p in problems if p.severity == "error"]
    if options.json:
        rows = [{"file": p.file, "message": p.message, "severity": p.severity} for p in problems]
        typer.echo(json.dumps({"errors": len(wrong), "problems": rows}))
    else:
        for p in grouped(problems):
            typer.echo(f"{p.severity}: {p.file}: {p.message}")
        counts = {"error": len(wrong), "remark": len(problems) - len(wrong)}
        typer.echo(", ".join(f"{n} {what}{'s' * (n != 1)}" for what, n in counts.items()))
    if wrong:
        raise typer.Exit(2)


@data_app.command("prepare")
def prepare(
    data: DataArg,
    cache: CacheOpt = None,
    size: Annotated[int, typer.Option("--size", min=2, help="The network's input size.")] = 224,
    label_size: LabelOpt = 0,
) -> None:
    """Keep label maps of one size in the cache. Other commands do so by themselves."""
    from conceptlab.activations.labels import prepare_labels
    from conceptlab.activations.store import cache_root
    from conceptlab.numerics.geometry import Geometry
    from conceptlab.study.settings import DataSettings

    side = DataSettings(data, label_size or size // 2).label_size
    store = prepare_labels(open_data(data), Geometry(size), (side, side), cache_root(cache))
    say({"images": len(store.shown_native), "concepts": len(store.concepts), "label_size": side})


@cache_app.command("ls")
def cache_ls(cache: CacheOpt = None) -> None:
    """List what the cache holds."""
    from conceptlab.activations.maintain import cache_table
    from conceptlab.activations.store import cache_root

    show(cache_table(cache_root(cache)))


@cache_app.command("verify")
def cache_verify(cache: CacheOpt = None) -> None:
    """Check every block by its checksum. Names each damaged one; exit 3 if one is."""
    from conceptlab.activations.maintain import verify
    from conceptlab.activations.store import cache_root

    damage = verify(cache_root(cache))
    if options.json or len(damage):
        show(damage)
    if len(damage):
        what = "1 block or file is" if len(damage) == 1 else f"{len(damage)} blocks or files are"
        raise UnfinishedError(f"{what} damaged or unreadable; the command that made it repairs it")
    if not options.json:
        typer.echo("no damage")


@cache_app.command("prune")
def cache_prune(
    cache: CacheOpt = None,
    incomplete: Annotated[
        bool, typer.Option("--incomplete", help="Also what an extraction has begun.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
) -> None:
    """Remove damaged and temporary files."""
    from conceptlab.activations.maintain import prune
    from conceptlab.activations.store import cache_root

    show(prune(cache_root(cache), incomplete, dry_run))


@units_app.command("summarize")
def units_summarize(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE.csv", help="Network Dissection's result, or tables/units.csv."
        ),
    ],
    threshold: Annotated[float, typer.Option(help="IoU above which a unit detects.")] = 0.04,
    rule: Annotated[str, typer.Option(help="every-category or best-label.")] = "every-category",
) -> None:
    """Count detectors and unique detectors of each category."""
    from conceptlab.probes.units.netdissect_csv import summarize_units

    if not math.isfinite(threshold):
        raise InputError(f"--threshold is a number; got {threshold}")
    say(summarize_units(file, threshold, rule))
