"""Two classes, and two layers: planted agreement, its control, and literal counts."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import adjusted_mutual_info_score, mutual_info_score

from conceptlab.activations.sample import Sample
from conceptlab.analysis.atlas.comparison import compare_atlases, compare_classes
from conceptlab.analysis.atlas.grid import cells_of
from conceptlab.analysis.atlas.layout import Atlas, Grid
from conceptlab.errors import InputError
from conceptlab.space import Space

RESOLUTIONS = (2, 4)


def atlas_of(points, names=None, least=3, classes=(), resolutions=RESOLUTIONS, layer="layer"):
    """An atlas of given points; its attributions are told by the cells' places."""
    count = len(points)
    names = np.array([f"train/{i:04}" for i in range(count)]) if names is None else names
    images = np.unique(names, return_inverse=True)[1]
    space = Space("toy", "m" * 64, layer, 3, "raw")
    sample = Sample(
        np.ones((count, 3), np.float32), images, np.zeros((count, 2), int), names, space
    )
    grids = []
    for resolution in resolutions:
        cells = cells_of(points, resolution, least)
        rows, columns = np.divmod(cells.numbers, resolution)
        told = np.stack([rows, columns, rows - columns], axis=1).astype(np.float32)
        means = np.ones((len(rows), 3), np.float32)
        nearest = np.zeros((len(rows), 1), int)
        grids.append(
            Grid(resolution, rows, columns, cells.counts, means,
                 told if classes else None, None, nearest)
        )  # fmt: skip
    return Atlas(sample, points, tuple(grids), tuple(classes), ())


def drawn(seed, count=400):
    return np.random.default_rng(seed).random((count, 2))


def test_two_classes_are_their_columns_cell_by_cell():
    atlas = atlas_of(drawn(0), classes=("up", "left", "both"))
    table = compare_classes(atlas, "left", "up")
    assert len(table) == 4 + 16
    assert_allclose(table["a"], table["column"])
    assert_allclose(table["b"], table["row"])
    assert_allclose(table["difference"], table["column"] - table["row"])
    assert_array_equal(table[["x", "y", "n"]], atlas.cells[["x", "y", "n"]])
    with pytest.raises(InputError, match="the atlas has no class 'lefty'; nearest: left"):
        compare_classes(atlas, "left", "lefty")
    with pytest.raises(InputError, match="this atlas has no attributions"):
        compare_classes(atlas_of(drawn(0)), "left", "up")


def test_shared_images_are_counted_one_by_one():
    first, second = drawn(0), np.concatenate([drawn(1), drawn(2, 30)])
    a, b = atlas_of(first, resolutions=(4,), least=26), atlas_of(second, resolutions=(4,))
    found = compare_atlases(a, b, draws=19)
    cell = [np.floor(points[:400] * 4).astype(int) for points in (first, second)]
    sizes = np.bincount(cell[0] @ [1, 4])
    kept = sizes[cell[0] @ [1, 4]] >= 26  # too few: no cell of the grid
    assert 0 < kept.sum() < 400
    pairs = {}
    for i in np.flatnonzero(kept):
        (xa, ya), (xb, yb) = cell[0][i], cell[1][i]
        pairs[ya, xa, yb, xb] = pairs.get((ya, xa, yb, xb), 0) + 1
    columns = ["row_a", "column_a", "row_b", "column_b"]
    told = found.table.set_index(columns)["shared"].to_dict()
    assert told == pairs
    for row in found.table.itertuples():
        in_a = kept & (cell[0] == [row.column_a, row.row_a]).all(axis=1)
        in_b = kept & (cell[1] == [row.column_b, row.row_b]).all(axis=1)
        assert (row.images_a, row.images_b) == (in_a.sum(), in_b.sum())
        assert row.expected == pytest.approx(in_a.sum() * in_b.sum() / kept.sum())
        assert row.times == pytest.approx(row.shared / row.expected)
    beyond = found.table["shared"] - found.table["expected"]
    assert (np.diff(beyond) <= 1e-9).all()
    labels = [c[kept] @ [1, 4] for c in cell]
    (measure,) = found.measures.to_dict("records")
    assert measure["images"] == kept.sum()
    assert measure["mutual_information"] == pytest.approx(mutual_info_score(*labels))
    assert measure["adjusted"] == pytest.approx(adjusted_mutual_info_score(*labels))


def test_layers_that_part_images_alike_agree_and_others_do_not():
    points = drawn(0)
    turned = compare_atlases(atlas_of(points), atlas_of(points[:, ::-1]))
    assert turned.measures["resolution"].tolist() == list(RESOLUTIONS)
    assert_allclose(turned.measures["adjusted"], 1.0)
    assert_allclose(turned.measures["p_value"], 1 / 200)
    assert (turned.table["row_a"] == turned.table["column_b"]).all()
    noisy = np.clip(points + np.random.default_rng(1).normal(0, 0.1, points.shape), 0, 1)
    near = compare_atlases(atlas_of(points), atlas_of(noisy)).measures
    assert (near["adjusted"] < 0.9).all()
    assert (near["adjusted"] > 0.2).all()
    assert "<table" in turned._repr_html_()


def test_chance_is_called_chance():
    found = [
        compare_atlases(
            atlas_of(drawn(2 * seed), resolutions=(3,)),
            atlas_of(drawn(2 * seed + 1), resolutions=(3,)),
            draws=39, seed=seed,
        ).measures.iloc[0]
        for seed in range(60)
    ]  # fmt: skip
    assert abs(np.mean([m["adjusted"] for m in found])) < 0.01
    chances = np.array([m["p_value"] for m in found])
    assert (chances <= 0.1).mean() < 0.25
    assert 0.35 < chances.mean() < 0.65


def test_a_seed_gives_one_p_value_and_the_first_vector_of_an_image_counts():
    names = np.repeat([f"train/{i:04}" for i in range(200)], 2)
    points = drawn(0)
    one = atlas_of(points, names)
    alone = atlas_of(points[::2], names[::2], least=1)
    assert compare_atlases(one, alone, draws=9).measures["images"].tolist() == [200, 200]
    assert (compare_atlases(one, alone, draws=9).measures["adjusted"] > 0.99).all()
    other = atlas_of(drawn(1), names)
    again = [compare_atlases(one, other, draws=9, seed=4).measures for _ in range(2)]
    assert again[0].equals(again[1])


def test_bad_input_is_refused_in_a_sentence():
    points = drawn(0)
    other = atlas_of(points, np.array([f"val/{i:04}" for i in range(400)]))
    with pytest.raises(InputError, match="no image in common; make both of one data set"):
        compare_atlases(atlas_of(points), other)
    with pytest.raises(InputError, match="no resolution in common"):
        compare_atlases(atlas_of(points), atlas_of(points, resolutions=(3,)))
    with pytest.raises(InputError, match="draws is a whole number of at least 1"):
        compare_atlases(atlas_of(points), atlas_of(points), draws=0)
    apart = [[0.9, 0.1], [0.1, 0.9], [0.6, 0.6]]
    one, other = np.array([[0.1, 0.1]] * 3 + apart), np.array(apart + [[0.3, 0.3]] * 3)
    with pytest.raises(InputError, match="no image lies in a cell of both 4 x 4 grids"):
        compare_atlases(atlas_of(one, resolutions=(4,)), atlas_of(other, resolutions=(4,)))
