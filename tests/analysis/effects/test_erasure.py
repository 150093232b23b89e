"""Concept erasure: closed forms, a literal replica, calibration, power, and bad inputs."""

from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.stats import t as student
from torch import nn

from conceptlab.analysis.effects.erasure import ABLATIONS, erase
from conceptlab.analysis.effects.erasure_passes import alike_units, spaced, top_units
from conceptlab.errors import InputError, LayerError, ModelError, SpaceError
from conceptlab.numerics.testing import benjamini_hochberg, holm
from conceptlab.space import Space
from conceptlab.vectors import ConceptVectors
from tests.models.nets import pictures, probed, state

UNITS = 12


class Toy(nn.Module):
    """Twelve rectified units, and classes that are linear in their means.

    Class 0 reads unit 0 alone; class 1 reads all; class 2 reads none of units 0 to 3.
    """

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Sequential(nn.Conv2d(3, UNITS, 3), nn.ReLU())
        self.head = nn.Linear(UNITS, 3)
        with torch.no_grad():
            self.head.weight[0] = 2.0 * torch.eye(UNITS)[0]
            self.head.weight[2, :4] = 0.0

    def forward(self, x):
        return self.head(self.layer(x).mean(dim=(2, 3)))


@pytest.fixture(scope="module")
def model():
    return probed(Toy(), names=["zero", "one", "two"])


def images(counts=(7, 5, 6)):
    """Pictures of each class, brighter from class to class."""
    return {
        name: pictures(n, seed=place) * (1 + 0.3 * place) + 0.2 * place
        for place, (name, n) in enumerate(zip(["zero", "one", "two"], counts, strict=True))
    }


def together(given):
    """All of some classes' pictures, about whose mean concepts are taken out."""
    return torch.cat(list(given.values()))


def vectors_of(model, weights, **columns):
    weights = np.asarray(weights, dtype=float)
    concepts = pd.DataFrame({"name": [f"c{i}" for i in range(len(weights))], "category": "object"})
    space = Space("toy", model.fingerprint, "layer", UNITS, "raw")
    return ConceptVectors(
        weights, np.zeros(len(weights)), concepts.assign(**columns), "classification", space
    )


@pytest.fixture(scope="module")
def drawn(model):
    rng = np.random.default_rng(0)
    return vectors_of(model, rng.normal(size=(4, UNITS)) * [[1], [5], [0.1], [1]])


@pytest.fixture(scope="module")
def found(model, drawn):
    return erase(model, images(), drawn, units=3, random=6, reference=together(images()))


def maps(model, batch):
    with torch.no_grad():
        return model.module.layer(batch).double().numpy()


def logits(head, grids, change):
    """(n, classes) one image and position at a time."""
    weight, bias = head.weight.detach().double().numpy(), head.bias.detach().double().numpy()
    out = []
    for grid in grids:
        new = np.empty_like(grid)
        for i, j in np.ndindex(*grid.shape[1:]):
            new[:, i, j] = change(grid[:, i, j])
        out.append(weight @ new.mean(axis=(1, 2)) + bias)
    return np.array(out)


def stand_ins(top, spread, draw):
    """Units, each one of the eight left that vary most nearly as much."""
    left, chosen = list(range(UNITS)), []
    for unit in draw.permutation(top):
        left.sort()
        near = sorted(left, key=lambda u: (abs(spread[u] - spread[unit]), u))[:8]
        places = [left.index(u) for u in near]
        chosen.append(left.pop(int(draw.choice(places))))
    return chosen


def variants(ablation, v, units, mu, chance, law):
    """The change of the concept, and those of the controls."""
    if ablation == "direction":
        return [lambda h, u=u: h - ((h - mu) @ v) * u for u in (v, *chance)]
    spread, seed = law
    top = np.argsort(-np.abs(v))[:units]
    draw = np.random.default_rng([seed, *sorted(top)])
    sets = (top, *(stand_ins(top, spread, draw) for _ in chance))
    return [lambda h, s=s: np.where(np.isin(np.arange(UNITS), s), mu, h) for s in sets]


