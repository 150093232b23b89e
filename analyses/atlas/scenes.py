"""What the atlases of networks for drawn scenes show, against what is known of every pixel.

    python analyses/atlas/scenes.py [--out DIR] [--cache DIR] [--images N] [--seed S] [--optimised]

The pictures of `scenes` know their scene and each pixel's concepts, so what an atlas says of a cell
can be judged. Networks are the built-in ones that recognise scenes, and one with random weights as
the control. Writes into DIR (runs/atlas-scenes), tables/:

* truth.csv: of each network, layer and grid: `classes`, the share of vectors whose picture is of
  the class that their cell speaks for most (attribution), beside `majority`, the largest share that
  any labelling of the cells could reach, and `chance`, the same with classes dealt anew to the
  cells;
* concepts.csv: of the first concepts of cells: `present`, how often the concept is at the vectors'
  own positions (mean over cells), `anywhere`, how often it is at any vector's, `more`, the share of
  cells where the first is larger, and the commonest first concept with its share of the cells;
  `among` all concepts, or those that the layer finds (an IoU of at least 0.04 on the training
  pictures), and in all cells, or those whose score is `least` 1;
* cells.csv: the cells themselves;
* classes.csv: what cells say for two classes that are easily confused;
* layers.csv: adjusted mutual information of the cells of two layers or networks over the pictures;
* images.csv: images by optimisation for every fourth unit, beside the best picture of all;
* kinds.csv: of each unit how many kinds of image it answers to, and the concepts packed into it;
* units.csv: of each layer, the share of those images that beat the best picture, the share of units
  that answer to several kinds of image, and the rank correlation of kinds with packed concepts;

figures/: atlas-, kinds- and optimised-NETWORK-LAYER, classes; and atlas.html. With --optimised,
features.17 has icons by optimisation as well.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from common import Results, goes_with, unit_images
from numpy.typing import NDArray

import conceptlab as cl
from conceptlab.analysis.atlas.grid import cells_of
from conceptlab.views.plots.atlas import plot_atlas, plot_atlas_classes
from conceptlab.views.plots.polysemanticity import plot_polysemanticity

NETWORKS = {
    "scenenet": ("builtin:scenenet", False, ("features.8", "features.17")),
    "sceneres": ("builtin:sceneres", False, ("stages.2",)),
    "untrained": ("builtin:scenenet", True, ("features.17",)),
}
LAYOUT = cl.Layout(grids=(8, 16, 32), per_image=4)
RIVALS = ("beach", "harbour")
FOUND = 0.04  # IoU from which Bau et al. 2017 count a concept as detected
CLEAR = 1.0  # standard deviations
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
        found: (Q,) which of the atlas's concepts the layer finds.
    """

    network: str
    model: cl.ProbedModel
    acts: cl.Activations
    atlas: cl.Atlas
    found: NDArray[np.bool_]

    @property
    def of(self) -> dict[str, str]:
        """Columns that say which it is."""
        return {"network": self.network, "layer": self.acts.layer}

    @property
    def title(self) -> str:
        return f"{self.network} {self.acts.layer}"

    def view(self, icons: Any, name: str = "", atlas: cl.Atlas | None = None) -> dict[str, Any]:
        """A view of the page."""
        return cl.view_of(
            f"{self.title} {name}".strip(), atlas or self.atlas, icons, model=self.network,
            layer=self.acts.layer, optimised=name == "optimised",
        )  # fmt: skip


def places(data: cl.ProbeDataset, layout: cl.Layout, cache: Path) -> Iterator[Place]:
    """Every layer's atlas, with concept scores of its segmentation probe."""
    for network, (spec, untrained, layers) in NETWORKS.items():
        model = cl.load_model(spec, untrained=untrained, seed=layout.seed)
        for acts in cl.extract(model, data, layers, cache=cache).values():
            probe = cl.SegmentationProbe(seed=layout.seed).fit(acts, data)
            usable = probe.vectors.usable
            vectors = probe.vectors.select(lambda _, usable=usable: usable)
            made = cl.atlas(acts, model, vectors, layout=layout, data=data)
            found = vectors.concepts["train_score"].to_numpy() >= FOUND
            yield Place(network, model, acts, made, found)


