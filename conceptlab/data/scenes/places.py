"""Places: what lies where, and what is likely to be seen there."""

from collections.abc import Callable

import numpy as np

from conceptlab.data.scenes import things
from conceptlab.data.scenes.canvas import SIDE, Canvas, Color, Stuff, varied
from conceptlab.data.scenes.textures import TEXTURES

Rng = np.random.Generator
Thing = Callable[[Canvas, Rng, float, float, float], None]

SKIES: tuple[tuple[Color, Color], ...] = (
    ((105, 165, 230), (190, 220, 245)), ((90, 140, 215), (235, 225, 215)),
    ((70, 75, 130), (240, 160, 110)), ((150, 160, 172), (205, 208, 212)),
    ((25, 28, 60), (70, 70, 110)),
)  # fmt: skip


def sky(c: Canvas, rng: Rng, horizon: float) -> None:
    """A graded sky with sun or moon, clouds and birds."""
    first, last = SKIES[rng.integers(len(SKIES))]
    c.box(0, 0, SIDE, horizon, Stuff("sky"), first)
    c.shade_down(0, horizon, varied(rng, first, 8), varied(rng, last, 8))
    if rng.random() < 0.45:
        color = (250, 225, 110) if sum(first) > 300 else (235, 235, 215)
        name = "sun" if sum(first) > 300 else "moon"
        x, y, r = rng.uniform(12, 116), rng.uniform(10, horizon * 0.5), rng.uniform(6, 11)
        c.ellipse(x, y, r, r, Stuff(name), color)
    for _ in range(rng.integers(0, 4)):
        x, y, s = rng.uniform(0, SIDE), rng.uniform(6, horizon * 0.6), rng.uniform(8, 16)
        for dx in (-0.8, 0, 0.8):
            c.ellipse(
                x + dx * s,
                y,
                s,
                s * rng.uniform(0.35, 0.6),
                Stuff("cloud"),
                varied(rng, (236, 238, 242), 6),
            )
    if rng.random() < 0.3:
        for _ in range(rng.integers(1, 4)):
            things.bird(
                c, rng, rng.uniform(8, 120), rng.uniform(8, horizon * 0.7), rng.uniform(9, 18)
            )


def ground(c: Canvas, rng: Rng, top: float, name: str, material: str, color: Color) -> None:
    """What lies below a line, getting a little darker towards the viewer."""
    near = varied(rng, color)
    c.box(0, top, SIDE, SIDE, Stuff(name, "", material), near)
    c.shade_down(
        top,
        SIDE,
        near,
        varied(rng, (int(near[0] * 0.82), int(near[1] * 0.82), int(near[2] * 0.82)), 4),
    )


def ridge(
    c: Canvas, rng: Rng, horizon: float, height: float, name: str, material: str, color: Color
) -> None:
    """Peaks along the horizon."""
    x = np.linspace(-10, SIDE + 10, rng.integers(5, 9))
    y = horizon - rng.uniform(0.25, 1, len(x)) * height
    points = [(-20.0, horizon), *zip(x.tolist(), y.tolist(), strict=True), (SIDE + 20.0, horizon)]
    c.polygon(points, Stuff(name, "", material), varied(rng, color))
    if name == "mountain" and rng.random() < 0.6:
        for px, py in points[1:-1]:
            if py < horizon - height * 0.6:
                c.polygon(
                    [(px - 6, py + 8), (px, py), (px + 6, py + 8)],
                    Stuff(name, "summit", "snow"),
                    (240, 244, 250),
                )


def scatter(
    c: Canvas,
    rng: Rng,
    thing: Thing,
    count: int,
    near: tuple[float, float],
    size: tuple[float, float],
) -> None:
    """Several of a thing, the farther ones first and smaller."""
    for y in np.sort(rng.uniform(*near, count)):
        depth = (y - near[0]) / max(near[1] - near[0], 1)
        thing(c, rng, rng.uniform(6, SIDE - 6), float(y), size[0] + (size[1] - size[0]) * depth)


