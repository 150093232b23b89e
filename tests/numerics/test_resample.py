import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from conceptlab.errors import InputError
from conceptlab.numerics.resample import interpolation_matrix, taps, upsample

sizes = st.integers(1, 20)


@given(sizes, sizes, sizes, sizes, st.booleans())
def test_agrees_with_torch(height, width, h, w, align_corners):
    maps = np.random.default_rng(0).normal(size=(2, height, width))
    ours = upsample(maps, (h, w), align_corners)
    theirs = torch.nn.functional.interpolate(
        torch.from_numpy(maps)[None], (h, w), mode="bilinear", align_corners=align_corners
    )[0].numpy()
    np.testing.assert_allclose(ours, theirs, atol=1e-12)


@given(sizes, sizes, st.booleans())
def test_rows_of_the_matrix_are_weights(n_in, n_out, align_corners):
    matrix = interpolation_matrix(n_in, n_out, align_corners)
    np.testing.assert_allclose(matrix.sum(axis=1), 1)
    assert (matrix >= 0).all()


@given(sizes, sizes, st.booleans())
def test_segments_cover_every_output_once(n_in, n_out, align_corners):
    axis = taps(n_in, n_out, align_corners)
    owner = np.concatenate([np.full(axis.start[j + 1] - axis.start[j], j) for j in range(n_in)])
    np.testing.assert_array_equal(owner, axis.low)


def test_an_empty_axis_is_refused():
    with pytest.raises(InputError, match="cannot interpolate 0 values"):
        taps(0, 3)
