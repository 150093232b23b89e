"""Contributions of concepts to classes: the formula, closed forms, planted truth, bad input."""

import copy
from collections import Counter
from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose
from PIL import Image
from torch import nn

from conceptlab.analysis.effects.basis import basis_rows
from conceptlab.analysis.effects.decomposition import decompose, decompose_image
from conceptlab.errors import InputError, LayerError, ModelError, SpaceError
from conceptlab.models import load_model
from conceptlab.space import Space
from conceptlab.vectors import ConceptVectors

COLUMNS = [
    "class", "concept", "category", "layer", "coefficient", "contribution", "share", "note",
]  # fmt: skip


class Toy(nn.Module):
    """conv (the layer) - what the test wants - head; a skip around it, or a dictionary."""

    def __init__(self, rest=None, skip=False, keyed=False):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.rest = rest or nn.Identity()
        self.around = nn.Conv2d(3, 6, 1, stride=2) if skip else None
        self.head = nn.Linear(6, 4)
        self.keyed = keyed

    def forward(self, x):
        found = self.conv(x)
        if self.around is not None:
            found = found + self.around(x)
        scores = self.head(self.rest(found).mean(dim=(2, 3)))
        return {"aux": scores.flip(1), "scores": scores} if self.keyed else scores


def bent():
    """Something after the layer that is linear nowhere and treats positions unequally."""
    return nn.Sequential(nn.Tanh(), nn.Conv2d(6, 6, 3, padding=1), nn.Softplus())


def toy(rest=None, **options):
    torch.manual_seed(0)
    model = load_model(Toy(rest, **options), size=12)
    model.class_names = ["ant", "bee", "cat", "dog"]
    return model


def vectors_of(model, weights, layer="conv", names=None, notes=None):
    weights = np.asarray(weights, dtype=float)
    names = names or [f"c{i}" for i in range(len(weights))]
    concepts = pd.DataFrame({"name": names, "category": "object"})
    if notes is not None:
        concepts["note"] = notes
    space = Space(model.name, model.fingerprint, layer, weights.shape[1], "raw")
    return ConceptVectors(weights, np.zeros(len(weights)), concepts, "cav", space)


def random_vectors(model, count=4, units=6, layer="conv", seed=0):
    weights = np.random.default_rng(seed).normal(size=(count, units))
    return vectors_of(model, weights, layer)


def pictures(n=5, seed=0, size=12):
    rng = np.random.default_rng(seed)
    return [Image.fromarray(rng.integers(0, 256, (size, size, 3), dtype=np.uint8))
            for _ in range(n)]  # fmt: skip


@cache
def scenenet():
    return load_model("builtin:scenenet")


def head_of(model):
    return model.module.head.weight.detach().double().numpy()


def read_aloud(model, image, column, table, vectors):
    """The decomposition one position and one concept at a time, of a copy in double precision."""
    module = copy.deepcopy(model.module).double()
    kept = []
    hook = module.conv.register_forward_hook(lambda m, i, o: kept.append(o) or o.retain_grad())
    logit = module(model.prepare([image]).double())[0, column]
    logit.backward()
    hook.remove()
    values, gradients = kept[0].detach()[0].numpy(), kept[0].grad[0].numpy()
    zero = module.conv.register_forward_hook(lambda m, i, o: torch.zeros_like(o))
    baseline = module(model.prepare([image]).double())[0, column].item()
    zero.remove()
    w = sum(gradients[:, p, q] for p, q in np.ndindex(values.shape[1:]))
    rows = {n: v / np.linalg.norm(v) for n, v in zip(vectors.names, vectors.weights, strict=True)}
    said = table.set_index("concept")["coefficient"]
    chosen = [n for n in said.index if n in rows]
    parts = {n: said[n] * rows[n] for n in chosen}
    parts["residual"] = w - sum(parts.values())
    maps = {n: np.zeros(values.shape[1:]) for n in parts}
    for p, q in np.ndindex(values.shape[1:]):
        along = gradients[:, p, q] @ w / (w @ w)
        for n in parts:
            maps[n][p, q] = along * (parts[n] @ values[:, p, q])
    sums = {n: m.sum() for n, m in maps.items()} | {"baseline": baseline}
    return w, maps, sums | {"remainder": logit.item() - sum(sums.values())}


