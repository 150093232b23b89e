"""Real photographs with labels, whose counts are known."""

import numpy as np
import pandas as pd
import pytest

from conceptlab.data import load_data

SHOWN = {
    "sky": (366, 101, 232), "building": (365, 101, 233), "pole": (366, 101, 232),
    "road": (367, 101, 233), "pavement": (349, 101, 233), "tree": (319, 101, 228),
    "sign_symbol": (351, 101, 226), "fence": (173, 101, 90), "car": (360, 101, 223),
    "pedestrian": (317, 101, 222), "bicyclist": (201, 101, 77),
}  # fmt: skip


@pytest.fixture(scope="module")
def camvid(shared_data):
    return load_data(f"folder:{shared_data / 'camvid'}")


def test_splits(camvid):
    counts = pd.Series(camvid.splits).value_counts().to_dict()
    assert counts == {"train": 367, "val": 101, "test": 233}


def test_pictures_that_show_each_class(camvid):
    table = camvid.concepts.set_index("name")
    shown = {
        n: tuple(int(v) for v in r) for n, r in table[["n_train", "n_val", "n_test"]].T.items()
    }
    assert shown == SHOWN
    # 15.73 % of all pixels are sky, 366 + 101 + 232 of 701 pictures show it
    assert table.loc["sky", "mean_area"] * 699 / 701 == pytest.approx(0.1573, abs=2e-4)


def test_void_is_unlabelled(camvid):
    labels = camvid.labels(0)
    assert np.array_equal(labels.unlabelled == 1, labels.planes[0] == -1)
    assert camvid.categories == ["object"]


def test_it_is_sound(camvid):
    assert camvid.validate() == []