class Truth:
    """What the labels say of the vectors of an atlas.

    Args:
        data: the drawn scenes.
        atlas: of a layer.
        map_size: (H, W) of the layer.
    """

    def __init__(self, data: cl.ProbeDataset, atlas: cl.Atlas, map_size: tuple[int, int]) -> None:
        catalogue = data.catalogue
        scenes = catalogue["name"].where(catalogue["category"] == "scene")
        pixels = catalogue[catalogue["level"] == "pixel"]
        columns = dict(zip(pixels["name"], pixels.index, strict=True))
        columns |= dict(zip(pixels["category"] + "/" + pixels["name"], pixels.index, strict=True))
        self.scene, self.present = [], []
        masks: dict[int, Any] = {}
        for i, (y, x) in zip(atlas.sample.images.tolist(), atlas.sample.places, strict=True):
            if i not in masks:
                masks = {i: data.masks(i, map_size)}  # those of one image are neighbours
                scene = scenes[data.labels(i).image_concepts].dropna().iloc[0]
            here = {concept for concept, mask in masks[i].items() if mask[y, x]}
            self.scene.append(scene)
            self.present.append([columns[name] in here for name in atlas.concepts])


def classes_of(place: Place, truth: Truth, grid: Any, seed: int) -> dict[str, Any]:
    """How often the class that a cell of one grid speaks for is that of its vectors' pictures."""
    cell = cells(place.atlas, grid)
    inside = cell >= 0
    own, scene = cell[inside], np.array(truth.scene)[inside]
    said = np.array(place.atlas.classes)[grid.attributions.argmax(axis=1)]
    draw = np.random.default_rng(seed)
    dealt = [(draw.permutation(said)[own] == scene).mean() for _ in range(DRAWS)]
    return {
        "resolution": grid.resolution,
        "cells": len(grid),
        "vectors": len(own),
        "classes": (said[own] == scene).mean(),
        "majority": pd.crosstab(own, scene).max(axis=1).sum() / len(own),
        "chance": np.mean(dealt),
    }


def concepts_of(place: Place, truth: Truth, grid: Any) -> pd.DataFrame:
    """How often the first concept of a cell of one grid is at its vectors' own positions."""
    cell = cells(place.atlas, grid)
    present = np.array(truth.present)
    anywhere = present.mean(axis=0)
    inside = pd.DataFrame(present).groupby(np.where(cell >= 0, cell, len(grid))).mean().to_numpy()
    rows = []
    for among, known in (("all", np.ones(len(place.found), bool)), ("found", place.found)):
        scores = np.where(known & ~np.isnan(grid.scores), grid.scores, -np.inf)
        first, highest = scores.argmax(axis=1), scores.max(axis=1)
        shares = inside[np.arange(len(grid)), first]
        for least in (-np.inf, CLEAR):
            clear = highest >= least
            row = {"among": among, "least": least, "cells": clear.sum()}
            if known.any() and clear.any():
                row |= {
                    "commonest": pd.Series(np.array(place.atlas.concepts)[first[clear]]).mode()[0],
                    "share": pd.Series(first[clear]).value_counts(normalize=True).iloc[0],
                    "present": shares[clear].mean(),
                    "anywhere": anywhere[first[clear]].mean(),
                    "more": (shares > anywhere[first])[clear].mean(),
                }
            rows.append(row)
    return pd.DataFrame(rows).assign(resolution=grid.resolution, **place.of)


def cells(atlas: cl.Atlas, grid: Any) -> NDArray[np.int64]:
    """(n,) the place of each vector's cell in a grid, -1 where it holds too few."""
    return cells_of(atlas.points, grid.resolution, int(grid.counts.min())).of


