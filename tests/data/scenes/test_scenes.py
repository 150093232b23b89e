"""`scenes`: the same pictures always, labels that follow the pixels, something to learn."""

import hashlib
import pickle

import numpy as np
import pytest

from conceptlab.data import load_data
from conceptlab.data.colors import NAMES, name_pixels
from conceptlab.data.scenes import MATERIALS, OBJECTS, PARTS, VERSION, draw
from conceptlab.data.scenes.places import PLACES
from conceptlab.data.scenes.textures import TEXTURES
from conceptlab.errors import InputError
from conceptlab.models.sources.builtin import card


@pytest.fixture(scope="module")
def scenes():
    return load_data("scenes:n=200,seed=4")


def by_name(data):
    return {name.split("/")[1]: i for i, name in enumerate(data.names)}


def test_at_least_sixty_concepts_in_six_categories(scenes):
    counts = scenes.catalogue.groupby("category", sort=False).size().to_dict()
    assert list(counts) == ["scene", "object", "part", "material", "texture", "color"]
    least = {"scene": 8, "object": 20, "part": 15, "material": 6, "texture": 6, "color": 11}
    assert all(counts[category] >= least[category] for category in least)
    assert sum(counts.values()) >= 60
    assert scenes.catalogue.drop_duplicates(["name", "category"]).shape == scenes.catalogue.shape
    levels = scenes.catalogue.groupby("category")["level"].agg(set)
    assert {c for c, level in levels.items() if level == {"image"}} == {"scene", "texture"}


def test_every_concept_of_the_lists_is_drawn_somewhere(scenes):
    assert len(scenes.catalogue) == sum(
        map(len, (PLACES, OBJECTS, PARTS, MATERIALS, TEXTURES, NAMES))
    )
    assert (scenes.concepts[["n_train", "n_val", "n_test"]].sum(axis=1) > 0).all()
    assert scenes.validate() == []


def test_the_same_specification_draws_the_same_pictures(scenes):
    again = load_data("scenes:n=200,seed=4")
    draw.cache_clear()
    for i in (0, 17, 199):
        before = scenes.image(i).tobytes(), scenes.labels(i).planes.tobytes()
        draw.cache_clear()
        assert (again.image(i).tobytes(), again.labels(i).planes.tobytes()) == before
    assert again.fingerprint == scenes.fingerprint
    assert again.label_fingerprint == scenes.label_fingerprint
    assert pickle.loads(pickle.dumps(scenes)).fingerprint == scenes.fingerprint


def test_pictures_are_those_that_the_built_in_networks_learned():
    """After a change of any pixel: another VERSION, networks trained anew, and this digest."""
    digest = hashlib.sha256()
    for number in range(40):
        for array in draw(0, number):
            digest.update(array.tobytes())
    assert digest.hexdigest().startswith("b910f92ceeb9c8a1"), "with the versions of constraints.txt"
    assert {entry["drawings"] for entry in card().values()} == {VERSION}


def test_fingerprints_notice_another_way_of_drawing(scenes, monkeypatch):
    def lighter(seed, number):
        pixels, planes, holds = draw(seed, number)
        return pixels ^ 1, planes, holds

    monkeypatch.setattr("conceptlab.data.scenes.draw", lighter)
    again = load_data(scenes.spec)
    assert again.fingerprint != scenes.fingerprint


def test_another_seed_or_number_is_another_data_set(scenes):
    other = load_data("scenes:n=200,seed=5")
    assert other.image(3).tobytes() != scenes.image(3).tobytes()
    fewer = load_data("scenes:n=199,seed=4")
    assert len({d.fingerprint for d in (scenes, other, fewer)}) == 3
    assert len({d.label_fingerprint for d in (scenes, other, fewer)}) == 3
    assert len({d.name for d in (scenes, other, fewer)}) == 3


def test_more_pictures_leave_the_first_as_they_are(scenes):
    more = load_data("scenes:n=300,seed=4")
    here, there = by_name(scenes), by_name(more)
    assert here.keys() < there.keys()
    for name in ("000000", "000041", "000199"):
        assert scenes.splits[here[name]] == more.splits[there[name]]
        assert scenes.image(here[name]).tobytes() == more.image(there[name]).tobytes()