@pytest.mark.parametrize("rest", [None, bent])
@pytest.mark.parametrize("skip", [False, True])
def test_one_picture_is_that_of_the_definition(rest, skip):
    model = toy(rest and rest(), skip=skip)
    vectors = random_vectors(model)
    image = pictures(1)[0]
    found = decompose_image(model, image, vectors, "cat", components=2)
    w, maps, sums = read_aloud(model, image, 2, found.table, vectors)
    table = found.table.set_index("concept")
    concepts = [n for n in maps if n != "residual"]
    assert found.table["concept"].tolist()[-3:] == ["residual", "baseline", "remainder"]
    assert_allclose(table["contribution"], [sums[n] for n in table.index], atol=2e-6)
    for place, name in enumerate(found.table["concept"][: len(concepts)]):
        assert_allclose(found.heatmaps[place], maps[name], atol=1e-6)
    residual = w - sum(table.at[n, "coefficient"] * v for n, v in
                       zip(vectors.names, basis_rows(vectors.weights, False), strict=True)
                       if n in concepts)  # fmt: skip
    assert_allclose(table.at["residual", "coefficient"], np.linalg.norm(residual), rtol=1e-5)
    assert_allclose(found.explained, 1 - residual @ residual / (w @ w), atol=1e-5)
    assert_allclose(found.completeness_error, abs(sums["remainder"]), atol=2e-6)
    assert (found.completeness_error > 1e-3) == (rest is not None)  # linear or not


def test_a_table_of_one_picture_says_what_it_promises():
    model = toy(bent())
    vectors = random_vectors(model, 5)
    found = decompose_image(model, pictures(1)[0], vectors, 1)
    table, count = found.table, len(found.heatmaps)
    assert table.columns.tolist() == COLUMNS
    assert table["class"].unique().tolist() == ["bee"]
    assert table["layer"].unique().tolist() == ["conv"]
    assert table["category"].tolist() == ["object"] * count + [""] * 3
    assert 2 <= count <= 5
    assert (np.diff(table["contribution"][:count]) <= 0).all()
    assert_allclose(table["contribution"].sum(), found.logit, rtol=1e-14)
    assert_allclose(found.heatmaps.sum(axis=(1, 2)), table["contribution"][:count], rtol=1e-12)
    baseline = table["contribution"].iloc[-2]
    assert_allclose(table["share"].sum(), 1)
    assert_allclose(table["share"][0], table["contribution"][0] / (found.logit - baseline))
    assert table["share"].isna().tolist() == [False] * (count + 1) + [True, False]
    assert table["coefficient"].isna().tolist() == [False] * (count + 1) + [True, True]
    assert found.completeness_error == abs(table["contribution"].iloc[-1])
    assert "residual" in found._repr_html_()


@pytest.mark.parametrize("method", ["greedy", "nnls"])
def test_on_a_linear_head_all_has_a_closed_form(method):
    model = scenenet()
    vectors = random_vectors(model, 30, 96, "features.17")
    images = pictures(4, size=64)
    values = model.activations(images, ["features.17"])["features.17"].astype(float)
    pooled, rows = values.mean(axis=(2, 3)), basis_rows(vectors.weights, False)
    logits = model.module(model.prepare(images)).detach().numpy()
    bias = model.module.head.bias.detach().numpy()
    for image, own, said in zip(images, pooled, logits, strict=True):
        column = int(said.argmax())
        found = decompose_image(model, image, vectors, method=method)
        table = found.table.set_index("concept")
        assert found.table["class"][0] == model.class_names[column]
        assert found.completeness_error <= 1e-5 * abs(found.logit)
        assert_allclose(table.at["baseline", "contribution"], bias[column], rtol=1e-6)
        left = head_of(model)[column].copy()
        for name in table.index[:-3]:
            row = rows[int(name[1:])]
            left -= table.at[name, "coefficient"] * row
            wanted = table.at[name, "coefficient"] * row @ own
            assert_allclose(table.at[name, "contribution"], wanted, atol=1e-5)
        assert_allclose(table.at["residual", "contribution"], left @ own, atol=1e-5)


def test_completeness_of_mobilenet(shared_data):
    weights = shared_data / "mobilenet_v2_imagenet.safetensors"
    model = load_model("torchvision:mobilenet_v2@IMAGENET1K_V1", weights=weights,
                       mean=(0.5,) * 3, std=(0.5,) * 3)  # fmt: skip
    vectors = random_vectors(model, 20, 1280, "features.18")
    photo = shared_data / "photos" / "chelsea.jpg"
    found = decompose_image(model, photo, vectors)
    assert found.table["class"][0] == "Egyptian cat"
    assert found.completeness_error <= 1e-5 * abs(found.logit)
    several = decompose(model, {"Egyptian cat": [photo], "tripod": [photo]}, vectors)
    classes = several.classes
    assert (classes["completeness_error"] <= 1e-5 * classes["logit"].abs()).all()
    assert classes["accuracy"].tolist() == [1, 0]


