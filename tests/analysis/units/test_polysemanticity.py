"""Units that fire for one, two and three planted kinds of image are found to do so."""

import numpy as np
import pandas as pd
import pytest

from conceptlab.analysis.units.polysemanticity import polysemanticity
from conceptlab.errors import InputError
from conceptlab.probes.units.packing import Packing
from tests.conftest import ToyData, catalogue_of

IMAGES, KINDS, K, SIDE = 160, 4, 40, 5
FIRES = {0: (0,), 1: (0, 1), 2: (0, 1, 2), 3: (3,)}  # unit to its kinds
DEAD, RARE = 5, 6  # units that never fire, and that fire in 5 images


@pytest.fixture
def layer(store_activations):
    """A layer in which each image shows one of four kinds, at one place, and its planted kinds."""

    def make(scale=1.0, shift=0.0):
        rng = np.random.default_rng(0)
        kind = rng.permutation(np.arange(IMAGES) % KINDS)
        patterns = np.abs(rng.standard_normal((KINDS, K)))
        values = np.abs(rng.normal(0, 0.3, (IMAGES, K, SIDE, SIDE)))
        values[:, : RARE + 1] = 0
        places = rng.integers(0, SIDE, (IMAGES, 2))
        for image, (y, x) in enumerate(places):
            values[image, RARE + 1 :, y, x] += patterns[kind[image], RARE + 1 :]
            for unit, kinds in FIRES.items():
                values[image, unit, y, x] = (kind[image] in kinds) * rng.uniform(2, 3)
        values[:5, RARE] = 1.0
        splits = np.array(["train"] * 120 + ["val"] * 40)
        data = ToyData(np.zeros((IMAGES, 1, 8, 8)), splits, catalogue_of(("a", "object")))
        stored = np.minimum(values, 60) * scale + shift
        return store_activations(stored, data, layer=f"layer{scale}{shift}"), kind, places

    return make


def test_planted_kinds_are_counted_and_told_apart(layer):
    activations, kind, places = layer()
    found = polysemanticity(activations, list(FIRES))
    assert found.units["clusters"].tolist() == [len(kinds) for kinds in FIRES.values()]
    assert (found.units["exemplars"] == 40).all()
    p = found.units.set_index("unit")["p_value"]
    assert (p[[1, 2]] <= 0.05).all()
    assert (p[[0, 3]] > 0.05).all()
    for unit, own in found.members.groupby("unit"):
        assert own["rank"].tolist() == list(range(1, 41))
        assert own["value"].is_monotonic_decreasing
        assert set(kind[own["row"]]) == set(FIRES[unit])
        assert (places[own["row"]] == own[["y", "x"]]).all(axis=None)
        assert (activations.names[own["row"]] == own["image"]).all()
        for _, cluster in own.groupby("cluster"):
            assert len(set(kind[cluster["row"]])) == 1


def test_similarity_and_shares_to_the_letter(layer):
    activations, _, _ = layer()
    found = polysemanticity(activations, [1], count=12)
    whole = activations.array.astype(np.float64)
    members = found.members
    rays = []
    for r in members.itertuples():
        vector = np.delete(whole[r.row, :, r.y, r.x], 1)
        rays.append(vector / np.sqrt((vector**2).sum()))
    cosines = [rays[i] @ rays[j] for i in range(12) for j in range(i)]
    row = found.units.iloc[0]
    assert row["similarity"] == pytest.approx(np.mean(cosines), rel=1e-12)
    assert row["largest"] == (members["cluster"] == 0).mean()
    assert row["largest"] == members["cluster"].value_counts().max() / 12
    strongest = np.sort(whole[:, 1].max(axis=(1, 2)))[::-1][:12]
    assert members["value"].tolist() == strongest.tolist()


def test_the_unit_itself_takes_no_part(store_activations):
    """A unit with two levels of its own, over one kind of image, is of one mind."""
    rng = np.random.default_rng(1)
    values = np.abs(rng.normal(1, 0.1, (60, K, 1, 1)))
    values[:, 0, 0, 0] = np.where(np.arange(60) % 2, 50, 40)
    data = ToyData(np.zeros((60, 1, 8, 8)), ["train"] * 60, catalogue_of(("a", "object")))
    found = polysemanticity(store_activations(values, data), [0])
    assert found.units["clusters"].tolist() == [1]


