"""What all scripts of this folder share: arguments, reading a run folder, writing what is made."""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from conceptlab.csvtable import text_columns, write_table
from conceptlab.errors import ConceptlabError, InputError
from conceptlab.files import atomic_path
from conceptlab.registry import near_matches
from conceptlab.study.folder import safe
from conceptlab.vectors import ConceptVectors
from conceptlab.views.figures.panels import best_layers, save_figure
from conceptlab.views.figures.planned import planned
from conceptlab.views.plots.paper import scored
from conceptlab.views.style import TASKS, slug
from conceptlab.views.tables import read_examples, read_tables

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

Options = Callable[[argparse.ArgumentParser], None]
Place = tuple[str, str]  # network and layer


@dataclass(frozen=True)
class Run:
    """A run folder, what was asked of it, and where to write.

    Args:
        path: of the run folder.
        out: where CSV and PNG go.
        options: the script's own.
    """

    path: Path
    out: Path
    options: argparse.Namespace

    @cached_property
    def tables(self) -> dict[str, pd.DataFrame]:
        """All tables of the run, by name."""
        found = read_tables(self.path)
        if not found:
            raise InputError(
                f"{self.path} is no run folder: it has no tables/*.csv; give the folder that "
                "`conceptlab run` wrote"
            )
        return found

    def table(self, name: str) -> pd.DataFrame:
        """A table of the run.

        Raises:
            InputError: the run has none of that name.
        """
        if name not in self.tables:
            raise InputError(
                f"{self.path} has no tables/{name}.csv, which this needs; there are "
                f"{', '.join(self.tables)}"
            )
        return self.tables[name]

    def scores(self, task: str) -> pd.DataFrame:
        """The concepts whose probe and best unit both have a score in a task.

        Raises:
            InputError: there are none.
        """
        found = scored(self.table("concepts"), task)
        if not len(found):
            raise InputError(f"{self.path} has no concept with scores in the task {task!r}")
        return found

    def examples(self, kind: str) -> pd.DataFrame:
        """The pictures of a kind, 'top' or 'decile', in the layers asked for.

        Raises:
            InputError: there are none.
        """
        len(self.tables)  # raises for another folder, before its pictures are looked for
        found = read_examples(self.path)
        found = found[found["kind"] == kind]
        if not len(found):
            raise InputError(
                f"{self.path} has no pictures of kind {kind!r} in examples/; "
                "`conceptlab run` draws them"
            )
        return found[self._places(found)]

    def layers(self) -> list[Place]:
        """The layers asked for; else each network's with the highest mean IoU_set of the probe."""
        table = self.scores("segment")
        places = table[self._places(table)][["model", "layer"]].drop_duplicates()
        if self.options.layer is None:
            best = best_layers(table, "segment")
            places = places[places["layer"] == places["model"].map(best)]
        return list(places.itertuples(index=False, name=None))

    def _places(self, table: pd.DataFrame) -> pd.Series:
        """Which rows are of the network and layer asked for."""
        kept = pd.Series(True, table.index)
        for column in ("model", "layer"):
            name = getattr(self.options, column)
            if name is not None:
                known = table.loc[kept, column]
                require(name, known, column, self.path)
                kept &= table[column] == name
        return kept

    def vectors(self, place: Place, task: str) -> ConceptVectors:
        """The vectors of a layer: of 'segment', 'classify' or 'unit'."""
        model, layer = map(safe, place)
        return ConceptVectors.load(self.path / "vectors" / model / layer / f"{task}.h5")

    def write(self, name: str, table: pd.DataFrame) -> None:
        """Write a table as NAME.csv, and say so."""
        path = self.out / f"{name}.csv"
        write_table(path, table, text_columns(table))
        print(path)

    def draw(self, name: str, figure: "Figure") -> None:
        """Write a figure as NAME.png, and say so."""
        path = self.out / f"{name}.png"
        save_figure(figure, path)
        print(path)

    def picture(self, name: str, picture: "Image") -> None:
        """Write a picture as NAME.png, and say so."""
        path = self.out / f"{name}.png"
        with atomic_path(path) as temporary:
            picture.save(temporary, "PNG")
        print(path)

    def draw_planned(self, figure: str, **tables: pd.DataFrame) -> None:
        """Draw a report's figure of some tables, one file a network where it is by network.

        Raises:
            InputError: the tables do not allow it.
        """
        plans = [p for p in planned(tables) if f"{p.name}-".startswith(f"{figure}-")]
        if not plans:
            raise InputError(f"{self.path} holds too little for {figure}")
        for plan in plans:
            path = self.out / f"{plan.name}.png"
            save_figure(plan.draw(), path)
            print(f"{path}: {plan.title}")


