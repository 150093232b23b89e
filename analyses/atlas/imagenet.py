"""What SqueezeNet and MobileNetV2 know, seen through street scenes and photographs.

    python analyses/atlas/imagenet.py --data PATH [--networks NAME ...] [--out DIR] [--cache DIR]
                                      [--seed S] [--steps N] [--optimised]

PATH holds `camvid/`, `photos/`, and the weights `squeezenet1_0_imagenet.safetensors` and
`mobilenet_v2_imagenet.safetensors`. CamVid's 701 frames and the eight photographs are linked into
DIR/pictures (a data set without labels); concept vectors are those of CamVid's labels. Writes into
DIR (runs/atlas-imagenet), tables/:

* cells.csv: the cells of the networks' atlases;
* classes.csv: what the cells of SqueezeNet's atlas of two classes say for either;
* networks.csv: adjusted mutual information of both networks' cells over the pictures;
* exemplars.csv: of all units' exemplars, by how they were chosen, `repeats`, the share that have
  another one of the same unit from their own film within 90 frames, and `strength`, the mean value
  as a share of the unit's strongest;
* images.csv: images by optimisation for 32 units of each network, beside the best picture;
* logits.csv: images for some classes, what the network then says, and the class's probability; the
  same with the image brought to the network's own size (`_larger`);
* inversion.csv: PSNR of the inversion of four photographs from several layers;
* kinds.csv: of each unit how many kinds of image it answers to;

figures/: atlases, exemplars, images, inversions, caricatures, filters, feature maps; and
atlas.html. Images are made at 128 pixels in N steps (128). With --optimised, SqueezeNet's page has
coarse grids with icons by optimisation as well.
"""

import argparse
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from common import Results, unit_images
from PIL import Image

import conceptlab as cl
from conceptlab.synthesis.visualize import INVERSION
from conceptlab.views.plots.atlas import plot_atlas, plot_atlas_classes
from conceptlab.views.plots.exemplars import draw_exemplars
from conceptlab.views.plots.filters import plot_feature_maps, plot_filters
from conceptlab.views.plots.polysemanticity import plot_polysemanticity

HALF = (0.5, 0.5, 0.5)
NETWORKS: dict[str, tuple[str, str, dict[str, Any], str, tuple[str, ...]]] = {
    "squeezenet": (
        "torchvision:squeezenet1_0", "squeezenet1_0_imagenet", {}, "features.12",
        ("features.0", "features.3", "features.5", "features.8", "features.12"),
    ),
    "mobilenet": (
        "torchvision:mobilenet_v2", "mobilenet_v2_imagenet", {"mean": HALF, "std": HALF},
        "features.18", ("features.1", "features.3", "features.6", "features.13", "features.18"),
    ),
}  # fmt: skip
CLASSES = ("traffic light", "streetcar")  # that are compared
LOGITS = ("Egyptian cat", "espresso", "missile", "tripod", "traffic light", "strawberry")
PHOTOS = ("chelsea", "coffee", "rocket", "astronaut")
SIDE = 128  # pixels of made images
LAYOUT = cl.Layout(per_image=4, grids=(10, 20, 40))
FEW, COARSE = (5, 10), (10, 16)  # grids for few vectors, and for icons that take long
UNITS = 32  # for images
FRAMES = 90  # nearer frames of a film show one scene
CHOICES = ("top", "diverse", "range", "random")
Tables = dict[str, pd.DataFrame]


@dataclass(frozen=True)
class Network:
    """A network, and the layer of its atlas.

    Args:
        name: short.
        model: ready.
        small: the same for pictures of 128 pixels.
        layer: the atlas's.
        depths: layers that photographs are inverted from.
    """

    name: str
    model: cl.ProbedModel
    small: cl.ProbedModel
    layer: str
    depths: tuple[str, ...]

    @classmethod
    def of(cls, name: str, folder: Path) -> "Network":
        """One of those above, with its weights."""
        spec, weights, settings, layer, depths = NETWORKS[name]
        path = folder / f"{weights}.safetensors"
        model = cl.load_model(spec, weights=path, **settings)
        return cls(
            name, model, cl.load_model(spec, weights=path, size=SIDE, **settings), layer, depths
        )


def pictures(files: Sequence[Path], place: Path) -> cl.ProbeDataset:
    """Pictures of several folders, linked together as one data set without labels."""
    shutil.rmtree(place, ignore_errors=True)
    for file in files:
        link = place / file.parent.name / file.name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file.resolve())
    return cl.load_data(f"pictures:{place}")


