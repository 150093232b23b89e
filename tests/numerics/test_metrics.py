import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from conceptlab.numerics.metrics import bootstrap_sums, iou

masks = arrays(bool, (5, 5))


@given(masks, masks)
def test_iou_of_counts_is_iou_of_masks(first, second):
    value = iou(np.array((first & second).sum()), np.array(first.sum()), np.array(second.sum()))
    either = (first | second).sum()
    if either == 0:
        assert np.isnan(value)
    else:
        assert value == pytest.approx((first & second).sum() / either)
        assert 0 <= value <= 1


@given(st.integers(0, 100))
def test_bootstrap_sums_keep_the_mean(seed):
    values = np.arange(12.0).reshape(6, 2)
    sums = bootstrap_sums(values, 400, np.random.default_rng(seed))
    assert sums.shape == (400, 2)
    np.testing.assert_allclose(sums.mean(0), values.sum(0), rtol=0.1)