def replica(model, given, vectors, units, random, seed=0):
    """One image, one position, one control at a time, in the order of the table."""
    layers = [maps(model, batch) for batch in given.values()]
    pooled = np.concatenate(layers).mean(axis=(2, 3))
    mu = pooled.mean(axis=0)
    generator = np.random.default_rng([seed, 0])
    mixed = generator.normal(size=(len(pooled), random)).T @ (pooled - mu)
    chance = [u / np.linalg.norm(u) for u in mixed]
    law = pooled.std(axis=0), int(generator.integers(2**32))
    rows = []
    for ablation, (column, grids), w in product(ABLATIONS, enumerate(layers), vectors.weights):
        before = logits(model.module.head, grids, lambda h: h)
        edits = variants(ablation, w / np.linalg.norm(w), units, mu, chance, law)
        own, *others = (logits(model.module.head, grids, edit) for edit in edits)
        change = (own - before)[:, column].mean()
        null = np.array([(o - before)[:, column].mean() for o in others])
        score = (change - null.mean()) / null.std(ddof=1)
        step = grids - mu[:, None, None]
        moved = [
            np.sum((edits[0](grid[:, i, j]) - grid[:, i, j]) ** 2)
            for grid in grids for i, j in np.ndindex(*grid.shape[1:])
        ]  # fmt: skip
        rows.append({
            "logit_change": change, "random_change": null.mean(), "effect": score,
            "p_value": 2 * student.sf(abs(score) / np.sqrt(1 + 1 / random), random - 1),
            "accuracy_before": (before.argmax(axis=1) == column).mean(),
            "accuracy_after": (own.argmax(axis=1) == column).mean(),
            "random_accuracy": np.mean([o.argmax(axis=1) == column for o in others]),
            "removed": np.sqrt(np.mean(moved) / (step**2).sum(axis=1).mean()),
        })  # fmt: skip
    return pd.DataFrame(rows)


def test_it_is_a_loop_over_images_positions_and_controls(model, drawn, found):
    expected = replica(model, images(), drawn, 3, 6)
    table = found.table
    assert len(table) == 2 * 3 * 4
    for column in expected:
        assert_allclose(table[column], expected[column], atol=2e-5, rtol=2e-3, err_msg=column)
    assert table["class"].tolist() == np.repeat(["zero", "one", "two"] * 2, 4).tolist()
    assert table["concept"].tolist() == ["c0", "c1", "c2", "c3"] * 6
    assert table["n"].tolist() == np.repeat([7, 5, 6] * 2, 4).tolist()
    assert set(table["layer"]) == {"layer"}
    for _, rows in table.groupby("ablation"):
        assert_allclose(rows["p_adjusted"], holm(rows["p_value"].to_numpy()))
        assert_allclose(rows["p_bh"], benjamini_hochberg(rows["p_value"].to_numpy()))
    bounded = table.dropna(subset=["low", "high"])
    assert bounded["logit_change"].between(bounded["low"], bounded["high"]).all()
    assert len(bounded) > 12  # what changes all pictures alike has no interval
    assert (table["low"] < table["high"]).sum() > 12


def test_classes_before(model, found):
    table = found.classes
    assert table["column"].tolist() == [0, 1, 2]
    for row in table.itertuples():
        with torch.no_grad():
            said = model.module(images()[row[1]]).numpy()
        assert row.score == pytest.approx(said[:, row.column].mean(), abs=1e-5)
        assert row.accuracy == pytest.approx((said.argmax(axis=1) == row.column).mean())


def test_a_class_of_one_unit_has_a_closed_form(model):
    vectors = vectors_of(model, np.eye(UNITS)[[0, 1]])
    table = erase(model, images(), vectors, random=5, reference=together(images())).table
    table = table.set_index(["class", "concept"])
    pooled = {name: maps(model, batch).mean(axis=(2, 3)) for name, batch in images().items()}
    mean = np.concatenate(list(pooled.values())).mean(axis=0)
    expected = 2.0 * (mean[0] - pooled["zero"].mean(axis=0)[0])
    for _, rows in table.groupby("ablation"):  # a one-hot vector's direction is its only top unit
        assert rows.loc[("zero", "c0"), "logit_change"] == pytest.approx(expected, abs=1e-5)
        assert rows.loc[("zero", "c1"), "logit_change"] == pytest.approx(0.0, abs=1e-6)
        assert abs(expected) > 0.01


def test_a_class_that_does_not_read_a_direction_does_not_change(model):
    vectors = vectors_of(model, np.eye(UNITS)[:4])
    table = erase(model, images(), vectors, units=1, reference=together(images())).table
    rows = table[table["class"] == "two"]
    assert_allclose(rows["logit_change"], 0, atol=1e-6)
    assert (rows["p_value"] > 0.05).all()
    assert (rows["random_change"].abs() > 1e-6).all()  # the controls do change it