def concepts(network: Network, folder: Path, cache: Path, seed: int) -> cl.ConceptVectors:
    """Segmentation vectors of CamVid's concepts."""
    data = cl.load_data(f"folder:{folder / 'camvid'},colors=true")
    acts = cl.extract(network.model, data, [network.layer], cache=cache)[network.layer]
    found = cl.SegmentationProbe(seed=seed).fit(acts, data).vectors
    return found.select(lambda _: found.usable)


def repeats(table: pd.DataFrame) -> float:
    """The share of exemplars that another one of the same target repeats: a frame close by."""
    name = table["image"].str.extract(r"([^/_]+)_[^/]*?(\d+)\D*$")
    rows = table.assign(film=name[0], frame=pd.to_numeric(name[1])).dropna(subset=["frame"])
    rows = rows.sort_values(["target", "film", "frame"])
    gap = rows.groupby(["target", "film"])["frame"].diff()
    near = (gap <= FRAMES) | (gap.shift(-1) <= FRAMES)
    return float(near.mean())


def exemplified(acts: cl.Activations, seed: int) -> pd.DataFrame:
    """How often exemplars repeat one scene, by how they were chosen."""
    rows = []
    for choose in CHOICES:
        table = cl.exemplars(acts, count=9, choose="top" if choose == "random" else choose).table
        if choose == "random":
            drawn = np.random.default_rng(seed).permuted(
                np.tile(acts.names, (acts.shape[1], 1)), axis=1
            )
            table = table.assign(image=drawn[:, :9].ravel(), value=np.nan)
        peak = table.groupby("target")["value"].transform("max")
        strength = (table["value"] / peak.where(peak > 0)).mean()
        rows.append({"choose": choose, "repeats": repeats(table), "strength": strength})
    return pd.DataFrame(rows)


def of_classes(network: Network, settings: cl.Synthesis, seed: int) -> tuple[Any, pd.DataFrame]:
    """Images for some classes, and what the network makes of them at that size and at its own."""
    made = cl.visualize(network.small, [cl.Logit(name) for name in LOGITS], settings, seed=seed)
    names, table = list(network.model.class_names), made.table
    own = [names.index(name) for name in LOGITS]
    for size, model in (("", network.small), ("_larger", network.model)):
        with torch.inference_mode():
            batch = model.prepare([Image.fromarray(image) for image in made.images])
            said = model.module(batch).softmax(dim=1).numpy()
        answers = [names[column] for column in said.argmax(axis=1)]
        found = said[np.arange(len(own)), own]
        table = table.assign(**{f"said{size}": answers, f"probability{size}": found})
    return made, table


def inverted(
    network: Network, photos: Sequence[Image.Image], steps: int, seed: int
) -> tuple[list[Any], pd.DataFrame]:
    """Photographs, the same made anew from several layers, and how near they come."""
    seen = [network.small.decode(photo) for photo in photos]
    rows, images = [], list(seen)
    settings = replace(INVERSION, steps=steps)
    for layer in network.depths:
        found = cl.invert(network.small, list(photos), layer, settings, seed=seed)
        images += list(found.images)
        for name, own, image in zip(PHOTOS, seen, found.images, strict=True):
            error = ((own.astype(float) - image) ** 2).mean()
            rows.append({"layer": layer, "photo": name, "psnr": 10 * np.log10(255**2 / error)})
    return images, pd.DataFrame(rows)


def atlas_of(
    network: Network, acts: cl.Activations, data: cl.ProbeDataset, given: Any, results: Results
) -> tuple[cl.Atlas, list[Any], Tables]:
    """A network's atlas, its views of the page, and tables."""
    vectors = concepts(network, given.data, given.cache, given.seed)
    layout = replace(LAYOUT, seed=given.seed)
    whole = cl.atlas(acts, network.model, vectors, layout=layout, data=data)
    icons = cl.patch_icons(whole, acts, data)
    results.plot(f"atlas-{network.name}", plot_atlas(whole, icons), "pdf")
    about = {"model": network.name, "layer": network.layer}
    views = [cl.view_of(network.name, whole, icons, **about)]
    if network.name != "squeezenet":
        return whole, views, {"cells": whole.cells}
    few = replace(layout, grids=FEW)
    both = cl.atlas(acts, network.model, vectors, focus=CLASSES, layout=few, data=data)
    icons = cl.patch_icons(both, acts, data)
    results.plot("classes", plot_atlas_classes(both, icons, *CLASSES), "pdf")
    views.append(cl.view_of(f"{network.name}: {both.focus}", both, icons, **about))
    if given.optimised:
        wide = replace(layout, grids=COARSE)
        coarse = cl.atlas(acts, network.model, vectors, layout=wide, data=data)
        icons = cl.patch_icons(coarse, acts, data)
        icons = cl.optimised_icons(coarse, network.model, icons, seed=given.seed, progress=True)
        results.plot("atlas-optimised", plot_atlas(coarse, icons), "pdf")
        name = f"{network.name} optimised"
        views.append(cl.view_of(name, coarse, icons, optimised=True, **about))
    return whole, views, {"cells": whole.cells, "classes": cl.compare_classes(both, *CLASSES)}