def maybe(rng: Rng, chance: float, most: int = 1) -> int:
    """How many of a thing: none, or 1 to `most`."""
    return int(rng.integers(1, most + 1)) if rng.random() < chance else 0


def texture(c: Canvas, rng: Rng, where: Stuff, chance: float) -> None:
    """Often, a texture over a surface."""
    if rng.random() < chance:
        name = str(rng.choice(list(TEXTURES)))
        c.decorate(name, TEXTURES[name](rng), things.pick(rng), where)


def street(c: Canvas, rng: Rng) -> None:
    """Houses along a road, with cars."""
    horizon = rng.uniform(46, 62)
    sky(c, rng, horizon)
    ground(c, rng, horizon, "pavement", "stone", (165, 163, 158))
    x = rng.uniform(-10, 10)
    while x < SIDE + 10:
        s = rng.uniform(30, 48)
        things.house(c, rng, x + s / 2, horizon + rng.uniform(4, 14), s)
        x += s * rng.uniform(1.0, 1.5)
    texture(c, rng, Stuff("house"), 0.35)
    scatter(c, rng, things.tree, maybe(rng, 0.5, 2), (72, 84), (34, 44))
    road = rng.uniform(86, 94)
    c.box(0, road, SIDE, SIDE, Stuff("road", "", "asphalt"), varied(rng, (84, 84, 88), 6))
    for dash in range(-5, SIDE, 24):
        c.box(
            dash,
            road + 14,
            dash + 12,
            road + 16,
            Stuff("road", "marking", "asphalt"),
            (230, 228, 210),
        )
    scatter(c, rng, things.streetlight, maybe(rng, 0.6, 2), (82, 88), (48, 60))
    scatter(c, rng, things.person, maybe(rng, 0.6, 3), (82, 92), (20, 28))
    scatter(c, rng, things.car, maybe(rng, 0.85, 3), (104, 124), (32, 52))


def beach(c: Canvas, rng: Rng) -> None:
    """Sky, sea and sand, with boats and people."""
    horizon, shore = rng.uniform(44, 56), rng.uniform(74, 90)
    sky(c, rng, horizon)
    ground(c, rng, horizon, "sea", "water", (40, 110, 170))
    scatter(c, rng, things.boat, maybe(rng, 0.6, 2), (56, 72), (22, 40))
    ground(c, rng, shore, "shore", "sand", (226, 200, 150))
    scatter(c, rng, things.rock, maybe(rng, 0.3, 2), (90, 118), (12, 24))
    scatter(c, rng, things.person, maybe(rng, 0.7, 3), (92, 122), (24, 40))
    scatter(c, rng, things.ball, maybe(rng, 0.4), (100, 124), (14, 22))
    scatter(c, rng, things.dog, maybe(rng, 0.25), (100, 122), (20, 30))


def harbour(c: Canvas, rng: Rng) -> None:
    """Boats at a quay, houses behind."""
    horizon = rng.uniform(46, 58)
    sky(c, rng, horizon)
    ground(c, rng, horizon, "sea", "water", (50, 95, 130))
    scatter(c, rng, things.house, maybe(rng, 0.8, 4), (horizon + 2, horizon + 6), (22, 30))
    scatter(c, rng, things.boat, int(rng.integers(2, 6)), (74, 108), (26, 52))
    ground(c, rng, rng.uniform(110, 116), "quay", "stone", (150, 146, 138))
    scatter(c, rng, things.person, maybe(rng, 0.5, 2), (116, 124), (24, 34))
    scatter(c, rng, things.streetlight, maybe(rng, 0.4), (116, 122), (50, 66))


def forest(c: Canvas, rng: Rng) -> None:
    """Many trees on mossy ground."""
    horizon = rng.uniform(36, 54)
    sky(c, rng, horizon)
    ground(c, rng, horizon, "meadow", "grass", (70, 105, 50))
    scatter(c, rng, things.tree, int(rng.integers(7, 13)), (62, 116), (42, 78))
    scatter(c, rng, things.bush, maybe(rng, 0.6, 4), (90, 122), (18, 30))
    scatter(c, rng, things.rock, maybe(rng, 0.4, 3), (96, 122), (12, 24))
    scatter(c, rng, things.dog, maybe(rng, 0.2), (104, 122), (22, 32))
    scatter(c, rng, things.person, maybe(rng, 0.25), (100, 122), (30, 40))


