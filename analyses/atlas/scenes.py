"""What the atlases of networks for drawn scenes show, against what is known of every pixel.

    python analyses/atlas/scenes.py [--out DIR] [--cache DIR] [--images N] [--seed S] [--optimised]

The pictures of `scenes` know their scene and each pixel's concepts, so what an atlas says of a cell
can be judged. Networks are the built-in ones that recognise scenes, and one with random weights as
the control. Writes into DIR (runs/atlas-scenes), tables/:

* truth.csv: of each network, layer and grid: `classes`, the share of vectors whose picture is of
  the class that their cell speaks for most (attribution), beside `majority`, the largest share that
  any labelling of the cells could reach, and `chance`, the same with classes dealt anew to the
  cells; `concepts`, the mean over cells of how often their first concept is at the vectors' own
  positions, beside `concepts_chance`, how often it is anywhere;
* cells.csv: the cells themselves;
* classes.csv: what cells say for two classes that are easily confused;
* layers.csv: adjusted mutual information of the cells of two layers or networks over the pictures;
* images.csv: images by optimisation for every fourth unit, beside the best picture of all;
* kinds.csv: of each unit how many kinds of image it answers to, and the concepts packed into it;

figures/: atlas-, kinds- and optimised-NETWORK-LAYER.png, classes.png; and atlas.html. With
--optimised, features.17 has icons by optimisation as well.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

import conceptlab as cl
from conceptlab.views.overlay import mosaic
from conceptlab.views.plots_atlas import plot_atlas, plot_atlas_classes
from conceptlab.views.plots_polysemanticity import plot_polysemanticity

NETWORKS = {
    "scenenet": ("builtin:scenenet", False, ("features.8", "features.17")),
    "sceneres": ("builtin:sceneres", False, ("stages.2",)),
    "untrained": ("builtin:scenenet", True, ("features.17",)),
}
PER_IMAGE = 4  # vectors of a picture
GRIDS = (8, 16, 32)
RIVALS = ("beach", "harbour")
EVERY = 4  # of the units, for images
DRAWS = 100


@dataclass(frozen=True)
class Place:
    """A layer of a network, its activations and its atlas.

    Args:
        network: its name here.
        model: the network.
        acts: the layer's activations.
        atlas: of the whole layer.
    """

    network: str
    model: cl.ProbedModel
    acts: cl.Activations
    atlas: cl.Atlas

    @property
    def title(self) -> str:
        return f"{self.network} {self.acts.layer}"


def places(data: cl.ProbeDataset, cache: Path, seed: int) -> Iterator[Place]:
    """Every layer's atlas, with concept scores of its segmentation probe."""
    layout = cl.Layout(grids=GRIDS, per_image=PER_IMAGE, seed=seed)
    for network, (spec, untrained, layers) in NETWORKS.items():
        model = cl.load_model(spec, untrained=untrained, seed=seed)
        for acts in cl.extract(model, data, layers, cache=cache).values():
            probe = cl.SegmentationProbe(seed=seed).fit(acts, data)
            usable = probe.vectors.usable
            vectors = probe.vectors.select(lambda _, usable=usable: usable)
            made = cl.atlas(acts, model, vectors, layout=layout, data=data)
            yield Place(network, model, acts, made)


class Truth:
    """What the labels say of the vectors of an atlas.

    Args:
        data: the drawn scenes.
        atlas: of a layer.
        map_size: (H, W) of the layer.
    """

    def __init__(self, data: cl.ProbeDataset, atlas: cl.Atlas, map_size: tuple[int, int]) -> None:
        catalogue = data.catalogue
        names = catalogue["name"].to_numpy()
        scenes = np.flatnonzero((catalogue["category"] == "scene").to_numpy())
        images, places = atlas.sample.images, atlas.sample.places
        shown = {int(i): data.masks(int(i), map_size) for i in np.unique(images)}
        whole = {int(i): data.labels(int(i)).image_concepts for i in np.unique(images)}
        self.scene = np.array([names[np.intersect1d(whole[int(i)], scenes)[0]] for i in images])
        pixels = catalogue[catalogue["level"] == "pixel"]
        rows = dict(zip(pixels["name"], pixels.index, strict=True))
        rows |= dict(zip(pixels["category"] + "/" + pixels["name"], pixels.index, strict=True))
        self.present = np.array(
            [
                [
                    bool(shown[int(i)].get(rows[name], np.zeros(map_size, bool))[y, x])
                    for name in atlas.concepts
                ]
                for i, (y, x) in zip(images, places, strict=True)
            ]
        )


def judged(place: Place, truth: Truth, grid: Any, seed: int) -> dict[str, Any]:
    """How far the cells of one grid say what is there."""
    atlas = place.atlas
    cell = cells_of(atlas, grid)
    inside = cell >= 0
    said = np.array(atlas.classes)[grid.attributions.argmax(axis=1)]
    draw = np.random.default_rng(seed)
    scene, own = truth.scene[inside], cell[inside]
    counts = pd.crosstab(own, scene)
    first = grid.scores.argmax(axis=1)
    there = truth.present[inside][np.arange(inside.sum()), first[own]]
    return {
        "network": place.network,
        "layer": place.acts.layer,
        "resolution": grid.resolution,
        "cells": len(grid),
        "vectors": int(inside.sum()),
        "classes": float((said[own] == scene).mean()),
        "majority": float(counts.max(axis=1).sum() / inside.sum()),
        "chance": float(np.mean([(draw.permutation(said)[own] == scene).mean()
                                 for _ in range(DRAWS)])),
        "concepts": float(pd.Series(there).groupby(own).mean().mean()),
        "concepts_chance": float(truth.present.mean(axis=0)[first].mean()),
    }  # fmt: skip


