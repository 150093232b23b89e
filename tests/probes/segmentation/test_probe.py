import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from conceptlab.activations.labels import label_store
from conceptlab.analysis.units.saturation import concept_saturation
from conceptlab.errors import InputError, SpaceError
from conceptlab.probes.classification import ClassificationProbe
from conceptlab.probes.controls import plain_controls
from conceptlab.probes.segmentation.probe import SegmentationProbe
from conceptlab.probes.segmentation.problem import BINS, _first_rows, best_offset, pair_counts
from conceptlab.probes.subsets import largest, subset_scores, unit_ranking
from conceptlab.probes.units.dissection import dissect
from tests.conftest import ToyData, catalogue_of

TAU = 0.15


def upsampled(maps, side):
    return torch.nn.functional.interpolate(maps, (side, side), mode="bilinear", align_corners=False)


def loss_by_torch(acts, data, weights, bias, alpha, concept, mode, side=32):
    """Eq. 2-4 as they stand, in float64, over the training images that show the concept."""
    active = torch.from_numpy(acts.active(TAU).masks(0)[None])  # shape only
    rows = [i for i in acts.rows("train") if (data._planes[i] == concept).any()]
    active = torch.from_numpy(np.stack([acts.active(TAU).masks(i) for i in rows])).double()
    z = torch.einsum("k,nkhw->nhw", weights, active)[:, None] + bias
    z = upsampled(z, side)[:, 0]
    label = torch.from_numpy((data._planes[rows] == concept).any(axis=1)).double()
    valid = torch.ones_like(label)
    if concept < 3:
        valid = 1 - torch.from_numpy(data._unlabelled[rows].astype(float))
    p = torch.sigmoid(z)
    if mode == "bce":
        inside, outside = torch.log(p), torch.log(1 - p)
    else:
        inside, outside = p, 1 - p
    each = alpha * label * inside + (1 - alpha) * (valid - label) * outside
    return -each.sum()


@pytest.mark.parametrize(
    "settings",
    [{}, {"bias": False}, {"loss": "net2vec"}, {"loss": "net2vec", "bias": True},
     {"inputs": "raw"}, {"inputs": "raw", "bias": False}, {"align_corners": True}],
    ids=str,
)  # fmt: skip
def test_the_train_score_is_the_score_of_train(toy, settings):
    data, acts = toy()
    probe = SegmentationProbe(**{"tau": TAU, "label_size": 32, **settings}).fit(acts, data)
    wanted = probe.score(acts, data, "train")["iou_set"]
    assert_allclose(probe.vectors.concepts["train_score"], wanted, rtol=1e-12)