def mountain(c: Canvas, rng: Rng) -> None:
    """Peaks over a meadow."""
    horizon = rng.uniform(72, 88)
    sky(c, rng, horizon)
    ridge(c, rng, horizon, rng.uniform(45, 66), "mountain", "stone", (112, 112, 128))
    ground(c, rng, horizon, "meadow", "grass", (96, 140, 66))
    scatter(c, rng, things.tree, maybe(rng, 0.6, 4), (88, 116), (18, 36))
    scatter(c, rng, things.house, maybe(rng, 0.3), (96, 112), (18, 28))
    scatter(c, rng, things.rock, maybe(rng, 0.6, 4), (94, 124), (10, 26))
    scatter(c, rng, things.person, maybe(rng, 0.25, 2), (108, 124), (18, 28))


def desert(c: Canvas, rng: Rng) -> None:
    """Dunes with cactuses and rocks."""
    horizon = rng.uniform(54, 72)
    sky(c, rng, horizon)
    ridge(c, rng, horizon + 4, rng.uniform(10, 22), "dune", "sand", (205, 165, 105))
    ground(c, rng, horizon + 3, "desert floor", "sand", (222, 186, 124))
    scatter(c, rng, things.rock, maybe(rng, 0.6, 4), (80, 122), (12, 32))
    scatter(c, rng, things.cactus, maybe(rng, 0.85, 4), (82, 120), (24, 46))
    scatter(c, rng, things.car, maybe(rng, 0.12), (108, 122), (28, 38))


def garden(c: Canvas, rng: Rng) -> None:
    """A house, a fence, flowers on a lawn."""
    horizon = rng.uniform(44, 58)
    sky(c, rng, horizon)
    ground(c, rng, horizon, "lawn", "grass", (92, 160, 66))
    scatter(c, rng, things.house, maybe(rng, 0.65), (70, 80), (38, 52))
    scatter(c, rng, things.tree, maybe(rng, 0.6, 2), (72, 90), (38, 58))
    if rng.random() < 0.75:
        things.fence(c, rng, SIDE / 2, rng.uniform(80, 90), 66)
    scatter(c, rng, things.bush, maybe(rng, 0.5, 3), (86, 100), (18, 28))
    scatter(c, rng, things.flower, int(rng.integers(3, 11)), (96, 126), (16, 28))
    scatter(c, rng, things.dog, maybe(rng, 0.3), (104, 122), (24, 34))
    scatter(c, rng, things.chair, maybe(rng, 0.25), (104, 122), (26, 34))
    scatter(c, rng, things.ball, maybe(rng, 0.3), (108, 124), (12, 20))


def field(c: Canvas, rng: Rng) -> None:
    """Open land with a fence or a lonely tree."""
    horizon = rng.uniform(56, 80)
    sky(c, rng, horizon)
    if rng.random() < 0.5:
        ridge(c, rng, horizon + 2, rng.uniform(8, 20), "hill", "grass", (92, 132, 84))
    ground(
        c, rng, horizon, "meadow", "grass", (150, 160, 70) if rng.random() < 0.5 else (110, 150, 60)
    )
    scatter(c, rng, things.tree, maybe(rng, 0.6, 2), (horizon + 4, 104), (24, 56))
    if rng.random() < 0.5:
        things.fence(c, rng, SIDE / 2, rng.uniform(96, 116), 68)
    scatter(c, rng, things.flower, maybe(rng, 0.3, 5), (108, 126), (12, 20))
    scatter(c, rng, things.bush, maybe(rng, 0.3, 2), (90, 116), (16, 24))
    scatter(c, rng, things.dog, maybe(rng, 0.25), (100, 122), (20, 30))
    scatter(c, rng, things.person, maybe(rng, 0.25), (98, 120), (24, 34))


