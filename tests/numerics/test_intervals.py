import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binom, bootstrap, norm, t, ttest_1samp

from conceptlab.numerics.intervals import (
    FISHER,
    balanced_bounds,
    discounted,
    jackknife_bounds,
    jeffreys,
    mean_bounds,
    ratio_bounds,
)


@given(st.integers(1, 300), st.floats(0, 1))
def test_jeffreys_bounds_are_quantiles_of_its_posterior(count, share):
    right = round(share * count)
    low, high = jeffreys(right, count)
    posterior = beta(right + 0.5, count - right + 0.5)
    assert low == pytest.approx(posterior.ppf(0.025) if right else 0.0, abs=1e-9)
    assert high == pytest.approx(posterior.ppf(0.975) if right < count else 1.0, abs=1e-9)


def test_all_right_has_a_lower_bound_and_no_trial_none():
    low, high = jeffreys(np.array([12, 0, 0]), np.array([12, 12, 0]))
    assert 0.75 < low[0] < 0.9
    assert high[0] == 1.0
    assert low[1] == 0.0
    assert high[1] == pytest.approx(1 - low[0])
    assert np.isnan([low[2], high[2]]).all()


def test_balanced_bounds_lie_about_the_mean_of_both_sides():
    low, high = balanced_bounds([[12, 50], [0, 0], [3, 0]], [[12, 60], [5, 9], [5, 0]])
    assert low[0] < (1 + 50 / 60) / 2 < high[0] < 1
    assert low[1] == 0 < high[1]
    assert np.isnan([low[2], high[2]]).all()
    narrow = balanced_bounds([[1200, 5000]], [[1200, 6000]])
    assert low[0] < narrow[0][0]
    assert narrow[1][0] < high[0]


def test_balanced_bounds_of_one_sure_side_are_half_as_wide_as_the_others():
    low, high = balanced_bounds([9, 1e12], [12, 1e12])
    alone = jeffreys(9, 12)
    assert low == pytest.approx((1 + alone[0]) / 2, abs=1e-6)
    assert high == pytest.approx((1 + alone[1]) / 2, abs=1e-6)


@pytest.mark.parametrize("few", [10, 20, 50, 200])
def test_balanced_bounds_cover_on_average_near_every_accuracy(few):
    """Exact, over all outcomes; averaged over accuracies nearby, for counts are discrete."""
    generator = np.random.default_rng(0)
    right = np.stack(np.meshgrid(np.arange(few + 1), np.arange(201), indexing="ij"), axis=-1)
    low, high = balanced_bounds(right, [few, 200])
    for p in (0.5, 0.8, 0.9, 0.95, 0.99):
        covered = []
        for near in generator.uniform(p - min(0.04, 0.8 * (1 - p)), min(p + 0.04, 1), 30):
            chance = np.outer(
                binom.pmf(np.arange(few + 1), few, near), binom.pmf(np.arange(201), 200, 0.9)
            )
            middle = (near + 0.9) / 2
            covered.append(chance[(low <= middle) & (middle <= high)].sum())
        assert 0.93 <= np.mean(covered) <= 0.975


def test_mean_bounds_are_students_where_nothing_is_skewed():
    values = np.array([-3.0, -1.0, -0.5, 0.5, 1.0, 3.0])
    wanted = ttest_1samp(values, 0).confidence_interval(0.95)
    assert mean_bounds(values) == pytest.approx(tuple(wanted))


def test_mean_bounds_follow_halls_formula():
    values = np.random.default_rng(0).exponential(size=15)
    n, s = len(values), values.std(ddof=1)
    skew = n**2 / ((n - 1) * (n - 2)) * np.mean((values - values.mean()) ** 3) / s**3
    low, high = mean_bounds(values)

    def transformed(mean):
        t = (values.mean() - mean) / s
        return np.sqrt(n) * (t + skew * t**2 / 3 + skew**2 * t**3 / 27 + skew / (6 * n))

    from scipy.stats import t as student

    q = student.ppf(0.975, n - 1)
    assert transformed(high) == pytest.approx(-q)
    assert low == pytest.approx(values.mean() - q * s / np.sqrt(n))  # Student's is wider there
    assert high > values.mean() + q * s / np.sqrt(n)


TAILS = {
    "normal": (lambda g, size: g.normal(size=size), 0.0, False),
    "t3": (lambda g, size: g.standard_t(3, size=size), 0.0, False),
    "exponential": (lambda g, size: g.exponential(size=size), 1.0, False),
    "beta": (lambda g, size: g.beta(2, 3, size), 0.4, True),
    "skewed beta": (lambda g, size: g.beta(0.5, 4.5, size), 0.1, True),
    "half zeros": (lambda g, size: (g.random(size) < 0.5) * g.beta(2, 3, size), 0.2, True),
}


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("n", [10, 20, 50, 200])
def test_mean_bounds_cover(tail, n):
    draw, mean, within = TAILS[tail]
    low, high = mean_bounds(draw(np.random.default_rng(n), (4000, n)), within=within)
    share = ((low <= mean) & (mean <= high)).mean()
    assert 0.935 <= share <= 0.98


