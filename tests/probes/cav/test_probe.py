"""CAVs of a data set and of pictures: planted truth, what decides nothing, and bad inputs."""

import logging

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from torch import nn

from conceptlab.errors import DataError, InputError, LayerError
from conceptlab.probes.base import TOO_FEW
from conceptlab.probes.cav.probe import CavProbe, picture_cavs
from conceptlab.probes.cav.result import CHANCE_NOTE
from tests.conftest import ToyData, catalogue_of
from tests.models.nets import pictures, probed

FORMS = ["pooled", "positions", "flattened"]
CLASSIFIERS = ["ridge", "logistic", "svm", "difference"]


def made(store, seed=0, images=160, order=(0, 1, 2, 3)):
    """Concepts a and b are in units 2 and 4, 'nothing' is in none, and every image shows 'all'."""
    rng = np.random.default_rng(seed)
    shows = rng.random((images, 3)) < [0.4, 0.3, 0.5]
    shows = np.column_stack([shows, np.ones(images, dtype=bool)])
    planes = np.full((images, 1, 8, 8), -1)
    for c in range(4):
        planes[shows[:, c], 0, 2 * c : 2 * c + 2, 0] = list(order).index(c)
    values = rng.normal(size=(images, 6, 2, 2)) + 5
    values[:, 2] += 3.0 * shows[:, 0, None, None]
    values[:, 4] += 3.0 * shows[:, 1, None, None]
    splits = ["train"] * (images * 3 // 4) + ["val"] * (images - images * 3 // 4)
    names = ["a", "b", "nothing", "all"]
    data = ToyData(planes, splits, catalogue_of(*((names[c], "object") for c in order)))
    return data, store(values, data)


@pytest.fixture
def scenes(store_activations):
    return made(store_activations)


def probe(**settings):
    return CavProbe(**{"examples": 25, "random": 12, "redraws": 4, **settings})


def axes(vectors, units=6):
    """(C, K) the vectors' own coordinates, those of maps summed over positions."""
    weights = vectors.weights.reshape(len(vectors), units, -1).sum(axis=2)
    return weights / np.maximum(np.linalg.norm(weights, axis=1), 1e-12)[:, None]


@pytest.mark.parametrize("classifier", CLASSIFIERS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("against", ["random", "complement"])
def test_finds_the_planted_units(scenes, form, classifier, against):
    data, acts = scenes
    fitted = probe(form=form, classifier=classifier, against=against).fit(acts, data)
    found = axes(fitted.vectors)
    assert found[0, 2] > 0.75
    assert found[1, 4] > 0.75
    assert (np.abs(found[2]) < 0.9).all()
    table = fitted.vectors.concepts
    assert (table["accuracy"][:2] > 0.65).all()  # random sets hold images of the concept too
    assert table["note"][:2].tolist() == ["", ""]
    assert fitted.cavs.form == form
    assert fitted.vectors.space.inputs == ("flattened" if form == "flattened" else "raw")
    assert fitted.vectors.space.units == (24 if form == "flattened" else 6)
    if form != "flattened":
        assert (fitted.score(acts, data)["accuracy"][:2] > 0.8).all()


def test_complement_is_told_better_than_random_sets_that_hold_the_concept(scenes):
    data, acts = scenes
    random = probe().fit(acts, data).vectors.concepts["accuracy"]
    complement = probe(against="complement").fit(acts, data).vectors.concepts["accuracy"]
    assert (complement[:2] >= random[:2]).all()
    assert complement[0] > random[0] + 0.03


def test_a_concept_that_every_image_shows(scenes):
    data, acts = scenes
    table = probe(against="complement").fit(acts, data).vectors.concepts
    assert table["note"][3] == TOO_FEW
    assert table["n_train"][3] == 120
    against = probe().fit(acts, data).vectors.concepts  # random images all show it
    assert against["note"][3] == CHANCE_NOTE
    assert against["chance"][3]


def test_relative_cavs(scenes):
    data, acts = scenes
    fitted = probe(against="b").fit(acts, data)
    found, table = axes(fitted.vectors), fitted.vectors.concepts
    assert found[0, 2] > 0.6
    assert found[0, 4] < -0.6
    assert table["note"].tolist()[1] == TOO_FEW  # itself
    shows = fitted.cavs.groups[0].roles.draws.shape
    assert shows[1] == 10
    full = probe(against="object/b").fit(acts, data)
    assert_array_equal(full.vectors.weights, fitted.vectors.weights)


def test_no_image_is_on_both_sides_of_a_relative_cav(scenes):
    data, acts = scenes
    one = probe(against="b")
    from conceptlab.activations.labels import label_store

    store = label_store(acts, data, None)
    sides, shown = one._sides(store, np.arange(120))
    assert not set(sides[0].rows) & set(sides[0].others)
    assert sides[1] is None
    present = store.shown_native[:120]
    assert set(sides[0].rows) == set(np.flatnonzero(present[:, 0] & ~present[:, 1]))
    assert set(sides[0].others) == set(np.flatnonzero(present[:, 1] & ~present[:, 0]))
    assert shown.tolist() == present.sum(axis=0).tolist()


def test_vectors_at_chance_are_marked_and_said(scenes, caplog):
    data, acts = scenes
    with caplog.at_level(logging.WARNING, logger="conceptlab"):
        table = probe(against="complement").fit(acts, data).vectors.concepts
    assert table["note"][2] == CHANCE_NOTE
    (record,) = caplog.records
    said = record.getMessage()
    assert said.startswith("1 CAVs tell held-out images no better than chance")
    assert f"nothing ({table['accuracy'][2]:.2f})" in said


def test_unlabelled_images_are_on_no_side(store_activations):
    rng = np.random.default_rng(0)
    shows, known = rng.random(120) < 0.5, rng.random(120) < 0.7
    planes = np.full((120, 1, 8, 8), -1)
    planes[shows & known, 0, :4] = 0
    unlabelled = np.where(known, 0, 1).astype(np.uint64)[:, None, None] * np.ones((8, 8), np.uint64)
    data = ToyData(planes, ["train"] * 120, catalogue_of(("a", "object")), unlabelled)
    values = rng.normal(size=(120, 4, 1, 1)) + 4.0 * shows[:, None, None, None]
    values[~known] = 50.0  # what would be seen if they were taken for negatives
    acts = store_activations(values, data)
    fitted = probe(against="complement").fit(acts, data)
    assert fitted.vectors.concepts["n_train"][0] == (shows & known).sum()
    assert fitted.vectors.concepts["accuracy"][0] > 0.95
    assert (fitted.vectors.weights[0] > 0).all()


def test_blocks_of_objects_are_found_in_their_units(toy):
    data, acts = toy(images=300)
    vectors = probe(against="complement", min_examples=2, examples=20).fit(acts, data).vectors
    assert vectors.usable[:3].any()  # most images show every object
    for unit in np.flatnonzero(vectors.usable[:3]):
        assert axes(vectors, 8)[unit].argmax() == unit


def test_same_seed_same_vectors(scenes):
    data, acts = scenes
    first, again, other = (probe(seed=s).fit(acts, data) for s in (3, 3, 4))
    assert_array_equal(first.vectors.weights, again.vectors.weights)
    assert (first.vectors.weights != other.vectors.weights).any()
    assert first.vectors.provenance["seed"] == 3


@pytest.mark.parametrize("against", ["random", "complement", "b"])
def test_the_order_of_concepts_changes_nothing(tmp_path, store_activations, against):
    order = (2, 0, 3, 1)
    data, acts = made(store_activations)
    plain = probe(against=against).fit(acts, data).vectors
    turned = made(store_activations, order=order)
    found = probe(against=against).fit(turned[1], turned[0]).vectors
    assert found.names == [plain.names[c] for c in order]
    assert_allclose(found.weights, plain.weights[list(order)], atol=2e-4)
    assert_allclose(found.bias, plain.bias[list(order)], atol=2e-3)
    for column in ("accuracy", "stability"):
        assert_allclose(found.concepts[column], plain.concepts[column][list(order)], atol=1e-3)


def test_sets_are_at_most_half_of_few_images(scenes):
    data, acts = scenes
    fitted = probe(examples=100).fit(acts, data)
    assert fitted.vectors.concepts["examples"].max() == 60
    assert fitted.vectors.provenance["examples"] == 100


def test_too_few_images_of_a_concept(scenes):
    data, acts = scenes
    fitted = probe(min_examples=45).fit(acts, data)
    table = fitted.vectors.concepts
    few = (table["n_train"] < 45).to_numpy()
    assert few.any()
    assert (table["note"][few] == TOO_FEW).all()
    assert not fitted.vectors.weights[few].any()
    assert fitted.vectors.usable[~few].all()


@pytest.mark.parametrize(
    ("settings", "say"),
    [
        ({"against": "sky"}, "no concept 'sky' here"),
        ({"against": "nothin"}, "nothing"),
        ({"random": 1}, "one random counterpart cannot say"),
        ({"form": "maps"}, "form is one of pooled, positions, flattened; got 'maps'"),
        ({"classifier": "tree"}, "classifier is one of ridge, logistic, svm, difference; got"),
        ({"penalty": -1}, "penalty is at least 0.001"),
        ({"examples": 1}, "examples is at least 2; got 1"),
        ({"redraws": -2}, "redraws is a whole number of at least 0; got -2"),
        ({"against": "a", "random": 6}, "relative CAVs take at least 8 random sets"),
    ],
)
def test_settings_that_make_no_sense(scenes, settings, say):
    data, acts = scenes
    with pytest.raises(InputError, match=say):
        probe(**settings).fit(acts, data)


def test_flattened_vectors_are_not_scored_and_no_cavs_before_fit(scenes):
    data, acts = scenes
    with pytest.raises(InputError, match="not fitted yet: call fit first"):
        _ = probe().cavs
    fitted = probe(form="flattened").fit(acts, data)
    with pytest.raises(InputError, match="CAVs over flattened maps are not scored"):
        fitted.score(acts, data)


class Units(nn.Module):
    """Three units on a 2 x 2 grid: the means of the picture's channels, quarter by quarter."""

    def __init__(self):
        super().__init__()
        self.grid = nn.AvgPool2d(4)
        self.head = nn.Linear(3, 2)

    def forward(self, x):
        return self.head(self.grid(x).mean(dim=(2, 3)))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return probed(Units())


def sets(shift=1.0):
    red, green = pictures(24, seed=1), pictures(20, seed=2)
    red[:, 0] += shift
    green[:, 1] += shift
    return {"red": red, "green": green}


def cavs_of(model, concepts, random=None, **settings):
    return picture_cavs(
        model, concepts, pictures(90, seed=3) if random is None else random,
        **{"layer": "grid", "counterparts": 12, "examples": 20, "redraws": 4, **settings},
    )  # fmt: skip


@pytest.mark.parametrize("classifier", CLASSIFIERS)
@pytest.mark.parametrize("form", FORMS)
def test_cavs_of_pictures_find_their_channel(model, form, classifier):
    cavs = cavs_of(model, sets(), form=form, classifier=classifier)
    found = axes(cavs.vectors, 3)
    assert found[0, 0] > 0.9
    assert found[1, 1] > 0.9
    assert cavs.vectors.names == ["red", "green"]
    assert cavs.vectors.concepts["n_train"].tolist() == [24, 20]
    assert (cavs.vectors.concepts["accuracy"] > 0.9).all()
    assert cavs.vectors.space.weights == model.fingerprint
    assert cavs.groups[0].inflation > 1


def test_pictures_may_be_tensors_images_or_files(model, tmp_path):
    rng = np.random.default_rng(0)

    def drawn(n, red):
        pixels = rng.integers(0, 200, (n, 8, 8, 3)).astype(np.uint8)
        pixels[..., 0] += np.uint8(red)
        return [Image.fromarray(one) for one in pixels]

    concepts, random = drawn(10, 55), drawn(40, 0)
    paths = [tmp_path / f"{i}.png" for i in range(50)]
    for path, picture in zip(paths, concepts + random, strict=True):
        picture.save(path)
    tensor = torch.from_numpy(np.stack([np.asarray(p) for p in concepts + random]))
    tensor = (tensor.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
    settings = {"examples": 10, "counterparts": 6}
    found = [
        cavs_of(model, {"red": one}, other, **settings).vectors
        for one, other in (
            (concepts, random), (paths[:10], paths[10:]), (list(map(str, paths[:10])), random),
            (tensor[:10], tensor[10:]),
        )
    ]  # fmt: skip
    for other in found[1:]:
        assert_allclose(other.weights, found[0].weights, atol=1e-4)
    assert axes(found[0], 3)[0, 0] > 0.8


def test_batches_and_the_order_of_concepts_change_nothing(model):
    concepts = sets()
    plain = cavs_of(model, concepts).vectors
    small = cavs_of(model, concepts, batch_size=7).vectors
    assert_allclose(small.weights, plain.weights, atol=1e-4)
    turned = cavs_of(model, dict(reversed(concepts.items()))).vectors
    assert_allclose(turned.weights[::-1], plain.weights, atol=1e-4)


def test_pictures_of_one_concept_against_another(model):
    cavs = cavs_of(model, sets(), against="green")
    found = axes(cavs.vectors, 3)
    assert found[0, 0] > 0.6
    assert found[0, 1] < -0.6
    assert not cavs.vectors.usable[1]
    assert cavs.groups[0].inflation > 1


def test_chance_is_said_of_pictures(model, caplog):
    with caplog.at_level(logging.WARNING, logger="conceptlab"):
        cavs = cavs_of(model, {**sets(), "none": pictures(20, seed=9)})
    assert cavs.vectors.concepts["note"].tolist() == ["", "", CHANCE_NOTE]
    assert "none (0." in caplog.text


def test_pictures_that_cannot_be_used(model, tmp_path):
    with pytest.raises(InputError, match="concept 'red' has 1 pictures: a CAV needs at least 2"):
        cavs_of(model, {"red": pictures(1)})
    with pytest.raises(InputError, match="39 random images are too few for sets of 20: give at "
                       "least 40"):  # fmt: skip
        cavs_of(model, sets(), pictures(39))
    with pytest.raises(InputError, match=r"is 'random' or one of the concepts \(red, green"):
        cavs_of(model, sets(), against="blue")
    with pytest.raises(InputError, match="got 'complement'"):
        cavs_of(model, sets(), against="complement")
    with pytest.raises(InputError, match="one random counterpart"):
        cavs_of(model, sets(), counterparts=1)
    with pytest.raises(LayerError, match="gird"):
        cavs_of(model, sets(), layer="gird")
    with pytest.raises(InputError, match="pictures are PIL images or paths; got a int"):
        cavs_of(model, {"red": [1, 2, 3]})
    with pytest.raises(DataError):
        cavs_of(model, {"red": [tmp_path / "none.png"] * 3})
    with pytest.raises(InputError, match="pictures of at least one concept"):
        cavs_of(model, {})