def test_what_a_class_is_made_of_by_construction_is_found_and_nothing_else():
    model = toy()
    rng = np.random.default_rng(8)
    basis = np.linalg.qr(rng.normal(size=(6, 6)))[0].T
    with torch.no_grad():
        model.module.head.weight[1] = torch.from_numpy(2.0 * basis[3] + 0.5 * basis[0])
        model.module.head.weight[2] = torch.from_numpy(basis[5] - basis[3])
    vectors = vectors_of(model, 7.0 * basis[:5])
    image = pictures(1)[0]
    made = decompose_image(model, image, vectors, "bee")
    said = made.table.set_index("concept")["coefficient"]
    assert sorted(said.index[:-3]) == ["c0", "c3"]
    assert_allclose(said[["c3", "c0"]], [2.0, 0.5], rtol=1e-5)
    assert said["residual"] < 1e-6
    assert made.explained > 1 - 1e-10
    other = decompose_image(model, image, vectors, "cat")  # no concept speaks for it
    assert other.table["concept"].tolist() == ["residual", "baseline", "remainder"]
    assert other.heatmaps.shape == (0, 6, 6)
    assert abs(other.explained) < 1e-10


def test_centred_vectors_are_another_question():
    model = scenenet()
    shifted = np.abs(random_vectors(model, 8, 96, "features.17").weights)
    vectors = vectors_of(model, shifted, "features.17")
    image = pictures(1, size=64)[0]
    plain = decompose_image(model, image, vectors, 0)
    centred = decompose_image(model, image, vectors, 0, centred=True)
    by_hand = vectors_of(model, shifted - shifted.mean(axis=1, keepdims=True), "features.17")
    pd.testing.assert_frame_equal(
        centred.table, decompose_image(model, image, by_hand, 0).table, atol=1e-9
    )
    assert plain.explained < centred.explained


class Kink(nn.Module):
    """Linear, but for bright pictures, of which it says a little more."""

    def forward(self, x):
        bright = x[:, 1:2].mean(dim=(2, 3), keepdim=True) < -0.5
        return x * (1 + 0.01 * bright)


def class_read_aloud(model, images, column):
    """w, (n, K) outputs weighted by c_p, (n, classes) logits; in double precision."""
    module = copy.deepcopy(model.module).double()
    kept = []
    module.conv.register_forward_hook(lambda m, i, o: kept.append(o) or o.retain_grad())
    logits = module(model.prepare(images).double())
    logits[:, column].sum().backward()
    values, gradients = kept[0].detach().numpy(), kept[0].grad.numpy()
    w = gradients.sum(axis=(2, 3)).mean(axis=0)
    along = np.einsum("nkhw,k->nhw", gradients, w) / (w @ w)
    return w, np.einsum("nhw,nkhw->nk", along, values), logits.detach().numpy()


@pytest.mark.parametrize("rest", [None, bent, Kink])
def test_a_class_over_pictures_is_the_mean_over_them(rest):
    model = toy(rest and rest())
    vectors, images = random_vectors(model), pictures(7)
    images[5] = Image.new("RGB", (12, 12), (255, 255, 255))
    found = decompose(model, {"dog": images}, vectors, batch_size=3)
    table = found.table.set_index("concept")
    assert table.columns.tolist() == [c for c in COLUMNS if c != "concept"] + ["low", "high", "n"]
    w, pooled, logits = class_read_aloud(model, images, 3)
    rows = dict(zip(vectors.names, basis_rows(vectors.weights, False), strict=True))
    parts = {c: table.at[c, "coefficient"] * rows[c] for c in table.index[:-3]}
    parts["residual"] = w - sum(parts.values())
    for name, part in parts.items():
        assert_allclose(table.at[name, "contribution"], (pooled @ part).mean(), atol=2e-6)
    assert_allclose(table["contribution"].sum(), logits[:, 3].mean(), rtol=1e-6)
    row = found.classes.iloc[0]
    assert row.index.tolist() == [
        "class", "n", "logit", "explained", "completeness_error", "accuracy",
    ]  # fmt: skip
    left = parts["residual"] @ parts["residual"]
    baseline = table.at["baseline", "contribution"]
    wanted = [7, logits[:, 3].mean(), 1 - left / (w @ w),
              np.abs(logits[:, 3] - pooled @ w - baseline).mean(),
              (logits.argmax(axis=1) == 3).mean()]  # fmt: skip
    assert_allclose(row.iloc[1:].astype(float), wanted, atol=1e-5)
    assert found.vectors.kind == "class"
    assert found.vectors.names == ["dog"]
    assert found.vectors.space.layer == "conv"
    assert_allclose(found.vectors.weights[0], w, rtol=1e-4, atol=1e-7)
    assert_allclose(found.vectors.bias[0], baseline)


