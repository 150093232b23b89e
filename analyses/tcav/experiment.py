"""TCAV, basis decomposition and erasure of captions, against how much networks rely on them.

    python analyses/tcav/experiment.py RUN [--images N] [--layers NAME ...] [--threads N]

RUN is what `captions.py` and `train.py` wrote to. Concept vectors are CAVs against random pictures,
learned on `probe`, where captions say nothing of the class; classes are asked about their test
pictures with the right caption. Controls of erasure are CAVs of random sets of pictures. Writes

* RUN/tables/experiment.csv: a row per network (rho, seed), layer, class and concept, with role
  ('own caption', 'other caption'; of objects 'own content', 'other content'); reliance and
  logit_drop of the class (see `train.py`); accuracy and note of the CAV; score, effect, sensitivity
  and p_adjusted of TCAV; share and contribution of the decomposition, with low and high of the
  contribution (0 and NaN of concepts that are not chosen); of erasure, by direction and by units:
  logit_change, accuracy_change, effect and p_adjusted, with `direction_` or `units_` before them;
* RUN/tables/agreement.csv: for each layer and measure, over the classes' own captions, Spearman's
  correlation with reliance and logit_drop (1 where the measure says more, the more a class relies),
  over all n points and over the means of the levels; the share of classes that are found to rely on
  their own caption, at each level (found_RHO), and of pairs that are found to rely on another's
  (others_found, all levels);
* RUN/experiment.png: a row per layer, a panel per measure.

A class is found to rely on a concept where the measure has the sign of that, and Holm's p is below
0.05; for the decomposition, where the interval of the contribution lies above 0.
"""

import argparse
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from network import CLASSES, LAYERS
from train import SPEC, threads

import conceptlab as cl
from conceptlab.csvtable import read_table, text_columns, write_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CONTENT = {
    "beach": ("sea", "shore"),
    "forest": ("tree", "meadow"),
    "desert": ("desert floor", "dune"),
    "street": ("house", "road"),
}
OWN, OTHER = "own caption", "other caption"
AT = ["rho", "seed", "class"]
LOOKS = {  # of a role: colour, marker, size
    OTHER: ("#E69F00", "v", 9),
    "own content": ("#009E73", "s", 9),
    OWN: ("#0072B2", "o", 26),
}
MEASURES = {  # column, title, what tests it, the sign of a class that relies on the concept
    "score": ("TCAV score", "p_adjusted", 1),
    "effect": ("TCAV effect", "p_adjusted", 1),
    "sensitivity": ("TCAV sensitivity", "p_adjusted", 1),
    "share": ("IBD share of logit", "low", 1),
    "contribution": ("IBD contribution to logit", "low", 1),
    "direction_logit_change": ("logit change, direction erased", "direction_p_adjusted", -1),
    "units_logit_change": ("logit change, units erased", "units_p_adjusted", -1),
}
DRAWN = ("score", "effect", "contribution", "direction_logit_change")
LEVEL = 0.05
EXAMPLES = 50  # pictures of a set
SHARP = 0.1  # penalty of the CAVs that are taken out: those of `tcav` vary as the layer does
SETS = 20  # random ones that are controls of erasure


def concepts() -> list[str]:
    """The concepts that are asked about."""
    return [f"caption-{name}" for name in CLASSES] + [n for own in CONTENT.values() for n in own]


def role(place: str, concept: str) -> str:
    """What a concept is to a class."""
    if concept.startswith("caption-"):
        return OWN if concept == f"caption-{place}" else OTHER
    return "own content" if concept in CONTENT[place] else "other content"


def pictures(data: "cl.ProbeDataset", count: int) -> dict[str, "cl.DatasetPictures"]:
    """Some test pictures of each class of the data set with right captions."""
    names = data.catalogue["name"]
    found: dict[str, list[int]] = {name: [] for name in CLASSES}
    for row in np.flatnonzero(data.splits == "test"):
        own = found[names[data.labels(int(row)).image_concepts[0]]]
        if len(own) < count:
            own.append(int(row))
    return {name: cl.DatasetPictures(data, np.array(rows)) for name, rows in found.items()}


