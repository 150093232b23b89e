"""`scenes`: little pictures drawn by code, in which every pixel's concepts are known.

At least 60 concepts over Broden's six categories. Scenes and textures hold for whole pictures;
objects, parts, materials and colours have exact masks.
"""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from conceptlab.data.base import SOURCES, Labels, ProbeDataset, Problem, parse_spec, take_options
from conceptlab.data.colors import NAMES, color_table, name_pixels
from conceptlab.data.scenes.canvas import Canvas
from conceptlab.data.scenes.places import PLACES
from conceptlab.data.scenes.textures import TEXTURES
from conceptlab.errors import InputError

VERSION = 1  # of the drawings; a change of any picture has to change it
SAMPLED = 64
PLANES = ("object", "part", "material")
SMALLEST = 10

OBJECTS = (
    "sky", "sun", "moon", "cloud", "bird", "house", "tree", "bush", "car", "boat", "person", "dog",
    "flower", "rock", "cactus", "fence", "streetlight", "ball", "road", "pavement", "sea", "shore",
    "quay", "meadow", "lawn", "mountain", "hill", "dune", "desert floor", "wall", "floor",
    "casement", "curtain", "counter", "table", "chair", "cup", "lamp", "picture", "bed",
)  # fmt: skip
PARTS = (
    "roof", "door", "window", "trunk", "crown", "body", "wheel", "hull", "mast", "sail", "head",
    "arm", "leg", "tail", "wing", "stem", "petal", "post", "bulb", "marking", "summit", "top",
    "handle", "back", "seat", "shade", "frame", "headboard", "blanket", "pillow",
)  # fmt: skip
MATERIALS = (
    "brick", "wood", "stone", "glass", "metal", "rubber", "fabric", "foliage", "skin", "fur",
    "feathers", "ceramic", "paper", "asphalt", "sand", "water", "grass", "snow", "plaster",
)  # fmt: skip


def _catalogue() -> pd.DataFrame:
    rows = [(name, "scene", "image") for name in PLACES]
    rows += [(name, "object", "pixel") for name in OBJECTS]
    rows += [(name, "part", "pixel") for name in PARTS]
    rows += [(name, "material", "pixel") for name in MATERIALS]
    rows += [(name, "texture", "image") for name in TEXTURES]
    rows += [(name, "color", "pixel") for name in NAMES]
    return pd.DataFrame(rows, columns=["name", "category", "level"])


@SOURCES.register("scenes")
class ScenesDataset(ProbeDataset):
    """Drawn pictures of 128 x 128 pixels with all their labels.

    Args:
        spec: `scenes`, with options n (pictures, 1000) and seed (0). Picture number i depends on
            the seed and on i alone, so a larger n adds pictures and changes none. Of every twenty
            numbers, fourteen are train, three val and three test.

    Raises:
        InputError: an option that is no whole number, or too few pictures.
    """

    def __init__(self, spec: str) -> None:
        _, path, options = parse_spec(spec)
        take_options(spec, options, ("n", "seed"))
        if path:
            raise InputError(f"{spec!r}: write scenes, or scenes:n=1000,seed=0")
        count, self.seed = (_number(spec, options, k, d) for k, d in (("n", 1000), ("seed", 0)))
        if count < SMALLEST:
            raise InputError(f"{spec!r}: n is at least {SMALLEST}")
        self.spec = spec
        self.name = f"scenes-{count}-{self.seed}"
        numbers = np.arange(count)
        split = np.array(["train"] * 14 + ["val"] * 3 + ["test"] * 3)[numbers * 7 % 20]
        order = np.concatenate([numbers[split == s] for s in ("train", "val", "test")])
        self._numbers = order
        self.splits = split[order]
        self.names = np.array([f"{s}/{i:06d}" for s, i in zip(self.splits, order, strict=True)])
        self.planes = len(PLANES) + 1
        self.catalogue = _catalogue()

    def image(self, i: int) -> Image.Image:
        """Picture i, RGB."""
        return Image.fromarray(self._drawn(i)[0])

    def labels(self, i: int) -> Labels:
        """The labels of picture i: planes of objects, parts, materials and colours."""
        pixels, planes, holds = self._drawn(i)
        first = len(self.catalogue) - len(NAMES)
        colors = name_pixels(pixels)[None] + np.int32(first)
        return Labels(np.concatenate([planes, colors]), None, holds)

    def validate(self) -> list[Problem]:
        """Nothing can be wrong; concepts that no picture shows are remarks."""
        shown = self.concepts[["n_train", "n_val", "n_test"]].sum(axis=1)
        return [
            Problem(self.spec, f"{name!r} is in none of these pictures", "remark")
            for name in self.catalogue["name"][shown == 0]
        ]

    def _drawn(self, i: int) -> tuple[NDArray[np.uint8], NDArray[np.int32], NDArray[np.int64]]:
        return draw(self.seed, int(self._numbers[i]))

    def _sources(self, i: int) -> tuple[()]:
        return ()

    def _image_bytes(self, i: int) -> bytes:
        recipe = f"scenes {VERSION} {self.seed} {self._numbers[i]}".encode()
        # a few are drawn, in case another Pillow draws differently
        return recipe if self._numbers[i] % SAMPLED else recipe + self._drawn(i)[0].tobytes()

    def _label_bytes(self) -> Iterator[bytes]:
        yield f"scenes {VERSION} {self.seed}".encode() + color_table().tobytes()
        for i in np.flatnonzero(self._numbers % SAMPLED == 0):
            yield self._drawn(int(i))[1].tobytes()


@lru_cache(maxsize=64)
def draw(seed: int, number: int) -> tuple[NDArray[np.uint8], NDArray[np.int32], NDArray[np.int64]]:
    """One picture and its labels.

    Returns:
        (128, 128, 3) pixels; (3, 128, 128) concept ids of objects, parts and materials, -1 for
        none; the ids of the scene and of the textures.
    """
    ids = _ids()
    rng = np.random.default_rng([seed, number])
    canvas = Canvas(ids)
    place = list(PLACES)[rng.integers(len(PLACES))]
    PLACES[place](canvas, rng)
    planes = np.stack([np.asarray(canvas.planes[kind]) for kind in PLANES]).astype(np.int32) - 1
    holds = [ids["scene", place], *(ids["texture", t] for t in sorted(canvas.textures))]
    pixels = canvas.finished(rng)
    for array in (pixels, planes):
        array.setflags(write=False)
    return pixels, planes, np.array(holds, dtype=np.int64)


@lru_cache(maxsize=1)
def _ids() -> dict[tuple[str, str], int]:
    table = _catalogue()
    pairs = zip(table["category"], table["name"], strict=True)
    return {(str(c), str(n)): i for i, (c, n) in enumerate(pairs)}


DIGITS = 20  # of any number that means something


def _number(spec: str, options: dict[str, str], key: str, default: int) -> int:
    text = options.get(key, str(default))
    if not text.isdecimal():
        raise InputError(f"{spec!r}: {key} is a whole number; got {text!r}")
    if len(text) > DIGITS:
        raise InputError(f"{spec[:60]!r}...: {key} has {len(text)} digits; take a smaller number")
    return int(text)
