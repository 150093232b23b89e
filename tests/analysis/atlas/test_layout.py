"""Atlases: planted clusters become regions with their class, and cells average what they should."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn

from conceptlab.activations.extract import extract
from conceptlab.analysis.atlas.class_attributions import ClassAttributions
from conceptlab.analysis.atlas.grid import cells_of, whitened
from conceptlab.analysis.atlas.icons import GREY, patch_icons
from conceptlab.analysis.atlas.layout import Grid, Layout, atlas
from conceptlab.errors import InputError, LayerError, SpaceError
from conceptlab.passes.gradient import derivatives
from conceptlab.vectors import ConceptVectors
from tests.conftest import ToyData, catalogue_of
from tests.models.nets import probed

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

GROUPS, UNITS, SIDE, IMAGES = 4, 12, 4, 160
NAMES = ["zero", "one", "two", "three"]
SMALL = Layout(neighbours=8, grids=(6, 3), per_image=2, nearest=3)


class Toy(nn.Module):
    """A layer of twelve units, and a linear head: class g adds up units 3 g to 3 g + 2."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, UNITS, 2, stride=2)
        self.head = nn.Linear(UNITS, GROUPS)
        with torch.no_grad():
            self.head.weight.copy_(torch.eye(GROUPS).repeat_interleave(3, dim=1) - 0.2)

    def forward(self, x):
        return self.head(self.layer(x).mean(dim=(2, 3)))


def toy_model(names=NAMES):
    return probed(Toy(), names=names)


@pytest.fixture(scope="module")
def model():
    return toy_model()


def pictures_of(images=IMAGES):
    planes = np.zeros((images, 1, 8, 8), dtype=int)
    return ToyData(planes, ["train"] * images, catalogue_of(("thing", "object")))


def planted(images=IMAGES, seed=0):
    """Image i is of group i % 4: its units fire, and the others are noise."""
    rng = np.random.default_rng(seed)
    values = np.abs(rng.normal(0, 0.1, (images, UNITS, SIDE, SIDE)))
    for image in range(images):
        own = 3 * (image % GROUPS)
        values[image, own : own + 3] += rng.uniform(1, 2, (3, SIDE, SIDE))
    return values


@pytest.fixture
def cached(store_activations, model):
    return cache_of(model, store_activations)


def concepts_of(acts, inputs="raw"):
    weights = np.eye(GROUPS).repeat(3, axis=1)
    names = pd.DataFrame({"name": [f"c{i}" for i in range(GROUPS)], "category": "object"})
    levels = np.full(UNITS, 0.7, dtype=np.float32) if inputs != "raw" else None
    return ConceptVectors(
        weights, np.ones(GROUPS), names, "segmentation", acts.space(inputs), levels
    )


@pytest.mark.parametrize(
    ("method", "inputs"), [("umap", "raw"), ("umap", "binary@0.005"), ("tsne", "raw")]
)
def test_planted_clusters_are_regions_with_their_class_and_concept_on_top(
    cached, model, method, inputs
):
    layout = replace(SMALL, method=method, per_image=2 if method == "umap" else 1)
    found = atlas(cached, model, concepts_of(cached, inputs), layout=layout)
    group = found.sample.images % GROUPS
    fine = found.grids[1]
    cells = found.cells[found.cells["resolution"] == 6].reset_index(drop=True)
    of = cells_of(found.points, 6, 3).of
    mixed = 0
    for place in range(len(fine)):
        inside = group[of == place]
        if (inside != inside[0]).any():
            mixed += 1
            continue
        assert cells.at[place, "class"] == NAMES[inside[0]]
        assert cells.at[place, "concept"] == f"c{inside[0]}"
    assert mixed <= 1
    assert set(cells["class"]) == set(NAMES)
    assert (found.points >= 0).all()
    assert (found.points <= 1).all()


def cache_of(model, store):
    return store(planted(), pictures_of(), network=model.fingerprint)


def test_another_head_gives_the_same_regions_other_classes(store_activations, model):
    turned = toy_model()
    with torch.no_grad():
        turned.module.head.weight.copy_(turned.module.head.weight.roll(1, dims=0))
    one, other = (atlas(cache_of(m, store_activations), m, layout=SMALL) for m in (model, turned))
    assert_array_equal(one.points, other.points)
    after = dict(zip(NAMES, NAMES[1:] + NAMES[:1], strict=True))
    assert [after[name] for name in one.cells["class"]] == other.cells["class"].tolist()


