"""What every registered probe has to keep; a new one gets these tests by being registered."""

import numpy as np
import pandas as pd
import pytest

import conceptlab as cl
from conceptlab.errors import InputError
from conceptlab.probes.base import PROBES, folds
from conceptlab.vectors import ConceptVectors


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    data = cl.load_data("scenes:n=120")
    model = cl.load_model("builtin:scenenet")
    acts = cl.extract(model, data, ["features.17"], tmp_path_factory.mktemp("cache"))
    return data, model, acts["features.17"]


@pytest.fixture(params=list(PROBES))
def fitted(request, scenes):
    data, model, acts = scenes
    return PROBES[request.param](min_examples=5).fit(acts, data), data, model, acts


def test_gives_vectors_of_all_concepts_in_the_layers_space(fitted):
    probe, data, model, acts = fitted
    vectors = probe.vectors
    assert isinstance(vectors, ConceptVectors)
    assert vectors.concepts["name"].tolist() == data.catalogue["name"].tolist()
    assert vectors.weights.shape == (len(data.catalogue), acts.shape[1])
    assert vectors.space.weights == model.fingerprint
    assert {"n_train", "train_score", "note"} <= set(vectors.concepts.columns)
    few = vectors.concepts["note"] == "too few examples"
    assert not vectors.weights[few].any()
    assert vectors.usable[~few].all()
    assert vectors.provenance["probe"] == type(probe).__name__


def test_scores_every_concept_in_order(fitted):
    probe, _, _, acts = fitted
    table = probe.score(acts, fitted[1], "val")
    assert isinstance(table, pd.DataFrame)
    assert table["concept"].tolist() == probe.vectors.names
    assert table.columns[:3].tolist() == ["concept", "category", "n"]
    known = table.iloc[:, 3].dropna()
    assert known.between(0, 1).all()
    assert len(known) > 20


def test_same_seed_same_vectors_and_settings_are_visible(fitted):
    probe, data, _, acts = fitted
    again = type(probe)(**probe.get_params()).fit(acts, data)
    np.testing.assert_array_equal(again.vectors.weights, probe.vectors.weights)
    assert again.get_params() == probe.get_params()


def test_vectors_apply_to_a_new_picture_and_survive_a_file(fitted, tmp_path):
    probe, data, model, _ = fitted
    picture = data.image(0).resize((90, 60))
    probe.vectors.save(tmp_path / "v.h5")
    vectors = ConceptVectors.load(tmp_path / "v.h5")
    maps = vectors.segment(model, picture)
    assert maps.shape == (len(vectors), 60, 90)
    assert ((maps >= 0) & (maps <= 1)).all()
    table = vectors.score(model, picture)
    assert sorted(table["concept"]) == sorted(vectors.names)
    pd.testing.assert_frame_equal(table, probe.vectors.score(model, picture))


def test_unfitted_probe_says_so(fitted):
    with pytest.raises(InputError, match="not fitted yet"):
        _ = type(fitted[0])().vectors


@pytest.mark.parametrize("inputs", ["binary", "raw"])
def test_segment_maps_are_those_that_scores_are_made_of(scenes, inputs):
    data, model, acts = scenes
    probe = cl.SegmentationProbe(inputs=inputs, min_examples=5).fit(acts, data)
    per_image = probe.per_image(acts, data, "val")
    name = per_image["image"].iloc[0]
    row = int(np.flatnonzero(data.names == name)[0])
    masks = probe.vectors.segment(model, data.image(row), size=(32, 32)) > 0.5
    labels = data.masks(row, 32, acts.geometry)
    for found in per_image[per_image["image"] == name].itertuples():
        concept = probe.vectors.index(found.concept)
        label = labels[concept]
        iou = (masks[concept] & label).sum() / (masks[concept] | label).sum()
        assert found.iou == pytest.approx(iou, abs=0.02)  # the cache holds float16


def test_folds_are_runs_of_neighbours():
    fold = folds(100)
    assert np.bincount(fold).tolist() == [20] * 5
    assert (np.diff(fold) != 0).sum() == 24
    assert set(folds(3)) <= set(range(5))
