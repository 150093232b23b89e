import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from conceptlab.analysis.comparison.distances import embedding_distance
from conceptlab.analysis.comparison.items import ConceptSimilarities
from conceptlab.errors import InputError
from conceptlab.space import Space
from conceptlab.vectors import ConceptVectors

seeds = st.integers(0, 2**32 - 1)


def make(weights, names=None):
    weights = np.asarray(weights, dtype=float)
    names = names or [f"c{i}" for i in range(len(weights))]
    categories = ["x" if i < 2 else "y" for i in range(len(names))]
    concepts = pd.DataFrame({"name": names, "category": categories})
    space = Space("net", "f" * 64, "layer", weights.shape[1], "raw")
    return ConceptVectors(weights, np.zeros(len(weights)), concepts, "segmentation", space)


def by_definition(a, b):
    """(C,) D_ijc of section 5.3, one pair of concepts at a time."""
    ua, ub = ([row / np.linalg.norm(row) for row in w] for w in (a, b))
    return [
        sum((x @ u - y @ v) ** 2 for u, v in zip(ua, ub, strict=True))
        for x, y in zip(ua, ub, strict=True)
    ]


@given(seeds, st.integers(2, 40))
def test_distances_are_those_of_the_definition(seed, count):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(count, 5)), rng.normal(size=(count, 7))
    found = embedding_distance({"a": make(a), "b": make(b)})
    assert_allclose(found.per_concept[0, 1], by_definition(a, b), atol=1e-12)
    assert_allclose(found.matrix.loc["a", "b"], sum(by_definition(a, b)))
    rows = found.by_category
    of_x = rows[(rows["i"] == "a") & (rows["j"] == "b") & (rows["category"] == "x")]
    assert_allclose(of_x["distance"].item(), np.mean(by_definition(a, b)[:2]))


@given(seeds)
def test_roots_are_a_metric(seed):
    rng = np.random.default_rng(seed)
    root = np.sqrt(
        embedding_distance([rng.normal(size=(6, k)) for k in (3, 4, 5, 6)]).matrix.to_numpy()
    )
    assert_allclose(root, root.T)
    assert (np.diagonal(root) == 0).all()
    for i in range(4):
        assert (root[i][:, None] <= root[i] + root + 1e-9).all()


@given(seeds)
def test_rotated_and_scaled_vectors_are_the_same_embedding_and_shifted_ones_are_not(seed):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(5, 4))
    turn = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    matrix = embedding_distance([a, 3 * a @ turn, a + 1.0, a[:, ::-1]]).matrix.to_numpy()
    assert_allclose(matrix[0, [1, 3]], 0, atol=1e-13)
    assert matrix[0, 2] > 1e-3
    alone = embedding_distance([a, 3 * a @ turn]).matrix.to_numpy()
    assert_allclose(alone, 0, atol=1e-24)


def test_blocks_do_not_change_the_answer(monkeypatch):
    rng = np.random.default_rng(0)
    spaces = [rng.normal(size=(100, 20)) for _ in range(3)]
    whole = embedding_distance(spaces)
    monkeypatch.setattr("conceptlab.analysis.comparison.distances.BLOCK_BYTES", 3 * 8 * 100 * 7)
    assert_allclose(embedding_distance(spaces).per_concept, whole.per_concept, atol=1e-12)


def test_a_space_of_similarities_compares_with_vectors():
    rng = np.random.default_rng(1)
    a = make(rng.normal(size=(4, 6)))
    tree = ConceptSimilarities(a.similarity[::-1, ::-1], a.concepts.iloc[::-1], "itself")
    assert_allclose(embedding_distance([a, tree]).matrix, 0, atol=1e-24)
    other = ConceptSimilarities(np.eye(4), a.concepts, "nothing is alike")
    found = embedding_distance({"a": a, "tree": other})
    assert_allclose(found.matrix.iloc[0, 1], ((a.similarity - np.eye(4)) ** 2).sum())


def test_the_concepts_that_differ_most_come_first():
    a, b = np.eye(4), np.eye(4)
    b[3] = b[0]
    found = embedding_distance({"a": make(a), "b": make(b)}).of("a", "b")
    assert list(found["concept"])[:2] == ["c0", "c3"]
    assert list(found["distance"]) == [1, 1, 0, 0]
    with pytest.raises(InputError, match="no embedding 'z' here; there are a, b"):
        embedding_distance({"a": make(a), "b": make(b)}).of("a", "z")


def test_only_shared_concepts_count_where_asked():
    a = make([[1, 0], [0, 1], [0, 0]], ["p", "q", "r"])
    b = make([[0, 1], [1, 1], [1, 0]], ["p", "q", "r"])
    with pytest.raises(InputError, match="net layer segmentation has no vector of y/r"):
        embedding_distance([a, b])
    assert set(embedding_distance([a, b], concepts="shared").table["concepts"]) == {2}
    with pytest.raises(InputError, match="two embeddings or more; got 1"):
        embedding_distance([a])
