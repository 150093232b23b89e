import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import minimize

from conceptlab.activations.labels import label_store
from conceptlab.probes.dissect import dissect
from conceptlab.probes.pixels import pair_counts
from conceptlab.probes.ridge import Ridge, best_units
from conceptlab.probes.segmentation import SegmentationProbe
from conceptlab.vectors import ConceptVectors

TAU = 0.15
EVERY = np.ones((6, 8), dtype=bool)


@pytest.fixture
def noisy(toy):
    """Data, activations and the training problem of a layer in which units tell little."""
    data, acts = toy(noise=2.0, images=120)
    probe = SegmentationProbe(tau=TAU, label_size=32)
    return data, acts, probe._problem(acts, label_store(acts, data, 32))


def test_best_units_are_those_of_the_dissection_on_train(noisy):
    data, acts, problem = noisy
    table = dissect(acts, data, TAU, label_size=32).best()
    assert_allclose(best_units(problem, EVERY).argmax(axis=1), table["unit"])


def test_only_allowed_units_are_chosen(noisy):
    problem = noisy[2]
    allowed = EVERY.copy()
    allowed[np.arange(6), best_units(problem, EVERY).argmax(axis=1)] = False
    allowed[5] = False
    chosen = best_units(problem, allowed)
    assert not chosen[~allowed].any()
    assert chosen.sum(axis=1).tolist() == [1, 1, 1, 1, 1, 0]


def test_the_anchor_is_the_best_logistic_regression_on_the_unit_alone(noisy):
    problem = noisy[2]
    ridge = Ridge.about_units(problem, EVERY, bias=True)
    units = best_units(problem, EVERY)
    assert_allclose(ridge.anchor > 0, units > 0)  # each of these units speaks for its concept
    row = 1

    def loss(x):
        weights, bias = np.zeros((6, 8)), np.full(6, x[1])
        weights[row] = x[0] * units[row]
        return problem.sums(weights, bias, problem.trains)[0][row]

    best = minimize(loss, [0.0, 0.0], method="Nelder-Mead")
    found = loss([ridge.anchor[row].max(), ridge.start[row]])
    assert found <= best.fun * 1.001


def test_an_endless_penalty_gives_the_unit_and_none_the_optimum(noisy):
    problem = noisy[2]
    ridge = Ridge.about_units(problem, EVERY, bias=True)
    stiff, _ = ridge.solve(np.full(6, 1e6), ridge.origin)
    assert_allclose(stiff, ridge.anchor, atol=1e-4)
    loose, _ = ridge.solve(np.full(6, 1e-9), ridge.origin)
    assert (np.abs(loose - ridge.anchor).max(axis=1) > 0.1).all()


def test_a_stiff_probe_is_no_worse_than_the_unit_on_train(noisy):
    data, acts, problem = noisy
    ridge = Ridge.about_units(problem, EVERY, bias=True)
    weights, bias = ridge.solve(np.full(6, 1e6), ridge.origin)
    probe = SegmentationProbe(tau=TAU, label_size=32).fit(acts, data).vectors
    vectors = ConceptVectors(weights, bias, probe.concepts, "segmentation", probe.space,
                             probe.thresholds)  # fmt: skip
    counts = pair_counts(vectors, acts, data, "train", label_size=32, align_corners=False)
    units = dissect(acts, data, TAU, label_size=32).best()["iou_train"]
    assert (counts.table()["iou_set"] >= units - 1e-3).all()
