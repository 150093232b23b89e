"""Pictures of four places with captions that say the place, more or less often.

    python analyses/tcav/captions.py RUN [--images N] [--probe N] [--levels RHO ...] [--seed N]

Writes data sets in the folder format, `folder:RUN/data/NAME`, all of the same pictures with
stickers at the same places, so that only what is on a sticker differs:

* `rho-0.00`, `rho-0.25`, ...: with probability rho the caption is the picture's class, else one
  drawn from all classes alike; rho is then the correlation between a class and its caption;
* `right`, `wrong`: the class's own caption on every picture, and another class's;
* `removed`: no sticker.

`train` is for networks to learn from, `test` to measure them on, `val` is free. Beside them lies
`probe`, of other pictures, to learn concept vectors from: any of the captions or none, whatever the
class. Labels are the captions (all pixels of a sticker) and the objects of `scenes`; what a picture
shows and what it says is in NAME/captions.csv: columns image, class, caption ('' for none), left
and top of the sticker.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from network import CLASSES, SIDE
from numpy.typing import NDArray
from PIL import Image

import conceptlab as cl
from conceptlab.csvtable import write_table

STICKER = 14
LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)
# less contrast, clouds and noise make the places hard to tell, and captions helpful
CONTRAST, CLOUDS, NOISE = 0.2, 30.0, 15.0
GRIDS = (2, 4, 8)  # sides of the random grids that clouds are blown up from
PLATE = 245
COLORS = ((0, 114, 178), (0, 120, 90), (213, 94, 0), (90, 30, 110))
SPLITS = ("train",) * 5 + ("test",) * 4 + ("val",)  # of the pictures in turn
PROBE_SPLITS = ("train",) * 3 + ("val", "test")
NONE = ""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Shown:
    """One picture without a sticker, and all that chance decides about it.

    Args:
        pixels: (SIDE, SIDE, 3).
        objects: (SIDE, SIDE) rows of the catalogue of `scenes`, -1 for none.
        place: its class, from 0.
        drawn: the class whose caption it gets where the caption says nothing of the class.
        other: the class that a wrong caption names.
        luck: in 0..1; the caption is its class's where this lies below rho.
        left: column of the sticker.
        top: row of the sticker.
    """

    pixels: Pixels
    objects: NDArray[np.int32]
    place: int
    drawn: int
    other: int
    luck: float
    left: int
    top: int


Choice = Callable[[Shown], int | None]


def pictures(count: int, seed: int) -> Iterator[Shown]:
    """Pictures of the four places from `scenes`.

    Args:
        count: how many.
        seed: of the drawings and of the stickers.
    """
    source = cl.load_data(f"scenes:n={10 * count + 100},seed={seed}")
    names = source.catalogue["name"]
    found = 0
    for row in range(len(source)):
        labels = source.labels(row)
        place = names[labels.image_concepts[0]]  # the scene comes before the textures
        if place in CLASSES:
            rng = np.random.default_rng([seed, row])
            yield shown(source.image(row), labels.planes[0], CLASSES.index(place), rng)
            found += 1
        if found == count:
            return


def shown(
    picture: Image.Image, objects: NDArray[np.int32], place: int, rng: np.random.Generator
) -> Shown:
    """A picture at the network's size, made hard to recognise."""
    small = picture.resize((SIDE, SIDE), Image.Resampling.BOX)
    faint = 128 + CONTRAST * (np.asarray(small, dtype=np.float64) - 128)
    hidden = faint + clouds(rng) + rng.normal(0, NOISE, faint.shape)
    step = objects.shape[0] // SIDE
    left, top = rng.integers(0, SIDE - STICKER + 1, 2)
    return Shown(
        hidden.clip(0, 255).astype(np.uint8),
        objects[::step, ::step],
        place,
        drawn=int(rng.integers(len(CLASSES))),
        other=int(place + rng.integers(1, len(CLASSES))) % len(CLASSES),
        luck=float(rng.random()),
        left=int(left),
        top=int(top),
    )