def test_one_picture_of_a_class_is_the_decomposition_of_that_picture():
    model = toy(bent(), skip=True)
    vectors, image = random_vectors(model), pictures(1)[0]
    alone = decompose_image(model, image, vectors, "ant").table
    found = decompose(model, {"ant": [image]}, vectors).table
    pd.testing.assert_frame_equal(found[COLUMNS], alone, atol=1e-7)
    assert found[["low", "high"]].isna().all(axis=None)  # one picture says nothing of others


def test_intervals_are_those_of_means_over_pictures():
    model = toy()
    vectors, images = random_vectors(model), pictures(40, seed=3)
    table = decompose(model, {"ant": images}, vectors).table
    each = [decompose_image(model, image, vectors, "ant").table for image in images]
    for _, row in table.iterrows():
        own = [t.set_index("concept").at[row["concept"], "contribution"] for t in each]
        assert_allclose(row["contribution"], np.mean(own), atol=1e-6)
        if np.std(own) > 1e-5:
            spread = 1.96 * np.std(own) / np.sqrt(len(own))
            assert 0.95 < (row["high"] - row["low"]) / (2 * spread) < 1.6
            assert row["low"] <= row["contribution"] <= row["high"]


@pytest.mark.parametrize("size", [1, 4, 100])
def test_batches_and_orders_change_nothing(size):
    model = toy(bent())
    vectors, images = random_vectors(model), pictures(9)
    classes = {"ant": images[:4], 2: images[4:]}
    base = decompose(model, classes, vectors, batch_size=3)
    order = [2, 0, 3, 1]
    turned = vectors_of(model, vectors.weights[order], names=[vectors.names[i] for i in order])
    found = decompose(model, dict(reversed(classes.items())), turned, batch_size=size)
    key = ["class", "concept"]
    pd.testing.assert_frame_equal(
        found.table.set_index(key).sort_index(), base.table.set_index(key).sort_index(), atol=1e-5
    )
    assert found.table["class"].unique().tolist() == ["cat", "ant"]


def test_no_more_pictures_pass_together_than_asked_and_tensors_pass_as_they_are():
    model, sizes = toy(), []
    vectors, images = random_vectors(model), pictures(7)
    model.layers()  # its layouts are measured by passes of their own
    handle = model.module.conv.register_forward_hook(lambda m, i, o: sizes.append(len(o)))
    counts = []
    for batch_size in (7, 1, 3):  # at first the network is measured, too
        sizes.clear()
        base = decompose(model, {"ant": images}, vectors, batch_size=batch_size)
        counts.append(Counter(sizes))
    handle.remove()
    assert max(counts[2] - counts[1]) == 3  # passes that recognise the network are in both
    found = decompose(model, {"ant": model.prepare(images)}, vectors, batch_size=3)
    pd.testing.assert_frame_equal(found.table, base.table)


def test_a_progress_bar_is_there_on_request(capsys):
    model = toy()
    decompose(model, {"ant": pictures(2)}, random_vectors(model))
    assert capsys.readouterr() == ("", "")
    decompose(model, {"ant": pictures(2)}, random_vectors(model), progress=True)
    assert "ant" in capsys.readouterr().err


def test_the_picture_is_what_the_network_saw(tmp_path):
    model = scenenet()
    vectors = random_vectors(model, 3, 96, "features.17")
    image = pictures(1, size=100)[0]
    image.save(tmp_path / "a.png")
    for given in (image, tmp_path / "a.png", str(tmp_path / "a.png"), model.prepare([image])):
        found = decompose_image(model, given, vectors, 0)
        np.testing.assert_array_equal(found.picture, model.decode(image))


def test_notes_and_unusable_vectors():
    model = toy()
    weights = np.abs(np.random.default_rng(0).normal(size=(3, 6))) * np.sign(head_of(model)[0])
    weights[1] = np.nan
    vectors = vectors_of(model, weights, notes=["no better than chance", "", None])
    table = decompose_image(model, pictures(1)[0], vectors, 0).table.set_index("concept")
    assert sorted(table.index[:-3]) == ["c0", "c2"]
    assert table["note"].to_dict() == {
        "c0": "no better than chance", "c2": "", "residual": "", "baseline": "", "remainder": "",
    }  # fmt: skip


