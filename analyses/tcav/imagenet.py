"""What CamVid's objects and colours do to classes of two ImageNet networks.

    python analyses/tcav/imagenet.py --data PATH [--out DIR] [--cache DIR] [--images N] [--seed S]
        [--networks NAME ...] [--layers LAYER ...] [--classes NAME ...]

PATH holds `camvid/` (a folder data set), `photos/`, and the weights `squeezenet1_0_imagenet` and
`mobilenet_v2_imagenet.safetensors`. Classes are the six that stand most often among the five
highest of a frame, over both networks and the frames outside train; a class's pictures are the N of
these frames in which the network gives it the highest probability.

Almost all frames show sky, road, black or white somewhere, so whether they do says nothing. CAVs
and classification probes therefore tell frames that show more of a concept than the median frame of
train from the rest; where the median is nothing, frames that show it. Segmentation probes have the
pixels themselves. The vectors are called 'cav-complement', 'cav-random' (against random frames),
'segmentation' and 'classification'. Writes into DIR (runs/tcav-imagenet), tables/:

* predictions.csv: of each network and class, in how many frames it is highest, or among five;
* tcav.csv: the table of `conceptlab.tcav`, with network and vectors, the interval as low and high;
* decomposition.csv, classes.csv: the tables of `conceptlab.decompose`, likewise, along
  'cav-complement', and along 'segmentation' at the last layer;
* photos.csv: those of single photographs, along segmentation vectors;
* erasure.csv: that of `conceptlab.erase` along 'cav-complement' at the last layer (what follows a
  middle layer is slow to run so often), against CAVs of random sets;
* random.csv: TCAV with CAVs of random sets of frames in the place of concepts: 5 % are to have
  p < 0.05;
* tints.csv: TCAV with CAVs of tinted frames, beside truth, the change of the logit when the class's
  own frames are tinted, with its standard error: score and truth are to have one sign;
* families.csv: of each concept what it is encoded, used, contributing and erased, means of the
  sizes over classes;

and figures/: tcav-, families-, sankey-NETWORK-LAYER.png, erasure-, photos-NETWORK.png.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from frames import NETWORKS, Frames, Network, Pictures, logits_of
from matplotlib.figure import Figure
from PIL import Image, ImageOps

import conceptlab as cl
from conceptlab.csvtable import text_columns, write_table
from conceptlab.views.plots.decomposition import plot_image_row
from conceptlab.views.plots.erasure import plot_erasure
from conceptlab.views.plots.sankey import plot_sankey
from conceptlab.views.plots.tcav import plot_families, plot_tcav

PHOTOS = {"chelsea": "Egyptian cat", "coffee": "espresso", "rocket": "missile", "camera": "tripod"}
TINTS = {"red": "#ff0000", "yellow": "#ffe000", "green": "#00b000", "blue": "#0030ff"}
COLORED = ("fire engine", "school bus", "cucumber", "indigo bunting")  # one for each tint
TINTED = 40  # frames of a tinted set
MOST = 22  # concepts in a basis: all
CLASSES = 6
ERASED_IMAGES = 10  # of a class
SHARP = 0.1  # penalty of the CAVs that are taken out
MEASURES = ["encoded", "used", "contributing", "erased"]
Vectors = dict[str, Any]  # by kind


def learned(acts: "cl.Activations", frames: Frames) -> tuple[Vectors, Vectors, pd.DataFrame]:
    """Vectors of concepts and of random sets by kind, and how well the concepts are encoded."""
    cavs, chance = (
        {
            f"cav-{against}": cl.CavProbe(against=against, seed=frames.seed).fit(acts, data).cavs
            for against in ("complement", "random")
        }
        for data in (frames.much, frames.random)
    )
    segment = cl.SegmentationProbe(seed=frames.seed).fit(acts, frames.pixels)
    classify = cl.ClassificationProbe(seed=frames.seed).fit(acts, frames.much)
    known = cavs["cav-complement"].vectors.concepts
    scores = {
        "segmentation": segment.score(acts, frames.pixels, split="test").set_index("concept")[
            "iou_set"
        ],
        "classification": classify.score(acts, frames.much, split="test").set_index("concept")[
            "accuracy"
        ],
        "cav-complement": known.set_index("name")["accuracy"],
    }
    encoded = pd.concat(
        [s.rename("encoded").rename_axis("concept").reset_index().assign(vectors=kind)
         for kind, s in scores.items()]
    )  # fmt: skip
    own = {"segmentation": segment.vectors, "classification": classify.vectors}
    return {**cavs, **own}, chance, encoded


def sensitivities(
    network: Network, images: Pictures, vectors: Sequence[Vectors], seed: int
) -> pd.DataFrame:
    """TCAV along vectors of several layers; tests of one kind are corrected together.

    Args:
        network: the network.
        images: class to pictures.
        vectors: of each layer.
        seed: of the intervals.
    """
    parts = []
    for kind in vectors[0]:
        table = cl.tcav(network.model, images, [own[kind] for own in vectors], seed=seed)
        parts.append(table.assign(vectors=kind))
    found = pd.concat(parts, ignore_index=True)
    found[["low", "high"]] = found["interval"].to_list()
    return labelled(found.drop(columns="interval"), network)


def labelled(table: pd.DataFrame, network: Network) -> pd.DataFrame:
    """The table with the network in front, and the vectors if it has them."""
    table = table.assign(network=network.name)
    first = [name for name in ("network", "vectors", "layer") if name in table]
    return table[[*first, *table.columns.difference(first, sort=False)]]


def decomposed(
    network: Network, images: Pictures, vectors: Sequence[Vectors], seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Basis decompositions along CAVs, and segmentation vectors at the last layer: two tables."""
    tables, classes = [], []
    asked = [("cav-complement", own) for own in vectors] + [("segmentation", vectors[-1])]
    for kind, own in asked:
        found = cl.decompose(network.model, images, own[kind], components=MOST)
        layer = found.table["layer"].iloc[0]
        tables.append(found.table.assign(vectors=kind))
        classes.append(found.classes.assign(vectors=kind, layer=layer))
    return labelled(pd.concat(tables), network), labelled(pd.concat(classes), network)