@pytest.mark.slow
def test_what_a_class_reads_is_found():
    """Power: the class's only direction, in a layer that varies in all of 40 dimensions."""
    torch.manual_seed(5)
    module = Toy()
    module.layer = nn.Sequential(nn.Flatten(), nn.Linear(192, 40))
    module.head = nn.Linear(40, 2)
    module.forward = lambda x: module.head(module.layer(x))
    wide = probed(module)
    w = module.head.weight.detach().numpy()[0]
    other = np.random.default_rng(0).normal(size=40)
    other -= w * (other @ w) / (w @ w)  # as long a step along it changes nothing
    concepts = pd.DataFrame({"name": ["read", "not"], "category": "object"})
    space = Space("toy", wide.fingerprint, "layer", 40, "raw")
    vectors = ConceptVectors(np.array([w, other]), np.zeros(2), concepts, "cav", space)
    hits = []
    for seed in range(20):
        given = {0: pictures(30, seed=seed), 1: pictures(30, seed=100 + seed)}
        table = erase(wide, given, vectors, seed=seed, reference=together(given)).table
        rows = table.query("`class` == '0'")
        hits.append(rows["p_value"].to_numpy()[:2] < 0.05)
    assert np.mean(hits, axis=0)[0] > 0.9
    assert np.mean(hits, axis=0)[1] <= 0.1


@pytest.mark.slow
def test_what_is_drawn_like_the_controls_is_rarely_significant(model):
    """200 seeds of one concept; both ablations of one image set each."""
    chances = {name: [] for name in ABLATIONS}
    for seed in range(200):
        given = {"one": pictures(12, seed=seed), "two": pictures(12, seed=1000 + seed)}
        pooled = np.concatenate([maps(model, b) for b in given.values()]).mean(axis=(2, 3))
        rng = np.random.default_rng([seed, 77])
        law = rng.normal(size=(2, 24)) @ (pooled - pooled.mean(axis=0))
        free = rng.normal(size=(2, UNITS))  # their top units are any
        for weights, name in ((law, "direction"), (free, "units")):
            table = erase(
                model, given, vectors_of(model, weights), units=3, seed=seed,
                reference=together(given),
            ).table  # fmt: skip
            rows = table[(table["ablation"] == name) & (table["class"] == "one")]
            chances[name] += rows["p_value"].tolist()
    for name, values in chances.items():
        assert np.mean(np.array(values) < 0.05) == pytest.approx(0.05, abs=0.03), name
        assert np.mean(np.array(values) < 0.5) == pytest.approx(0.5, abs=0.08), name


def test_batches_and_order_change_nothing(model, drawn, found):
    key = ["ablation", "class", "concept"]
    whole = found.table.set_index(key)
    other = erase(
        model,
        images(),
        drawn.select(["c2", "c0", "c3", "c1"]),
        units=3,
        random=6,
        batch_size=2,
        reference=together(images()),
    ).table.set_index(key)
    pd.testing.assert_frame_equal(other.loc[whole.index], whole, rtol=1e-2, atol=1e-5)
    few = erase(
        model, images(), drawn.select(["c1", "c3"]), units=3, random=6, reference=together(images())
    )
    few = few.table.set_index(key).drop(columns=["p_adjusted", "p_bh"])
    pd.testing.assert_frame_equal(few, whole.loc[few.index, few.columns], rtol=1e-2, atol=1e-5)


def test_controls_on_some_images_judge_the_change_of_the_same(model, drawn):
    given = images((9, 5, 6))
    every = together(given)
    some = erase(
        model, given, drawn, units=3, random=6, control_images=3, batch_size=4, reference=every
    )
    table = some.table[some.table["class"] == "zero"].reset_index(drop=True)
    whole = erase(model, given, drawn, units=3, random=6, reference=every).table
    whole = whole[whole["class"] == "zero"].reset_index(drop=True)
    assert_allclose(table["logit_change"], whole["logit_change"], atol=1e-6)
    assert not np.allclose(table["random_change"], whole["random_change"], atol=1e-4)
    assert np.flatnonzero(spaced(9, 3)).tolist() == [0, 4, 8]
    assert spaced(2, 20).all()
    assert spaced(4, None).all()
    # those three alone, about the same mean and along the same directions
    assert_allclose(table["effect"][:4], effects_on_three(model, given, drawn), rtol=1e-3)


