"""What the scripts of tables and figures share: a run folder in, CSV and PNG out."""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from conceptlab.errors import ConceptlabError, InputError
from conceptlab.study.folder import write_table
from conceptlab.study.spaces import read_spaces
from conceptlab.vectors import ConceptVectors
from conceptlab.views.figures import planned
from conceptlab.views.mosaics import mosaics
from conceptlab.views.panels import best_layers, save_figure
from conceptlab.views.style import plain
from conceptlab.views.tables import read_examples, read_tables

TASKS = ("segment", "classify")


@dataclass(frozen=True)
class Run:
    """A run folder, and where a script writes.

    Args:
        path: of the run folder, of any study.
        out: folder for CSV and PNG.
    """

    path: Path
    out: Path

    @cached_property
    def tables(self) -> dict[str, pd.DataFrame]:
        return read_tables(self.path)

    @cached_property
    def examples(self) -> pd.DataFrame:
        return read_examples(self.path)

    def table(self, name: str) -> pd.DataFrame:
        """A table of the run.

        Raises:
            InputError: the run has none of that name.
        """
        if name not in self.tables:
            raise InputError(
                f"{self.path} has no tables/{name}.csv: run a whole study, or the commands that "
                "make it"
            )
        return self.tables[name]

    def vectors(self, task: str) -> dict[str, ConceptVectors]:
        """The run's vectors of a task by 'MODEL LAYER'."""
        found = read_spaces([self.path], task)
        return {name: space for name, space in found.items() if isinstance(space, ConceptVectors)}

    def best(self, task: str) -> dict[str, str]:
        """Each network's layer whose probes score best."""
        return best_layers(self.table("concepts"), task)

    def write(self, name: str, table: pd.DataFrame) -> None:
        """A table as CSV."""
        path = self.out / f"{name}.csv"
        write_table(path, table)
        print(path)

    def draw(self, name: str, figure: object) -> None:
        """A figure as PNG."""
        path = self.out / f"{name}.png"
        save_figure(figure, path)  # type: ignore[arg-type]
        print(path)

    def draw_table(self, name: str, table: pd.DataFrame) -> None:
        """A table as PNG."""
        texts = [[_text(value) for value in row] for row in table.itertuples(index=False)]
        heads = [plain(str(column).replace("_", " ")) for column in table.columns]
        widths = [
            max(len(text) for text in column) for column in zip(heads, *texts, strict=True)
        ]  # fmt: skip
        size = (0.4 + 0.085 * sum(w + 2 for w in widths), 0.3 + 0.24 * (1 + len(texts)))
        figure = Figure(figsize=size, layout="constrained")
        ax = figure.subplots()
        ax.set_axis_off()
        shares = [(w + 2) / sum(v + 2 for v in widths) for w in widths]
        drawn = ax.table(texts, colLabels=heads, colWidths=shares, bbox=(0, 0, 1, 1),
                         cellLoc="left")  # fmt: skip
        drawn.auto_set_font_size(False)
        drawn.set_fontsize(8)
        for (row, _), cell in drawn.get_celld().items():
            cell.set_linewidth(0.4)
            cell.set_facecolor("#eeeeee" if row == 0 else "white")
        self.draw(name, figure)

    def draw_planned(self, number: str) -> None:
        """The figures of a number that the report has, too."""
        for plan in planned(self.tables):
            if plan.name == number or plan.name.startswith(f"{number}-"):
                self.draw(plan.name, plan.draw())

    def draw_mosaics(self, number: str) -> None:
        """Figure 1 or 8, of the run's example pictures."""
        drawn = [(n, p) for n, p in mosaics(self.examples) if n.startswith(f"{number}-")]
        if not drawn:
            raise InputError(f"{self.path} has no example pictures: run a whole study")
        for name, picture in drawn:
            path = self.out / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture.save(path)
            print(path)


def main(
    doc: str,
    work: Callable[[Run, argparse.Namespace], None],
    options: Sequence[tuple[str, dict[str, object]]] = (),
) -> None:
    """Run a script: its run folder, its output folder and its own options.

    Args:
        doc: of the script.
        work: what it does.
        options: names and arguments of further options.
    """
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument("--out", type=Path, help="folder of CSV and PNG (else RUN/net2vec)")
    for name, given in options:
        parser.add_argument(name, **given)  # type: ignore[arg-type]
    arguments = parser.parse_args()
    try:
        if not (arguments.run / "tables").is_dir():
            raise InputError(f"{arguments.run} is no run folder: it has no tables")
        work(Run(arguments.run, arguments.out or arguments.run / "net2vec"), arguments)
    except (ConceptlabError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)


def means(concepts: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Means and standard errors of probe and best unit over the concepts that have both scores."""
    both = concepts.dropna(subset=["probe_score", "best_unit_score"])
    groups = both.groupby(list(by), sort=False)
    return groups.agg(
        concepts=("concept", "size"), probe=("probe_score", "mean"),
        probe_error=("probe_score", "sem"), best_unit=("best_unit_score", "mean"),
        best_unit_error=("best_unit_score", "sem"),
    ).reset_index()  # fmt: skip


def _text(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else plain(value)
