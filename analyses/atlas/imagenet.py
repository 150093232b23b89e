"""What SqueezeNet and MobileNetV2 know, seen through street scenes and photographs.

    python analyses/atlas/imagenet.py --data PATH [--out DIR] [--cache DIR] [--seed S] [--steps N]

PATH holds `camvid/`, `photos/`, and the weights `squeezenet1_0_imagenet.safetensors` and
`mobilenet_v2_imagenet.safetensors`. Their pictures, CamVid's 701 frames and the eight photographs,
are linked into DIR/pictures (a data set without labels); concept vectors are those of CamVid's
labels. Writes into DIR (runs/atlas-imagenet), tables/:

* cells.csv: the cells of both atlases, and of the atlases of two classes in SqueezeNet;
* classes.csv: what cells say for these two;
* networks.csv: adjusted mutual information of the networks' cells over the pictures;
* exemplars.csv: of every unit, its strongest pictures, and diverse ones of a few; share of
  exemplars that have another one from their own film within 90 frames (`repeats`);
* images.csv: images by optimisation for 32 units of each network, beside the best picture;
* logits.csv: images for some classes, what the network then says, and with what probability;
* inversion.csv: PSNR of the inversion of each photograph from several layers;
* kinds.csv: of each unit how many kinds of image it answers to;

figures/: atlases (PNG and PDF), exemplars, images, inversions, caricatures, filters, feature maps;
and atlas.html.
"""

import argparse
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image

import conceptlab as cl
from conceptlab.views.overlay import mosaic
from conceptlab.views.plots_atlas import plot_atlas, plot_atlas_classes
from conceptlab.views.plots_exemplars import draw_exemplars
from conceptlab.views.plots_filters import plot_feature_maps, plot_filters
from conceptlab.views.plots_polysemanticity import plot_polysemanticity

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
PER_IMAGE = 8
GRIDS = (10, 20, 40)
UNITS = 32  # for images
FRAMES = 90  # nearer frames of a film show one scene


@dataclass(frozen=True)
class Network:
    """A network, and the layer of its atlas.

    Args:
        name: short.
        model: ready.
        layer: the atlas's.
        depths: layers that photographs are inverted from.
    """

    name: str
    model: cl.ProbedModel
    layer: str
    depths: tuple[str, ...]

    @classmethod
    def of(cls, name: str, folder: Path) -> "Network":
        """One of those above, with its weights."""
        spec, weights, settings, layer, depths = NETWORKS[name]
        model = cl.load_model(spec, weights=folder / f"{weights}.safetensors", **settings)
        return cls(name, model, layer, depths)


def pictures(folder: Path, out: Path) -> cl.ProbeDataset:
    """CamVid's frames and the photographs, as one data set without labels."""
    place = out / "pictures"
    shutil.rmtree(place, ignore_errors=True)
    found = [*folder.glob("camvid/images/*/*"), *folder.glob("photos/*.jpg")]
    for file in found:
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
    film = table["image"].str.extract(r"([^/_]+)_[^/]*?(\d+)\D*$")
    rows = table.assign(film=film[0], frame=pd.to_numeric(film[1])).dropna(subset=["frame"])
    found = []
    for _, own in rows.groupby(["target", "film"], sort=False):
        apart = np.abs(own["frame"].to_numpy()[:, None] - own["frame"].to_numpy())
        np.fill_diagonal(apart, FRAMES + 1)
        found += (apart.min(axis=1) <= FRAMES).tolist()
    return float(np.mean(found))


def exemplified(acts: cl.Activations, seed: int) -> pd.DataFrame:
    """How often exemplars repeat one scene, by how they were chosen."""
    del seed
    rows = []
    for choose in ("top", "diverse", "range"):
        table = cl.exemplars(acts, count=9, choose=choose).table
        peak = table.groupby("target")["value"].transform("max")
        rows.append(
            {"choose": choose, "repeats": repeats(table),
             "strength": float((table["value"] / peak.where(peak > 0)).mean())}
        )  # fmt: skip
    return pd.DataFrame(rows)


def of_units(network: Network, acts: cl.Activations, steps: int, seed: int) -> tuple[Any, Any]:
    """Images for evenly spaced units, beside the best picture."""
    units = np.linspace(0, acts.shape[1] - 1, UNITS).round().astype(int)
    wanted = [cl.Unit(network.layer, int(unit)) for unit in units]
    made = cl.visualize(network.model, wanted, cl.Synthesis(steps=steps), seed=seed, progress=True)
    return made, cl.against_probe(made, acts)


def of_classes(network: Network, steps: int, seed: int) -> tuple[Any, pd.DataFrame]:
    """Images for some classes, and what the network makes of them."""
    wanted = [cl.Logit(name) for name in LOGITS]
    made = cl.visualize(network.model, wanted, cl.Synthesis(steps=steps), seed=seed, progress=True)
    with torch.inference_mode():
        batch = network.model.prepare([Image.fromarray(i) for i in made.images])
        said = network.model.module(batch).softmax(dim=1).numpy()
    names = np.array(network.model.class_names)
    columns = [list(names).index(name) for name in LOGITS]
    table = made.table.assign(
        said=names[said.argmax(axis=1)], probability=said[np.arange(len(columns)), columns]
    )
    return made, table