def by_category(concepts: pd.DataFrame) -> pd.DataFrame:
    """Mean score and standard error of each category, layer and task, of probes and best units.

    Args:
        concepts: a run's table; concepts that lack one of the two scores are left out.
    """
    both = pd.concat([scored(concepts, task) for task in TASKS])
    groups = both.groupby(["model", "layer", "task", "category"], sort=False)
    return groups.agg(
        concepts=("concept", "size"),
        mean_unit=("best_unit_score", "mean"), sem_unit=("best_unit_score", "sem"),
        mean_probe=("probe_score", "mean"), sem_probe=("probe_score", "sem"),
    ).reset_index()  # fmt: skip


def of(table: pd.DataFrame, place: Place) -> pd.DataFrame:
    """The rows of a network's layer."""
    return table[(table["model"] == place[0]) & (table["layer"] == place[1])]


def name_of(place: Place) -> str:
    """Network and layer as part of a file's name."""
    return f"{slug(place[0])}-{slug(place[1])}"


def require(name: str, known: Sequence[str], what: str, where: Path) -> None:
    """Raise `InputError` unless a name is known."""
    names = list(dict.fromkeys(known))
    if name not in names:
        raise InputError(f"{where} has no {what} {name!r} here; {near_matches(name, names)}")


def pick_layer(parser: argparse.ArgumentParser) -> None:
    """Options of a script that looks at one layer of a network."""
    parser.add_argument("--model", metavar="NAME", help="one network of the run (all)")
    parser.add_argument("--layer", metavar="NAME", help="a layer (each network's best)")


def pick_concepts(count: int, rule: str) -> Options:
    """Options of a script that looks at some concepts.

    Args:
        count: how many are taken where none are named.
        rule: which these are, in words.
    """

    def add(parser: argparse.ArgumentParser) -> None:
        pick_layer(parser)
        parser.add_argument(
            "--concepts", nargs="+", metavar="NAME", help=f"which (the {count} {rule})"
        )
        parser.set_defaults(count=count)

    return add


def chosen_concepts(run: Run, ranked: Sequence[str]) -> list[str]:
    """The concepts asked for, else the first of a ranking.

    Args:
        run: with the options of `pick_concepts`.
        ranked: all that there are to choose from.

    Raises:
        InputError: one that is not there.
    """
    for name in run.options.concepts or ():
        require(name, ranked, "concept", run.path)
    return list(run.options.concepts or ranked[: run.options.count])


def main(doc: str, make: Callable[[Run], None], options: Options | None = None) -> None:
    """Run a script: read its arguments, make what it makes, or say in one sentence why not.

    Args:
        doc: the script's docstring, its help.
        make: what it does with the run.
        options: adds options of its own.
    """
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="a study's run folder")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where to write (RUN/net2vec)")
    if options is not None:
        options(parser)
    given = parser.parse_args()
    try:
        make(Run(given.run, given.out or given.run / "net2vec", given))
    except (ConceptlabError, OSError) as error:
        sys.exit(f"{parser.prog}: {' '.join(str(error).split())}")