def _room(c: Canvas, rng: Rng, walls: tuple[Color, ...]) -> float:
    line = rng.uniform(78, 92)
    c.box(0, 0, SIDE, line, Stuff("wall", "", "plaster"), things.pick(rng, walls))
    texture(c, rng, Stuff("wall"), 0.6)
    floor = rng.choice(["wood", "stone"])
    color: Color = (168, 122, 78) if floor == "wood" else (190, 186, 178)
    c.box(0, line, SIDE, SIDE, Stuff("floor", "", str(floor)), varied(rng, color))
    if floor == "stone":
        texture(c, rng, Stuff("floor"), 0.6)
    if rng.random() < 0.5:
        x, y, s = rng.uniform(24, 104), rng.uniform(26, 40), rng.uniform(13, 20)
        c.box(x - s, y - s, x + s, y + s, Stuff("casement", "frame", "wood"), (235, 232, 226))
        c.box(
            x - s * 0.85,
            y - s * 0.85,
            x + s * 0.85,
            y + s * 0.85,
            Stuff("casement", "window", "glass"),
            (160, 200, 235),
        )
        for side in (-1, 1):
            left, right = sorted((x + side * s * 0.75, x + side * s * 1.3))
            c.box(
                left,
                y - s * 1.15,
                right,
                y + s * 1.25,
                Stuff("curtain", "", "fabric"),
                things.pick(rng),
            )
        texture(c, rng, Stuff("curtain"), 0.7)
    return line


def kitchen(c: Canvas, rng: Rng) -> None:
    """A table with cups, chairs, a counter."""
    line = _room(c, rng, ((235, 230, 215), (200, 220, 215), (240, 215, 170), (215, 200, 190)))
    if rng.random() < 0.75:
        right = rng.uniform(50, 90)
        c.box(
            0,
            line - 26,
            right,
            line + 8,
            Stuff("counter", "", "wood"),
            things.pick(rng, ((150, 100, 64), (225, 222, 214), (90, 120, 130))),
        )
        c.box(
            0,
            line - 29,
            right + 3,
            line - 25,
            Stuff("counter", "top", "stone"),
            varied(rng, (110, 108, 106)),
        )
        for x in rng.uniform(8, right - 8, rng.integers(0, 4)):
            things.cup(c, rng, float(x), line - 29, rng.uniform(9, 14))
    things.table(c, rng, rng.uniform(56, 92), rng.uniform(110, 120), rng.uniform(46, 66))
    scatter(c, rng, things.chair, maybe(rng, 0.8, 2), (112, 124), (36, 46))
    if rng.random() < 0.3:
        things.picture(c, rng, rng.uniform(90, 112), rng.uniform(20, 36), rng.uniform(16, 24))
    scatter(c, rng, things.person, maybe(rng, 0.3), (108, 122), (52, 66))


def bedroom(c: Canvas, rng: Rng) -> None:
    """A bed, a lamp, pictures."""
    _room(c, rng, ((190, 205, 225), (225, 205, 215), (235, 228, 205), (160, 180, 165)))
    if rng.random() < 0.7:
        things.picture(c, rng, rng.uniform(20, 108), rng.uniform(20, 38), rng.uniform(18, 28))
    things.bed(c, rng, rng.uniform(52, 70), rng.uniform(106, 120), rng.uniform(58, 84))
    texture(c, rng, Stuff("bed", "blanket"), 0.75)
    if rng.random() < 0.7:
        things.lamp(c, rng, rng.uniform(100, 118), rng.uniform(92, 110), rng.uniform(38, 56))
    scatter(c, rng, things.chair, maybe(rng, 0.3), (112, 124), (34, 44))
    scatter(c, rng, things.dog, maybe(rng, 0.2), (114, 124), (22, 30))
    scatter(c, rng, things.ball, maybe(rng, 0.2), (114, 125), (12, 18))


PLACES: dict[str, Callable[[Canvas, Rng], None]] = {
    place.__name__: place
    for place in (street, beach, harbour, forest, mountain, desert, garden, field, kitchen, bedroom)
}