def erased(
    network: Network, images: Pictures, acts: "cl.Activations", frames: Frames, seed: int
) -> pd.DataFrame:
    """Erasure of each concept along a sharp CAV, against as sharp ones of random sets of frames."""
    probe = cl.CavProbe(against="complement", penalty=SHARP, seed=seed)
    own, chance = (probe.fit(acts, data).vectors for data in (frames.much, frames.random))
    few = {name: rows[:: -(-len(rows) // ERASED_IMAGES)] for name, rows in images.items()}
    every = list(chain.from_iterable(few.values()))
    found = cl.erase(network.model, few, own, random=chance, reference=every, seed=seed)
    return labelled(found.table.assign(vectors="cav-complement"), network)


def tinted(picture: Image.Image, color: str) -> Image.Image:
    """A picture half of which is shades of one colour."""
    shades = ImageOps.colorize(picture.convert("L"), "black", "white", mid=color)
    return Image.blend(picture, shades, 0.5)


def tints(network: Network, frames: Frames, count: int) -> pd.DataFrame:
    """TCAV of tints beside what tints really do, for classes that are known for a colour."""
    data, draw = frames.pixels, np.random.default_rng([frames.seed, 2])
    rows = draw.permutation(np.flatnonzero(data.splits == "train"))
    size = min(TINTED, len(rows) // 4)
    own = [data.image(int(i)) for i in rows[:size]]
    sets = {name: [tinted(picture, color) for picture in own] for name, color in TINTS.items()}
    pool = cl.DatasetPictures(data, rows[size : 4 * size])
    cavs = [
        cl.picture_cavs(network.model, sets, pool, layer=layer, examples=size, seed=frames.seed)
        for layer in network.layers
    ]
    asked = draw.choice(frames.held_out, min(count, len(frames.held_out)), replace=False)
    plain = [data.image(int(i)) for i in asked]
    table = cl.tcav(network.model, dict.fromkeys(COLORED, plain), cavs, seed=frames.seed)
    names = list(network.model.class_names or ())
    columns = [names.index(name) for name in COLORED]
    before = logits_of(network.model, plain)[:, columns]
    truth = []
    for name, color in TINTS.items():
        after = logits_of(network.model, [tinted(p, color) for p in plain])[:, columns]
        change = after - before
        error = change.std(axis=0, ddof=1) / np.sqrt(len(plain))
        own_rows = {"class": COLORED, "concept": name, "truth": change.mean(axis=0)}
        truth.append(pd.DataFrame({**own_rows, "truth_error": error}))
    table = table.merge(pd.concat(truth), on=["class", "concept"]).drop(columns="interval")
    return labelled(table, network)


def families(
    encoded: pd.DataFrame, used: pd.DataFrame, parts: pd.DataFrame, gone: pd.DataFrame
) -> pd.DataFrame:
    """Each concept's four measures along one vector; means of the sizes over classes."""
    at = ["network", "layer", "vectors", "concept"]
    table = encoded.merge(used[[*at, "category"]].drop_duplicates(), on=at)
    chosen = gone[gone["ablation"] == "direction"]
    for name, rows, column in (
        ("used", used, "effect"), ("contributing", parts, "share"),
        ("erased", chosen, "logit_change"),
    ):  # fmt: skip
        count = rows.groupby(at[:3])["class"].nunique()
        sums = rows.assign(size=rows[column].abs()).groupby(at)["size"].sum()
        table = table.merge((sums / count).rename(name).reset_index(), how="left", on=at)
    keys = ["layer", "vectors"]
    tried = pd.MultiIndex.from_frame(table[keys]).isin(pd.MultiIndex.from_frame(parts[keys]))
    table.loc[tried, "contributing"] = table.loc[tried, "contributing"].fillna(0.0)
    return table[[*at[:3], "concept", "category", *MEASURES]]


def photographs(
    network: Network, vectors: "cl.ConceptVectors", folder: Path
) -> tuple[pd.DataFrame, Figure]:
    """What speaks for the class of each photograph, and where: a table, and a row of pictures."""
    figure = Figure(figsize=(9.5, 2.1 * len(PHOTOS)), layout="constrained")
    grid = figure.subplots(len(PHOTOS), 5, squeeze=False)
    paths = {path.stem: path for path in cl.folder_pictures(folder / "photos")}
    parts = []
    for axes, (stem, target) in zip(grid, PHOTOS.items(), strict=True):
        found = cl.decompose_image(network.model, paths[stem], vectors, target, components=MOST)
        drawn = plot_image_row(found, axes=axes)
        for ax in axes[len(drawn) :]:
            ax.set_axis_off()
        parts.append(found.table.assign(photo=stem, explained=found.explained))
    return labelled(pd.concat(parts), network), figure


class Output:
    """Where tables and figures go.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("tables", "figures"):
            (folder / name).mkdir(parents=True, exist_ok=True)

    def table(self, name: str, parts: Sequence[pd.DataFrame]) -> None:
        """Write the tables of all networks as one, and say so."""
        path = self.folder / "tables" / f"{name}.csv"
        table = pd.concat(parts)
        write_table(path, table, text_columns(table))
        print(path)

    def figure(self, name: str, figure: Any) -> None:
        """Write a figure, and say so."""
        path = self.folder / "figures" / f"{name}.png"
        figure.savefig(path, dpi=150)
        print(path)


def draw(out: Output, network: Network, tables: dict[str, pd.DataFrame]) -> None:
    """The figures of each layer, along CAVs."""
    plots: dict[str, tuple[str, Callable[..., Any]]] = {
        "tcav": ("tcav", plot_tcav), "families": ("families", plot_families),
        "sankey": ("decomposition", plot_sankey),
    }  # fmt: skip
    for name, (table, plot) in plots.items():
        own = tables[table][tables[table]["vectors"] == "cav-complement"]
        for layer in network.layers:
            axes = plot(own[own["layer"] == layer])
            out.figure(f"{name}-{network.name}-{layer}", axes.get_figure())
    page = Figure(figsize=(8.5, 7.5), layout="constrained")
    plot_erasure(tables["erasure"], ax=page.subplots())
    out.figure(f"erasure-{network.name}", page)


def study(
    network: Network, frames: Frames, classes: Sequence[str], given: argparse.Namespace, out: Output
) -> dict[str, pd.DataFrame]:
    """Everything that is asked of one network, by the name of its table."""
    seed = given.seed
    images = network.pictures(classes, frames, given.images)
    acts = cl.extract(network.model, frames.pixels, layers=network.layers, cache=given.cache)
    found = [learned(acts[layer], frames) for layer in network.layers]
    vectors, chance = [own for own, _, _ in found], [null for _, null, _ in found]
    encoded = pd.concat(
        score.assign(network=network.name, layer=layer)
        for layer, (_, _, score) in zip(network.layers, found, strict=True)
    )
    tables = {"tcav": sensitivities(network, images, vectors, seed)}
    tables["random"] = sensitivities(network, images, chance, seed)
    tables["decomposition"], tables["classes"] = decomposed(network, images, vectors, seed)
    tables["erasure"] = erased(network, images, acts[network.layers[-1]], frames, seed)
    tables["families"] = families(
        encoded, tables["tcav"], tables["decomposition"], tables["erasure"]
    )
    draw(out, network, tables)
    tables["tints"] = tints(network, frames, given.images)
    tables["photos"], figure = photographs(network, vectors[-1]["segmentation"], given.data)
    out.figure(f"photos-{network.name}", figure)
    return tables


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, metavar="PATH")
    parser.add_argument("--out", type=Path, default=Path("runs/tcav-imagenet"), metavar="DIR")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="of the activations")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--images", type=int, default=12, help="pictures of a class")
    parser.add_argument("--classes", nargs="+", metavar="NAME", help="instead of the six chosen so")
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--layers", nargs="+", metavar="LAYER", help="some of them")
    given = parser.parse_args(words)
    out = Output(given.out)
    try:
        data = cl.load_data(f"folder:{given.data / 'camvid'},colors=true")
        frames = Frames.of(data, given.seed)
        networks = [Network.of(name, given.data, frames, given.layers) for name in given.networks]
        said = pd.concat([network.predictions() for network in networks])
        often = said.groupby("class", sort=False)["among_five"].sum().nlargest(CLASSES)
        classes = given.classes or list(often.index)
        out.table("predictions", [said[said["among_five"] > 0]])
        found: list[dict[str, pd.DataFrame]] = []
        for network in networks:
            found.append(study(network, frames, classes, given, out))
            for name in found[0]:
                out.table(name, [tables[name] for tables in found])
    except (cl.ConceptlabError, OSError) as error:
        sys.exit(f"{parser.prog}: {' '.join(str(error).split())}")


if __name__ == "__main__":
    main()
