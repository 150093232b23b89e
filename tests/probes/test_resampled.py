"""Draws of concept vectors: each is a refit on the images drawn, and blocks keep neighbours."""

from dataclasses import replace

import numpy as np
import pytest

from conceptlab.activations.labels import label_store
from conceptlab.errors import InputError
from conceptlab.numerics.logistic import Whitening, balanced_weights, fit_logistic
from conceptlab.probes.classification import ClassificationProbe
from conceptlab.probes.resampled import ResampledProbe, VectorDistribution
from conceptlab.probes.segmentation.probe import SegmentationProbe
from conceptlab.vectors import ConceptVectors
from tests.conftest import ToyData, catalogue_of

PROBES = {
    "segment": lambda: SegmentationProbe(tau=0.2, min_examples=3),
    "classify": lambda: ClassificationProbe(min_examples=3),
}


@pytest.fixture
def scattered(store_activations):
    """Three concepts, each in a third of the images, and pooled units that know of them."""

    def make(images=90, noise=1.0, copies=1):
        rng = np.random.default_rng(0)
        shown = rng.random((images, 3)) < 0.35
        planes = np.full((images, 1, 32, 32), -1)
        for c in range(3):
            planes[:, 0, 8 * c : 8 * c + 8] = np.where(shown[:, c, None, None], c, -1)
        values = noise * rng.normal(size=(images, 12, 2, 2))
        values += np.einsum("nc,ck->nk", shown, rng.normal(size=(3, 12)))[:, :, None, None]
        splits = np.array(["train"] * (images * 2 // 3) + ["val"] * (images - images * 2 // 3))
        names = [(f"thing{i}", "object") for i in range(3)]
        rows = np.arange(images).repeat(copies)
        data = ToyData(planes[rows], splits[rows], catalogue_of(*names))
        return data, store_activations(values[rows], data)

    return make


@pytest.fixture
def fitted(toy, scattered):
    def make(kind, **given):
        data, acts = (toy if kind == "segment" else scattered)(**given)
        return PROBES[kind]().fit(acts, data), acts, data

    return make


@pytest.mark.slow
def test_a_segmentation_draw_is_the_optimum_of_its_images_counted_as_drawn(fitted):
    probe, acts, data = fitted("segment", noise=1.5)
    penalty = probe.vectors.concepts["penalty"].to_numpy()
    combined = np.flatnonzero(np.isfinite(penalty))
    assert len(combined) > 0
    rows = np.sort(np.random.default_rng(0).choice(40, 40))
    found = probe.redrawing(acts, data)(rows)
    problem = probe._problem(acts, label_store(acts, data))
    for c in combined:
        best = None
        for bias in np.linspace(-6, 3, 181):  # the bias is not given back: the best one is sought
            loss, slope, slope_b = _literal(problem, rows, c, found[c], bias)
            if best is None or loss < best[0]:
                best = loss, slope, slope_b
        gradient = best[1] + penalty[c] * found[c]
        at_start = _literal(problem, rows, c, np.zeros(8), 0.0)
        assert best[0] < at_start[0]
        assert np.abs(gradient).max() < 3e-3


@pytest.mark.parametrize("inputs", ["binary", "raw"])
@pytest.mark.parametrize("top", [0, 1, 2, 3])
def test_a_draw_of_all_images_is_the_fit_also_of_a_thin_concept(store_activations, inputs, top):
    """A draw that skipped rows of pixels had another optimum: cosines of 0.05 and reliability 1."""
    rng = np.random.default_rng(0)
    planes = np.full((60, 1, 32, 32), -1)
    planes[:, 0, top, 4:20], planes[:, 0, 12:28, 4:28] = 0, 1
    data = ToyData(planes, np.array(["train"] * 45 + ["val"] * 15),
                   catalogue_of(("thin", "object"), ("thick", "object")))  # fmt: skip
    acts = store_activations(rng.normal(size=(60, 6, 8, 8)), data)
    probe = SegmentationProbe(tau=0.2, inputs=inputs, label_size=32).fit(acts, data)
    again, wanted = probe.redrawing(acts, data)(np.arange(45)), probe.vectors.weights
    lengths = np.linalg.norm(again, axis=1) * np.linalg.norm(wanted, axis=1)
    assert ((again * wanted).sum(axis=1) / lengths > 0.98).all()


def _literal(problem, rows, concept, weights, bias):
    """Loss and gradients of one concept: every image by itself, as often as it was drawn."""
    loss, slope, slope_b, pixels = 0.0, 0.0, 0.0, 0
    all_weights = np.zeros((problem.trains.shape[1], len(weights)))
    all_weights[concept] = weights
    all_bias = np.zeros(len(all_weights))
    all_bias[concept] = bias
    for image, times in zip(*np.unique(rows, return_counts=True), strict=True):
        if not problem.trains[image, concept]:
            continue
        one = replace(problem, stream=replace(problem.stream, images=np.array([image])))
        sums = one.sums(all_weights, all_bias, one.trains)
        loss += times * sums[0][concept]
        slope = slope + times * sums[1][concept]
        slope_b += times * sums[2][concept]
        pixels += times * np.prod(problem.stream.labels.size)
    return loss / pixels, slope / pixels, slope_b / pixels


def test_a_classification_draw_is_a_fit_of_the_repeated_rows(fitted):
    probe, acts, data = fitted("classify")
    penalty = probe.vectors.concepts["penalty"].to_numpy()
    combined = np.flatnonzero(np.isfinite(penalty))
    assert len(combined) > 0
    rows = np.sort(np.random.default_rng(1).choice(60, 60))
    found = probe.redrawing(acts, data)(rows)
    train = probe._training(acts, data)
    white = Whitening.of(train.x)
    shown, known = train.shown[combined][:, rows], train.known[combined][:, rows]
    wanted = fit_logistic(white.rotate(train.x)[rows], shown, balanced_weights(shown, known),
                          penalty[combined], white.values, 1e-7)  # fmt: skip
    plain = white.back(wanted[:, :-1], wanted[:, -1])[0]
    np.testing.assert_allclose(found[combined], plain, atol=0.02 * np.abs(plain).max())


@pytest.mark.parametrize("kind", PROBES)
def test_draws_are_around_the_fit_and_the_same_for_a_seed(fitted, kind):
    probe, acts, data = fitted(kind)
    found = ResampledProbe(probe, draws=4, block=2, seed=1).fit(acts, data).distribution
    again = ResampledProbe(probe, draws=4, block=2, seed=1).fit(acts, data).distribution
    other = ResampledProbe(probe, draws=4, block=2, seed=2).fit(acts, data).distribution
    assert len(found) == 4
    np.testing.assert_array_equal(found.draws, again.draws)
    assert not np.array_equal(found.draws, other.draws)
    unit = probe.vectors.normalized.weights
    usable = probe.vectors.usable
    drawn = found.draws[:, usable] / np.linalg.norm(found.draws[:, usable], axis=2, keepdims=True)
    assert np.nanmean(np.einsum("rck,ck->rc", drawn, unit[usable])[:, :3]) > 0.7


def test_images_are_drawn_in_runs_that_close_the_circle():
    probe = ResampledProbe(PROBES["classify"](), block=4)
    images = np.arange(100, 121)
    rows = probe._draw(images, np.random.default_rng(0))
    assert len(rows) == 21
    assert set(rows) <= set(images)
    drawn = [probe._draw(images, np.random.default_rng(seed)) for seed in range(300)]
    share = np.bincount(np.concatenate(drawn) - 100, minlength=21) / 300
    assert share.min() > 0.7  # every image is drawn about once, those at the ends too
    assert share.max() < 1.3


def test_neighbours_that_are_alike_need_blocks(fitted):
    probe, layer, many = fitted("classify", copies=5)
    spreads = {}
    for block in (1, 5, 10):
        found = ResampledProbe(probe, draws=40, block=block).fit(layer, many).distribution
        combined = np.isfinite(probe.vectors.concepts["penalty"].to_numpy())
        spreads[block] = np.nanstd(found.draws[:, combined], axis=0).mean()
    assert spreads[5] > 1.4 * spreads[1]
    assert spreads[10] > 1.2 * spreads[1]


def test_a_draw_without_a_concept_has_no_vector_of_it(fitted):
    probe, acts, data = fitted("classify")
    train = probe._training(acts, data)
    concept = int(np.flatnonzero(probe.vectors.usable)[0])
    absent = np.flatnonzero(~train.shown[concept])[:5]
    found = probe.redrawing(acts, data)(absent)
    assert np.isnan(found[concept]).all()


def test_a_distribution_travels_in_a_file(fitted, tmp_path):
    probe, acts, data = fitted("classify")
    found = ResampledProbe(probe, draws=3).fit(acts, data).distribution
    found.save(tmp_path / "classify.h5")
    again = VectorDistribution.load(tmp_path / "classify.h5")
    np.testing.assert_array_equal(again.draws, found.draws)
    assert again.assumption == found.assumption
    assert "Runs of 5 neighbouring" in again.assumption
    assert len(ConceptVectors.load(tmp_path / "classify.h5")) == len(probe.vectors)
    probe.vectors.save(tmp_path / "plain.h5")
    with pytest.raises(InputError, match="vectors and no distribution"):
        VectorDistribution.load(tmp_path / "plain.h5")


def test_bad_input_is_refused_in_a_sentence(fitted, toy):
    probe, acts, data = fitted("classify")
    with pytest.raises(InputError, match="draws is a whole number of at least 2; got 1"):
        ResampledProbe(probe, draws=1)
    with pytest.raises(InputError, match="not fitted yet"):
        ResampledProbe(ClassificationProbe()).fit(acts, data)
    with pytest.raises(InputError, match="not fitted yet"):
        _ = ResampledProbe(probe).distribution
    with pytest.raises(InputError, match="blocks of 31 images are too long for 60"):
        ResampledProbe(probe, block=31).fit(acts, data)
    data, acts = toy()
    paper = SegmentationProbe("net2vec", 0.2, min_examples=3).fit(acts, data)
    with pytest.raises(InputError, match="only probes with loss='bce'"):
        ResampledProbe(paper).fit(acts, data)
    with pytest.raises(InputError, match="do not fit vectors"):
        VectorDistribution(probe.vectors, np.zeros((3, 1, 1), np.float32), "")
