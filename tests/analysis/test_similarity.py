import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from conceptlab.analysis.similarity import distance_tables, shared_concepts
from conceptlab.errors import InputError
from conceptlab.vectors import ConceptVectors, Space


def make(weights, names=None):
    weights = np.asarray(weights, dtype=float)
    names = names or [f"c{i}" for i in range(len(weights))]
    categories = ["x" if i < 2 else "y" for i in range(len(names))]
    concepts = pd.DataFrame({"name": names, "category": categories})
    space = Space("net", "f" * 64, "layer", weights.shape[1], "raw")
    return ConceptVectors(weights, np.zeros(len(weights)), concepts, "segmentation", space)


def value(table, i, j):
    return table[(table["i"] == i) & (table["j"] == j)]["distance"].item()


def test_distance_is_that_of_the_definition():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(4, 5)), rng.normal(size=(4, 7))
    whole, parts = distance_tables({"a": make(a), "b": make(b)})
    ua, ub = (w / np.linalg.norm(w, axis=1, keepdims=True) for w in (a, b))
    total = 0.0
    for i in range(4):
        for j in range(4):
            total += (ua[i] @ ua[j] - ub[i] @ ub[j]) ** 2
    assert value(whole, "a", "b") == pytest.approx(total)
    assert value(whole, "b", "a") == pytest.approx(total)
    assert value(whole, "a", "a") == 0
    per = ((ua @ ua.T - ub @ ub.T) ** 2).sum(axis=1)
    of_x = parts[(parts["i"] == "a") & (parts["j"] == "b") & (parts["category"] == "x")]
    assert of_x["distance"].item() == pytest.approx(per[:2].mean())


def test_rotated_and_scaled_vectors_are_the_same_embedding():
    rng = np.random.default_rng(1)
    a = rng.normal(size=(5, 4))
    turn = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    whole, _ = distance_tables({"a": make(a), "b": make(3 * a @ turn)})
    assert_allclose(value(whole, "a", "b"), 0, atol=1e-18)


def test_only_concepts_with_vectors_everywhere_count():
    a = make([[1, 0], [0, 1], [0, 0]], ["p", "q", "r"])
    b = make([[1, 1], [0, 1], [1, 0]], ["q", "p", "r"])
    assert shared_concepts({"a": a, "b": b}) == ["p", "q"]
    whole, _ = distance_tables({"a": a, "b": b})
    assert set(whole["concepts"]) == {2}
    with pytest.raises(InputError, match="two concepts"):
        distance_tables({"a": a, "b": make([[1, 0]], ["p"])})