def test_splits_are_seventy_fifteen_fifteen_in_order(scenes):
    assert {s: int((scenes.splits == s).sum()) for s in ("train", "val", "test")} == {
        "train": 140,
        "val": 30,
        "test": 30,
    }
    order = {"train": 0, "val": 1, "test": 2}
    keys = [(order[split], name) for split, name in zip(scenes.splits, scenes.names, strict=True)]
    assert keys == sorted(keys)
    assert all(n.startswith(f"{s}/") for s, n in zip(scenes.splits, scenes.names, strict=True))
    assert {"train", "val"} <= set(load_data("scenes:n=10").splits)


def test_labels_follow_the_pixels(scenes):
    kinds = scenes.catalogue["category"].to_numpy()
    for i in range(0, 200, 23):
        labels = scenes.labels(i)
        objects, parts, materials, colors = labels.planes
        pixels = np.asarray(scenes.image(i))
        assert pixels.shape == (128, 128, 3)
        assert labels.unlabelled is None
        assert labels.image_unlabelled == 0
        for plane, kind in zip(labels.planes, ("object", "part", "material", "color"), strict=True):
            assert set(kinds[plane[plane >= 0]]) <= {kind}
        # all of a picture is some object, and a part or a material is of an object
        assert (objects >= 0).all()
        assert (materials[parts >= 0] >= 0).mean() > 0.95
        first = np.flatnonzero(kinds == "color")[0]
        assert np.array_equal(colors - first, name_pixels(pixels))
        held = kinds[labels.image_concepts].tolist()
        assert held.count("scene") == 1
        assert set(held) <= {"scene", "texture"}


def test_masks_are_where_objects_look_alike(scenes):
    """Within a mask pixels are alike; a mask moved aside mixes things."""
    i = next(i for i in range(len(scenes)) if "sun" in shown(scenes, i))
    sun = scenes.masks(i)[int(np.flatnonzero(scenes.catalogue["name"] == "sun")[0])]
    pixels = np.asarray(scenes.image(i)).astype(float)
    rows, columns = np.nonzero(sun)
    aside = np.zeros_like(sun)
    aside[np.minimum(rows + 6, 127), np.minimum(columns + 6, 127)] = True
    assert pixels[sun].std(axis=0).max() < 8
    assert pixels[aside].std(axis=0).max() > 2 * pixels[sun].std(axis=0).max()


def shown(data, i):
    return set(data.catalogue["name"].iloc[data.image_concepts(i)])


def test_things_and_scenes_are_not_one_to_one(scenes):
    seen = [placed(scenes, i) for i in range(0, len(scenes), 2)]
    pairs = {pair for found in seen for pair in found}
    places = {name: {p for p, n in pairs if n == name} for _, name in pairs}
    assert {"house", "tree", "person", "dog", "sky"} <= {
        name for name, where in places.items() if len(where) >= 3
    }
    assert not set.intersection(*({n for _, n in found} for found in seen))  # nothing is in all
    assert sum(len(where) > 1 for where in places.values()) > len(places) / 2


def placed(data, i):
    labels = data.labels(i)
    names, kinds = data.catalogue["name"], data.catalogue["category"]
    (place,) = (c for c in labels.image_concepts if kinds[c] == "scene")
    objects = np.unique(labels.planes[0])
    return [(names[place], names[c]) for c in objects]


def test_scenes_can_be_learned_but_not_by_colour_alone(scenes):
    """Nearest mean of 16 x 16 thumbnails: better than chance (0.1), far from perfect."""
    place, small = [], []
    for i in range(len(scenes)):
        place.append(placed(scenes, i)[0][0])
        small.append(np.asarray(scenes.image(i).resize((16, 16)), dtype=float).ravel())
    place, small = np.array(place), np.array(small)
    train = scenes.splits == "train"
    classes = np.unique(place[train])
    means = np.array([small[train & (place == c)].mean(axis=0) for c in classes])
    nearest = classes[((small[~train, None] - means) ** 2).sum(axis=2).argmin(axis=1)]
    assert 0.25 < (nearest == place[~train]).mean() < 0.95


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("scenes:n=many", "n is a whole number; got 'many'"),
        ("scenes:seed=-1", "seed is a whole number"),
        ("scenes:n=3", "n is at least 10"),
        ("scenes:n=" + "1" * 5000, "n has 5000 digits"),
        ("scenes:size=64", "unknown option 'size'; known: n, seed"),
        ("scenes:somewhere", "write scenes, or scenes:n=1000,seed=0"),
    ],
)
def test_bad_specifications(spec, message):
    with pytest.raises(InputError, match=message):
        load_data(spec)


def test_defaults():
    data = load_data("scenes")
    assert len(data) == 1000
    assert data.name == "scenes-1000-0"
    assert data.image(0).size == (128, 128)
