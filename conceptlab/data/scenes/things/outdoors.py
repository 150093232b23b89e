"""Things that stand, grow, drive or swim outside."""

import numpy as np

from conceptlab.data.scenes.canvas import Canvas, Stuff, varied
from conceptlab.data.scenes.things.palette import LEAVES, WOOD, Rng, pick


def house(c: Canvas, rng: Rng, x: float, y: float, s: float) -> None:
    """Walls of brick, wood or stone; a roof, a door, windows."""
    material = str(rng.choice(["brick", "wood", "stone"]))
    walls = {"brick": (178, 88, 66), "wood": (196, 164, 120), "stone": (168, 166, 158)}[material]
    w, h = s * rng.uniform(0.8, 1.2), s * rng.uniform(0.6, 0.95)
    c.box(x - w / 2, y - h, x + w / 2, y, Stuff("house", "", material), varied(rng, walls))
    top = y - h - s * rng.uniform(0.3, 0.5)
    peak = [(x - w * 0.58, y - h), (x, top), (x + w * 0.58, y - h)]
    c.polygon(
        peak,
        Stuff("house", "roof", "stone"),
        pick(rng, ((130, 50, 45), (80, 82, 92), (100, 66, 46))),
    )
    d = w * 0.11
    c.box(x - d, y - h * 0.48, x + d, y, Stuff("house", "door", "wood"), pick(rng))
    for side in (-1, 1):
        wx, wy, r = x + side * w * 0.3, y - h * 0.62, w * 0.1
        glass = pick(rng, ((150, 190, 225), (245, 225, 140)))
        c.box(wx - r, wy - r, wx + r, wy + r, Stuff("house", "window", "glass"), glass)


def tree(c: Canvas, rng: Rng, x: float, y: float, s: float) -> None:
    """A trunk and a crown, round or pointed."""
    t = s * 0.07
    c.box(x - t, y - s * 0.5, x + t, y, Stuff("tree", "trunk", "wood"), varied(rng, WOOD))
    crown, color = Stuff("tree", "crown", "foliage"), pick(rng, LEAVES)
    if rng.random() < 0.35:
        for k in range(3):
            base, half = y - s * (0.28 + 0.2 * k), s * (0.34 - 0.08 * k)
            peak = [(x - half, base), (x, base - s * 0.38), (x + half, base)]
            c.polygon(peak, crown, varied(rng, color, 6))
        return
    for dx, dy, r in ((0, 0.72, 0.3), (-0.18, 0.6, 0.22), (0.18, 0.6, 0.22)):
        c.ellipse(x + dx * s, y - dy * s, r * s, r * s * 0.9, crown, varied(rng, color, 6))


def bush(c: Canvas, rng: Rng, x: float, y: float, s: float) -> None:
    """A low heap of leaves."""
    color = pick(rng, LEAVES[:3])
    for dx, r in ((-0.3, 0.28), (0.3, 0.28), (0, 0.38)):
        c.ellipse(x + dx * s, y - r * s * 0.8, r * s, r * s * 0.8, Stuff("bush", "", "foliage"),
                  varied(rng, color, 6))  # fmt: skip


def car(c: Canvas, rng: Rng, x: float, y: float, s: float) -> None:
    """A body, a cabin with windows, two wheels."""
    color, h = pick(rng), s * 0.24
    cabin = [
        (x - s * 0.3, y - h),
        (x - s * 0.18, y - h * 1.9),
        (x + s * 0.16, y - h * 1.9),
        (x + s * 0.3, y - h),
    ]
    c.polygon(cabin, Stuff("car", "body", "metal"), color)
    for left, right in ((-0.21, -0.02), (0.02, 0.2)):
        pane = [
            (x + left * s, y - h),
            (x + left * s * 0.75, y - h * 1.7),
            (x + right * s * 0.75, y - h * 1.7),
            (x + right * s, y - h),
        ]
        c.polygon(pane, Stuff("car", "window", "glass"), (165, 200, 220))
    c.box(x - s / 2, y - h * 1.05, x + s / 2, y - h * 0.2, Stuff("car", "body", "metal"), color)
    for wheel in (-0.28, 0.28):
        c.ellipse(
            x + wheel * s,
            y - s * 0.06,
            s * 0.1,
            s * 0.1,
            Stuff("car", "wheel", "rubber"),
            (28, 28, 30),
        )
        c.ellipse(
            x + wheel * s,
            y - s * 0.06,
            s * 0.04,
            s * 0.04,
            Stuff("car", "wheel", "metal"),
            (180, 180, 185),
        )


