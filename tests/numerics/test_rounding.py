"""What is no more than rounding has no variation, at any scale and in any type."""

import numpy as np
import pytest

from conceptlab.numerics.rounding import centred, varies


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_one_unit_in_the_last_place_is_no_variation_and_a_hundred_are(kind, size):
    value = kind(size)
    step = float(np.spacing(value))
    rows = np.full((5, 3), value)
    rows[2, 1] = kind(float(value) + step)
    rows[2, 2] = kind(float(value) + 100 * step)
    assert varies(rows).tolist() == [False, False, True]


def test_whole_numbers_vary_where_they_differ():
    assert varies(np.array([[3, 1], [3, 2]])).tolist() == [False, True]


@pytest.mark.parametrize("scale", [1e-300, 1e-6, 1.0, 1e6, 1e300])
def test_centred_rows_are_the_same_at_any_scale(scale):
    rows = np.random.default_rng(0).normal(size=(6, 4))
    wanted = rows - rows.mean(axis=0)
    np.testing.assert_allclose(centred(rows * scale), wanted / np.abs(wanted).max(), atol=1e-14)


def test_constant_columns_become_exact_zeros():
    rows = np.full((7, 2), 0.1)
    assert not centred(rows).any()
    rows[:, 1] = np.arange(7)
    assert not centred(rows)[:, 0].any()
    assert centred(rows)[:, 1].any()