def test_units_that_hardly_fire(layer):
    activations, _, _ = layer()
    found = polysemanticity(activations, [DEAD, RARE])
    dead, rare = found.units.to_dict("records")
    assert (dead["exemplars"], dead["clusters"]) == (0, 0)
    assert np.isnan([dead["similarity"], dead["largest"], dead["p_value"]]).all()
    assert (rare["exemplars"], rare["clusters"], rare["largest"]) == (5, 1, 1.0)
    assert np.isnan(rare["p_value"])
    assert found.members["unit"].tolist() == [RARE] * 5
    assert "0 of 2 units" in found._repr_html_()


def test_below_zero_nothing_is_known_to_be_silent(layer):
    activations, _, _ = layer(shift=-1.0)
    found = polysemanticity(activations, [DEAD, RARE, 0])
    assert found.units["exemplars"].tolist() == [0, 40, 40]


def test_scale_and_the_company_of_other_units_change_nothing(layer):
    one = polysemanticity(layer()[0], [0, 1, 2])
    for other in (polysemanticity(layer(scale=4.0)[0], [0, 1, 2]),
                  polysemanticity(layer()[0], [2, 0, 1])):  # fmt: skip
        again = other.units.sort_values("unit").reset_index(drop=True)
        pd.testing.assert_frame_equal(again, one.units)
    labels = polysemanticity(layer(scale=4.0)[0], [0, 1, 2]).members["cluster"]
    assert labels.tolist() == one.members["cluster"].tolist()


def test_the_same_seed_gives_the_same_and_groups_do_not_matter(layer, monkeypatch):
    activations, _, _ = layer()
    units = list(range(12))
    one = polysemanticity(activations, units, seed=3)
    monkeypatch.setattr("conceptlab.analysis.units.polysemanticity.HELD", 1)
    other = polysemanticity(activations, units, seed=3)
    pd.testing.assert_frame_equal(one.units, other.units)
    pd.testing.assert_frame_equal(one.members, other.members)
    assert one.units["unit"].tolist() == units
    capped = polysemanticity(activations, [2], most=2, split="val", count=20)
    assert capped.units["clusters"].tolist() == [2]
    assert capped.members["image"].str.startswith("val/").all()


def test_packed_concepts_stand_beside(layer):
    activations, _, _ = layer()
    units = pd.DataFrame({"unit": range(K), "packed": np.arange(K) % 3, "names": "sky", "r2": 0.5})
    packing = Packing(units, pd.DataFrame())
    found = polysemanticity(activations, [1, 2], packing=packing, count=10)
    assert found.units["packed"].tolist() == [1, 2]
    assert found.units["names"].tolist() == ["sky", "sky"]
    with pytest.raises(InputError, match="the packing knows 39 units"):
        polysemanticity(activations, packing=Packing(units[1:], pd.DataFrame()))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"count": 7}, "count is a whole number of at least 8; got 7"),
        ({"most": 0}, "most is a whole number of at least 1"),
        ({"seed": -1}, "seed is a whole number of at least 0"),
        ({"units": [K]}, f"units 0 to {K - 1}; got {K}"),
        ({"units": np.eye(K)}, "asked of units, by their numbers, not of directions"),
        ({"split": "test"}, "no 'test' images"),
    ],
)
def test_what_cannot_be_asked(layer, settings, said):
    with pytest.raises(InputError, match=said):
        polysemanticity(layer()[0], **settings)


@pytest.mark.slow
def test_scrambled_activations_have_one_kind(tmp_path, store_activations):
    """Control on real activations: each unit's values dealt out anew leave no kinds."""
    import conceptlab as cl

    data = cl.load_data("scenes:n=100")
    model = cl.load_model("builtin:scenenet")
    real = cl.extract(model, data, layers=["features.17"], cache=tmp_path)["features.17"]
    values = np.array(real.array, dtype=np.float32).transpose(1, 0, 2, 3)
    rng = np.random.default_rng(0)
    mixed = np.stack([rng.permutation(v.ravel()).reshape(v.shape) for v in values], axis=1)
    toy = ToyData(np.zeros((100, 1, 8, 8)), ["train"] * 100, catalogue_of(("a", "object")))
    scrambled = polysemanticity(store_activations(mixed, toy)).units["clusters"]
    assert (scrambled > 1).mean() <= 0.05
    assert (polysemanticity(real).units["clusters"] > 1).mean() > 0.1
