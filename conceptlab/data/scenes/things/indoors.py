"""Things of a room."""

from conceptlab.data.scenes.canvas import Canvas, Stuff, varied
from conceptlab.data.scenes.things.palette import WOOD, Rng, pick


def table(c: Canvas, rng: Rng, x: float, y: float, s: float) -> None:
    """A top and legs, and often a cup."""
    wood = varied(rng, WOOD, 20)
    for side in (-1, 1):
        c.box(
            x + side * s * 0.4 - s * 0.03,
            y - s * 0.5,
            x + side * s * 0.4 + s * 0.03,
            y,
            Stuff("table", "leg", "wood"),
            wood,
        )
    c.box(x - s * 0.5, y - s * 0.56, x + s * 0.5, y - s * 0.47, Stuff("table", "top", "wood"), wood)
    if rng.random() < 0.7:
        cup(c, rng, x + s * rng.uniform(-0.3, 0.3), y - s * 0.56, s * 0.24)


def cup(c: Canvas, rng: Rng, x: float, y: float, s: float) -> None:
    """A cup with a handle."""
    color = pick(rng)
    c.ellipse(
        x + s * 0.42, y - s * 0.4, s * 0.2, s * 0.22, Stuff("cup", "handle", "ceramic"), color
    )
    c.polygon(
        [
            (x - s * 0.42, y - s * 0.85),
            (x + s * 0.42, y - s * 0.85),
            (x + s * 0.3, y),
            (x - s * 0.3, y),
        ],
        Stuff("cup", "body", "ceramic"),
        color,
    )


def chair(c: Canvas, rng: Rng, x: float, y: float, s: float) -> None:
    """A seat, a back, legs."""
    color = pick(rng, (WOOD, (180, 50, 50), (60, 90, 140), (230, 225, 210)))
    for leg in (-0.26, 0.22):
        c.box(
            x + leg * s, y - s * 0.42, x + (leg + 0.06) * s, y, Stuff("chair", "leg", "wood"), color
        )
    c.box(x - s * 0.3, y - s, x - s * 0.2, y - s * 0.4, Stuff("chair", "back", "wood"), color)
    c.box(
        x - s * 0.3, y - s * 0.48, x + s * 0.3, y - s * 0.38, Stuff("chair", "seat", "wood"), color
    )


def lamp(c: Canvas, rng: Rng, x: float, y: float, s: float) -> None:
    """A foot, a post, a shade."""
    c.ellipse(x, y, s * 0.2, s * 0.05, Stuff("lamp", "post", "metal"), (70, 66, 62))
    c.line([(x, y), (x, y - s * 0.6)], s * 0.05, Stuff("lamp", "post", "metal"), (70, 66, 62))
    shade = [
        (x - s * 0.3, y - s * 0.55),
        (x + s * 0.3, y - s * 0.55),
        (x + s * 0.17, y - s),
        (x - s * 0.17, y - s),
    ]
    c.polygon(
        shade,
        Stuff("lamp", "shade", "fabric"),
        pick(rng, ((250, 230, 150), (240, 240, 235), (220, 90, 70), (120, 160, 200))),
    )


def picture(c: Canvas, rng: Rng, x: float, y: float, s: float) -> None:
    """A framed picture on a wall."""
    w, h = s * rng.uniform(0.4, 0.6), s * rng.uniform(0.35, 0.5)
    c.box(
        x - w,
        y - h,
        x + w,
        y + h,
        Stuff("picture", "frame", "wood"),
        pick(rng, (WOOD, (40, 36, 34), (210, 170, 70))),
    )
    c.box(
        x - w * 0.8,
        y - h * 0.78,
        x + w * 0.8,
        y + h * 0.78,
        Stuff("picture", "", "paper"),
        pick(rng),
    )
    c.ellipse(x, y, w * 0.4, h * 0.4, Stuff("picture", "", "paper"), pick(rng))


def bed(c: Canvas, rng: Rng, x: float, y: float, s: float) -> None:
    """A frame with a headboard, a blanket, a pillow."""
    wood = varied(rng, WOOD, 20)
    c.box(x - s * 0.62, y - s * 0.7, x - s * 0.52, y, Stuff("bed", "headboard", "wood"), wood)
    c.box(x - s * 0.55, y - s * 0.2, x + s * 0.6, y - s * 0.06, Stuff("bed", "frame", "wood"), wood)
    c.box(x + s * 0.52, y - s * 0.36, x + s * 0.6, y, Stuff("bed", "leg", "wood"), wood)
    c.box(
        x - s * 0.52,
        y - s * 0.42,
        x + s * 0.52,
        y - s * 0.14,
        Stuff("bed", "blanket", "fabric"),
        pick(rng),
    )
    c.ellipse(
        x - s * 0.36,
        y - s * 0.46,
        s * 0.15,
        s * 0.08,
        Stuff("bed", "pillow", "fabric"),
        (238, 236, 232),
    )
