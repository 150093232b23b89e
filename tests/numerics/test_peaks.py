"""Maxima of maps: numpy, negative values, zeros of both signs, and NaN."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as drawn
from numpy.testing import assert_array_equal

from conceptlab.numerics.peaks import map_maxima

TYPES = ("float16", "float32")


@pytest.mark.parametrize("dtype", TYPES)
@given(data=st.data())
def test_maxima_are_numpys_for_any_bits(dtype, data):
    """Infinities, subnormal numbers and every NaN among them."""
    bits = {"float16": np.uint16, "float32": np.uint32}[dtype]
    shape = data.draw(st.tuples(*[st.integers(1, 4)] * 4))
    maps = data.draw(drawn.arrays(bits, shape)).view(dtype)
    assert_array_equal(map_maxima(maps), maps.max(axis=(2, 3)).astype(np.float32))


@pytest.mark.parametrize("dtype", TYPES)
def test_zeros_of_both_signs_are_one_number(dtype):
    maps = np.array([[[[-0.0, 0.0]], [[-0.0, -0.0]], [[-1.0, -0.0]], [[-2.0, -1.0]]]], dtype=dtype)
    found = map_maxima(maps)
    assert_array_equal(found, [[0.0, 0.0, 0.0, -1.0]])
    assert not np.signbit(found[0, :3]).any()


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_nan_of_either_sign_is_told_from_infinity(dtype, sign):
    nan = np.copysign(np.array(np.nan, dtype), np.array(sign, dtype))
    maps = np.zeros((1, 3, 2, 2), dtype=dtype)
    maps[0, 0, 1, 1], maps[0, 1, 0, 0] = nan, np.inf
    assert_array_equal(map_maxima(maps), [[np.nan, np.inf, 0.0]])


@pytest.mark.parametrize("sign", [0, 1])
@pytest.mark.parametrize(("kind", "dtype"), [(np.uint16, "float16"), (np.uint32, "float32")])
def test_the_nan_whose_bits_follow_those_of_infinity_is_one(kind, dtype, sign):
    bits = np.array(np.inf, dtype).view(kind) + kind(1)
    bits |= kind(sign << (8 * kind().itemsize - 1))
    maps = np.array([[[[bits, 0]]]], dtype=kind).view(dtype)
    assert np.isnan(map_maxima(maps)).all()


def test_maps_need_not_be_contiguous():
    maps = np.arange(120, dtype=np.float16).reshape(2, 3, 4, 5)
    some = maps[:, [2, 0], 1:3, ::2]
    assert_array_equal(map_maxima(some), some.max(axis=(2, 3)))
