import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from conceptlab.activations.labels import label_store
from conceptlab.probes.basis import Basis
from conceptlab.probes.segmentation.probe import SegmentationProbe
from conceptlab.probes.segmentation.problem import PixelProblem
from conceptlab.probes.segmentation.ridge import Ridge

TAU = 0.15
EVERY = np.ones((6, 8), dtype=bool)


@pytest.fixture(params=["binary", "raw"])
def noisy(request, toy):
    """A probe, its activations and the training problem of a layer whose units tell little."""
    data, acts = toy(noise=2.0, images=120)
    probe = SegmentationProbe(tau=TAU, inputs=request.param, label_size=32)
    return probe, acts, probe._problem(acts, label_store(acts, data, 32))


def test_the_optimum_is_that_of_a_general_solver(noisy):
    probe, acts, problem = noisy
    basis = probe._basis(acts, problem, EVERY)
    penalty = np.full(6, 1e-3)
    ridge = Ridge(problem, EVERY, True, basis)
    weights, bias = ridge.minimise(penalty, ridge.origin, 1)
    row, pixels = 1, problem.trains.sum(axis=0)[1] * 32 * 32

    def loss(x):
        w, b = np.zeros((6, 8)), np.zeros(6)
        w[row], b[row] = x[:-1], x[-1]
        found = problem.sums(w, b, problem.trains)
        scaled = x[:-1] * np.where(basis.varying, basis.spread, 0.0)
        slope = np.append(found[1][row], found[2][row]) / pixels
        slope[:-1] += penalty[row] * scaled * basis.spread
        return found[0][row] / pixels + penalty[row] / 2 * scaled @ scaled, slope

    best = minimize(loss, np.zeros(9), jac=True, method="L-BFGS-B", options={"maxiter": 500})
    assert loss(np.append(weights[row], bias[row]))[0] <= best.fun * 1.0005
    assert_allclose(weights[row], best.x[:-1], atol=0.05 * np.abs(best.x[:-1]).max())


def test_an_endless_penalty_leaves_no_weight_and_the_stiff_way_is_no_unit(noisy):
    probe, acts, problem = noisy
    ridge = Ridge(problem, EVERY, True, probe._basis(acts, problem, EVERY))
    weights, _ = ridge.minimise(np.full(6, 1e6), ridge.origin, 1)
    assert np.abs(weights).max() < 1e-5
    share = np.abs(weights).sum(axis=1) ** 2 / (weights**2).sum(axis=1)
    assert (share > 2).all()


def test_units_that_may_not_be_used_are_not(noisy):
    probe, acts, problem = noisy
    allowed = EVERY.copy()
    allowed[:, [0, 5]] = False
    allowed[3] = False
    ridge = Ridge(problem, allowed, True, probe._basis(acts, problem, allowed))
    weights, _ = ridge.solve(np.full(6, 1e-3), ridge.origin)
    assert (weights != 0)[allowed].all()
    assert not weights[~allowed].any()


def test_turned_coordinates_change_the_way_and_not_the_end(toy):
    data, acts = toy(noise=2.0, images=120)
    probe = SegmentationProbe(inputs="raw", label_size=32)
    problem = probe._problem(acts, label_store(acts, data, 32))
    ends = []
    for rotate in (True, False):
        basis = Basis.of_raw(acts, problem.stream.images, rotate)
        ridge = Ridge(problem, EVERY, True, basis)
        ends.append(ridge.minimise(np.full(6, 1e-2), ridge.origin, 1)[0])
    assert_allclose(ends[0], ends[1], atol=0.03 * np.abs(ends[1]).max())


def test_raw_units_are_scikit_learns_logistic_regression_where_a_cell_is_a_pixel(toy):
    """Labels of the maps' own size: no upsampling, so cells are samples as anywhere."""
    data, acts = toy(noise=1.0, images=120)
    probe = SegmentationProbe(inputs="raw", label_size=acts.shape[2], min_examples=1)
    problem = probe._problem(acts, label_store(acts, data, acts.shape[2]))
    concept = 4  # its category is labelled everywhere
    rows = np.flatnonzero(problem.trains[:, concept])
    basis = probe._basis(acts, problem, EVERY)
    ridge = Ridge(problem, EVERY, True, basis)
    weights, bias = ridge.minimise(np.full(6, 1e-2), ridge.origin, 1)
    x = acts.array[rows].astype(float).transpose(0, 2, 3, 1).reshape(-1, 8)
    masks = [label_store(acts, data, acts.shape[2]).mask(i, concept) for i in rows]
    y = np.stack(masks).ravel() > 0
    alpha = float(problem.alpha[concept])
    model = LogisticRegression(C=1 / (1e-2 * len(y)), tol=1e-10, max_iter=10_000)
    model.fit((x - basis.mean) / basis.spread, y, np.where(y, alpha, 1 - alpha))
    found = weights[concept] * basis.spread
    assert_allclose(found, model.coef_[0], atol=0.02 * np.abs(model.coef_).max())
    assert bias[concept] + weights[concept] @ basis.mean == pytest.approx(
        model.intercept_[0], abs=0.02
    )
    assert isinstance(problem, PixelProblem)
