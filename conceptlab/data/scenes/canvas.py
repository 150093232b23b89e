"""Drawing on a picture and on its label planes at once."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

SIDE = 128
NONE = 0  # in the label planes; concept id + 1 elsewhere

Point = tuple[float, float]
Color = tuple[int, int, int]
Pattern = NDArray[np.bool_]  # (SIDE, SIDE) where the second colour goes


@dataclass(frozen=True)
class Stuff:
    """What a shape is: names of an object, a part and a material, '' for none."""

    object: str
    part: str = ""
    material: str = ""


class Canvas:
    """A picture with three label planes: objects, parts, materials.

    Later shapes cover earlier ones in the picture and in all planes, so masks know occlusion.

    Args:
        ids: (category, name) to concept id.
    """

    def __init__(self, ids: dict[tuple[str, str], int]) -> None:
        self._ids = ids
        self.picture = Image.new("RGB", (SIDE, SIDE))
        self.planes = {
            kind: Image.new("L", (SIDE, SIDE)) for kind in ("object", "part", "material")
        }
        self._draw = ImageDraw.Draw(self.picture)
        self._draws = {kind: ImageDraw.Draw(plane) for kind, plane in self.planes.items()}
        self.textures: set[str] = set()

    def box(self, left: float, top: float, right: float, bottom: float, stuff: Stuff, color: Color
            ) -> None:  # fmt: skip
        """A filled rectangle."""
        corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
        self.polygon(corners, stuff, color)

    def polygon(self, points: list[Point], stuff: Stuff, color: Color) -> None:
        """A filled polygon."""
        flat = [(round(x), round(y)) for x, y in points]
        self._draw.polygon(flat, fill=color)
        for kind, draw in self._draws.items():
            draw.polygon(flat, fill=self._id(kind, stuff))

    def ellipse(self, x: float, y: float, rx: float, ry: float, stuff: Stuff, color: Color) -> None:
        """A filled ellipse around (x, y)."""
        area = (round(x - rx), round(y - ry), round(x + rx), round(y + ry))
        self._draw.ellipse(area, fill=color)
        for kind, draw in self._draws.items():
            draw.ellipse(area, fill=self._id(kind, stuff))

    def line(self, points: list[Point], width: float, stuff: Stuff, color: Color) -> None:
        """A line of some width."""
        flat = [(round(x), round(y)) for x, y in points]
        thick = max(1, round(width))
        self._draw.line(flat, fill=color, width=thick)
        for kind, draw in self._draws.items():
            draw.line(flat, fill=self._id(kind, stuff), width=thick)

    def shade_down(self, top: float, bottom: float, first: Color, last: Color) -> None:
        """A vertical gradient over the whole width; the planes stay as they are."""
        low, high = max(0, round(top)), min(SIDE, round(bottom))
        if high <= low:
            return
        t = np.linspace(0, 1, high - low)[:, None]
        rows = (np.array(first) * (1 - t) + np.array(last) * t).astype(np.uint8)
        strip = np.repeat(rows[:, None, :], SIDE, axis=1)
        self.picture.paste(Image.fromarray(strip), (0, low))

    def decorate(self, name: str, pattern: Pattern, color: Color, where: Stuff) -> None:
        """Paint a texture's second colour over all that is of some object (and part) so far."""
        mask = np.asarray(self.planes["object"]) == self._id("object", where)
        if where.part:
            mask &= np.asarray(self.planes["part"]) == self._id("part", where)
        if mask.sum() < 200:
            return
        self.picture.paste(color, (0, 0), Image.fromarray(mask & pattern))
        self.textures.add(name)

    def finished(self, rng: np.random.Generator) -> NDArray[np.uint8]:
        """The picture under its own light, with a little noise: (SIDE, SIDE, 3)."""
        pixels = np.asarray(self.picture, dtype=np.float32)
        light = rng.uniform(0.75, 1.12) * np.array([1.0, 1.0, 1.0]) + rng.normal(0, 0.03, 3)
        fall = np.linspace(rng.uniform(0.9, 1.05), rng.uniform(0.9, 1.05), SIDE)[:, None, None]
        noise = rng.normal(0, 2.5, pixels.shape).astype(np.float32)
        lit = pixels * (light * fall).astype(np.float32) + noise
        return lit.clip(0, 255).astype(np.uint8)

    def _id(self, kind: str, stuff: Stuff) -> int:
        name = getattr(stuff, kind)
        return self._ids[kind, name] + 1 if name else NONE


def varied(rng: np.random.Generator, color: Color, amount: float = 14.0) -> Color:
    """A colour near another."""
    r, g, b = (np.array(color) + rng.normal(0, amount, 3)).clip(0, 255).astype(int)
    return int(r), int(g), int(b)