def looked_at(
    place: Place, data: cl.ProbeDataset, settings: cl.Synthesis, results: Results, seed: int
) -> tuple[dict[str, Any], dict[str, pd.DataFrame]]:
    """A layer's figures, its view of the page, and its tables."""
    name = place.title.replace(" ", "-")
    icons = cl.patch_icons(place.atlas, place.acts, data)
    results.plot(f"atlas-{name}", plot_atlas(place.atlas, icons), "pdf")
    truth = Truth(data, place.atlas, place.acts.shape[2:])
    grids = place.atlas.grids
    classes = [place.of | classes_of(place, truth, grid, seed) for grid in grids]
    units = range(0, place.acts.shape[1], EVERY)
    made, images = unit_images(place.model, place.acts, units, settings, seed)
    results.pictures(
        f"optimised-{name}", made.images[:24], [f"unit {u}" for u in units[:24]], columns=8
    )
    packing = cl.pack_units(place.acts, data, shuffle_control=False, seed=seed)
    kinds = cl.polysemanticity(place.acts, packing=packing, seed=seed).units
    results.plot(f"kinds-{name}", plot_polysemanticity(kinds))
    live = kinds[kinds["clusters"] > 0]
    correlation, p_value = goes_with(live["clusters"], live["packed"], seed)
    summary = {
        "made": len(images), "beaten": images["beaten"].mean(), "units": len(kinds),
        "live": len(live), "many": (live["clusters"] > 1).mean(),
        "correlation": correlation, "p_value": p_value,
    }  # fmt: skip
    tables = {
        "truth": pd.DataFrame(classes),
        "concepts": pd.concat([concepts_of(place, truth, grid) for grid in grids]),
        "cells": place.atlas.cells.assign(**place.of),
        "images": images.assign(**place.of),
        "kinds": kinds.assign(**place.of),
        "units": pd.DataFrame([place.of | summary]),
    }
    return place.view(icons), tables


def compared(found: list[Place], seed: int) -> list[pd.DataFrame]:
    """Every two atlases of the same pictures."""
    return [
        cl.compare_atlases(a.atlas, b.atlas, seed=seed).measures.assign(a=a.title, b=b.title)
        for i, a in enumerate(found)
        for b in found[i + 1 :]
    ]


def rivals(
    place: Place, data: cl.ProbeDataset, layout: cl.Layout, results: Results
) -> tuple[dict[str, Any], pd.DataFrame]:
    """The atlas of what speaks for either of two classes, and what its cells say for each."""
    made = cl.atlas(place.acts, place.model, focus=RIVALS, layout=layout, data=data)
    icons = cl.patch_icons(made, place.acts, data)
    results.plot("classes", plot_atlas_classes(made, icons, *RIVALS), "pdf")
    view = place.view(icons, f"for {made.focus}", made)
    return view, cl.compare_classes(made, *RIVALS).assign(**place.of)


def with_optimised(place: Place, data: cl.ProbeDataset, results: Results, seed: int) -> Any:
    """The same atlas with icons by optimisation."""
    icons = cl.patch_icons(place.atlas, place.acts, data)
    icons = cl.optimised_icons(place.atlas, place.model, icons, seed=seed, progress=True)
    results.plot("atlas-optimised", plot_atlas(place.atlas, icons), "pdf")
    return place.view(icons, "optimised")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("runs/atlas-scenes"))
    parser.add_argument("--cache", type=Path, default=Path("cache"))
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--optimised", action="store_true")
    given = parser.parse_args(arguments)
    begun = time.perf_counter()
    data = cl.load_data(f"scenes:n={given.images},seed={given.seed}")
    layout, results = replace(LAYOUT, seed=given.seed), Results(given.out)
    found, views = list(places(data, layout, given.cache)), []
    tables: dict[str, list[pd.DataFrame]] = {}
    for place in found:
        view, own = looked_at(place, data, cl.Synthesis(), results, given.seed)
        views.append(view)
        for name, table in own.items():
            tables.setdefault(name, []).append(table)
    last = next(place for place in found if place.title == "scenenet features.17")
    view, table = rivals(last, data, layout, results)
    views.append(view)
    results.write(tables | {"layers": compared(found, given.seed), "classes": [table]})
    if given.optimised:
        views.append(with_optimised(last, data, results, given.seed))
    print(cl.write_atlas(given.out / "atlas.html", views, "Atlases of drawn scenes"))
    print(f"{time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main()
