import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from conceptlab.errors import InputError
from conceptlab.probes.segmentation.problem import pair_counts
from conceptlab.probes.units.dissection import ORDERS, SCOPES, chance_of_best, dissect

TAU = 0.15


def masks_by_torch(acts, tau, side, order, align_corners):
    """The definition read aloud, in float64: (N, K, h, w)."""
    values = torch.from_numpy(acts.array.astype(np.float64))
    level = torch.from_numpy(acts.thresholds(tau).astype(np.float64))[:, None, None]

    def up(maps):
        return torch.nn.functional.interpolate(
            maps, (side, side), mode="bilinear", align_corners=align_corners
        )

    if order == "threshold-first":
        return (up((values > level).double()) > 0.5).numpy()
    return (up(values) > level).numpy()


def labels_at(data, side):
    place = np.floor((np.arange(side) + 0.5) * 32 / side).astype(int)
    planes = data._planes[:, :, place][:, :, :, place]
    return planes, data._unlabelled[:, place][:, :, place].astype(bool)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("side", [16, 23])
def test_agrees_with_the_definition(toy, order, align_corners, scope, side):
    data, acts = toy()
    found = dissect(
        acts, data, TAU, label_size=side, order=order, align_corners=align_corners, scope=scope
    )
    masks = masks_by_torch(acts, TAU, side, order, align_corners)
    planes, void = labels_at(data, side)
    for split in ("train", "val"):
        rows = acts.splits == split
        scores = found.iou(split)
        for concept in range(6):
            label = (planes[rows] == concept).any(axis=1)
            valid = ~void[rows] if concept < 3 else np.ones_like(label)
            counts = (label if scope == "present" else valid).any(axis=(1, 2))
            for unit in range(8):
                mask = masks[rows, unit] & valid
                both = (mask & label)[counts].sum()
                either = (mask | label)[counts].sum()
                assert scores[unit, concept] == pytest.approx(both / either, abs=1e-12)


def test_a_unit_that_is_the_concept_has_iou_1(store_activations, toy):
    data, _ = toy()
    values = np.stack([data._planes[:, 0] == c for c in range(3)], axis=1)[:, :, 4::8, 4::8]
    shares = values.mean(axis=(0, 2, 3))
    acts = store_activations(values.astype(float), data, layer="exact")
    # at the layer's own resolution no pixel lies between two cells
    found = dissect(acts, data, float(shares.max()) + 0.01, label_size=4)
    for unit in range(3):
        assert found.iou("train")[unit, unit] == 1.0
        assert found.iou("train")[unit, (unit + 1) % 3] == 0.0


def test_best_unit_is_chosen_on_train_and_reported_on_val(toy):
    data, acts = toy()
    found = dissect(acts, data, TAU, label_size=16)
    best = found.best()
    assert best["unit"][:3].tolist() == [0, 1, 2]
    train, val = found.iou("train"), found.iou("val")
    for row in best.itertuples():
        assert row.iou_train == np.nanmax(train[:, row.Index])
        assert row.iou_val == val[row.unit, row.Index]
    assert best["n_train"].tolist() == [
        int((data._planes[:40] == c).any(axis=(1, 2, 3)).sum()) for c in range(6)
    ]


def test_units_as_vectors_give_the_same_masks(toy):
    data, acts = toy()
    found = dissect(acts, data, TAU, label_size=16)
    table = pair_counts(found.vectors, acts, data, "val", label_size=16).table()
    assert_allclose(table["iou_set"], found.best()["iou_val"], atol=1e-3)


def test_permuting_units_permutes_the_table(toy, store_activations):
    data, acts = toy()
    order = np.random.default_rng(1).permutation(8)
    other = store_activations(acts.array[:, order].astype(float), data, layer="permuted")
    first, second = dissect(acts, data, TAU), dissect(other, data, TAU)
    assert_allclose(first.iou("val")[order], second.iou("val"))


def test_table_has_a_row_per_unit_and_concept(toy):
    data, acts = toy()
    found = dissect(acts, data, TAU)
    table = found.table
    assert len(table) == 8 * 6
    assert table.columns.tolist() == [
        "unit", "concept", "category", "iou_train", "iou_val", "threshold",
    ]  # fmt: skip
    row = table[(table["unit"] == 2) & (table["concept"] == "thing1")].iloc[0]
    assert row["iou_val"] == found.iou("val")[2, 1]
    assert row["threshold"] == acts.thresholds(TAU)[2]


def test_chance_lies_below_a_planted_unit_and_repeats(toy):
    data, acts = toy()
    best = dissect(acts, data, TAU, label_size=16).best()
    chance = chance_of_best(acts, data, TAU, label_size=16, seed=3)
    assert (chance["chance"][:3] < best["iou_val"][:3] / 2).all()
    again = chance_of_best(acts, data, TAU, label_size=16, seed=3)
    assert chance.equals(again)
    assert (chance["chance"] <= chance["chance_high"]).all()


def test_a_concept_that_train_never_shows_has_no_unit_and_no_chance(toy):
    data, acts = toy()
    train = acts.splits == "train"
    data._planes[train] = np.where(data._planes[train] == 2, -1, data._planes[train])
    chance = chance_of_best(acts, data, TAU, label_size=16, permutations=3)
    own = chance.set_index("concept").loc["thing2", ["chance", "chance_high"]]
    assert own.isna().all()
    assert chance["chance"][:2].notna().all()


def test_wrong_options_and_foreign_data_are_refused(toy):
    data, acts = toy()
    with pytest.raises(InputError, match="order is one of"):
        dissect(acts, data, order="sideways")
    with pytest.raises(InputError, match="scope is one of"):
        dissect(acts, data, scope="all")
    with pytest.raises(InputError, match="label size"):
        dissect(acts, data, label_size=-1)
    with pytest.raises(InputError, match="1 to 4096"):
        dissect(acts, data, label_size=10**6)
    other, _ = toy(images=61)
    with pytest.raises(InputError, match="made from other pictures"):
        dissect(acts, other)


def test_a_dissection_travels_to_other_processes(toy):
    data, acts = toy()
    found = dissect(acts, data, TAU, label_size=16)
    back = pickle.loads(pickle.dumps(found))
    assert back.table.equals(found.table)
    assert back.best().equals(found.best())
    assert back.vectors.space == found.vectors.space == acts.space(f"binary@{TAU}")
    np.testing.assert_array_equal(back.vectors.weights, found.vectors.weights)
    assert back.vectors.concepts.equals(found.vectors.concepts)
