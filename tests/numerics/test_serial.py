import numpy as np
import pytest
from scipy.signal import lfilter

from conceptlab.numerics.intervals import mean_bounds
from conceptlab.numerics.serial import effective_number, effective_rows


def frames(generator, correlation, concepts, n):
    """(C, n) series in which neighbours correlate so (AR(1)), with mean 0 and variance 1."""
    noise = generator.normal(size=(concepts, n + 100)) * np.sqrt(1 - correlation**2)
    return lfilter([1], [1, -correlation], noise, axis=1)[:, 100:]


def number(values):
    concepts, n = values.shape
    return effective_number(
        values.ravel(), np.repeat(np.arange(concepts), n), np.tile(np.arange(n), concepts)
    )


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.6, 0.8])
def test_number_is_that_of_the_formula(correlation):
    n, generator = 400, np.random.default_rng(0)
    found = np.mean([number(frames(generator, correlation, 5, n)) for _ in range(20)])
    assert found == pytest.approx(n * (1 - correlation) / (1 + correlation), rel=0.15)


@pytest.mark.parametrize("correlation", [0.3, 0.8])
@pytest.mark.parametrize("n", [10, 50, 200])
def test_intervals_of_neighbouring_frames_cover(correlation, n):
    hits, plain = [], []
    for seed in range(100):
        values = frames(np.random.default_rng([seed, n]), correlation, 10, n)
        for worth, into in ((number(values), hits), (None, plain)):
            low, high = mean_bounds(values, worth)
            into.extend((low <= 0) & (0 <= high))
    assert 0.93 <= np.mean(hits) <= 0.98
    assert np.mean(plain) < 0.92  # what taking frames for independent images gives


def test_values_in_any_order_of_rows_and_series():
    generator = np.random.default_rng(1)
    values = frames(generator, 0.7, 3, 60).ravel()
    series, places = np.repeat([0, 1, 2], 60), np.tile(np.arange(60), 3)
    mixed = generator.permutation(180)
    wanted = effective_number(values, series, places)
    np.testing.assert_allclose(
        effective_number(values[mixed], series[mixed], places[mixed]), wanted
    )
    np.testing.assert_allclose(effective_number(5 * values + 3, series, places + 9), wanted)
    other = np.array([2, 0, 1])
    np.testing.assert_allclose(effective_number(values, other[series], places)[other], wanted)


def test_images_far_apart_are_independent():
    values = frames(np.random.default_rng(0), 0.9, 1, 500)[0]
    places = np.arange(500)
    assert number(values[None])[0] < 60
    apart = np.arange(0, 500, 50)
    assert effective_number(values[apart], np.zeros(10, int), places[apart])[0] > 3


def test_series_without_variation_or_values():
    found = effective_number(np.ones(4), np.array([0, 0, 2, 2]), np.array([0, 1, 0, 1]))
    np.testing.assert_array_equal(found, [2, 0, 2])
    assert len(effective_number(np.empty(0), np.empty(0, int), np.empty(0, int))) == 0


def test_a_series_that_does_not_vary_is_as_alike_as_the_others():
    rng = np.random.default_rng(0)
    frames = np.repeat(rng.integers(0, 2, (9, 10)), 4, axis=1).astype(float)  # four frames alike
    frames[8] = 1.0
    found = effective_rows(frames)
    assert found[8] < 20
    assert found[8] == pytest.approx(np.median(found[:8]), rel=0.35)
    assert effective_rows(np.ones((3, 40))) == pytest.approx(40)  # nothing is known