def test_attributions_are_those_of_the_closed_form_averaged_over_each_cell(cached, model):
    found = atlas(cached, model, layout=SMALL)
    weights = model.module.head.weight.detach().double().numpy()
    of_vectors = found.sample.values.astype(float) @ weights.T / SIDE**2
    for grid in found.grids:
        of = cells_of(found.points, grid.resolution, 3).of
        assert grid.counts.tolist() == np.bincount(of[of >= 0]).tolist()
        for place in range(len(grid)):
            assert_allclose(grid.attributions[place], of_vectors[of == place].mean(axis=0),
                            rtol=1e-4, atol=1e-6)  # fmt: skip
            assert_allclose(grid.means[place], found.sample.values[of == place].mean(axis=0),
                            rtol=1e-5)  # fmt: skip


def test_the_table_says_what_the_grids_hold(cached, model):
    found = atlas(cached, model, concepts_of(cached), layout=SMALL)
    assert [grid.resolution for grid in found.grids] == [3, 6]
    grid, of = found.grids[1], cells_of(found.points, 6, 3).of
    rows = found.cells[found.cells["resolution"] == 6].reset_index(drop=True)
    assert len(found.cells) == sum(len(grid) for grid in found.grids)
    for place, row in rows.iterrows():
        inside = of == place
        assert row["n"] == inside.sum()
        assert row["images"] == len(set(found.sample.images[inside]))
        place_of = np.minimum((found.points[inside] * 6).astype(int), 5)
        assert (place_of == [row["column"], row["row"]]).all()
        assert row["x"] == (row["column"] + 0.5) / 6
        assert row["y"] == (row["row"] + 0.5) / 6
        best = int(np.argmax(grid.attributions[place]))
        assert row["class"] == NAMES[best]
        assert row["attribution"] == pytest.approx(grid.attributions[place, best])
        told = [part.rsplit(" ", 1) for part in row["top_classes"].split("; ")]
        assert [name for name, _ in told] == [
            NAMES[i] for i in np.argsort(-grid.attributions[place])
        ]
        assert told[0][1] == f"({grid.attributions[place, best]:.2f})"
        assert row["score"] == pytest.approx(grid.scores[place].max())
        assert (row["concept"] == "") == (row["score"] < 1)
    assert "class" not in atlas(cached, layout=SMALL).cells
    assert f"320 vectors, cells {len(found.grids[0])} of 3 x 3" in repr(found)
    assert "<table" in found._repr_html_()


def test_cells_are_vectors_of_the_layer(cached):
    found = atlas(cached, layout=SMALL)
    vectors = found.grids[0].vectors(found.sample.space)
    assert vectors.kind == "cell"
    assert vectors.names[0] == f"r{found.grids[0].rows[0]}c{found.grids[0].columns[0]}"
    assert_array_equal(vectors.weights, found.grids[0].means.astype(float))
    assert vectors.space == cached.space()
    white = atlas(cached, layout=replace(SMALL, whiten=True))
    assert white.whitened
    wanted = whitened([vectors.weights], found.sample.values)[0]
    assert_allclose(white.grids[0].means, wanted, rtol=1e-3, atol=1e-3 * np.abs(wanted).max())
    assert_array_equal(white.grids[0].nearest, found.grids[0].nearest)


def test_a_seed_gives_one_atlas_to_the_bit(cached, model):
    one, other = (atlas(cached, model, concepts_of(cached), layout=SMALL) for _ in range(2))
    assert_array_equal(one.points, other.points)
    for a, b in zip(one.grids, other.grids, strict=True):
        for name in ("rows", "means", "attributions", "scores", "nearest"):
            assert_array_equal(getattr(a, name), getattr(b, name))
    assert not np.array_equal(one.points, atlas(cached, layout=replace(SMALL, seed=1)).points)


