"""Things: each draws itself, parts of it are within it, its size is as asked."""

import numpy as np
import pytest

from conceptlab.data.scenes import _ids, things
from conceptlab.data.scenes.canvas import Canvas

PARTS = {
    "house": {"roof", "door", "window"},
    "tree": {"trunk", "crown"},
    "bush": set(),
    "car": {"body", "wheel", "window"},
    "boat": {"hull", "mast", "sail"},
    "person": {"head", "body", "arm", "leg"},
    "dog": {"head", "body", "leg", "tail"},
    "bird": {"head", "body", "wing"},
    "flower": {"stem", "petal"},
    "rock": set(),
    "cactus": {"arm", "trunk"},
    "fence": set(),
    "streetlight": {"post", "bulb"},
    "table": {"leg", "top"},
    "cup": {"body", "handle"},
    "chair": {"leg", "back", "seat"},
    "lamp": {"post", "shade"},
    "picture": {"frame"},
    "bed": {"headboard", "frame", "leg", "blanket", "pillow"},
    "ball": set(),
}


def drawn(thing, seed, size=50):
    """The names in each plane of a thing alone in the middle."""
    canvas = Canvas(_ids())
    getattr(things, thing)(canvas, np.random.default_rng(seed), 64, 90, size)
    names = {concept: name for (_, name), concept in _ids().items()}
    planes = {kind: np.asarray(plane).astype(int) - 1 for kind, plane in canvas.planes.items()}
    found = {k: {names[c] for c in np.unique(p) if c >= 0} for k, p in planes.items()}
    return planes, found


@pytest.mark.parametrize("thing", PARTS)
def test_a_thing_is_itself_with_its_parts(thing):
    for seed in range(4):
        planes, found = drawn(thing, seed)
        assert thing in found["object"]
        assert found["object"] <= {thing, "cup"}
        own = planes["object"] == _ids()["object", thing]
        parts = {
            name for name in PARTS[thing] if (planes["part"][own] == _ids()["part", name]).any()
        }
        assert parts == PARTS[thing]
        assert (planes["object"][planes["part"] >= 0] >= 0).all()
        assert (planes["object"][planes["material"] >= 0] >= 0).all()


@pytest.mark.parametrize("thing", PARTS)
def test_a_thing_grows_with_its_size(thing):
    areas = [(drawn(thing, 0, size)[0]["object"] >= 0).sum() for size in (16, 32, 64)]
    assert areas[0] < areas[1] < areas[2]
    rows, columns = np.nonzero(drawn(thing, 0, 50)[0]["object"] >= 0)
    assert np.ptp(rows) < 2 * 50
    assert np.ptp(columns) < 2.2 * 50


def test_one_name_in_several_things():
    """What a unit can share: a head is a person's, a dog's, a bird's."""
    holders = {part: {t for t in PARTS if part in PARTS[t]} for part in ("head", "leg", "window")}
    assert holders["head"] == {"person", "dog", "bird"}
    assert holders["leg"] >= {"person", "dog", "table", "chair"}
    assert holders["window"] == {"house", "car"}