def test_a_logit_of_nothing_is_in_no_mask(toy):
    data, acts = toy()
    problem = SegmentationProbe(tau=TAU, label_size=32)._problem(acts, label_store(acts, data, 32))
    pixels = problem.histograms(np.zeros((6, 8)), np.zeros(6)).sum(axis=1)
    assert pixels[:, BINS // 2 - 1].all()  # one half, and not above it
    assert pixels.sum(axis=1) == pytest.approx(pixels[:, BINS // 2 - 1])


def test_images_are_counted_of_concepts_without_a_vector_too(toy):
    data, acts = toy()
    probe = SegmentationProbe(tau=TAU, label_size=32, min_examples=10_000).fit(acts, data)
    table = probe.score(acts, data)
    shown = [(data._planes[acts.splits == "val"] == c).any(axis=(1, 2, 3)).sum() for c in range(6)]
    assert table["n"].tolist() == shown
    assert table["iou_set"].isna().all()


@pytest.mark.parametrize("mode", ["bce", "net2vec"])
@pytest.mark.parametrize("concept", [0, 4])
def test_loss_and_gradient_are_those_of_eq_4(toy, mode, concept):
    data, acts = toy()
    probe = SegmentationProbe(mode, TAU, label_size=32)
    problem = probe._problem(acts, label_store(acts, data, 32))
    rng = np.random.default_rng(0)
    weights, bias = rng.normal(size=(6, 8)), rng.normal(size=6)
    loss, d_weights, d_bias = problem.sums(weights, bias, problem.trains)
    w = torch.tensor(weights[concept], requires_grad=True)
    b = torch.tensor(bias[concept], requires_grad=True)
    alpha = float(problem.alpha[concept])
    expected = loss_by_torch(acts, data, w, b, alpha, concept, mode)
    expected.backward()
    assert loss[concept] == pytest.approx(expected.item(), rel=1e-5)
    assert_allclose(d_weights[concept], w.grad.numpy(), rtol=2e-4, atol=2e-2)
    assert d_bias[concept] == pytest.approx(b.grad.item(), rel=2e-4, abs=2e-2)


def test_alpha_is_one_less_the_mean_share_of_foreground(toy):
    data, acts = toy()
    probe = SegmentationProbe("bce", TAU, label_size=32)
    problem = probe._problem(acts, label_store(acts, data, 32))
    for concept in range(6):
        masks = (data._planes[:40] == concept).any(axis=1)
        masks = masks[masks.any(axis=(1, 2))]
        assert problem.alpha[concept] == pytest.approx(1 - masks.mean(), abs=1e-6)


def test_default_is_an_optimum_but_for_its_bias(toy):
    data, acts = toy(noise=2.0, images=120)
    probe = SegmentationProbe(tau=TAU, label_size=32).fit(acts, data)
    problem = probe._problem(acts, label_store(acts, data, 32))
    row = 0
    penalty = probe.vectors.concepts["penalty"][row]
    weights, bias = probe.vectors.weights.copy(), probe.vectors.bias.copy()
    pixels = problem.trains.sum(axis=0)[row] * 32 * 32

    def objective(bias_value):
        bias[row] = bias_value
        loss, d_weights, _ = problem.sums(weights, bias, problem.trains)
        own = weights[row]
        return loss[row] / pixels + penalty / 2 * own @ own, d_weights[row] / pixels + penalty * own

    # the bias was moved for IoU; at the bias of the optimum no weight wants to move
    grid = np.linspace(bias[row] - 4, bias[row] + 4, 401)
    losses = [objective(b)[0] for b in grid]
    gradient = objective(grid[int(np.argmin(losses))])[1]
    assert np.abs(gradient).max() < 2e-3


def test_finds_the_planted_units(toy):
    data, acts = toy()
    probe = SegmentationProbe(tau=TAU, label_size=32).fit(acts, data)
    for concept in range(3):
        assert np.abs(probe.vectors.weights[concept]).argmax() == concept
    scores = probe.score(acts, data)
    units = dissect(acts, data, TAU, label_size=32).best()
    assert (scores["iou_set"][:3] >= units["iou_val"][:3] - 1e-3).all()
    shuffled = SegmentationProbe(tau=TAU, label_size=32, shuffle=True).fit(acts, data)
    assert (shuffled.score(acts, data)["iou_set"][:3] < scores["iou_set"][:3] - 0.05).all()


def test_scores_are_those_of_the_masks(toy):
    data, acts = toy()
    probe = SegmentationProbe(tau=TAU, label_size=32).fit(acts, data)
    per_image = probe.per_image(acts, data)
    for concept in (1, 5):
        name = probe.vectors.names[concept]
        both = either = 0
        ious = {}
        for i in acts.rows("val"):
            label = (data._planes[i] == concept).any(axis=0)
            if not label.any():
                continue
            z = np.tensordot(probe.vectors.weights[concept], acts.active(TAU).masks(i), 1)
            z = upsampled(torch.from_numpy(z + probe.vectors.bias[concept])[None, None], 32)[0, 0]
            mask = z.numpy() > 0
            if concept < 3:
                mask &= data._unlabelled[i] == 0
            both, either = both + (mask & label).sum(), either + (mask | label).sum()
            ious[acts.names[i]] = (mask & label).sum() / (mask | label).sum()
        row = probe.score(acts, data).iloc[concept]
        assert row["iou_set"] == pytest.approx(both / either, abs=2e-3)
        assert row["n"] == len(ious)
        assert row["iou_ind"] == pytest.approx(np.mean(list(ious.values())), abs=2e-3)
        rows = per_image[per_image["concept"] == name]
        assert rows["image"].tolist() == list(ious)


def test_papers_probe_is_sgd_without_bias(toy):
    data, acts = toy()
    probe = SegmentationProbe("net2vec", TAU, label_size=32, seed=5).fit(acts, data)
    assert (probe.vectors.bias == 0).all()
    again = SegmentationProbe("net2vec", TAU, label_size=32, seed=5).fit(acts, data)
    np.testing.assert_array_equal(probe.vectors.weights, again.vectors.weights)
    # one concept by hand: 40 images or fewer are one batch, so an epoch is one full step
    problem = probe._problem(acts, label_store(acts, data, 32))
    rng = np.random.default_rng(5)
    weights = rng.uniform(-1 / np.sqrt(8), 1 / np.sqrt(8), (6, 8))
    speed = np.zeros_like(weights)
    count = problem.trains.sum(axis=0)[:, None]
    for _ in range(30):
        gradient = problem.sums(weights, np.zeros(6), problem.trains)[1] / count
        speed = 0.9 * speed + gradient
        weights = weights - 1e-4 * speed
    assert_allclose(probe.vectors.weights, weights, atol=1e-5)


def test_few_examples_are_said_and_not_fitted(toy):
    data, acts = toy()
    probe = SegmentationProbe(tau=TAU, label_size=32, min_examples=1000).fit(acts, data)
    assert set(probe.vectors.concepts["note"]) == {"too few examples"}
    assert not probe.vectors.weights.any()
    assert probe.score(acts, data)["iou_set"].isna().all()


def test_best_offset_is_the_best_of_all_borders():
    rng = np.random.default_rng(0)
    histogram = rng.integers(0, 50, (4, 2, BINS))
    offset, reached = best_offset(histogram)
    for row in range(4):
        best, place = max(
            (
                histogram[row, 1, t:].sum()
                / (histogram[row, 1].sum() + histogram[row, 0, t:].sum()),
                t,
            )
            for t in range(1, BINS)
        )
        assert reached[row] == pytest.approx(best)
        assert offset[row] == pytest.approx(-np.log((place / BINS) / (1 - place / BINS)), abs=1e-6)


def test_refit_uses_only_the_units_it_may(toy):
    data, acts = toy()
    probe = SegmentationProbe(tau=TAU, label_size=32).fit(acts, data)
    chosen = largest(unit_ranking(probe.vectors, acts), 2)
    weights = probe.refit(acts, data, chosen).vectors.weights
    assert (weights[~chosen] == 0).all()
    assert (chosen.sum(axis=1) == 2).all()


def test_raw_inputs_find_the_planted_units_and_score_as_their_masks(toy):
    data, acts = toy()
    probe = SegmentationProbe(inputs="raw", label_size=32).fit(acts, data)
    assert probe.vectors.space.inputs == "raw"
    assert probe.vectors.thresholds is None
    for concept in range(3):
        assert np.abs(probe.vectors.weights[concept]).argmax() == concept
    scores = probe.score(acts, data)
    both = either = 0
    for i in acts.rows("val"):
        label = (data._planes[i] == 5).any(axis=0)
        if label.any():
            z = np.tensordot(probe.vectors.weights[5], acts.array[i].astype(float), 1)
            z = upsampled(torch.from_numpy(z + probe.vectors.bias[5])[None, None], 32)[0, 0]
            mask = z.numpy() > 0
            both, either = both + (mask & label).sum(), either + (mask | label).sum()
    assert scores["iou_set"][5] == pytest.approx(both / either, abs=2e-3)
    chosen = largest(unit_ranking(probe.vectors, acts), 2)
    weights = probe.refit(acts, data, chosen).vectors.weights
    assert not weights[~chosen].any()
    assert weights.any(axis=1).all()


def test_raw_inputs_are_resampled_and_shuffled_like_others(toy):
    data, acts = toy()
    probe = SegmentationProbe(inputs="raw", label_size=32).fit(acts, data)
    images = acts.rows("train")
    again = probe.redrawing(acts, data)(images)
    cosine = (again * probe.vectors.weights).sum(axis=1) / (
        np.linalg.norm(again, axis=1) * np.linalg.norm(probe.vectors.weights, axis=1)
    )
    assert (cosine > 0.999).all()
    shuffled = SegmentationProbe(inputs="raw", label_size=32, shuffle=True).fit(acts, data)
    low, high = shuffled.score(acts, data)["iou_set"][:3], probe.score(acts, data)["iou_set"][:3]
    assert (low < high - 0.05).all()


def test_sums_over_some_rows_of_pixels_miss_none_of_them(toy):
    data, acts = toy(images=400)
    probe = SegmentationProbe(tau=TAU, label_size=32)
    problem = probe._problem(acts, label_store(acts, data, 32))
    weights, bias = np.random.default_rng(0).normal(size=(6, acts.shape[1])), np.zeros(6)
    whole = problem.sums(weights, bias, problem.trains)
    for stride in (2, 4, 64):
        some = problem.sums(weights, bias, problem.trains, stride)
        np.testing.assert_allclose(some[0], whole[0], rtol=0.1)
    first = _first_rows(np.arange(4000), 4)
    assert (np.bincount(first) > 900).all()
    for step in (2, 4, 8):  # images that alternate
        assert (np.bincount(first[::step]) > 900 / step).all()


@pytest.mark.parametrize("inputs", ["binary", "raw"])
@pytest.mark.parametrize("loss", ["bce", "net2vec"])
def test_a_constant_layer_gives_no_vector_and_says_so(toy, store_activations, inputs, loss):
    if (loss, inputs) == ("net2vec", "raw"):
        pytest.skip("the paper thresholds")
    data, acts = toy()
    flat = store_activations(np.full(acts.shape, 0.7), data, layer="flat")
    vectors = SegmentationProbe(loss, TAU, inputs=inputs, label_size=32).fit(flat, data).vectors
    assert not vectors.usable.any()
    assert set(vectors.concepts["note"]) == {"no unit varies"}
    assert vectors.concepts["train_score"].isna().all()


@pytest.mark.parametrize("kind", [SegmentationProbe, ClassificationProbe])
def test_subset_scores_end_with_the_whole_probe(toy, kind):
    data, acts = toy()
    settings = {"tau": TAU} if kind is SegmentationProbe else {"min_examples": 2}
    probe = kind(**settings).fit(acts, data)
    table = subset_scores(probe, acts, data, [1, 4])
    assert table["units"].unique().tolist() == [1, 4, 8]
    whole = table[table["units"] == 8]["score"].to_numpy()
    np.testing.assert_array_equal(whole, probe.score(acts, data).iloc[:, 3])
    with pytest.raises(InputError, match="no number of units"):
        subset_scores(probe, acts, data, [8])


def test_misuse_is_one_sentence(toy, store_activations):
    data, acts = toy()
    with pytest.raises(InputError, match="loss is one of"):
        SegmentationProbe("hinge")
    with pytest.raises(InputError, match="inputs is one of binary, raw"):
        SegmentationProbe(inputs="dense")
    with pytest.raises(InputError, match="of thresholded units"):
        SegmentationProbe("net2vec", inputs="raw")
    with pytest.raises(InputError, match="not fitted yet"):
        _ = SegmentationProbe().vectors
    with pytest.raises(InputError, match="no 'test' images"):
        SegmentationProbe(tau=TAU).fit(acts, data).score(acts, data, "test")
    vectors = SegmentationProbe(tau=TAU).fit(acts, data).vectors
    other = store_activations(acts.array.astype(float), data, layer="other")
    with pytest.raises(SpaceError, match="layer"):
        pair_counts(vectors, other, data, "val")


def test_chunks_and_threads_do_not_change_the_result(toy, monkeypatch):
    data, acts = toy()
    first = SegmentationProbe(tau=TAU, label_size=32).fit(acts, data).vectors
    monkeypatch.setattr("conceptlab.numerics.parallel.workers", lambda: 1)
    second = SegmentationProbe(tau=TAU, label_size=32).fit(acts, data).vectors
    np.testing.assert_array_equal(first.weights, second.weights)


def test_a_concept_made_of_exactly_three_units_needs_three(store_activations):
    """A concept of three forms, a unit each: fewer units miss a form, more add none."""
    rng = np.random.default_rng(0)
    forms = rng.integers(-6, 3, (90, 4, 4))  # below 0: not there
    shown = np.where(forms >= 0, 0, -1)
    planes = shown[:, None].repeat(8, axis=2).repeat(8, axis=3)
    values = np.abs(rng.normal(0, 0.1, (90, 10, 4, 4)))
    for unit in range(3):
        values[:, unit] += 3.0 * (forms == unit)
    splits = np.array(["train"] * 60 + ["val"] * 30)
    data = ToyData(planes, splits, catalogue_of(("thing", "object")))
    acts = store_activations(values, data)
    probe = SegmentationProbe(tau=0.11, min_examples=3).fit(acts, data)
    table = subset_scores(probe, acts, data, [1, 2, 3, 4, 6], intervals=True).assign(task="segment")
    scores = table.set_index("units")["score"]
    assert scores[1] < 0.45 < scores[2] < 0.75 < scores[3]
    assert scores[3] > 0.99 * scores.max()
    found = concept_saturation(table).iloc[0]
    assert 2.5 < found["units"] <= 3
    assert found["low"] <= found["units"] <= found["high"]
    assert set(unit_ranking(probe.vectors, acts)[0][:3]) == {0, 1, 2}


def test_labels_without_a_concept_of_pixels_give_no_vector_and_say_so(store_activations):
    rng = np.random.default_rng(0)
    planes = np.full((60, 0, 8, 8), -1)
    holds = [[int(x)] for x in rng.integers(0, 2, 60)]
    catalogue = catalogue_of(("day", "scene", "image"), ("night", "scene", "image"))
    data = ToyData(planes, ["train"] * 40 + ["val"] * 20, catalogue, holds=holds)
    acts = store_activations(rng.normal(size=(60, 4, 4, 4)), data)
    probe = SegmentationProbe(tau=TAU).fit(acts, data)
    assert probe.vectors.concepts["note"].tolist() == ["too few examples"] * 2
    assert probe.score(acts, data)["n"].tolist() == [0, 0]
    assert dissect(acts, data, TAU).best()["unit"].tolist() == [-1, -1]
    assert plain_controls(acts, data)["control"].isna().all()
