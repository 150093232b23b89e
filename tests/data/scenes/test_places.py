"""Places: what belongs there is there, the rest comes and goes."""

import numpy as np
import pytest

from conceptlab.data.scenes import _ids
from conceptlab.data.scenes.canvas import SIDE, Canvas
from conceptlab.data.scenes.places import PLACES, maybe, scatter

ALWAYS = {
    "street": {"sky", "road", "house"},
    "beach": {"sky", "sea", "shore"},
    "harbour": {"sky", "sea", "boat", "quay"},
    "forest": {"sky", "tree", "meadow"},
    "mountain": {"sky", "mountain", "meadow"},
    "desert": {"sky", "dune", "desert floor"},
    "garden": {"sky", "lawn", "flower"},
    "field": {"sky", "meadow"},
    "kitchen": {"wall", "floor", "table"},
    "bedroom": {"wall", "floor", "bed"},
}
TRIES = 25


def objects(place, seed):
    canvas = Canvas(_ids())
    PLACES[place](canvas, np.random.default_rng(seed))
    plane = np.asarray(canvas.planes["object"]).astype(int) - 1
    assert (plane >= 0).all(), "a hole in the picture"
    names = {concept: name for (kind, name), concept in _ids().items() if kind == "object"}
    return {names[c] for c in np.unique(plane)}


@pytest.mark.parametrize("place", PLACES)
def test_what_belongs_to_a_place_is_there(place):
    seen = [objects(place, seed) for seed in range(TRIES)]
    for name in ALWAYS[place]:
        assert sum(name in found for found in seen) >= TRIES - 1, name  # rarely all hidden
    assert len({frozenset(found) for found in seen}) > TRIES / 3


def test_far_things_are_smaller_and_drawn_first():
    calls = []
    rng = np.random.default_rng(0)
    scatter(
        Canvas(_ids()), rng, lambda c, r, x, y, s: calls.append((x, y, s)), 6, (40, 90), (10, 30)
    )
    x, y, size = np.array(calls).T
    assert (np.diff(y) >= 0).all()
    assert np.allclose(size, 10 + (y - 40) / 50 * 20)
    assert x.min() >= 0
    assert x.max() <= SIDE


def test_maybe_is_a_count():
    rng = np.random.default_rng(0)
    counts = np.array([maybe(rng, 0.5, 3) for _ in range(600)])
    assert set(counts) == {0, 1, 2, 3}
    assert abs((counts == 0).mean() - 0.5) < 0.08
