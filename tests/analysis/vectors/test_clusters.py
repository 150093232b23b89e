"""Clusters of concepts: planted ones are found, noise is not believed."""

import numpy as np
import pandas as pd
import pytest
from scipy.cluster.hierarchy import cophenet, fcluster
from scipy.spatial.distance import pdist, squareform
from sklearn.metrics import adjusted_rand_score, silhouette_score

from conceptlab.analysis.vectors.clusters import clusters, hierarchy
from conceptlab.errors import InputError
from conceptlab.space import Space
from conceptlab.vectors import ConceptVectors


def embedding(rows, categories=None, names=None):
    names = names or [f"c{i:03d}" for i in range(len(rows))]
    table = pd.DataFrame({"name": names, "category": categories or "object"})
    space = Space("net", "f" * 8, "top", rows.shape[1], "raw")
    return ConceptVectors(rows, np.zeros(len(rows)), table, "segmentation", space)


def planted(seed=0, groups=4, each=8, noise=0.25):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(groups, 20))
    truth = np.repeat(np.arange(groups), each)
    rows = centres[truth] + noise * rng.normal(size=(len(truth), 20))
    return rows * rng.uniform(0.1, 9, (len(rows), 1)), truth


@pytest.mark.parametrize("method", ["kmeans", "ward"])
def test_planted_clusters_are_found_and_their_number_too(method):
    rows, truth = planted()
    found = clusters(embedding(rows, [f"g{t}" for t in truth]), method=method)
    assert found.count == 4
    assert adjusted_rand_score(truth, found.table["cluster"]) == 1
    assert found.agreement == pytest.approx(1)
    assert found.p_value == pytest.approx(1 / 1001)
    assert found.stability > 0.95
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    wanted = silhouette_score(unit, truth, metric="cosine")
    assert found.silhouette == pytest.approx(wanted)


def test_noise_has_clusters_that_nothing_supports():
    noise = np.random.default_rng(1).normal(size=(40, 20))
    found = clusters(embedding(noise), count=4)
    assert found.stability < 0.6
    assert found.silhouette < 0.15
    assert np.isnan([found.agreement, found.p_value]).all()  # one category


@pytest.mark.slow
def test_agreement_with_categories_keeps_its_level(monkeypatch):
    monkeypatch.setattr("conceptlab.analysis.vectors.clusters.RESAMPLES", 1)  # of the stability
    rows, _ = planted(2, groups=3, each=7)
    rng = np.random.default_rng(3)
    hits = []
    for seed in range(500):
        names = list(rng.permutation(["a"] * 7 + ["b"] * 14))
        found = clusters(embedding(rows, names), 3, "ward", seed, draws=39)
        hits.append(found.p_value <= 0.05)
    assert np.mean(hits) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 500)  # ties make it no larger
    assert np.mean(hits) > 0.01


def test_the_order_of_concepts_and_the_length_of_vectors_do_not_count():
    rows, _ = planted(4, noise=0.8)
    order = np.random.default_rng(0).permutation(len(rows))
    given = embedding(rows)
    mixed = embedding(rows[order] * 3, names=[given.names[i] for i in order])
    first, second = clusters(given, 5, seed=2), clusters(mixed, 5, seed=2)
    pd.testing.assert_frame_equal(
        first.table, second.table.sort_values("concept", ignore_index=True)
    )
    assert first.stability == second.stability


def test_clusters_are_numbered_by_size():
    rows = np.vstack([np.eye(3)[[2] * 5 + [0] * 3 + [1] * 2]])
    rows = rows + 0.01 * np.random.default_rng(0).normal(size=rows.shape)
    assert list(clusters(embedding(rows), 3).table["cluster"]) == [0] * 5 + [1] * 3 + [2] * 2


def test_a_tree_is_scipys_over_cosine_distance():
    rows, truth = planted(5)
    tree = hierarchy(embedding(rows))
    assert adjusted_rand_score(truth, fcluster(tree.linkage, 4, "maxclust")) == 1
    far = squareform(pdist(rows, "cosine"))
    joined = squareform(cophenet(tree.linkage))
    two = far[truth == 0][:, truth == 1].mean()
    assert joined[0, 8] >= two - 1e-9 or joined[0, 8] == pytest.approx(joined[0, 16])
    single = hierarchy(embedding(rows), "single")
    assert single.linkage[0, 2] == pytest.approx(far[np.triu_indices(32, 1)].min())
    ward = hierarchy(embedding(rows), "ward")
    assert ward.linkage[0, 2] == pytest.approx(np.sqrt(2 * far[np.triu_indices(32, 1)].min()))


@pytest.mark.parametrize(
    ("rows", "arguments", "said"),
    [
        (np.eye(2), {}, "at least 3 concepts"),
        (np.eye(5), {"count": 1}, "count is a whole number of at least 2"),
        (np.eye(5), {"count": 5}, "5 concepts with 5 different vectors make no 5 clusters"),
        (np.ones((6, 3)), {}, "with 1 different vectors make no 2"),
        (np.eye(5), {"method": "dbscan"}, "method is 'kmeans' or 'ward'"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(rows, arguments, said):
    with pytest.raises(InputError, match=said):
        clusters(embedding(rows), **arguments)
    with pytest.raises(InputError, match="method is 'average'"):
        hierarchy(embedding(np.eye(5)), "median")


def test_the_page_is_escaped():
    found = clusters(embedding(np.eye(5), names=["<b>x", "b", "c", "d", "e"]), 2, draws=0)
    assert "<b>" not in found._repr_html_()
