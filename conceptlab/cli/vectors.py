"""Commands that ask questions of concept vectors on disk."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from conceptlab.cli.options import app, options, show
from conceptlab.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes

VectorsArg = Annotated[
    Path, typer.Argument(metavar="VECTORS", help="A file of vectors (.h5), or a run folder.")
]
TaskOpt = Annotated[str, typer.Option("--task", help="Of a run folder: segment, classify or unit.")]
CountOpt = Annotated[int, typer.Option("-k", min=1, help="Concepts of each answer.")]
DrawsOpt = Annotated[
    int, typer.Option("--draws", min=0, help="Permutations of each test; 0: no test.")
]
FolderOpt = Annotated[
    Path | None, typer.Option("--out", help="Also write tables and figures into this folder.")
]


@app.command()
def nearest(
    vectors: VectorsArg,
    concepts: Annotated[
        list[str], typer.Argument(metavar="CONCEPT...", help="NAME or CATEGORY/NAME.")
    ],
    k: CountOpt = 5,
    task: TaskOpt = "segment",
    draws: DrawsOpt = 1000,
) -> None:
    """Find the concepts nearest to some, and test it."""
    from conceptlab.analysis.vectors.neighbours import neighbours
    from conceptlab.study.spaces import read_vectors

    found = read_vectors(vectors, task)
    names = [found.names[found.index(name)] for name in concepts]
    for name in names:
        found.nearest(name)  # a concept without a vector is refused by name
    table = neighbours(found, k, draws, options.seed)
    show(table[table["concept"].isin(names)])


@app.command()
def arithmetic(
    vectors: VectorsArg,
    sums: Annotated[
        list[str], typer.Argument(metavar="SUM...", help="Such as 'grass + blue - green'.")
    ],
    k: CountOpt = 5,
    task: TaskOpt = "segment",
) -> None:
    """Add and subtract concepts."""
    import pandas as pd

    from conceptlab.analysis.vectors.neighbours import parse_sum
    from conceptlab.study.spaces import read_vectors

    found = read_vectors(vectors, task)
    parts = []
    for text in sums:
        table = found.arithmetic(*parse_sum(text), k)
        table.insert(0, "rank", range(1, len(table) + 1))
        table.insert(0, "sum", text)
        parts.append(table)
    show(pd.concat(parts))


@app.command()
def compare(
    spaces: Annotated[
        list[Path],
        typer.Argument(
            metavar="SPACE...",
            help="Files of vectors, layers of the cache (activations), run folders.",
        ),
    ],
    measure: Annotated[
        list[str] | None,
        typer.Option("--measure", "-m", help="Such as cka; may be repeated."),
    ] = None,
    task: TaskOpt = "segment",
    concepts: Annotated[
        str, typer.Option("--concepts", help="shared, or same to insist on all.")
    ] = "shared",
    wordnet: Annotated[
        str | None, typer.Option("--wordnet", help="Also with WordNet: path or wup.")
    ] = None,
    words: Annotated[
        Path | None, typer.Option("--words", help="Also with word vectors (word2vec, GloVe).")
    ] = None,
    draws: DrawsOpt = 200,
    out: FolderOpt = None,
) -> None:
    """Compare embeddings, or layers on the same images."""
    from conceptlab.analysis.comparison.compare import DEFAULT, adequacy
    from conceptlab.analysis.comparison.compare import compare as run
    from conceptlab.analysis.comparison.distances import embedding_distance
    from conceptlab.study.spaces import read_spaces

    found = _with_references(dict(read_spaces(spaces, task)), wordnet, words)
    names = measure or ["distance", *DEFAULT]
    table = run(found, names, draws=draws, seed=options.seed, concepts=_which(concepts))
    if out is not None:
        from conceptlab.views.plots import comparison as plots

        distances = embedding_distance(found, concepts="shared")
        whole, parts = distances.table, distances.by_category
        _write(out, "comparison", table, {
            f"comparison-{name}": partial(plots.plot_comparison, table, name)
            for name in dict.fromkeys(table["measure"])
        })  # fmt: skip
        _write(out, "distances", whole, {"distances": partial(plots.plot_distances, whole)})
        draw = partial(plots.plot_distances_by_category, parts)
        _write(out, "distances_by_category", parts, {"distances_by_category": draw})
    show(table)
    if not options.json and not options.quiet:
        said = adequacy().set_index("measure")["adequate"]
        for name in dict.fromkeys(table["measure"]):
            typer.echo(f"{name}: {said[name]}")


@app.command()
def project(
    vectors: VectorsArg,
    method: Annotated[str, typer.Option("--method", help="umap, tsne or pca.")] = "umap",
    task: TaskOpt = "segment",
    out: FolderOpt = None,
) -> None:
    """Place concepts on a plane, alike ones near."""
    from conceptlab.analysis.vectors.projection import project as run
    from conceptlab.study.spaces import read_vectors

    found = run(read_vectors(vectors, task), method=method, seed=options.seed)
    if out is not None:
        from conceptlab.views.plots.space import plot_projection

        name = f"projection-{method}"
        _write(out, name, found.table, {name: partial(plot_projection, found)})
    show(found.table)


@app.command()
def overlap(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
) -> None:
    """Say how units and concepts overlap in a run."""
    import json

    from conceptlab.study.finish import draw_figures
    from conceptlab.study.folder import RunFolder
    from conceptlab.study.overlaps import write_overlaps
    from conceptlab.study.tables import concept_table, load_vectors
    from conceptlab.views.tables import read_tables

    if not (folder / "steps").is_dir():
        raise InputError(f"{folder} is no run folder: it has no steps")
    run = RunFolder(folder)
    concepts, loaded = concept_table(run), load_vectors(run)
    if not len(concepts):
        raise InputError(
            f"{folder} holds no probes yet: run dissect, probe segment or probe classify first"
        )
    write_overlaps(run, concepts, loaded, options.seed)
    draw_figures(run)
    options.unmade = run.unmade
    tables = read_tables(folder)
    found = {n: tables[n] for n in ("agreement_by_layer", "saturation") if n in tables}
    if not found:
        raise InputError(
            f"{folder} has neither units beside segmentation probes nor subsets of units: run "
            "dissect and probe segment into it, or a study"
        )
    if options.json:
        rows = {name: json.loads(t.to_json(orient="records")) for name, t in found.items()}
        typer.echo(json.dumps(rows))
        return
    for table in found.values():
        show(table)


def _which(concepts: str) -> Any:
    if concepts not in ("same", "shared"):
        raise InputError(f"--concepts is same or shared; got {concepts!r}")
    return concepts


def _with_references(
    spaces: dict[str, Any], wordnet: str | None, words: Path | None
) -> dict[str, Any]:
    """Spaces of vectors, with WordNet and word vectors of the same concepts after them."""
    from conceptlab.vectors import ConceptVectors

    if not wordnet and not words:
        return spaces
    first = next((s for s in spaces.values() if isinstance(s, ConceptVectors)), None)
    if first is None:
        raise InputError("--wordnet and --words compare with concept vectors; give some")
    if wordnet:
        from conceptlab.analysis.references.wordnet import wordnet as tree

        spaces["WordNet"] = tree(first, wordnet)
    if words:
        from conceptlab.analysis.references.word_vectors import word_vectors

        spaces[words.name] = word_vectors(words, first)
    return spaces


def _write(folder: Path, name: str, table: Any, figures: "dict[str, Callable[[], Axes]]") -> None:
    """A table as tables/NAME.csv, and figures as figures/NAME.png."""
    from conceptlab.csvtable import write_table
    from conceptlab.views.figures.panels import save_figure

    write_table(folder / "tables" / f"{name}.csv", table)
    for figure, draw in figures.items():
        save_figure(draw().figure, folder / "figures" / f"{figure}.png")