def test_a_class_that_the_layer_does_not_move_has_no_shares():
    model = toy()
    with torch.no_grad():
        model.module.head.weight[0] = 0
    found = decompose_image(model, pictures(1)[0], random_vectors(model), 0)
    assert found.table["concept"].tolist() == ["residual", "baseline", "remainder"]
    assert found.table["contribution"].tolist() == [0, found.logit, 0]
    assert found.table["share"].isna().all()
    assert np.isnan(found.explained)


def test_scores_in_a_dictionary():
    model = toy(keyed=True)
    vectors, image = random_vectors(model), pictures(1)[0]
    with pytest.raises(ModelError, match="a dictionary with 'aux', 'scores'"):
        decompose_image(model, image, vectors)
    with pytest.raises(ModelError, match="output=KEY"):
        decompose(model, {0: [image]}, vectors)
    found = decompose_image(model, image, vectors, 0, output="scores")
    plain = toy()
    same = decompose_image(plain, image, vectors_of(plain, vectors.weights), 0)
    pd.testing.assert_frame_equal(found.table, same.table)
    flipped = decompose(model, {3: [image]}, vectors, output="aux").table
    assert_allclose(flipped["contribution"], found.table["contribution"], atol=1e-7)


def test_the_network_is_given_back_as_it_was():
    model = toy(nn.Dropout(0.5))
    model.module.train()
    model.module.head.weight.requires_grad_(False)
    decompose(model, {"ant": pictures(2)}, random_vectors(model))
    assert model.module.training
    assert model.module.rest.training
    assert [p.requires_grad for p in model.module.head.parameters()] == [False, True]
    assert not any(m._forward_hooks for m in model.module.modules())


IMAGE = pictures(1)[0]


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        ({}, {}, "images is a mapping of classes to pictures, with at least one class"),
        ([IMAGE], {}, "images is a dictionary; got"),
        ({"ant": []}, {}, "there are no pictures of class ant"),
        ({"ant": "a.png"}, {}, "class ant takes a list of pictures; got one 'a.png'"),
        ({"aunt": [IMAGE]}, {}, "has no class 'aunt'; nearest: ant"),
        ({9: [IMAGE]}, {}, "no class 9; its columns are 0 to 3"),
        ({"ant": [IMAGE], 0: [IMAGE]}, {}, "class ant stands twice in images"),
        ({"ant": [3]}, {}, "pictures are PIL images or paths; got a int"),
        ({"ant": [IMAGE]}, {"method": "lasso"}, "method is one of greedy, nnls"),
        ({"ant": [IMAGE]}, {"components": 0}, "components is a whole number of at least 1"),
        ({"ant": [IMAGE]}, {"batch_size": 0}, "a batch holds at least one picture; got 0"),
        ({"ant": [IMAGE]}, {"layer": "head"}, "belong to layer conv, not to head"),
    ],
)
def test_bad_input_is_one_clear_sentence(images, options, message):
    model = toy()
    with pytest.raises(InputError, match=message):
        decompose(model, images, random_vectors(model), **options)


@pytest.mark.parametrize(
    ("image", "target", "message"),
    [
        ([IMAGE], 0, "PIL images or paths; got a list"),
        (torch.zeros(2, 3, 12, 12), 0, "one picture is decomposed at a time; got 2"),
        (torch.zeros(0, 3, 12, 12), 0, "one picture is decomposed at a time; got 0"),
        (torch.zeros(3, 12, 12), 0, r"a tensor of pictures is \(n, 3, S, S\)"),
        (IMAGE, "beee", "no class 'beee'; nearest: bee"),
    ],
)
def test_bad_pictures_and_targets(image, target, message):
    model = toy()
    with pytest.raises(InputError, match=message):
        decompose_image(model, image, random_vectors(model), target)


def test_vectors_of_another_network_and_layers_without_a_path():
    model, other = toy(), toy(bent())
    with pytest.raises(SpaceError, match="not to the model given"):
        decompose_image(model, IMAGE, random_vectors(other))

    class Rounded(nn.Module):
        def forward(self, x):
            return x.round().detach()

    cut = toy(Rounded())
    with pytest.raises(LayerError, match="do not depend on layer conv"):
        decompose(cut, {"ant": [IMAGE]}, random_vectors(cut))


def test_values_that_are_not_finite_are_said():
    model = toy()
    with torch.no_grad():
        model.module.head.weight[0, 0] = np.inf
    with pytest.raises(ModelError, match="layer conv of Toy gives NaN or infinite values"):
        decompose_image(model, IMAGE, random_vectors(model), 0)
