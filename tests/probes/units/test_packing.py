"""How many concepts are packed into a unit, where that is known."""

import numpy as np
import pytest

from conceptlab.activations.labels import label_store
from conceptlab.errors import InputError
from conceptlab.probes.units import moments as streamed
from conceptlab.probes.units.moments import moments
from conceptlab.probes.units.packing import pack_units
from tests.conftest import ToyData, catalogue_of

NAMES = ["c0", "c1", "c2", "c3", "c4", "c5"]


@pytest.fixture
def planted(store_activations):
    """Units that are known sums of the maps of six concepts on a 4 x 4 grid, and some noise."""

    def make(seed=0, images=120, noise=1.0, small=None, level="pixel"):
        rng = np.random.default_rng(seed)
        grid = rng.integers(-1, len(NAMES), (images, 4, 4))
        labels = grid[:, None].repeat(8, axis=2).repeat(8, axis=3)
        maps = np.stack([grid == c for c in range(len(NAMES))]).astype(float)
        values = noise * rng.normal(size=(images, 8, 4, 4))
        values[:, 0] += 3 * maps[0]
        values[:, 1] += 2 * maps[1] + 3 * maps[2]
        values[:, 2] += 2 * maps[0] + 2 * maps[3] + 3 * maps[5]
        values[:, 3] -= 4 * maps[4]  # a unit that a concept silences
        values[:, 7] = 1.5  # a constant
        splits = np.array(["train"] * (images * 2 // 3) + ["val"] * (images - images * 2 // 3))
        data = ToyData(labels, splits, catalogue_of(*((n, "object", level) for n in NAMES)))
        return data, store_activations(values, data), maps, values

    return make


def test_units_that_pack_two_one_three_or_no_concepts_are_found(planted):
    data, acts, _, _ = planted()
    found = pack_units(acts, data)
    assert found.units["names"].tolist()[:3] == ["c0", "c1, c2", "c0, c3, c5"]
    assert found.units["packed"].tolist()[:3] == [1, 2, 3]
    assert found.units["packed"].tolist()[4:] == [0, 0, 0, 0]
    assert (found.units["chance"] == 0).all()  # maps of other images
    assert "c4" not in found.units["names"][3]  # the rest of the picture excites it
    rows = found.table[found.table["packed"] & (found.table["unit"] < 3)]
    assert set(rows[rows["unit"] == 2]["concept"]) == {"c0", "c3", "c5"}
    np.testing.assert_allclose(
        rows.groupby("unit")["share"].sum(), found.units["r2"][:3].to_numpy(), rtol=1e-6
    )  # fmt: skip


def test_explained_variance_is_that_of_least_squares(planted):
    data, acts, maps, values = planted()
    found = pack_units(acts, data, shuffle_control=False)
    train, judged = acts.splits == "train", acts.splits == "val"

    def design(rows):
        columns = [np.ones(maps[0][rows].size), *(maps[c][rows].ravel() for c in (1, 2))]
        return np.stack(columns, axis=1)

    target = values[:, 1].astype(np.float16).astype(float)
    beta = np.linalg.lstsq(design(train), target[train].ravel(), rcond=None)[0]
    for rows, column in ((train, "r2"), (judged, "r2_val")):
        away = target[rows].ravel() - design(rows) @ beta
        wanted = 1 - (away**2).mean() / target[rows].var()
        assert found.units[column][1] == pytest.approx(wanted, abs=2e-3)
    assert found.units["chance"].isna().all()


def test_noise_packs_nothing(planted):
    wrong = []
    for seed in range(6):
        data, acts, _, _ = planted(seed=100 + seed)
        wrong.append(pack_units(acts, data, shuffle_control=False).units["packed"][4:7].mean())
    assert np.mean(wrong) < 0.1


def test_a_weak_concept_counts_only_where_it_explains_enough(planted):
    data, acts, _, _ = planted(noise=0.1)
    assert pack_units(acts, data, shuffle_control=False).units["packed"][2] == 3
    strict = pack_units(acts, data, shuffle_control=False, least=0.3)
    assert strict.units["packed"][2] < 3


def test_moments_are_sums_over_all_positions_whatever_the_chunks(planted, monkeypatch):
    data, acts, maps, values = planted(images=60)
    labels = label_store(acts, data)
    rows = np.arange(5, 47)
    found = moments(acts, labels, np.array([4, 0, 2]), rows)
    m = maps[[4, 0, 2]][:, rows].reshape(3, -1)
    a = values.astype(np.float16).astype(float)[rows].transpose(1, 0, 2, 3).reshape(8, -1)
    assert found.count == m.shape[1]
    np.testing.assert_allclose(found.mm, m @ m.T, rtol=1e-5)
    np.testing.assert_allclose(found.ma, m @ a.T, atol=1e-2)
    np.testing.assert_allclose(found.aa, (a**2).sum(axis=1), rtol=1e-5)
    monkeypatch.setattr(streamed, "CHUNK", 5)
    again = moments(acts, labels, np.array([4, 0, 2]), rows)
    np.testing.assert_allclose(again.ma, found.ma, atol=1e-3)
    part = moments(acts, labels, np.array([4, 0, 2]), rows[:10])
    rest = found - part
    np.testing.assert_allclose(rest.ma, m[:, 160:] @ a[:, 160:].T, atol=1e-2)
    mm, ma, aa = found.about(*found.means)
    np.testing.assert_allclose(mm, np.cov(m, bias=True), atol=1e-6)
    np.testing.assert_allclose(aa, a.var(axis=1), atol=1e-4)
    np.testing.assert_allclose(ma, (m - m.mean(1, keepdims=True)) @ a.T / m.shape[1], atol=1e-4)


def test_a_cell_that_a_concept_covers_in_part_counts_in_part(store_activations):
    labels = np.full((30, 1, 32, 32), -1)
    labels[:, 0, :4, :16] = 0  # a quarter of the upper left cell of 2 x 2
    data = ToyData(labels, ["train"] * 30, catalogue_of(("c", "object")))
    acts = store_activations(np.random.default_rng(0).normal(size=(30, 2, 2, 2)), data)
    found = moments(acts, label_store(acts, data), np.array([0]), np.arange(30))
    assert found.m[0] == pytest.approx(30 * 0.25)
    assert found.mm[0, 0] == pytest.approx(30 * 0.25**2)


def test_the_same_seed_gives_the_same_table(planted):
    data, acts, _, _ = planted()
    one, other = pack_units(acts, data, seed=3), pack_units(acts, data, seed=3)
    assert one.table.equals(other.table)
    assert one.units.equals(other.units)


def test_bad_input_is_refused_in_a_sentence(planted, toy):
    data, acts, _, _ = planted()
    with pytest.raises(InputError, match="least is a share"):
        pack_units(acts, data, least=1.0)
    with pytest.raises(InputError, match="no concept has pixels in 1000 training images"):
        pack_units(acts, data, min_examples=1000)
    with pytest.raises(InputError, match="other pictures"):
        pack_units(acts, toy(images=90)[0])
    few, layer, _, _ = planted(images=24)
    with pytest.raises(InputError, match="at least 20 training images; there are 16"):
        pack_units(layer, few)
    with pytest.raises(InputError, match="no 'test' images"):
        pack_units(acts, data, split="test")