def effects_on_three(model, given, vectors):
    """Effects of directions on images 0, 4 and 8 of class zero; the head is linear in the means."""
    pooled = {n: maps(model, b).mean(axis=(2, 3)) for n, b in given.items()}
    every = np.concatenate(list(pooled.values()))
    mu = every.mean(axis=0)
    mixed = np.random.default_rng([0, 0]).normal(size=(len(every), 6)).T @ (every - mu)
    chance = mixed / np.linalg.norm(mixed, axis=1, keepdims=True)
    g = model.module.head.weight.detach().double().numpy()[0]
    effects = []
    for w in vectors.weights:
        v = w / np.linalg.norm(w)
        amount = (pooled["zero"][[0, 4, 8]] - mu).mean(axis=0) @ v
        own, null = -amount * (g @ v), -amount * (chance @ g)
        effects.append((own - null.mean()) / null.std(ddof=1))
    return effects


def test_random_counterparts_are_the_directions_of_the_controls(model, drawn):
    counterparts = vectors_of(model, np.random.default_rng(9).normal(size=(5, UNITS)))
    table = erase(
        model, images(), drawn, units=3, random=counterparts, reference=together(images())
    ).table
    pooled = {n: maps(model, b).mean(axis=(2, 3)) for n, b in images().items()}
    mu = np.concatenate(list(pooled.values())).mean(axis=0)
    g = model.module.head.weight.detach().double().numpy()[0]
    u = counterparts.normalized.weights
    v = drawn.normalized.weights
    amount = (pooled["zero"] - mu).mean(axis=0) @ v.T
    assert_allclose(table["random_change"][:4], -amount * (u @ g).mean(), atol=1e-5)


def test_stand_ins_vary_as_much_as_the_units_that_they_stand_for():
    rng = np.random.default_rng(0)
    spread = np.append(np.sort(rng.exponential(size=200)), 0.0)
    top = np.array([195, 190, 20, 185, 5])
    draws = [alike_units(top, spread, np.random.default_rng(seed)) for seed in range(50)]
    for units in draws:
        assert len(set(units)) == len(top)
        assert 200 not in units  # it is constant
        assert np.abs(np.sort(units) - np.sort(top)).max() < 40
    assert len({tuple(sorted(u)) for u in draws}) > 40
    every = alike_units(np.arange(8), np.ones(10), np.random.default_rng(0))
    assert len(set(every)) == 8  # too few others: any will do


def test_units_that_weigh_nothing_are_no_top_units():
    assert top_units(np.array([0.0, -3.0, 0.0, 2.0]), 3).tolist() == [1, 3]
    assert top_units(np.array([1.0, -3.0, 0.5, 2.0]), 2).tolist() == [1, 3]


def test_notes_and_missing_vectors(model, drawn, caplog):
    weights = drawn.weights.copy()
    weights[1] = 0.0
    vectors = vectors_of(model, weights, note=["", "too few examples", "single unit", None])
    table = erase(model, images(), vectors, random=3).table
    assert table["concept"].tolist() == ["c0", "c2", "c3"] * 6
    said = table["note"].str.split("; neither|neither").str[0]
    assert said.tolist() == ["", "single unit", ""] * 6
    assert "1 concepts have no vector" in caplog.text


def test_one_output_has_no_accuracy_and_constant_scores_no_chance():
    module = Toy()
    module.head = nn.Linear(UNITS, 1)
    nn.init.zeros_(module.head.weight)
    lonely = probed(module)
    table = erase(lonely, {0: pictures(4)}, vectors_of(lonely, np.eye(UNITS)[:2])).table
    for column in ("accuracy_before", "accuracy_after", "random_accuracy", "p_value", "effect"):
        assert table[column].isna().all(), column
    assert (table["logit_change"] == 0).all()


def test_files_and_pictures_will_do_and_the_network_is_as_before(model, drawn, tmp_path):
    from PIL import Image

    rng = np.random.default_rng(0)
    shown = [Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)) for _ in range(4)]
    for i, picture in enumerate(shown):
        picture.save(tmp_path / f"{i}.png")
    before = state(model.module)
    paths = [tmp_path / f"{i}.png" for i in range(4)]
    one = erase(model, {1: shown}, drawn, random=3).table
    assert one.equals(erase(model, {"one": paths}, drawn, "layer", random=3).table)
    assert state(model.module) == before


