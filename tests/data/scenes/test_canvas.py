"""The canvas: what covers what, in the picture and in every label plane."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from conceptlab.data.scenes.canvas import SIDE, Canvas, Stuff, varied

IDS = {
    (kind, name): 10 * k + j
    for k, kind in enumerate(("object", "part", "material"))
    for j, name in enumerate(("a", "b", "c"))
}
names = st.sampled_from(["a", "b", "c", ""])
place = st.floats(-20, SIDE + 20)
reach = st.floats(0, 40)
shapes = st.lists(
    st.tuples(
        st.sampled_from(["box", "polygon", "ellipse", "line"]),
        st.tuples(place, place, reach, reach),
        st.builds(Stuff, names, names, names),
    ),
    min_size=1,
    max_size=6,
)


def put(canvas, kind, where, stuff, color):
    x, y, w, h = where
    if kind == "box":
        canvas.box(x, y, x + w, y + h, stuff, color)
    elif kind == "ellipse":
        canvas.ellipse(x, y, w, h, stuff, color)
    elif kind == "line":
        canvas.line([(x, y), (x + w, y + h)], 3, stuff, color)
    else:
        canvas.polygon([(x, y), (x + w, y), (x + w / 2, y + h)], stuff, color)


def planes(canvas):
    return {kind: np.asarray(plane).astype(int) - 1 for kind, plane in canvas.planes.items()}


@given(shapes)
def test_the_last_shape_over_a_pixel_decides_it(drawn):
    together = Canvas(IDS)
    owner = np.full((SIDE, SIDE), -1)
    for number, (kind, where, stuff) in enumerate(drawn):
        put(together, kind, where, stuff, (number + 1, 0, 0))
        alone = Canvas(IDS)
        put(alone, kind, where, stuff, (255, 0, 0))
        owner[np.asarray(alone.picture)[..., 0] == 255] = number
    assert np.array_equal(np.asarray(together.picture)[..., 0].astype(int) - 1, owner)
    for kind, plane in planes(together).items():
        expected = np.full((SIDE, SIDE), -1)
        for number, (_, _, stuff) in enumerate(drawn):
            name = getattr(stuff, kind)
            expected[owner == number] = IDS[kind, name] if name else -1
        assert np.array_equal(plane, expected)


def test_a_box_by_hand():
    canvas = Canvas(IDS)
    canvas.box(2, 3, 5, 4, Stuff("a", "b"), (9, 9, 9))
    mask = planes(canvas)["object"] == IDS["object", "a"]
    assert np.argwhere(mask).tolist() == [[y, x] for y in (3, 4) for x in (2, 3, 4, 5)]
    assert np.array_equal(planes(canvas)["part"] == IDS["part", "b"], mask)
    assert (planes(canvas)["material"] == -1).all()


def test_a_texture_colours_only_what_it_is_on():
    canvas = Canvas(IDS)
    canvas.box(0, 0, 63, SIDE, Stuff("a", "b"), (10, 10, 10))
    canvas.box(64, 0, SIDE, SIDE, Stuff("a", "c"), (20, 20, 20))
    canvas.box(30, 30, 90, 60, Stuff("b"), (30, 30, 30))
    before = {kind: plane.copy() for kind, plane in planes(canvas).items()}
    pattern = np.arange(SIDE)[None, :] % 2 == np.zeros((SIDE, 1))
    canvas.decorate("striped", pattern, (200, 0, 0), Stuff("a", "b"))
    painted = np.asarray(canvas.picture)[..., 0] == 200
    where = (before["object"] == IDS["object", "a"]) & (before["part"] == IDS["part", "b"])
    assert np.array_equal(painted, where & pattern)
    assert canvas.textures == {"striped"}
    assert all(np.array_equal(before[kind], plane) for kind, plane in planes(canvas).items())


def test_a_texture_needs_room():
    canvas = Canvas(IDS)
    canvas.box(0, 0, 9, 9, Stuff("a"), (10, 10, 10))
    canvas.decorate("dotted", np.ones((SIDE, SIDE), bool), (200, 0, 0), Stuff("a"))
    canvas.decorate("dotted", np.ones((SIDE, SIDE), bool), (200, 0, 0), Stuff("b"))
    assert canvas.textures == set()
    assert np.asarray(canvas.picture).max() == 10


def test_a_gradient_runs_from_one_colour_to_the_other():
    canvas = Canvas(IDS)
    canvas.shade_down(-3.2, 200, (0, 0, 0), (127, 127, 127))
    rows = np.asarray(canvas.picture)[:, 0, 0]
    assert np.abs(rows.astype(int) - np.arange(SIDE)).max() <= 1
    canvas.shade_down(50, 50, (255, 255, 255), (255, 255, 255))
    assert np.array_equal(np.asarray(canvas.picture)[:, 0, 0], rows)


@given(st.integers(0, 2**32 - 1))
def test_light_and_noise_stay_small_and_even(seed):
    canvas = Canvas(IDS)
    canvas.box(0, 0, SIDE, SIDE, Stuff("a"), (120, 120, 120))
    pixels = canvas.finished(np.random.default_rng(seed)).astype(float)
    assert pixels.shape == (SIDE, SIDE, 3)
    assert 50 < pixels.mean() < 200
    assert pixels.std(axis=1).max() < 6  # within a row only noise
    assert (planes(canvas)["object"] == IDS["object", "a"]).all()


def test_varied_colours_stay_colours():
    rng = np.random.default_rng(0)
    colors = np.array([varied(rng, (0, 128, 255), 60) for _ in range(200)])
    assert colors.min() >= 0
    assert colors.max() <= 255
    assert abs(colors[:, 1].mean() - 128) < 15
