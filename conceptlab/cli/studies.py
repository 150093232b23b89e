"""Commands that run whole studies, and draw what came of them."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from conceptlab.cli.options import CacheOpt, DryOpt, OutOpt, app, open_data, options, say, show
from conceptlab.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from conceptlab.study.settings import Study

DEMO_MODELS = {
    "scenenet": ("features.8", "features.17"),
    "scenenet-rotation": ("features.17",),
}


@app.command()
def demo(
    out: OutOpt = Path("runs/demo"),
    cache: CacheOpt = None,
    images: Annotated[int, typer.Option("--images", min=60, help="Pictures to draw.")] = 400,
) -> None:
    """Probe built-in networks with drawn pictures; writes a report."""
    from conceptlab.study.settings import (
        CompareSettings,
        DataSettings,
        ModelSettings,
        SegmentSettings,
        Study,
        TcavSettings,
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
        tcav=TcavSettings(classes=("street", "beach", "forest"), images=20, erase=6),
    )
    _run(study, out, cache)


@app.command()
def run(
    study: Annotated[Path, typer.Argument(metavar="STUDY.toml", help="Data, models, layers.")],
    out: Annotated[Path | None, typer.Option("--out", help="Run folder (else runs/NAME).")] = None,
    cache: CacheOpt = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that share the models.")] = 1,
    scheduler: Annotated[str | None, typer.Option(help="Address of a Dask scheduler.")] = None,
    dry_run: DryOpt = False,
) -> None:
    """Run a study: models, layers, tables, figures and a report."""
    from conceptlab.study.folder import safe
    from conceptlab.study.studyfile import read_study

    settings = read_study(study)
    if options.given_seed is not None:
        settings = replace(settings, seed=options.given_seed)
    if dry_run:
        _estimate(settings, cache)
        return
    _run(settings, out or Path("runs") / safe(settings.name), cache, workers, scheduler)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
) -> None:
    """Draw the figures and the report of what is in a run folder."""
    if not any((folder / "tables").glob("*.csv")):
        raise InputError(f"{folder} is no run folder: it has no tables/*.csv")
    from conceptlab.study.finish import draw
    from conceptlab.study.folder import RunFolder
    from conceptlab.study.record import require_undamaged

    require_undamaged(folder)
    run = RunFolder(folder)
    say({"report": str(draw(run))})
    options.unmade = run.unmade


def _estimate(study: "Study", cache: Path | None) -> None:
    """Say the settings of a study, and what its extractions would write and take."""
    import pandas as pd

    from conceptlab.activations.estimate import estimate
    from conceptlab.study.checks import check_study
    from conceptlab.study.opening import open_model
    from conceptlab.study.studyfile import study_toml

    data = open_data(study.data.spec)
    check_study(study, data)
    rows = []
    for settings in study.models:
        found = estimate(
            open_model(settings, study.seed), data, settings.layers, cache, settings.dtype,
            settings.batch_size,
        )  # fmt: skip
        rows.append(
            {"model": settings.title, "layers": found.table["layer"].tolist(),
             "bytes": found.bytes, "missing_bytes": found.missing, "free_bytes": found.free,
             "expected_seconds": round(found.seconds, 1)}
        )  # fmt: skip
    if options.json:
        typer.echo(json.dumps({"study": asdict(study), "extractions": rows}))
        return
    typer.echo(study_toml(study))
    show(pd.DataFrame(rows))


def _table(out: Path, name: str) -> "pd.DataFrame":
    """A table of a run folder; an empty one where it has none."""
    import pandas as pd

    from conceptlab.study.folder import read_table

    path = out / "tables" / f"{name}.csv"
    return read_table(path) if path.is_file() else pd.DataFrame()


def _run(
    study: "Study",
    out: Path,
    cache: Path | None,
    workers: int = 1,
    scheduler: str | None = None,
) -> None:
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
    summary, unmade = (_table(out, name) for name in ("summary", "unmade"))
    options.unmade = {(row.model, row.layer, row.step): row.reason for row in unmade.itertuples()}
    if options.json:
        rows = json.loads(summary.to_json(orient="records"))
        typer.echo(json.dumps({"report": str(path), "summary": rows}))
    else:
        show(summary)
        typer.echo(f"report: {path}")
