import numpy as np
import pytest


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_active_pairs_are_the_activations_above(toy, store_activations, dtype):
    data, first = toy()
    acts = store_activations(first.array.astype(float), data, dtype=dtype, layer=dtype)
    active = acts.active(0.1)
    values = acts.array.astype(np.float64)
    levels = np.sort(values.transpose(1, 0, 2, 3).reshape(8, -1), axis=1)
    share = int(0.1 * levels.shape[1])
    np.testing.assert_array_equal(acts.thresholds(0.1), levels[:, -1 - share].astype(np.float32))
    for image in (0, 31, 59):
        want = values[image] > acts.thresholds(0.1)[:, None, None]
        np.testing.assert_array_equal(active.masks(image), want)


def test_subsets_of_images_come_in_their_order(toy):
    _, acts = toy()
    active = acts.active(0.1)
    whole = [active.masks(i) for i in range(60)]
    for rows in (np.arange(10, 20), np.array([7, 3, 3, 40]), np.array([], dtype=int)):
        chunk = active.of(rows)
        offsets, index = chunk.offsets, chunk.index
        assert len(offsets) == len(rows) + 1
        for place, row in enumerate(rows):
            own = index[offsets[place] : offsets[place + 1]]
            np.testing.assert_array_equal(own, np.flatnonzero(whole[row]))


def test_kept_beside_the_file_and_readable_through_it(toy):
    import h5py

    _, acts = toy()
    levels = acts.thresholds(0.005)
    acts.active(0.005)
    with h5py.File(acts.path) as file:
        np.testing.assert_array_equal(file["thresholds/0.005"][()], levels)
        assert "offsets" in file["active/0.005"]