def counterparts(
    model: "cl.ProbedModel", data: "cl.ProbeDataset", layer: str
) -> "cl.ConceptVectors":
    """CAVs of random pictures, learned as those of concepts are."""
    train = data.splits == "train"
    pool, rest = cl.DatasetPictures(data, np.flatnonzero(train)), np.flatnonzero(~train)
    count = min(EXAMPLES, len(rest), len(pool) // 2)
    draw = np.random.default_rng(0)
    sets = {
        f"random {i}": cl.DatasetPictures(data, draw.choice(rest, count, replace=False))
        for i in range(SETS)
    }
    return cl.picture_cavs(
        model, sets, pool, layer=layer, examples=count, redraws=0, penalty=SHARP
    ).vectors


def measured(
    model: "cl.ProbedModel",
    layers: list[str],
    data: "cl.ProbeDataset",
    images: dict[str, "cl.DatasetPictures"],
    cache: Path,
) -> Iterator[pd.DataFrame]:
    """What the three methods say of one network, layer by layer.

    Args:
        model: the network.
        layers: of it.
        data: to learn concept vectors from.
        images: class to pictures.
        cache: folder of the activations.
    """
    by = ["class", "concept"]
    for layer, acts in cl.extract(model, data, layers=layers, cache=cache).items():
        probe = cl.CavProbe(examples=EXAMPLES).fit(acts, data)
        vectors = probe.vectors.select(concepts())
        said = cl.tcav(model, images, probe.cavs, layer=layer)
        said = said[said["concept"].isin(vectors.names)]
        table = said[[*by, "accuracy", "note", "score", "effect", "sensitivity", "p_adjusted"]]
        parts = cl.decompose(model, images, vectors, layer=layer).table
        parts = parts[[*by, "share", "contribution", "low", "high"]]
        table = table.merge(parts, how="left", on=by)
        table[["share", "contribution"]] = table[["share", "contribution"]].fillna(0.0)
        null = counterparts(model, data, layer)
        sharp = cl.CavProbe(examples=EXAMPLES, penalty=SHARP).fit(acts, data).vectors
        erased = cl.erase(
            model, images, sharp.select(concepts()), layer=layer, random=null,
            reference=list(chain.from_iterable(images.values())),
        ).table  # fmt: skip
        erased["accuracy_change"] = erased["accuracy_after"] - erased["accuracy_before"]
        for ablation, own in erased.groupby("ablation"):
            kept = ["logit_change", "accuracy_change", "effect", "p_adjusted"]
            own = own[[*by, *kept]].rename(columns={name: f"{ablation}_{name}" for name in kept})
            table = table.merge(own, how="left", on=by)
        table.insert(0, "layer", layer)
        yield table


def study(run: Path, layers: list[str], count: int) -> pd.DataFrame:
    """All networks of a run folder."""
    truth = read_table(run / "tables" / "reliance.csv")
    probe_data = cl.load_data(f"folder:{run / 'data' / 'probe'}")
    images = pictures(cl.load_data(f"folder:{run / 'data' / 'right'}"), count)
    parts = []
    for rho, seed in truth[["rho", "seed"]].drop_duplicates().itertuples(index=False):
        name = f"rho-{rho:.2f}-seed-{int(seed)}"
        model = cl.load_model(SPEC, weights=run / "weights" / f"{name}.safetensors")
        said = measured(model, layers, probe_data, images, run / "cache")
        parts += [table.assign(rho=rho, seed=seed) for table in said]
        print(name)
    table = pd.concat(parts, ignore_index=True)
    table = table.merge(truth[[*AT, "reliance", "logit_drop"]], on=AT)
    roles = [role(*pair) for pair in zip(table["class"], table["concept"], strict=True)]
    first = ["rho", "seed", "layer", "class", "concept", "role", "reliance", "logit_drop"]
    return table.assign(role=roles)[[*first, *table.columns.difference(first, sort=False)]]


def found(table: pd.DataFrame, measure: str) -> "pd.Series[bool]":
    """Where a measure says, beyond chance, that the class relies on the concept."""
    _, test, sign = MEASURES[measure]
    if test == "low":  # of the contribution's interval
        return table["low"] > 0
    said = "effect" if test == "p_adjusted" else measure  # a score is never negative
    return (table[test] < LEVEL) & (sign * table[said] > 0)


def agreement(table: pd.DataFrame) -> pd.DataFrame:
    """How well each measure orders captions by how much classes rely on them."""
    rows = []
    for layer, part in table.groupby("layer", sort=False):
        own, other = (part[part["role"] == name] for name in (OWN, OTHER))
        for measure, (_, _, sign) in MEASURES.items():
            row: dict[str, Any] = {"layer": layer, "measure": measure, "n": len(own)}
            means = own.groupby("rho")[[measure, "reliance", "logit_drop"]].mean()
            for truth in ("reliance", "logit_drop"):
                row[truth] = sign * spearman(own[measure], own[truth])
                row[f"{truth}_of_means"] = sign * spearman(means[measure], means[truth])
            for rho, level in own.groupby("rho"):
                row[f"found_{rho:.2f}"] = found(level, measure).mean()
            row["others_found"] = found(other, measure).mean()
            rows.append(row)
    return pd.DataFrame(rows)


def spearman(first: "pd.Series[float]", second: "pd.Series[float]") -> float:
    """Correlation of ranks; NaN where one of them does not vary."""
    if first.nunique() < 2 or second.nunique() < 2:
        return float("nan")
    return float(first.rank().corr(second.rank()))


def draw(table: pd.DataFrame, agreed: pd.DataFrame) -> Figure:
    """A row per layer, a panel per measure."""
    layers = list(dict.fromkeys(table["layer"]))
    figure = Figure(figsize=(3.1 * len(DRAWN), 2.7 * len(layers) + 0.4), layout="constrained")
    grid = figure.subplots(len(layers), len(DRAWN), squeeze=False, sharex=True)
    for axes, layer in zip(grid, layers, strict=True):
        for ax, measure in zip(axes, DRAWN, strict=True):
            panel(ax, table[table["layer"] == layer], measure)
            row = agreed[(agreed["layer"] == layer) & (agreed["measure"] == measure)]
            ax.set_title(f"{layer}, Spearman {row['reliance'].iloc[0]:.2f}", fontsize=9)
    for ax in grid[-1]:
        ax.set_xlabel("reliance (drop of accuracy)", fontsize=8)
    handles, names = grid[0, 0].get_legend_handles_labels()
    figure.legend(
        handles, names, loc="outside lower center", ncols=3, frameon=False, fontsize=8,
        title="one point per class and network; filled: found to rely on it", title_fontsize=8,
    )  # fmt: skip
    return figure


def panel(ax: "Axes", table: pd.DataFrame, measure: str) -> None:
    """A measure of a layer against reliance: filled where the test says that the class relies."""
    for name, (color, marker, size) in LOOKS.items():
        own = table[table["role"] == name]
        sure = found(own, measure)
        for rows, face in ((own[sure], color), (own[~sure], "none")):
            ax.scatter(
                rows["reliance"], rows[measure], size, facecolors=face, edgecolors=color,
                linewidths=0.7, marker=marker, label=name if face == color else None,
                alpha=0.9 if name == OWN else 0.45,
            )  # fmt: skip
    ax.axhline(0.5 if measure == "score" else 0, color="#6B6B6B", linewidth=0.7, zorder=0)
    ax.set_ylabel(MEASURES[measure][0], fontsize=8)
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=8)


@contextmanager
def quiet() -> Iterator[None]:
    """Within it, no warnings of CAVs at chance: notes say it, and random sets are to be there."""
    log = logging.getLogger("conceptlab")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="what train.py wrote to")
    parser.add_argument("--images", type=int, default=100, help="test pictures of a class")
    parser.add_argument("--layers", nargs="+", default=list(LAYERS), metavar="NAME")
    parser.add_argument("--threads", type=int, default=1, help="see train.py")
    given = parser.parse_args(words)
    try:
        with threads(given.threads), quiet():
            table = study(given.run, given.layers, given.images)
    except (cl.ConceptlabError, OSError) as error:
        sys.exit(f"{parser.prog}: {' '.join(str(error).split())}")
    agreed = agreement(table)
    for name, rows in (("experiment", table), ("agreement", agreed)):
        path = given.run / "tables" / f"{name}.csv"
        write_table(path, rows, text_columns(rows))
        print(path)
    path = given.run / "experiment.png"
    draw(table, agreed).savefig(path, dpi=150)
    print(path)


if __name__ == "__main__":
    main()