def inverted(network: Network, photos: Sequence[Image.Image], seed: int) -> tuple[Any, Any]:
    """Photographs made anew from several layers, and how near they come."""
    rows, made = [], []
    seen = [network.model.decode(photo) for photo in photos]
    for layer in network.depths:
        found = cl.invert(network.model, list(photos), layer, seed=seed, progress=True)
        made.append(found.images)
        for name, own, image in zip(PHOTOS, seen, found.images, strict=True):
            error = ((own.astype(float) - image) ** 2).mean()
            rows.append({"layer": layer, "photo": name, "psnr": 10 * np.log10(255**2 / error)})
    return seen, (made, pd.DataFrame(rows))


def draw(ax: Any, out: Path, name: str, kinds: Sequence[str] = ("png",)) -> None:
    for kind in kinds:
        ax.figure.savefig(out / "figures" / f"{name}.{kind}", dpi=300 if len(kinds) > 1 else 150)


def rows_of(images: Sequence[Any], captions: Sequence[str], path: Path, columns: int) -> None:
    pictures = [Image.fromarray(np.asarray(image)) for image in images]
    mosaic(pictures, captions, columns=columns).save(path)


def looked_at(network: Network, data: cl.ProbeDataset, given: argparse.Namespace) -> Any:
    """All of one network but the comparison: tables, figures, its view of the page, its atlas."""
    out, seed, name = given.out, given.seed, network.name
    acts = cl.extract(network.model, data, [network.layer], cache=given.cache, progress=True)[
        network.layer
    ]
    vectors = concepts(network, given.data, given.cache, seed)
    layout = cl.Layout(per_image=PER_IMAGE, grids=GRIDS, seed=seed)
    found = cl.atlas(acts, network.model, vectors, layout=layout, data=data, progress=True)
    icons = cl.patch_icons(found, acts, data)
    draw(plot_atlas(found, icons), out, f"atlas-{name}", ("png", "pdf"))
    views = [cl.view_of(name, found, icons, model=name, layer=network.layer)]
    tables = {"cells": found.cells}
    if name == "squeezenet":
        both = cl.atlas(acts, network.model, vectors, focus=CLASSES, layout=layout, data=data)
        own = cl.patch_icons(both, acts, data)
        draw(plot_atlas_classes(both, own, *CLASSES), out, "classes", ("png", "pdf"))
        views.append(
            cl.view_of(f"{name}: {both.focus}", both, own, model=name, layer=network.layer)
        )
        tables["classes"] = cl.compare_classes(both, *CLASSES)
    tables["exemplars"] = exemplified(acts, seed)
    units = np.linspace(0, acts.shape[1] - 1, 8).round().astype(int)
    for choose, show in (("top", "masked"), ("diverse", "patch"), ("range", "whole")):
        some = cl.exemplars(acts, units, choose=choose, count=8)
        draw_exemplars(some, data, show=show).save(out / "figures" / f"{choose}-{name}.png")
    made, tables["images"] = of_units(network, acts, given.steps, seed)
    rows_of(made.images, [o.text.rpartition(" ")[2] for o in made.objectives],
            out / "figures" / f"units-{name}.png", 8)  # fmt: skip
    made, tables["logits"] = of_classes(network, given.steps, seed)
    rows_of(made.images, LOGITS, out / "figures" / f"logits-{name}.png", 6)
    photos = [Image.open(given.data / "photos" / f"{p}.jpg").convert("RGB") for p in PHOTOS]
    seen, (made, tables["inversion"]) = inverted(network, photos, seed)
    every = [image for own in (seen, *made) for image in own]
    titles = [t for t in ("photograph", *network.depths) for _ in PHOTOS]
    rows_of(every, titles, out / "figures" / f"inversions-{name}.png", len(PHOTOS))
    exaggerated = cl.caricature(network.model, photos, network.depths[3], seed=seed)
    rows_of([*seen, *exaggerated.images], [*PHOTOS, *[network.depths[3]] * len(PHOTOS)],
            out / "figures" / f"caricatures-{name}.png", len(PHOTOS))  # fmt: skip
    many = cl.polysemanticity(acts, seed=seed)
    tables["kinds"] = many.units
    draw(plot_polysemanticity(many.units), out, f"kinds-{name}")
    first = next(
        n for n, m in network.model.module.named_modules() if isinstance(m, torch.nn.Conv2d)
    )
    draw(plot_filters(cl.filters(network.model, first)), out, f"filters-{name}")
    maps = network.model.activations(photos[0], list(network.depths[:3]))
    for layer, own in maps.items():
        ax = plot_feature_maps(own[0], picture=seen[0], title=layer)
        draw(ax, out, f"maps-{name}-{layer}")
    return found, views, tables


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/atlas-imagenet"))
    parser.add_argument("--cache", type=Path, default=Path("cache"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=256)
    given = parser.parse_args()
    for folder in ("tables", "figures"):
        (given.out / folder).mkdir(parents=True, exist_ok=True)
    data = pictures(given.data, given.out)
    atlases, views, tables = {}, [], {}
    for name in NETWORKS:
        network = Network.of(name, given.data)
        atlases[name], own, found = looked_at(network, data, given)
        views += own
        for key, table in found.items():
            tables.setdefault(key, []).append(table.assign(network=name))
    first, second = atlases.values()
    tables["networks"] = [cl.compare_atlases(first, second, seed=given.seed).measures]
    for key, parts in tables.items():
        path = given.out / "tables" / f"{key}.csv"
        pd.concat(parts, ignore_index=True).to_csv(path, index=False, float_format="%.4g")
        print(path)
    print(cl.write_atlas(given.out / "atlas.html", views, "SqueezeNet and MobileNetV2"))


if __name__ == "__main__":
    main()