def test_the_atlas_of_a_class_is_of_what_speaks_for_it(cached, model):
    found = atlas(cached, model, focus="two", layout=SMALL)
    assert found.focus == "two"
    assert (found.sample.images % GROUPS == 2).all()
    assert len(found.sample) == 2 * IMAGES / GROUPS
    assert set(found.cells["class"]) == {"two"}
    few = atlas(cached, model, focus=2, layout=replace(SMALL, most=30, grids=(2,)))
    spoken = few.sample.values @ model.module.head.weight.detach().numpy()[2]
    left = found.sample.values @ model.module.head.weight.detach().numpy()[2]
    assert_allclose(np.sort(spoken), np.sort(left)[-30:], rtol=1e-6)
    both = atlas(cached, model, focus=["zero", 3], layout=SMALL)
    assert both.focus == "zero and three"
    assert set(both.sample.images % GROUPS) == {0, 3}


def test_of_many_classes_five_are_spoken_for(store_activations):
    module = Toy()
    module.head = nn.Linear(UNITS, UNITS, bias=False)
    with torch.no_grad():
        module.head.weight.copy_(torch.eye(UNITS) + 0.01)
    many = probed(module)
    values = np.abs(np.random.default_rng(0).normal(size=(60, UNITS, SIDE, SIDE)))
    acts = store_activations(values, pictures_of(60), network=many.fingerprint)
    found = atlas(acts, many, focus=7, layout=replace(SMALL, grids=(2,)))
    whole = atlas(acts, layout=replace(SMALL, grids=(2,))).sample
    spoken = whole.values @ (np.eye(UNITS) + 0.01)
    wanted = np.argsort(np.argsort(-spoken, axis=1), axis=1)[:, 7] < 5
    assert_array_equal(found.sample.values, whole.values[wanted])


