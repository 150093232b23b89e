"""Exemplars: a literal replica, planted scenes, masks by hand, invariances, and bad input."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from conceptlab.analysis.units import targets
from conceptlab.analysis.units.exemplars import exemplars, farthest
from conceptlab.errors import ActivationError, InputError, SpaceError
from conceptlab.numerics.resample import upsample
from conceptlab.space import Space
from conceptlab.vectors import ConceptVectors
from tests.conftest import ToyData, catalogue_of

COLUMNS = ["target", "unit", "rank", "image", "row", "value", "share", "y", "x"]


def pictures_of(splits):
    planes = np.zeros((len(splits), 1, 4, 4), dtype=np.int64)
    return ToyData(planes, splits, catalogue_of(("thing", "object")))


@pytest.fixture
def stored(store_activations):
    """A function that puts maps (N, K, H, W) into a cache; the last third of the images is val."""
    made = []

    def store(values, dtype="float32"):
        count = len(values)
        data = pictures_of(["train"] * (count - count // 3) + ["val"] * (count // 3))
        made.append(data)
        layer = f"layer{len(made)}"
        return store_activations(np.asarray(values, dtype=dtype), data, dtype=dtype, layer=layer)

    return store


def coarse(count=40, units=6, side=(3, 4), seed=0):
    """Maps of few values, so that many are equal, of both signs and with zeros of both."""
    values = np.random.default_rng(seed).integers(-3, 4, (count, units, *side)) / 2
    return np.where(values == 0, np.where(values.cumsum(axis=3) > 0, 0.0, -0.0), values)


def vectors_of(acts, weights, bias=None, inputs="raw", thresholds=None):
    weights = np.asarray(weights, dtype=float)
    names = pd.DataFrame({"name": [f"c{i}" for i in range(len(weights))], "category": "object"})
    bias = np.zeros(len(weights)) if bias is None else np.asarray(bias, dtype=float)
    return ConceptVectors(weights, bias, names, "cav", acts.space(inputs), thresholds)


def values_of(maps, by):
    """(N, T) the definition."""
    if by == "max":
        return maps.max(axis=(2, 3))
    return maps.mean(axis=(2, 3)) if by == "mean" else maps[:, :, by[0], by[1]]


def replica(maps, by, count, first=0, choose="top"):
    """The table by sorting in plain Python: (target, row, value, share, y, x)."""
    rows = []
    values = values_of(maps, by)
    for target in range(maps.shape[1]):
        own = [float(v) for v in values[first:, target]]
        order = sorted(range(len(own)), key=lambda i: (-own[i], i))
        if choose == "top":
            chosen = order[:count]
        else:
            steps = range(min(count, len(own)))
            places = [round((len(own) - 1) * (1 - s / max(len(steps) - 1, 1))) for s in steps]
            chosen = [order[p] for p in places]
        for i in chosen:
            share = sum(v <= own[i] for v in own) / len(own)
            here = maps[first + i, target].tolist()
            cells = [(y, x) for y in range(len(here)) for x in range(len(here[0]))]
            peak = by if isinstance(by, tuple) else max(cells, key=lambda c: here[c[0]][c[1]])
            rows.append((target, first + i, own[i], share, *peak))
    return pd.DataFrame(rows, columns=["number", "row", "value", "share", "y", "x"])


def assert_is(found, want, names, rtol=0.0):
    table = found.table
    assert list(table.columns) == COLUMNS
    assert table["target"].tolist() == [names[i] for i in want["number"]]
    for column in ("row", "share", "y", "x"):
        assert_array_equal(table[column], want[column], err_msg=column)
    assert_allclose(table["value"], want["value"], rtol=rtol, atol=rtol)
    assert (table.groupby("target", sort=False)["rank"].apply(list).str[0] == 1).all()
    acts = found.targets.activations
    assert table["image"].tolist() == [acts.names[r] for r in table["row"]]


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("choose", ["top", "range"])
@pytest.mark.parametrize("by", ["max", "mean", (2, 1)])
def test_units_are_those_of_a_literal_replica(stored, monkeypatch, dtype, choose, by):
    """Over several blocks of the stream, with ties: the first image and position win."""
    monkeypatch.setattr(targets, "BLOCK", 2000)
    maps = coarse()
    found = exemplars(stored(maps, dtype), by=by, count=7, choose=choose)
    names = [f"unit {k}" for k in range(6)]
    assert_is(found, replica(maps, by, 7, choose=choose), names, rtol=1e-6)
    assert found.table["unit"].tolist() == np.repeat(range(6), 7).tolist()


def test_some_units_of_one_split_and_fewer_images_than_wanted(stored):
    maps = coarse(12)
    found = exemplars(stored(maps), [4, 1], count=9, split="val")
    assert_is(found, replica(maps[:, [4, 1]], "max", 9, first=8), ["unit 4", "unit 1"])
    assert len(found) == 8
    assert found.table["image"].str.startswith("val/").all()


@pytest.mark.parametrize("by", ["max", "mean", (0, 3)])
@pytest.mark.parametrize("inputs", ["raw", "binary@0.1"])
def test_vectors_are_those_of_a_literal_replica(stored, monkeypatch, by, inputs):
    monkeypatch.setattr(targets, "BLOCK", 2000)
    rng = np.random.default_rng(1)
    maps = rng.normal(size=(30, 6, 3, 4)).astype(np.float32)
    acts = stored(maps)
    weights, bias = rng.normal(size=(3, 6)), rng.normal(size=3)
    binary = inputs != "raw"
    levels = rng.normal(size=6).astype(np.float32) if binary else None
    seen = (maps > levels[:, None, None]) if binary else maps
    want = np.einsum("tk,nkyx->ntyx", weights, seen) + bias[:, None, None]
    found = exemplars(acts, vectors_of(acts, weights, bias, inputs, levels), by=by, count=4)
    if binary:  # sums of few terms: equal up to rounding at several positions
        assert_allclose(found.table["value"], replica(want, by, 4)["value"], atol=1e-5)
    else:
        assert_is(found, replica(want, by, 4), ["c0", "c1", "c2"], rtol=1e-5)
    assert (found.table["unit"] == -1).all()


def test_one_hot_directions_are_the_units(stored):
    acts = stored(coarse())
    units = exemplars(acts, [2, 5], count=5).table
    rows = exemplars(acts, np.eye(6)[[2, 5]], count=5).table
    assert rows["target"].unique().tolist() == ["direction 0", "direction 1"]
    pd.testing.assert_frame_equal(rows[COLUMNS[2:]], units[COLUMNS[2:]], check_exact=True)


@settings(max_examples=25)
@given(seed=st.integers(0, 1000), choose=st.sampled_from(["top", "diverse", "range"]))
def test_another_order_of_units_and_images_gives_the_same_images(tmp_path_factory, seed, choose):
    """Of values that all differ."""
    from tests.conftest import store_activations

    rng = np.random.default_rng(seed)
    maps = rng.permutation(24 * 4 * 6).reshape(24, 4, 2, 3).astype(np.float32)
    units, images = rng.permutation(4), rng.permutation(24)
    tables = []
    for values in (maps, maps[images][:, units]):
        store = store_activations.__wrapped__(tmp_path_factory.mktemp("cache"))
        acts = store(values, pictures_of(["train"] * 24), dtype="float32")
        tables.append(exemplars(acts, count=3, choose=choose).table)
    first, second = tables
    second = second.assign(unit=units[second["unit"]], row=images[second["row"]])
    keep = ["unit", "rank", "row", "value", "share", "y", "x"]
    second = second.sort_values(["unit", "rank"]).reset_index(drop=True)
    pd.testing.assert_frame_equal(first[keep], second[keep], check_dtype=False)


def scenes(noise=0.05, each=8, kinds=6, units=20, seed=0):
    """Films: each scene is there `each` times with small noise; unit 0 likes the first film most.

    Returns the maps and the scene of each image.
    """
    rng = np.random.default_rng(seed)
    scene = np.repeat(np.arange(kinds), each)
    base = rng.exponential(size=(kinds, units, 2, 2))
    maps = base[scene] + noise * rng.normal(size=(len(scene), units, 2, 2))
    maps[:, 0] = (10 - 0.5 * scene)[:, None, None] + 0.01 * rng.random((len(scene), 2, 2))
    weak = rng.exponential(size=(4 * len(scene), units, 2, 2))
    weak[:, 0] *= 0.1
    return np.concatenate([maps, weak]), np.concatenate([scene, np.full(len(weak), -1)])


def test_diverse_exemplars_show_every_planted_scene_and_top_ones_only_one(stored):
    maps, scene = scenes()
    acts = stored(maps, "float16")
    top = exemplars(acts, [0], count=6).table["row"]
    diverse = exemplars(acts, [0], count=6, choose="diverse").table
    assert set(scene[top]) == {0}
    assert sorted(scene[diverse["row"]]) == [0, 1, 2, 3, 4, 5]
    assert diverse["row"].iloc[0] == top.iloc[0]
    again = exemplars(acts, [0], count=6, choose="diverse").table
    pd.testing.assert_frame_equal(diverse, again, check_exact=True)


def test_diverse_exemplars_of_a_direction_are_those_of_its_unit(stored):
    acts = stored(scenes()[0])
    unit, row = (
        exemplars(acts, of, count=6, choose="diverse").table for of in ([3], 2 * np.eye(20)[[3]])
    )
    assert_array_equal(unit["row"], row["row"])


def test_diverse_exemplars_lie_above_the_middle_of_the_range(stored):
    maps, _ = scenes()
    found = exemplars(stored(maps), [0], count=6, choose="diverse").table
    values = maps[:, 0].max(axis=(1, 2))
    assert (found["value"] > (values.max() + values.min()) / 2).all()


@pytest.mark.parametrize(("total", "count", "among"), [(300, 2, 20), (600, 2, 30)])
def test_diverse_exemplars_are_of_the_strongest_only(stored, total, count, among):
    """Ten times as many as are wanted, or 5 % of the images; the last of them is far from all."""
    maps = np.ones((total, 4, 1, 1))
    maps[:, 0, 0, 0] = np.arange(2 * total, total, -1)
    maps[0, 0] = 2 * total + 1
    maps[-1, 0] = 0  # so that all others lie above the middle
    maps[among - 1, 1] = 5
    maps[among:, 2] = np.arange(total - among)[:, None, None]
    found = exemplars(stored(maps), [0], count=count, choose="diverse").table
    assert found["row"].tolist() == [0, among - 1]


def test_diverse_exemplars_of_a_peaked_unit_are_as_many_as_were_asked_for(stored):
    maps = coarse(60)
    maps[7, 0] = 100.0
    acts = stored(maps)
    found, top = (exemplars(acts, [0], count=5, choose=c).table for c in ("diverse", "top"))
    assert set(found["row"]) == set(top["row"])
    assert found["row"].iloc[0] == 7


def test_the_unit_itself_makes_no_images_alike_or_different(stored):
    """Scaling the unit between two otherwise equal images leaves them alike."""
    rng = np.random.default_rng(0)
    maps = np.zeros((30, 5, 1, 1))
    maps[0, :, 0, 0] = [1000, 1, 0, 0, 0]
    maps[1, :, 0, 0] = [510, 1, 0, 0, 0]
    maps[2, :, 0, 0] = [990, 0, 0, 1, 0]
    maps[3:, 1:] = rng.random((27, 4, 1, 1))
    found = exemplars(stored(maps), [0], count=2, choose="diverse").table
    assert found["row"].tolist() == [0, 2]


def test_what_all_candidates_share_makes_no_images_alike(stored):
    """Less their mean, one is opposite to the strongest; as they are, another is farthest."""
    maps = np.zeros((4, 4, 1, 1))
    maps[:, :, 0, 0] = [[9, 9, 4, 0], [8, 1, 9, 1], [7, 6, 11, 12], [0, 8, 10, 3]]
    rows = maps[:3, 1:, 0, 0]
    plain = rows @ rows[0] / np.linalg.norm(rows, axis=1)
    centred = rows - rows.mean(axis=0)
    less = centred @ centred[0] / np.linalg.norm(centred, axis=1)
    assert plain[1:].argmin() != less[1:].argmin()
    found = exemplars(stored(maps), [0], count=2, choose="diverse").table
    assert found["row"].tolist() == [0, 1 + less[1:].argmin()]


def test_farthest_is_that_of_a_literal_replica():
    features = np.random.default_rng(3).normal(size=(15, 4))
    rows = [f / np.sqrt((f * f).sum()) for f in features]
    want = [0]
    while len(want) < 6:
        left = [i for i in range(15) if i not in want]
        want.append(min(left, key=lambda i: max(float(rows[i] @ rows[j]) for j in want)))
    assert farthest(features, 6).tolist() == want


def test_farthest_never_takes_a_row_twice():
    assert sorted(farthest(np.ones((4, 3)), 4)) == [0, 1, 2, 3]
    assert sorted(farthest(np.zeros((4, 3)), 4)) == [0, 1, 2, 3]


def test_masks_of_units_are_above_their_threshold_after_upsampling(stored):
    maps = np.random.default_rng(0).normal(size=(20, 3, 4, 4))
    acts = stored(maps, "float16")
    found = exemplars(acts, [2, 0], count=2, tau=0.1)
    for place, row in enumerate(found.table.itertuples()):
        level = np.sort(acts.array[:, row.unit].ravel())[-1 - int(0.1 * 20 * 16)]
        want = upsample(acts.array[row.row, row.unit], (9, 7)) > level
        assert_array_equal(found.mask(place, (9, 7)), want)
        assert want.any()
        assert not want.all()


def test_masks_of_vectors_are_where_the_logit_is_positive_or_the_values_are_high(stored):
    """c0 has a bias, c1 has none: its level has exactly the share tau of all values above it."""
    maps = np.random.default_rng(0).normal(size=(20, 3, 4, 4)).astype(np.float32)
    acts = stored(maps)
    weights = np.array([[1.0, 0.5, 0.0], [0.0, 1.0, -1.0]])
    found = exemplars(acts, vectors_of(acts, weights, [-0.5, 0.0]), count=2, tau=0.1)
    logits = np.einsum("tk,nkyx->ntyx", weights, maps) + np.array([-0.5, 0])[:, None, None]
    assert found.levels[0] == 0
    assert (logits[:, 1] > found.levels[1]).sum() == 32
    first, second = found.table["row"].iloc[[0, 2]]
    assert_array_equal(found.mask(0, (8, 8)), upsample(logits[first, 0], (8, 8)) > 0)
    want = upsample(logits[second, 1], (8, 8)) > found.levels[1]
    assert_array_equal(found.mask(2, (8, 8)), want)


def test_patches_lie_around_the_peaks_and_are_as_large_as_the_fields(stored):
    maps = np.zeros((6, 2, 4, 4))
    maps[3, 0, 0, 3] = maps[1, 1, 2, 2] = 5.0
    acts = stored(maps)
    data = pictures_of(["train"] * 4 + ["val"] * 2)
    found = exemplars(acts, count=2)
    fields = pd.DataFrame({"target": ["unit 0", "unit 1"], "field_px": [7.0, 12.0]})
    cut = found.patches(data, fields)
    assert [c.shape for c in cut] == [(7, 7, 3)] * 2 + [(12, 12, 3)] * 2
    assert [int(c[0, 0, 0]) for c in cut] == found.table["row"].tolist()
    fields["field_px"] = [np.nan, 12.0]  # nothing changed the first, so it has no field
    assert [c.shape[0] for c in found.patches(data, fields)] == [11, 11, 12, 12]
    assert [c.shape[0] for c in found.patches(data)] == [11] * 4


def test_a_notebook_shows_the_table(stored):
    assert "unit 3" in exemplars(stored(coarse()), count=2)._repr_html_()


@pytest.mark.parametrize("of", [[1], np.eye(4)[[1]], "binary"])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_nan_is_refused(stored, of, dtype):
    maps = coarse(30, units=4)
    maps[22, 1, 0, 0] = np.nan
    acts = stored(maps, dtype)
    if isinstance(of, str):
        of = vectors_of(acts, np.eye(4)[[1]], None, "binary@0.1", np.zeros(4, np.float32))
    with pytest.raises(ActivationError, match=r"is NaN in image val/00022; extract"):
        exemplars(acts, of)
    exemplars(acts, [0, 2, 3])


def test_bad_input_is_one_sentence(stored):
    acts = stored(coarse())
    cases = [
        ({"of": [6]}, InputError, "has units 0 to 5; got 6"),
        ({"of": [-1]}, InputError, "has units 0 to 5; got -1"),
        ({"of": []}, InputError, "name at least one unit"),
        ({"of": [0.5, 1]}, InputError, "units are whole numbers"),
        ({"of": ["a"]}, InputError, "units are whole numbers"),
        ({"of": np.ones((2, 5))}, InputError, r"has 6 numbers, one for each unit; got .*\(2, 5\)"),
        ({"of": np.array([[1.0] * 6, [np.nan] * 6])}, InputError, "direction 1 is no direction"),
        ({"of": np.zeros((1, 6))}, InputError, "direction 0 is no direction"),
        ({"count": 0}, InputError, "count is a whole number of at least 1"),
        ({"choose": "best"}, InputError, "choose is one of top, diverse, range; got 'best'"),
        ({"by": "median"}, InputError, r"a position \(row, column\) in the 3 x 4 map"),
        ({"by": (3, 0)}, InputError, r"in the 3 x 4 map of layer layer1; got \(3, 0\)"),
        ({"by": (0.5, 0)}, InputError, "by is a text or a list of whole numbers"),
        ({"by": 3}, InputError, "by is a text or a list of whole numbers"),
        ({"split": "test"}, InputError, "no 'test' images; its splits: train, val"),
        ({"tau": 1.0}, InputError, "tau is the share"),
    ]
    for asked, error, message in cases:
        with pytest.raises(error, match=message):
            exemplars(acts, **asked)


def test_vectors_of_another_place_or_without_weights_are_refused(stored):
    acts = stored(coarse())
    names = pd.DataFrame({"name": ["a", "b"], "category": "object"})

    def vectors(space, rows):
        return ConceptVectors(np.asarray(rows), np.zeros(2), names, "cav", space)

    own = acts.space()
    for space, message in (
        (Space("other", "f" * 64, own.layer, 6, "raw"), "belong to other"),
        (Space("toy", own.weights, "head", 6, "raw"), "belong to layer head"),
    ):
        with pytest.raises(SpaceError, match=message):
            exemplars(acts, vectors(space, np.ones((2, 6))))
    with pytest.raises(SpaceError, match="are of 5 units, and layer1 has 6"):
        exemplars(acts, vectors(Space("toy", own.weights, own.layer, 5, "raw"), np.ones((2, 5))))
    with pytest.raises(InputError, match=r"no vector of b \(too few"):
        exemplars(acts, vectors(own, [[1.0] * 6, [np.nan] * 6]))
