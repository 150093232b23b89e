"""Concepts on a plane: planted groups stay apart, and the same seed gives the same plane."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA
from sklearn.metrics import silhouette_score

from conceptlab.analysis.vectors.projection import METHODS, project
from conceptlab.errors import InputError
from tests.analysis.vectors.test_clusters import embedding, planted

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.mark.parametrize("method", METHODS)
def test_groups_stay_apart_and_noise_is_no_better_than_its_trust(method):
    rows, truth = planted()
    found = project(embedding(rows), method)
    points = found.table[["x", "y"]].to_numpy()
    assert silhouette_score(points, truth) > 0.5
    assert found.trustworthiness > 0.85
    noise = np.random.default_rng(0).normal(size=(32, 20))
    assert project(embedding(noise), method).trustworthiness < found.trustworthiness - 0.1


@pytest.mark.parametrize("method", METHODS)
def test_a_seed_gives_one_plane_in_any_order_of_concepts(method):
    rows, _ = planted(1)
    given = embedding(rows)
    once, again = project(given, method, seed=3), project(given, method, seed=3)
    pd.testing.assert_frame_equal(once.table, again.table)
    order = np.random.default_rng(0).permutation(len(rows))
    mixed = embedding(rows[order], names=[given.names[i] for i in order])
    other = project(mixed, method, seed=3).table.sort_values("concept", ignore_index=True)
    np.testing.assert_allclose(other[["x", "y"]], once.table[["x", "y"]], atol=1e-4)
    if method != "pca":
        assert not project(given, method, seed=4).table.equals(once.table)


def test_principal_components_are_scikit_learns():
    rows, _ = planted(2)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    wanted = PCA(2).fit_transform(unit)
    found = project(embedding(rows), "pca").table[["x", "y"]].to_numpy()
    np.testing.assert_allclose(np.abs(found), np.abs(wanted), atol=1e-9)
    assert (found[np.abs(found).argmax(axis=0), [0, 1]] > 0).all()


@pytest.mark.parametrize("method", METHODS)
def test_few_concepts_are_enough(method):
    assert len(project(np.random.default_rng(0).normal(size=(6, 4)), method).table) == 6


def test_bad_input_is_refused_in_a_sentence():
    with pytest.raises(InputError, match="at least 5 concepts"):
        project(np.eye(4), "pca")
    with pytest.raises(InputError, match="method is one of umap, tsne, pca"):
        project(np.eye(6), "isomap")
    with pytest.raises(InputError, match="neighbours is a whole number of at least 2"):
        project(np.eye(6), "pca", neighbours=1)


def test_a_missing_library_is_named_with_its_extra():
    program = (
        "import sys; sys.modules['umap'] = None\n"
        "import numpy as np, conceptlab.analysis.vectors.projection as p\n"
        "try: p.project(np.eye(6))\n"
        "except Exception as e: print(type(e).__name__, e)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "InputError umap-learn is not installed: pip install 'conceptlab[umap]'" in done.stdout