class Around(Toy):
    """A shortcut leads around the layer."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.aside = nn.Conv2d(3, UNITS, 2, stride=2)

    def forward(self, x):
        return self.head((self.layer(x) * self.aside(x)).mean(dim=(2, 3)))


class Noise(ToyData):
    """Pictures that differ in every pixel."""

    def image(self, i):
        from PIL import Image

        rng = np.random.default_rng(i)
        return Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))


def test_pictures_run_again_where_the_layer_is_not_all(tmp_path):
    planes = np.zeros((40, 1, 8, 8), dtype=int)
    data = Noise(planes, ["train"] * 40, catalogue_of(("thing", "object")))
    around = probed(Around(), names=NAMES)
    acts = extract(around, data, ["layer"], tmp_path, dtype="float32")["layer"]
    layout = replace(SMALL, grids=(1,), per_image=1)
    with pytest.raises(LayerError, match="a shortcut around it, or a class token"):
        atlas(acts, around, layout=layout)
    found = atlas(acts, around, data=data, layout=layout)
    wanted = np.zeros(GROUPS)
    batch = around.prepare([data.image(i) for i in range(40)])
    for c in range(GROUPS):
        one = derivatives(around, batch, ["layer"], np.full((40, 1), c)).layers["layer"]
        product = (one.values * one.gradients[0]).sum(axis=1)
        y, x = found.sample.places.T
        wanted[c] = product[np.arange(40), y, x].mean()
    assert_allclose(found.grids[0].attributions[0], wanted, rtol=1e-4, atol=1e-6)
    with pytest.raises(InputError, match="were made from other pictures"):
        atlas(acts, around, data=pictures_of(41), layout=layout)


def test_icons_are_patches_of_the_nearest_vectors(cached, model):
    found = atlas(cached, layout=replace(SMALL, grids=(1, 3), per_image=1))
    icons = patch_icons(found, cached, pictures_of(), size=20, small=10)
    for grid, own in zip(found.grids, icons, strict=True):
        assert own.icons.shape == (len(grid), 20, 20, 3)
        assert own.patches.shape == (len(grid), 3, 10, 10, 3)
        for cell in range(len(grid)):
            for place, row in enumerate(grid.nearest[cell]):  # picture i is of red i
                wanted = [found.sample.images[row], 0, 0] if row >= 0 else [GREY] * 3
                assert (own.patches[cell, place] == wanted).all()
            assert (own.icons[cell] == [found.sample.images[grid.nearest[cell, 0]], 0, 0]).all()
    lonely = replace(found.grids[0], nearest=np.array([[5, -1, -1]]))
    (one,) = patch_icons(replace(found, grids=(lonely,)), cached, pictures_of())
    assert (one.patches[0, 1:] == GREY).all()
    with pytest.raises(InputError, match="were made from other pictures"):
        patch_icons(found, cached, pictures_of(10))
    other = replace(found.sample, space=replace(found.sample.space, layer="other"))
    with pytest.raises(SpaceError, match="layer"):
        patch_icons(replace(found, sample=other), cached, pictures_of())


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"method": "pca"}, "method is one of umap, tsne; got 'pca'"),
        ({"neighbours": 1}, "neighbours is a whole number of at least 2"),
        ({"least": 0}, "least is a whole number of at least 1"),
        ({"grids": 8}, "grids is a list of whole numbers"),
        ({"seed": -1}, "seed is a whole number of at least 0"),
        ({"grids": (0,)}, "a grid's resolution is a whole number of at least 1"),
        ({"most": 0}, "most is a whole number of at least 1"),
    ],
)
def test_layouts_that_do_not_fit(settings, said):
    with pytest.raises(InputError, match=said):
        Layout(**settings)


def test_bad_input_is_refused_in_a_sentence(cached, model, store_activations):
    with pytest.raises(InputError, match="placed by its 400 nearest, and there are 320 vectors"):
        atlas(cached, layout=replace(SMALL, neighbours=400))
    with pytest.raises(InputError, match="placed by its 8 nearest, and there are 8 vectors"):
        atlas(cached, layout=replace(SMALL, most=8))
    with pytest.raises(InputError, match="no cell of the 900 x 900 grid holds 3 vectors"):
        atlas(cached, layout=replace(SMALL, grids=(3, 900)))
    with pytest.raises(InputError, match="toy has no class 'ones'; nearest: one"):
        atlas(cached, model, focus="ones", layout=SMALL)
    with pytest.raises(InputError, match="the atlas of a class needs the network"):
        atlas(cached, focus="one", layout=SMALL)
    silent = toy_model()
    with torch.no_grad():
        silent.module.head.weight[1] = -1.0
    with pytest.raises(InputError, match="no sampled vector of layer layer speaks for class one"):
        atlas(cache_of(silent, store_activations), silent, focus="one", layout=SMALL)
    cached = cache_of(model, store_activations)
    with pytest.raises(SpaceError, match=r"belong to toy .*not to the model given"):
        atlas(cached, probed(Toy()), layout=SMALL)
    vectors = concepts_of(cached)
    for changes in ({"layer": "other"}, {"weights": "n" * 64}):
        strange = replace(vectors, space=replace(vectors.space, **changes))
        with pytest.raises(SpaceError, match="these vectors belong to"):
            atlas(cached, vectors=strange, layout=SMALL)
    flat = replace(vectors, space=replace(vectors.space, inputs="flattened"))
    with pytest.raises(InputError, match="flattened maps are no directions at a position"):
        atlas(cached, vectors=flat, layout=SMALL)


def test_nan_in_the_cache_is_named(store_activations):
    values = planted()
    values[7] = np.nan
    acts = store_activations(values, pictures_of())
    said = r"2 vectors of layer layer hold NaN or infinite values \(the first of image train/00007"
    with pytest.raises(InputError, match=said):
        atlas(acts, layout=SMALL)


def test_vectors_do_not_pile_up(cached, model):
    """Attributions come in batches, never as one array of all vectors."""
    found = atlas(cached, layout=SMALL)
    sizes = [len(part) for _, part in ClassAttributions(model, cached).of(found.sample)]
    assert sum(sizes) == len(found.sample)
    assert max(sizes) <= 64
    assert isinstance(found.grids[0], Grid)


@pytest.mark.parametrize(("count", "expected"), [(16, [2, 4]), (1600, [5, 10, 20]),
                                                 (10**5, [10, 20, 40])])  # fmt: skip
def test_grids_that_nobody_named_are_as_fine_as_the_vectors_fill(count, expected):
    points = np.random.default_rng(0).random((count, 2)) * 0.999
    assert [cells.resolution for cells in Layout(least=1).cells(points)] == expected
    apart = (np.arange(count)[:, None] % 4 * 0.3 + 0.01) * np.ones(2)
    assert Layout(least=3).cells(apart)[0].resolution == expected[0]
    with pytest.raises(InputError, match="no cell of the"):
        Layout(least=count + 1).cells(points)