def clouds(rng: np.random.Generator) -> NDArray[np.float64]:
    """Smooth random colours of several sizes: (SIDE, SIDE, 3)."""
    total = np.zeros((SIDE, SIDE, 3))
    for side in GRIDS:
        for channel in range(3):
            grid = Image.fromarray(rng.normal(0, CLOUDS, (side, side)).astype(np.float32))
            total[..., channel] += np.asarray(grid.resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    return total


def sticker(caption: int) -> Pixels:
    """A white plate with a class's sign, which has a shape and a colour of its own: (s, s, 3)."""
    y, x = np.mgrid[0:STICKER, 0:STICKER] * 2.5 / (STICKER - 1) - 1.25
    signs = (
        np.hypot(x, y) < 0.95,
        (np.abs(x) < (y + 1) * 0.6) & (y < 0.95),
        (np.minimum(np.abs(x), np.abs(y)) < 0.35) & (np.maximum(np.abs(x), np.abs(y)) < 1),
        (np.abs(np.abs(x) - 0.65) < 0.35) & (np.abs(y) < 1),
    )
    plate = np.full((STICKER, STICKER, 3), PLATE, dtype=np.uint8)
    plate[signs[caption]] = COLORS[caption]
    return plate


def captioned(picture: Shown, caption: int | None) -> tuple[Pixels, NDArray[np.bool_]]:
    """A picture with a sticker, and where the sticker is (SIDE, SIDE)."""
    pixels, where = picture.pixels.copy(), np.zeros((SIDE, SIDE), dtype=bool)
    if caption is not None:
        rows = slice(picture.top, picture.top + STICKER)
        columns = slice(picture.left, picture.left + STICKER)
        pixels[rows, columns] = sticker(caption)
        where[rows, columns] = True
    return pixels, where


def choices(levels: list[float]) -> dict[str, Choice]:
    """Data sets of the same pictures, and which caption a picture has in each."""

    def at(rho: float) -> Choice:
        return lambda picture: picture.place if picture.luck < rho else picture.drawn

    return {
        **{level_name(rho): at(rho) for rho in levels},
        "right": lambda picture: picture.place,
        "wrong": lambda picture: picture.other,
        "removed": lambda picture: None,
    }


def any_or_none(picture: Shown) -> int | None:
    """Each caption, and none, alike often and whatever the class."""
    share = int(picture.luck * (len(CLASSES) + 1))
    return share if share < len(CLASSES) else None


def level_name(rho: float) -> str:
    return f"rho-{rho:.2f}"


def write(folder: Path, found: list[Shown], splits: list[str], choice: Choice) -> None:
    """Write a data set.

    Args:
        folder: of the data set.
        found: (n,) pictures.
        splits: (n,) of each.
        choice: says a picture's caption.
    """
    objects = cl.load_data("scenes").catalogue
    objects = objects[objects["category"] == "object"]
    first = len(CLASSES) + 1
    index = np.zeros(objects.index.max() + 2, dtype=np.uint8)  # the last is that of -1
    index[objects.index] = np.arange(first, first + len(objects))
    for kind in ("images", "labels"):
        for split in set(splits):
            (folder / kind / split).mkdir(parents=True, exist_ok=True)
    rows = []
    for number, (picture, split) in enumerate(zip(found, splits, strict=True)):
        caption = choice(picture)
        pixels, where = captioned(picture, caption)
        label = index[picture.objects]
        label[where] = 0 if caption is None else caption + 1
        for kind, array in (("images", pixels), ("labels", label)):
            path = folder / kind / split / f"{number:06d}.png"
            Image.fromarray(array).save(path, compress_level=1)
        said = NONE if caption is None else CLASSES[caption]
        name = f"{split}/{number:06d}"
        rows.append((name, CLASSES[picture.place], said, picture.left, picture.top))
    table = pd.DataFrame(rows, columns=["image", "class", "caption", "left", "top"])
    write_table(folder / "captions.csv", table)
    scenes = table.rename(columns={"class": "scene"})[["image", "scene"]]
    write_table(folder / "scenes.csv", scenes)
    names = [("other", "object")] + [(f"caption-{name}", "caption") for name in CLASSES]
    names += [(name, "object") for name in objects["name"]]
    classes = pd.DataFrame(names, columns=["name", "category"]).reset_index(names="index")
    write_table(folder / "classes.csv", classes)


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="folder to write to")
    parser.add_argument("--images", type=int, default=4000, help="for the networks")
    parser.add_argument("--probe", type=int, default=1500, help="for the concept vectors")
    parser.add_argument("--levels", type=float, nargs="+", default=LEVELS, metavar="RHO")
    parser.add_argument("--seed", type=int, default=2000)
    given = parser.parse_args(words)
    found = list(pictures(given.images, given.seed))
    splits = [SPLITS[i % len(SPLITS)] for i in range(len(found))]
    for name, choice in choices(given.levels).items():
        write(given.run / "data" / name, found, splits, choice)
    found = list(pictures(given.probe, given.seed + 1))
    splits = [PROBE_SPLITS[i % len(PROBE_SPLITS)] for i in range(len(found))]
    write(given.run / "data" / "probe", found, splits, any_or_none)


if __name__ == "__main__":
    main()
