"""Figure 4: one unit that serves several concepts: its best images of each of them.

    python analyses/net2vec/figure4.py RUN [--out DIR] [--model NAME] [--layer NAME] [--unit K]

figure4.csv: columns model, layer, unit, concept, rank, image, iou_unit: of a unit that is the best
one for several concepts, the images with the highest IoU_ind. figure4-MODEL-LAYER-unitK.png: these
images, a row per concept; all is grey but the unit's mask. Pictures and masks are made anew from
the data set and the network that RUN/study.toml names; nothing is cached.
"""

import argparse

import pandas as pd
from common import Place, Run, main, name_of, of, pick_layer, require
from PIL import Image

from conceptlab.data import ProbeDataset, load_data
from conceptlab.errors import InputError
from conceptlab.models import ProbedModel
from conceptlab.study.opening import open_model
from conceptlab.study.settings import Study
from conceptlab.study.studyfile import read_study
from conceptlab.views.pictures.overlay import overlay, stack, strip

SEVERAL, CONCEPTS, IMAGES = 3, 4, 5
HEIGHT = 112  # pixels of a picture


def options(parser: argparse.ArgumentParser) -> None:
    pick_layer(parser)
    parser.add_argument(
        "--unit", type=int, metavar="K", help="which (the one that serves three best)"
    )


def make(run: Run) -> None:
    found = {place: best_images(run, place) for place in run.layers()}
    table = pd.concat([rows.assign(model=m, layer=n) for (m, n), rows in found.items()])
    run.write("figure4", table[["model", "layer", "unit", "concept", "rank", "image", "iou_unit"]])
    study = read_study(run.path / "study.toml")
    data = load_data(study.data.spec)
    for place, rows in found.items():
        name = f"figure4-{name_of(place)}-unit{rows['unit'].iloc[0]}"
        run.picture(name, drawn(run, place, rows, data, network(study, place[0])))


def best_images(run: Run, place: Place) -> pd.DataFrame:
    """The images with the highest IoU_ind of a unit, for the concepts that it segments best."""
    concepts = of(run.scores("segment"), place)
    unit = shared_unit(concepts) if run.options.unit is None else run.options.unit
    own = concepts[concepts["best_unit"] == unit].nlargest(CONCEPTS, "best_unit_score")
    if not len(own):
        raise InputError(f"unit {unit} of {' '.join(place)} is the best one for no concept")
    images = of(run.table("per_image"), place)
    parts = [
        images[images["concept"] == name].nlargest(IMAGES, "iou_unit") for name in own["concept"]
    ]
    ranked = [part.assign(rank=range(1, len(part) + 1)) for part in parts]
    return pd.concat(ranked).assign(unit=unit)


def shared_unit(concepts: pd.DataFrame) -> int:
    """Of the units that are the best ones for several concepts, the one that serves them best.

    Several is three, or fewer where no unit has as many; what counts is the least of the three.
    """
    ranked = concepts.sort_values("best_unit_score", ascending=False, kind="stable")
    place = ranked.groupby("best_unit").cumcount() + 1
    least = ranked[place == min(SEVERAL, int(place.max()))]
    return int(least["best_unit"].iloc[0])


def network(study: Study, name: str) -> ProbedModel:
    """The network that a study calls so.

    Raises:
        InputError: none.
    """
    titles = [settings.title for settings in study.models]
    require(name, titles, "network", "study.toml")
    return open_model(study.models[titles.index(name)], study.seed)


def drawn(
    run: Run, place: Place, rows: pd.DataFrame, data: ProbeDataset, model: ProbedModel
) -> Image.Image:
    """A row of images per concept, each under the unit's mask."""
    vectors = run.vectors(place, "unit")
    index = {name: i for i, name in enumerate(data.names)}
    parts = []
    for concept, own in rows.groupby("concept", sort=False):
        vector = vectors.select(str(concept))
        pictures = []
        for name in own["image"]:
            require(name, list(index), "image", data.spec)
            picture = data.image(index[name])
            mask = vector.segment(model, picture)[0] > 0.5
            width = round(picture.width * HEIGHT / picture.height)
            pictures.append(overlay(picture, mask).resize((width, HEIGHT)))
        captions = [f"IoU {iou:.2f}" for iou in own["iou_unit"]]
        captions[0] = f"{concept}: {captions[0]}"
        parts.append(strip(pictures, captions))
    return stack(parts)


if __name__ == "__main__":
    main(__doc__, make, options)
