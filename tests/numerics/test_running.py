import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conceptlab.errors import InputError
from conceptlab.numerics.running import active_pairs, tail_count, upper_order_statistic


def order_statistic(values, tau):
    """The definition: sorted ascending, the value with floor(tau n) values after it."""
    units = values.transpose(1, 0, 2, 3).reshape(values.shape[1], -1)
    return np.sort(units, axis=1)[:, -1 - tail_count(tau, units.shape[1])]


def blocks_of(values, size):
    return lambda: (values[i : i + size] for i in range(0, len(values), size))


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("shape", [(7, 3, 5, 5), (40, 2, 1, 1), (1, 4, 6, 3)])
@given(
    seed=st.integers(0, 1000),
    tau=st.sampled_from([0.005, 0.05, 0.3, 0.99]),
    kind=st.sampled_from(["normal", "relu", "ties", "negative"]),
    size=st.integers(1, 9),
)
def test_is_the_order_statistic(dtype, shape, seed, tau, kind, size):
    values = np.random.default_rng(seed).normal(size=shape) * 100
    if kind == "relu":
        values = np.maximum(values, 0)
    if kind == "ties":
        values = np.round(values / 80)
    if kind == "negative":
        values = -np.abs(values)
    values = values.astype(dtype)
    found = upper_order_statistic(blocks_of(values, size), shape, np.dtype(dtype), tau)
    np.testing.assert_array_equal(found, order_statistic(values, tau).astype(np.float32))
    above = (values.astype(np.float32) > found[:, None, None]).mean(axis=(0, 2, 3))
    assert (above <= tau).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@given(seed=st.integers(0, 1000))
def test_active_pairs_are_those_above(dtype, seed):
    values = np.round(np.random.default_rng(seed).normal(size=(6, 4, 3, 5)), 1).astype(dtype)
    thresholds = upper_order_statistic(blocks_of(values, 2), values.shape, np.dtype(dtype), 0.2)
    index, counts = active_pairs(values, thresholds)
    dense = values.astype(np.float32) > thresholds[:, None, None]
    ends = np.cumsum(counts)
    for image in range(len(values)):
        own = index[ends[image] - counts[image] : ends[image]]
        np.testing.assert_array_equal(own, np.flatnonzero(dense[image]))


def test_minus_zero_is_zero():
    values = np.zeros((4, 1, 2, 2), np.float16)
    values[0] = -0.0
    found = upper_order_statistic(blocks_of(values, 2), values.shape, values.dtype, 0.2)
    assert found[0] == 0
    assert active_pairs(values, found)[1].sum() == 0


@given(st.integers(0, 10**7))
def test_tail_count_takes_tau_as_it_is_written(total):
    assert tail_count(0.005, total) == total * 5 // 1000
    assert tail_count(0.01, total) == total // 100


@pytest.mark.parametrize("tau", [0.0, 1.0, -1.0, 2.0, float("nan")])
def test_tau_is_a_share(tau):
    with pytest.raises(InputError, match="share of activations"):
        tail_count(tau, 10)