def cells_of(atlas: cl.Atlas, grid: Any) -> NDArray[np.int64]:
    """(n,) the place of each vector's cell in a grid, -1 where it holds too few."""
    at = np.clip((atlas.points * grid.resolution).astype(int), 0, grid.resolution - 1)
    known = {(r, c): i for i, (r, c) in enumerate(zip(grid.rows, grid.columns, strict=True))}
    return np.array([known.get((int(y), int(x)), -1) for x, y in at])


def optimised(place: Place, seed: int) -> tuple[pd.DataFrame, cl.Visualizations]:
    """An image for every fourth unit of a layer, beside the best picture."""
    units = range(0, place.acts.shape[1], EVERY)
    made = cl.visualize(place.model, [cl.Unit(place.acts.layer, unit) for unit in units], seed=seed)
    table = cl.against_probe(made, place.acts)
    return table.assign(network=place.network), made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("runs/atlas-scenes"))
    parser.add_argument("--cache", type=Path, default=Path("cache"))
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--optimised", action="store_true")
    given = parser.parse_args()
    data = cl.load_data(f"scenes:n={given.images},seed={given.seed}")
    (given.out / "tables").mkdir(parents=True, exist_ok=True)
    (given.out / "figures").mkdir(exist_ok=True)

    def write(name: str, parts: list[pd.DataFrame]) -> None:
        table = pd.concat(parts, ignore_index=True)
        table.to_csv(given.out / "tables" / f"{name}.csv", index=False, float_format="%.4g")
        print(f"{name}.csv: {len(table)} rows", flush=True)

    found = list(places(data, given.cache, given.seed))
    truth, cells, images, kinds, views = [], [], [], [], []
    for place in found:
        known = Truth(data, place.atlas, place.acts.shape[2:])
        truth += [judged(place, known, grid, given.seed) for grid in place.atlas.grids]
        cells.append(place.atlas.cells.assign(network=place.network, layer=place.acts.layer))
        icons = cl.patch_icons(place.atlas, place.acts, data)
        views.append(view(place, icons))
        draw(plot_atlas(place.atlas, icons), given.out, f"atlas-{place.title.replace(' ', '-')}")
        table, made = optimised(place, given.seed)
        images.append(table)
        pictures = [Image.fromarray(i) for i in made.images[:24]]
        captions = [o.text.rpartition(" ")[2] for o in made.objectives[:24]]
        mosaic(pictures, captions).save(
            given.out / "figures" / f"optimised-{place.title.replace(' ', '-')}.png"
        )
        packing = cl.pack_units(place.acts, data, shuffle_control=False, seed=given.seed)
        many = cl.polysemanticity(place.acts, packing=packing, seed=given.seed)
        kinds.append(many.units.assign(network=place.network, layer=place.acts.layer))
        draw(plot_polysemanticity(many.units), given.out, f"kinds-{place.title.replace(' ', '-')}")
    write("truth", [pd.DataFrame(truth)])
    write("cells", cells)
    write("images", images)
    write("kinds", kinds)
    write("layers", compared(found, given.seed))
    last = next(p for p in found if p.acts.layer == "features.17")
    table, more = rivals(last, data, given.seed, given.out)
    write("classes", [table])
    views += more
    if given.optimised:
        icons = cl.optimised_icons(
            last.atlas, last.model, cl.patch_icons(last.atlas, last.acts, data), seed=given.seed,
            progress=True,
        )  # fmt: skip
        views.append(view(last, icons, "optimised"))
        draw(plot_atlas(last.atlas, icons), given.out, "atlas-optimised")
    print(cl.write_atlas(given.out / "atlas.html", views, "Atlases of drawn scenes"))


def view(place: Place, icons: Any, kind: str = "") -> dict[str, Any]:
    return cl.view_of(
        f"{place.title} {kind}".strip(), place.atlas, icons, model=place.network,
        layer=place.acts.layer, optimised=kind == "optimised",
    )  # fmt: skip


def compared(found: list[Place], seed: int) -> list[pd.DataFrame]:
    """Every two atlases of the same pictures."""
    rows = []
    for i, a in enumerate(found):
        for b in found[i + 1 :]:
            measures = cl.compare_atlases(a.atlas, b.atlas, seed=seed).measures
            rows.append(measures.assign(a=a.title, b=b.title))
    return rows


def rivals(
    place: Place, data: cl.ProbeDataset, seed: int, out: Path
) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """The atlas of what speaks for either of two classes, and what its cells say for each."""
    layout = cl.Layout(grids=GRIDS, per_image=PER_IMAGE, seed=seed)
    made = cl.atlas(place.acts, place.model, focus=RIVALS, layout=layout, data=data)
    icons = cl.patch_icons(made, place.acts, data)
    draw(plot_atlas_classes(made, icons, *RIVALS), out, "classes")
    of_both = Place(place.network, place.model, place.acts, made)
    return cl.compare_classes(made, *RIVALS), [view(of_both, icons, " and ".join(RIVALS))]


def draw(ax: Any, out: Path, name: str) -> None:
    for kind in ("png", "pdf"):
        ax.figure.savefig(out / "figures" / f"{name}.{kind}", dpi=300)


if __name__ == "__main__":
    main()
