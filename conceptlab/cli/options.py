"""What all commands share: their groups, the options that several take, and how they answer."""

import json
import math
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from conceptlab.errors import InputError
from conceptlab.given import SEEDS

if TYPE_CHECKING:
    import pandas as pd

    from conceptlab.data.base import ProbeDataset
    from conceptlab.models.probed import ProbedModel

LAST_SEED = SEEDS - 1


@dataclass
class Options:
    """What holds for a command, and what it has not made.

    Args:
        given_seed: None where the command line has none.
        device: where networks run.
        quiet: no bars, no remarks.
        json: answer in one JSON line.
        unmade: model, layer and step of what the command could not make, and why.
    """

    given_seed: int | None = None
    device: str | None = None
    quiet: bool = False
    json: bool = False
    unmade: dict[tuple[str, str, str], str] = field(default_factory=dict)

    @property
    def seed(self) -> int:
        """Of everything left to chance."""
        return self.given_seed or 0

    @property
    def progress(self) -> bool:
        """Whether to show bars."""
        return not self.quiet and sys.stderr.isatty()


options = Options()


def group(text: str, name: str | None = None) -> typer.Typer:
    """A group of commands."""
    return typer.Typer(
        name=name,
        help=text,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


app = group(
    "How concepts are encoded inside vision networks: extract, dissect, probe, compare.",
    "conceptlab",
)
data_app = group("Look at a probe data set.")
probe_app = group("Learn concept vectors over all units.")
cache_app = group("List, check and tidy the cache.")
units_app = group("Tables of units, ours and Network Dissection's.")
for part, part_name in (
    (data_app, "data"), (probe_app, "probe"), (cache_app, "cache"), (units_app, "units"),
):  # fmt: skip
    app.add_typer(part, name=part_name)

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
        metavar="DATA",
        help="scenes[:n=1000,seed=0], folder:PATH[,colors=true], broden:PATH or pictures:PATH (no "
        "labels); a PATH with , or = in it is written '\"PATH\"'.",
    ),
]
LayersOpt = Annotated[
    list[str], typer.Option("--layer", "-l", help="Layer name or glob; may be repeated.")
]
CacheOpt = Annotated[
    Path | None, typer.Option("--cache", help="Cache folder (else CONCEPTLAB_CACHE, else cache/).")
]
OutOpt = Annotated[Path, typer.Option("--out", help="Run folder; several commands may share it.")]
NameOpt = Annotated[
    str | None, typer.Option("--name", help="What --out calls the network (else its own name).")
]
OutputOpt = Annotated[
    str | None,
    typer.Option("--output", help="Key or place of the scores, if the network returns several "
                 "things."),
]  # fmt: skip
WeightsOpt = Annotated[
    str | None,
    typer.Option("--weights", help="A .safetensors file, or a state dict that torch saved."),
]
MeanOpt = Annotated[str | None, typer.Option("--mean", help="R,G,B of pictures in 0..1.")]
StdOpt = Annotated[str | None, typer.Option("--std", help="R,G,B of pictures in 0..1.")]
SizeOpt = Annotated[
    int | None, typer.Option("--size", min=1, help="Pixels on a side of the input.")
]
FitOpt = Annotated[
    str | None, typer.Option("--fit", help="whole picture (default), or the centre crop.")
]
DtypeOpt = Annotated[str, typer.Option("--dtype", help="float16 or float32.")]
BatchOpt = Annotated[int, typer.Option("--batch-size", min=1, help="Images per pass.")]
TauOpt = Annotated[float, typer.Option("--tau", help="Share of activations above a threshold.")]
LabelOpt = Annotated[
    int, typer.Option("--label-size", min=0, help="Side of the label maps; 0: half the input.")
]
SplitOpt = Annotated[str, typer.Option("--split", help="Split to score on: train, val, test.")]
DryOpt = Annotated[bool, typer.Option("--dry-run", help="Only say bytes and expected time.")]


def show(table: "pd.DataFrame") -> None:
    """Print a table, as text or as one JSON line."""
    if options.json:
        typer.echo(table.to_json(orient="records"))
    elif table.empty:
        typer.echo("none")
    else:
        from conceptlab.views.report.cells import chance_text, is_chance

        shown = {name: _whole_number for name in table if _is_whole(table[name])}
        shown |= {name: chance_text for name in table if is_chance(str(name))}
        typer.echo(table.to_string(index=False, na_rep="-", float_format="%.4f", formatters=shown))


def _is_whole(column: "pd.Series") -> bool:
    """Whether a column is of floats, and all that are known are whole numbers."""
    known = column.dropna()
    return column.dtype.kind == "f" and len(known) > 0 and bool((known % 1 == 0).all())


def _whole_number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.0f}"


def say(value: dict[str, Any]) -> None:
    """Print a few facts, as lines or as one JSON line."""
    if options.json:
        typer.echo(json.dumps(value))
        return
    for key, item in value.items():
        typer.echo(f"{key}: {item}")


def open_data(spec: str) -> "ProbeDataset":
    """The data set of a specification."""
    from conceptlab.data import load_data

    data = load_data(spec)
    data.progress = options.progress
    return data


def open_model(spec: str, **given: Any) -> "ProbedModel":
    """The model of a specification and the options that override its preprocessing."""
    from conceptlab.models import load_model

    chosen = {k: v for k, v in given.items() if v is not None} | colours(given)
    return load_model(spec, **chosen, device=options.device or "cpu", seed=options.seed)


def colours(given: dict[str, Any]) -> dict[str, tuple[float, ...]]:
    """What `--mean` and `--std` say, where they are given."""
    return {k: _numbers(given[k], f"--{k}") for k in ("mean", "std") if given.get(k) is not None}


def _numbers(text: str, name: str) -> tuple[float, ...]:
    """Numbers written as R,G,B, as one for grey, or as R,G,B,A."""
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) not in (1, 3, 4):
        raise InputError(
            f"{name} takes three numbers as R,G,B, one for grey or four for RGBA; got {text!r}"
        )
    if not all(map(math.isfinite, values)):
        raise InputError(f"{name} takes three finite numbers; got {text!r}")
    return values
