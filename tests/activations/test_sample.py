"""Sampled vectors are the cache's, at even random places, whatever the blocks and threads."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from conceptlab.activations import sample as module
from conceptlab.activations.sample import sample
from conceptlab.errors import InputError
from tests.conftest import ToyData, catalogue_of

SHAPE = (5, 3, 4)  # K, H, W


@pytest.fixture
def layer(store_activations):
    def make(images=90, shape=SHAPE):
        splits = np.array(["train"] * (images * 2 // 3) + ["val"] * (images - images * 2 // 3))
        planes = np.zeros((images, 1, 8, 8), dtype=int)
        data = ToyData(planes, splits, catalogue_of(("thing", "object")))
        return store_activations(np.random.default_rng(0).normal(size=(images, *shape)), data)

    return make


@pytest.mark.parametrize("per_image", [1, 5, 12])
def test_vectors_are_the_maps_at_their_places(layer, per_image):
    acts = layer()
    found = sample(acts, per_image)
    assert len(found) == 90 * per_image
    assert found.values.dtype == np.float32
    for values, image, (y, x), name in zip(
        found.values, found.images, found.places, found.names, strict=True
    ):
        assert_array_equal(values, acts.array[image, :, y, x].astype(np.float32))
        assert name == acts.names[image]
    assert_array_equal(found.images, np.arange(90).repeat(per_image))
    cells = (found.places @ [4, 1]).reshape(90, per_image)
    assert (np.diff(cells, axis=1) > 0).all()  # all different, in order
    assert found.space == acts.space()


@pytest.mark.parametrize("per_image", [1, 7])
def test_places_are_even(layer, per_image):
    found = sample(layer(images=3000, shape=(1, 3, 4)), per_image)
    counts = np.bincount(found.places @ [4, 1], minlength=12)
    share = per_image / 12
    assert abs(counts / 3000 - share).max() < 5 * np.sqrt(share * (1 - share) / 3000)


def test_nothing_depends_on_blocks_or_threads(layer, monkeypatch):
    acts = layer()
    whole = sample(acts, 2, most=100)
    for block, threads in ((1, 1), (500, 3), (10**6, 8)):
        monkeypatch.setattr(module, "BLOCK", block)
        monkeypatch.setattr("conceptlab.numerics.parallel.workers", lambda n=threads: n)
        other = sample(acts, 2, most=100)
        assert_array_equal(whole.values, other.values)
        assert_array_equal(whole.places, other.places)


def test_a_seed_gives_one_sample_and_another_seed_another(layer):
    acts = layer()
    assert_array_equal(sample(acts, seed=1).values, sample(acts, seed=1).values)
    assert (sample(acts, seed=1).places != sample(acts, seed=2).places).any()


def test_thinning_takes_images_out_evenly_and_leaves_the_others_places(layer):
    acts = layer()
    whole = sample(acts, 2)
    kept = np.zeros(90)
    for seed in range(200):
        thin = sample(acts, 2, most=61, seed=seed)
        assert len(thin) == 60
        assert (np.diff(thin.images[::2]) > 0).all()
        kept[thin.images[::2]] += 1
    assert abs(kept / 200 - 1 / 3).max() < 5 * np.sqrt(2 / 9 / 200)
    thin = sample(acts, 2, most=61)
    rows = np.isin(whole.images, thin.images)
    assert_array_equal(whole.values[rows], thin.values)
    val = sample(acts, 2, split="val")
    assert_array_equal(whole.take(np.flatnonzero(whole.images >= 60)).values, val.values)
    assert len(sample(acts, 2, most=180)) == 180


def test_another_map_is_sampled_at_the_same_part_of_the_picture(layer, store_activations):
    coarse, fine = layer(shape=(2, 4, 4)), layer(shape=(2, 16, 16))
    assert_array_equal(sample(fine).places // 4, sample(coarse).places)


def test_bad_input_is_refused_in_a_sentence(layer):
    acts = layer()
    with pytest.raises(InputError, match="has 12 positions in an image; cannot take 13"):
        sample(acts, 13)
    with pytest.raises(InputError, match="cannot take 0"):
        sample(acts, 0)
    with pytest.raises(InputError, match="no 'test' images; its splits: train, val"):
        sample(acts, split="test")
    with pytest.raises(InputError, match=r"most is at least per_image \(2\); got 1"):
        sample(acts, 2, most=1)