def boat(c: Canvas, rng: Rng, x: float, y: float, s: float) -> None:
    """A hull, a mast, sails."""
    hull = [
        (x - s * 0.45, y - s * 0.2),
        (x + s * 0.45, y - s * 0.2),
        (x + s * 0.3, y),
        (x - s * 0.3, y),
    ]
    c.polygon(hull, Stuff("boat", "hull", "wood"), pick(rng))
    c.line(
        [(x, y - s * 0.2), (x, y - s * 1.05)], s * 0.04, Stuff("boat", "mast", "wood"), (90, 60, 40)
    )
    color = pick(rng, ((240, 238, 230), (230, 80, 60), (245, 210, 90)))
    for side, reach in ((-1, 0.36), (1, 0.28)):
        sail = [
            (x + side * s * 0.03, y - s),
            (x + side * s * 0.03, y - s * 0.26),
            (x + side * s * reach, y - s * 0.26),
        ]
        c.polygon(sail, Stuff("boat", "sail", "fabric"), color)


def flower(c: Canvas, rng: Rng, x: float, y: float, s: float) -> None:
    """A stem and petals around a middle."""
    c.line([(x, y), (x, y - s * 0.6)], s * 0.08, Stuff("flower", "stem", "foliage"), (60, 130, 50))
    color = pick(
        rng, ((220, 40, 60), (245, 205, 50), (240, 150, 190), (150, 70, 180), (245, 245, 245))
    )
    for angle in np.arange(5) * 2 * np.pi / 5 + rng.uniform(0, 1):
        c.ellipse(
            x + np.cos(angle) * s * 0.2,
            y - s * 0.7 + np.sin(angle) * s * 0.2,
            s * 0.15,
            s * 0.15,
            Stuff("flower", "petal", "foliage"),
            color,
        )
    c.ellipse(x, y - s * 0.7, s * 0.1, s * 0.1, Stuff("flower"), (240, 190, 40))


def rock(c: Canvas, rng: Rng, x: float, y: float, s: float) -> None:
    """An uneven block of stone."""
    angles = np.sort(rng.uniform(0, np.pi, 5))
    points = [
        (x - s / 2, y),
        *((x - np.cos(a) * s * 0.5, y - np.sin(a) * s * rng.uniform(0.35, 0.55)) for a in angles),
        (x + s / 2, y),
    ]
    c.polygon(points, Stuff("rock", "", "stone"), varied(rng, (128, 124, 118)))


def cactus(c: Canvas, rng: Rng, x: float, y: float, s: float) -> None:
    """A column with two arms."""
    green = varied(rng, (60, 125, 70))
    for side, low in ((-1, 0.4), (1, 0.55)):
        bend = [
            (x, y - s * low),
            (x + side * s * 0.22, y - s * low),
            (x + side * s * 0.22, y - s * (low + 0.28)),
        ]
        c.line(bend, s * 0.1, Stuff("cactus", "arm", "foliage"), green)
    c.box(x - s * 0.08, y - s, x + s * 0.08, y, Stuff("cactus", "trunk", "foliage"), green)


def fence(c: Canvas, rng: Rng, x: float, y: float, s: float) -> None:
    """Posts and two rails."""
    color = pick(rng, ((235, 232, 225), WOOD, (150, 110, 75)))
    for rail in (0.18, 0.36):
        c.line(
            [(x - s, y - s * rail), (x + s, y - s * rail)],
            s * 0.05,
            Stuff("fence", "", "wood"),
            color,
        )
    for post in np.linspace(-1, 1, 9):
        c.box(
            x + post * s - s * 0.04,
            y - s * 0.5,
            x + post * s + s * 0.04,
            y,
            Stuff("fence", "", "wood"),
            color,
        )


def streetlight(c: Canvas, rng: Rng, x: float, y: float, s: float) -> None:
    """A tall post with a lamp."""
    c.line(
        [(x, y), (x, y - s), (x + s * 0.2, y - s)],
        s * 0.05,
        Stuff("streetlight", "post", "metal"),
        (70, 72, 76),
    )
    c.ellipse(
        x + s * 0.2,
        y - s * 0.96,
        s * 0.08,
        s * 0.06,
        Stuff("streetlight", "bulb", "glass"),
        pick(rng, ((250, 235, 160), (225, 225, 230))),
    )


def ball(c: Canvas, rng: Rng, x: float, y: float, s: float) -> None:
    """A ball of one colour."""
    c.ellipse(x, y - s * 0.3, s * 0.3, s * 0.3, Stuff("ball", "", "rubber"), pick(rng))