def exemplars_of(
    network: Network, acts: cl.Activations, data: cl.ProbeDataset, seed: int, results: Results
) -> Tables:
    """Exemplars of all units as tables, and of a few as pictures."""
    some = np.linspace(0, acts.shape[1] - 1, 8).round().astype(int)
    for choose, show in (("top", "masked"), ("diverse", "patch"), ("range", "whole")):
        found = cl.exemplars(acts, some, choose=choose, count=8)
        path = results.root / "figures" / f"{choose}-{network.name}.png"
        draw_exemplars(found, data, show=show).save(path)
    many = cl.polysemanticity(acts, seed=seed).units
    results.plot(f"kinds-{network.name}", plot_polysemanticity(many))
    return {"exemplars": exemplified(acts, seed), "kinds": many}


def made_for(
    network: Network,
    acts: cl.Activations,
    photos: Sequence[Image.Image],
    given: Any,
    results: Results,
) -> Tables:
    """Images by optimisation."""
    name, seed, settings = network.name, given.seed, cl.Synthesis(steps=given.steps)
    units = np.linspace(0, acts.shape[1] - 1, UNITS).round().astype(int)
    made, images = unit_images(network.small, acts, units, settings, seed)
    results.pictures(f"units-{name}", made.images, [f"unit {u}" for u in units], 8)
    made, logits = of_classes(network, settings, seed)
    said = [f"{c}: {p:.2f}" for c, p in zip(LOGITS, logits["probability"], strict=True)]
    results.pictures(f"logits-{name}", made.images, said, 6)
    shown, inversion = inverted(network, photos, given.steps, seed)
    titles = [title for title in ("photograph", *network.depths) for _ in photos]
    results.pictures(f"inversions-{name}", shown, titles, len(photos))
    deep = network.depths[3]
    drawn = cl.caricature(network.small, list(photos), deep, seed=seed)
    results.pictures(
        f"caricatures-{name}", [*shown[: len(photos)], *drawn.images],
        [*PHOTOS, *[deep] * len(photos)], len(photos),
    )  # fmt: skip
    return {"images": images, "logits": logits, "inversion": inversion}


def weights_and_maps(network: Network, photo: Image.Image, results: Results) -> None:
    """Figures of the first filters, and of what early layers make of a photograph."""
    modules = network.model.module.named_modules()
    first = next(name for name, module in modules if isinstance(module, torch.nn.Conv2d))
    results.plot(f"filters-{network.name}", plot_filters(cl.filters(network.model, first)))
    seen = network.model.decode(photo)
    for layer, maps in network.model.activations(photo, list(network.depths[:3])).items():
        ax = plot_feature_maps(maps[0], picture=seen, title=layer)
        results.plot(f"maps-{network.name}-{layer}", ax)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--out", type=Path, default=Path("runs/atlas-imagenet"))
    parser.add_argument("--cache", type=Path, default=Path("cache"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=128)
    parser.add_argument("--optimised", action="store_true")
    given = parser.parse_args(arguments)
    begun, results = time.perf_counter(), Results(given.out)

    def told(what: str) -> None:
        print(f"{time.perf_counter() - begun:6.0f} s  {what}", flush=True)

    files = [*given.data.glob("camvid/images/*/*"), *given.data.glob("photos/*.jpg")]
    data = pictures(files, given.out / "pictures")
    photos = [Image.open(given.data / "photos" / f"{p}.jpg").convert("RGB") for p in PHOTOS]
    atlases, views = [], []
    tables: dict[str, list[pd.DataFrame]] = {}
    for name in given.networks:
        network = Network.of(name, given.data)
        acts = cl.extract(network.model, data, [network.layer], cache=given.cache)[network.layer]
        told(f"{name}: activations")
        whole, own, found = atlas_of(network, acts, data, given, results)
        atlases.append(whole)
        views += own
        told(f"{name}: atlas")
        found |= exemplars_of(network, acts, data, given.seed, results)
        told(f"{name}: exemplars")
        found |= made_for(network, acts, photos, given, results)
        weights_and_maps(network, photos[0], results)
        told(f"{name}: images")
        for key, table in found.items():
            tables.setdefault(key, []).append(table.assign(network=name))
    if len(atlases) == 2:
        tables["networks"] = [cl.compare_atlases(*atlases, seed=given.seed).measures]
    results.write(tables)
    told(str(cl.write_atlas(given.out / "atlas.html", views, "SqueezeNet and MobileNetV2")))


if __name__ == "__main__":
    main()
