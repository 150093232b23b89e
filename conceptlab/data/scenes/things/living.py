"""Who moves: persons, dogs, birds."""

from conceptlab.data.scenes.canvas import Canvas, Stuff, varied
from conceptlab.data.scenes.things.palette import SKIN, Rng, pick


def person(c: Canvas, rng: Rng, x: float, y: float, s: float) -> None:
    """A head, a body, arms, two legs."""
    skin, shirt, trousers = pick(rng, SKIN), pick(rng), pick(rng)
    for side in (-1, 1):
        c.line(
            [(x + side * s * 0.06, y - s * 0.45), (x + side * s * 0.09, y)],
            s * 0.09,
            Stuff("person", "leg", "fabric"),
            trousers,
        )
        c.line(
            [(x + side * s * 0.1, y - s * 0.74), (x + side * s * 0.2, y - s * 0.48)],
            s * 0.07,
            Stuff("person", "arm", "fabric"),
            shirt,
        )
    c.box(
        x - s * 0.12,
        y - s * 0.78,
        x + s * 0.12,
        y - s * 0.4,
        Stuff("person", "body", "fabric"),
        shirt,
    )
    c.ellipse(x, y - s * 0.88, s * 0.1, s * 0.11, Stuff("person", "head", "skin"), skin)


def dog(c: Canvas, rng: Rng, x: float, y: float, s: float) -> None:
    """A head, a body, four legs, a tail."""
    fur = pick(rng, ((120, 80, 50), (60, 50, 46), (225, 205, 170), (240, 240, 236)))
    for leg in (-0.3, -0.18, 0.14, 0.26):
        c.box(x + leg * s, y - s * 0.3, x + (leg + 0.07) * s, y, Stuff("dog", "leg", "fur"), fur)
    c.line(
        [(x - s * 0.32, y - s * 0.42), (x - s * 0.48, y - s * 0.66)],
        s * 0.07,
        Stuff("dog", "tail", "fur"),
        fur,
    )
    c.ellipse(x, y - s * 0.4, s * 0.36, s * 0.17, Stuff("dog", "body", "fur"), fur)
    c.ellipse(
        x + s * 0.38,
        y - s * 0.58,
        s * 0.16,
        s * 0.14,
        Stuff("dog", "head", "fur"),
        varied(rng, fur, 8),
    )
    c.ellipse(
        x + s * 0.52, y - s * 0.56, s * 0.05, s * 0.04, Stuff("dog", "head", "fur"), (25, 20, 20)
    )


def bird(c: Canvas, rng: Rng, x: float, y: float, s: float) -> None:
    """A body, a head, a raised wing."""
    color = pick(rng, ((240, 240, 240), (40, 40, 46), (60, 100, 180), (210, 60, 50)))
    c.ellipse(x, y, s * 0.4, s * 0.18, Stuff("bird", "body", "feathers"), color)
    c.ellipse(
        x + s * 0.38, y - s * 0.14, s * 0.14, s * 0.14, Stuff("bird", "head", "feathers"), color
    )
    wing = [(x - s * 0.2, y), (x + s * 0.15, y), (x - s * 0.15, y - s * 0.5)]
    c.polygon(wing, Stuff("bird", "wing", "feathers"), varied(rng, color, 20))