@pytest.mark.parametrize(
    ("given", "options", "error", "said"),
    [
        ({"zero": 1}, {}, InputError, "class zero has fewer than two pictures"),
        ({}, {}, InputError, "name at least one class"),
        ({"zeros": 2}, {}, InputError, "toy has no class 'zeros'; nearest: zero"),
        ({7: 2}, {}, InputError, "toy has no class 7; its columns are 0 to 2"),
        ({"one": 2, 1: 2}, {}, InputError, "class 1 stands twice among the images"),
        ({0: 2}, {"units": 13}, InputError, "layer layer has 12 units; cannot take out 13"),
        ({0: 2}, {"units": 0}, InputError, "units is a whole number of at least 1; got 0"),
        ({0: 2}, {"random": 1}, InputError, "one control says nothing about chance; take 20"),
        ({0: 2}, {"random": 2}, InputError, "2 controls say nothing about chance; take 20"),
        ({0: 2}, {"control_images": 1}, InputError, "control_images is a whole number"),
        ({0: 2}, {"layer": "head"}, SpaceError, "belong to layer layer, not to head"),
        ({0: 2}, {"output": "logits"}, ModelError, "has no 'logits'"),
    ],
)
def test_bad_inputs(model, drawn, given, options, error, said):
    batches = {which: pictures(n) for which, n in given.items()}
    with pytest.raises(error, match=said):
        erase(model, batches, drawn, **options)


def test_vectors_that_do_not_fit(model, drawn):
    def tried(**changes):
        erase(model, images(), replace(drawn, **changes))

    with pytest.raises(SpaceError, match=r"belong to toy \(00000000\), not to the model given"):
        tried(space=replace(drawn.space, weights="0" * 64))
    with pytest.raises(InputError, match="flattened maps are no directions at a position"):
        tried(space=replace(drawn.space, inputs="flattened"))
    with pytest.raises(InputError, match="erasure takes vectors, and no concept given has one"):
        tried(weights=np.zeros((4, UNITS)))
    with pytest.raises(LayerError, match="no layer 'lier'; nearest: layer"):
        tried(space=replace(drawn.space, layer="lier"))
    with pytest.raises(InputError, match="the layer gives the same for all images"):
        erase(model, {0: torch.zeros(3, 3, 8, 8)}, drawn)
    other = replace(drawn, space=replace(drawn.space, layer="head"))
    with pytest.raises(SpaceError, match="layer"):
        erase(model, images(), drawn, random=other)


def test_about_its_own_mean_a_linear_class_does_not_change(model, drawn):
    """Mean changes cancel but for rounding, which is no effect and has no chance."""
    table = erase(model, {"one": images()["one"]}, drawn, units=3, random=8).table
    assert_allclose(table[["logit_change", "random_change"]], 0, atol=0)
    assert table[["effect", "p_value", "p_adjusted", "p_bh"]].isna().all(axis=None)
    assert table["note"].str.contains("give reference pictures").all()


@pytest.mark.parametrize("referred", [False, True])
def test_a_class_has_the_same_answer_whatever_else_is_asked(model, drawn, referred):
    options = {"reference": together(images())} if referred else {}
    curved = probed(Bent(), names=["zero", "one", "two"])
    given = replace(drawn, space=replace(drawn.space, weights=curved.fingerprint))
    both = erase(curved, images(), given, units=3, random=6, **options).table
    alone = erase(curved, {"one": images()["one"]}, given, units=3, random=6, **options).table
    own = both[both["class"] == "one"].reset_index(drop=True)
    columns = [c for c in own if c not in ("p_adjusted", "p_bh")]  # over what was asked
    pd.testing.assert_frame_equal(own[columns], alone[columns], check_exact=True)
    assert alone["p_value"].notna().all()


class Bent(Toy):
    """The same with classes that are not linear in the units."""

    def forward(self, x):
        return self.head(torch.sin(3 * self.layer(x)).mean(dim=(2, 3)))


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_the_scale_of_a_layer_changes_no_answer(model, drawn, scale):
    scaled = probed(Toy(), names=["zero", "one", "two"])
    with torch.no_grad():
        scaled.module.layer[0].weight *= scale
        scaled.module.layer[0].bias *= scale
        scaled.module.head.weight /= scale
    scaled = probed(scaled.module, names=["zero", "one", "two"])
    given = replace(drawn, space=replace(drawn.space, weights=scaled.fingerprint))
    options = {"units": 3, "random": 6, "reference": together(images())}
    wanted = erase(model, images(), drawn, **options).table
    found = erase(scaled, images(), given, **options).table
    columns = ["removed", "logit_change", "random_change", "effect", "p_value"]
    assert_allclose(found[columns], wanted[columns], rtol=1e-2, atol=1e-5)