def test_bounds_near_an_end_are_those_of_as_many_trials_on_the_short_side():
    values = np.random.default_rng(1).beta(2, 6, 12)
    mean = values.mean()
    trials = 12 * mean * (1 - mean) / values.var(ddof=1) * (norm.ppf(0.975) / t.ppf(0.975, 11)) ** 2
    low, high = mean_bounds(values, within=True)
    wanted = jeffreys(mean * trials, trials)
    assert low == pytest.approx(wanted[0])
    assert high == pytest.approx(wanted[1], abs=0.01)  # about as skewed as a proportion
    mirrored = mean_bounds(1 - values, within=True)
    np.testing.assert_allclose(mirrored, (1 - high, 1 - low))
    flags = np.array([0.0, 1, 1, 1, 1, 1, 1])
    np.testing.assert_allclose(mean_bounds(flags, within=True), jeffreys(6, 7))


def test_values_all_the_same_have_an_interval_only_at_an_end():
    assert np.isnan(mean_bounds(np.full(9, 0.3))).all()
    assert np.isnan(mean_bounds(np.zeros(9))).all()
    assert np.isnan(mean_bounds([0.5], within=True)).all()
    np.testing.assert_allclose(mean_bounds(np.zeros(9), within=True), jeffreys(0, 9))
    np.testing.assert_allclose(mean_bounds(np.ones(9), within=True), jeffreys(9, 9))


def ratios(generator, n):
    """Unions of unlike sizes, and intersections that are larger shares of large ones."""
    z = generator.normal(size=n)
    whole = np.exp(0.8 * z)
    middle = 1 / (1 + np.exp(1 - 0.5 * z))
    return generator.beta(6 * middle, 6 * (1 - middle)) * whole, whole


@pytest.mark.parametrize("n", [10, 20, 50, 200])
def test_ratio_bounds_cover(n):
    part, whole = ratios(np.random.default_rng(0), 2_000_000)
    truth = part.sum() / whole.sum()
    bounds = np.array([ratio_bounds(*ratios(np.random.default_rng([n, i]), n)) for i in range(500)])
    share = ((bounds[:, 0] <= truth) & (truth <= bounds[:, 1])).mean()
    assert 0.93 <= share <= 0.98


def test_ratio_bounds_are_near_scipys_bootstrap_with_many_images():
    part, whole = ratios(np.random.default_rng(3), 1000)
    found = bootstrap(
        (part, whole), lambda a, b, axis: a.sum(axis) / b.sum(axis), paired=True,
        n_resamples=999, vectorized=True, rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    assert ratio_bounds(part, whole) == pytest.approx((found.low, found.high), abs=0.008)


def test_bounds_do_not_depend_on_the_order_nor_on_the_unit():
    part, whole = ratios(np.random.default_rng(1), 30)
    order = np.random.default_rng(2).permutation(30)
    assert ratio_bounds(part[order], whole[order]) == pytest.approx(ratio_bounds(part, whole))
    assert ratio_bounds(50 * part, 50 * whole) == pytest.approx(ratio_bounds(part, whole))
    low, high = mean_bounds(part)
    assert mean_bounds(-part[order]) == pytest.approx((-high, -low))
    assert mean_bounds(3 * part + 2) == pytest.approx((3 * low + 2, 3 * high + 2))


def test_ratio_bounds_where_nothing_or_everything_overlaps():
    low, high = ratio_bounds(np.zeros(10), np.ones(10))
    assert low == 0
    assert high == pytest.approx(jeffreys(0, 10)[1])
    low, high = ratio_bounds(np.ones(10), np.ones(10))
    assert high == 1
    assert low == pytest.approx(jeffreys(10, 10)[0])
    assert np.isnan(ratio_bounds([0.2], [1.0])).all()
    assert np.isnan(ratio_bounds([], [])).all()


def test_fewer_effective_images_make_wider_intervals():
    part, whole = ratios(np.random.default_rng(1), 40)
    narrow, wide = ratio_bounds(part, whole), ratio_bounds(part, whole, 8.0)
    assert wide[0] < narrow[0]
    assert narrow[1] < wide[1]


def test_jackknife_of_a_mean_is_that_of_its_values():
    values = np.random.default_rng(0).exponential(size=12)
    without = (values.sum() - values) / 11
    assert jackknife_bounds(values.mean(), without) == pytest.approx(mean_bounds(values))
    assert np.isnan(jackknife_bounds(0.3, np.full(9, 0.3))).all()
    assert np.isnan(jackknife_bounds(np.nan, without)).all()


def test_jackknife_covers_a_correlation():
    hits = []
    for seed in range(250):
        x, y = np.random.default_rng(seed).multivariate_normal([0, 0], [[1, 0.7], [0.7, 1]], 20).T
        without = [np.corrcoef(np.delete(x, i), np.delete(y, i))[0, 1] for i in range(20)]
        low, high = jackknife_bounds(np.corrcoef(x, y)[0, 1], without, scale=FISHER)
        hits.append(low <= 0.7 <= high)
    assert 0.925 <= np.mean(hits) <= 0.98


def test_an_estimated_number_of_trials_is_discounted_by_students_quantiles():
    from scipy.stats import t as student

    wanted = 5 * (student.ppf(0.975, 19) / student.ppf(0.975, 4)) ** 2
    assert discounted(20, 5) == pytest.approx(wanted)
    assert discounted(20, 20) == 20
    half = balanced_bounds([8, 40], [10, 50], [5, 25])
    whole = balanced_bounds([8, 40], [10, 50], [10, 50])
    assert half[0] < whole[0] < whole[1] < half[1]
    assert whole == pytest.approx(balanced_bounds([8, 40], [10, 50]))
