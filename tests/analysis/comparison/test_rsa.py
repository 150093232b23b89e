import numpy as np
import pandas as pd
import pytest
from scipy import stats

from conceptlab.analysis.comparison.items import ConceptSimilarities, items_of
from conceptlab.analysis.comparison.rsa import MEASURES, rsa
from conceptlab.errors import InputError

METHODS = {"pearson": stats.pearsonr, "spearman": stats.spearmanr, "kendall": stats.kendalltau}


def pairs(rows):
    """1 - cosine of every two different rows, one at a time."""
    found = []
    for i in range(len(rows)):
        for j in range(i):
            cosine = rows[i] @ rows[j] / np.linalg.norm(rows[i]) / np.linalg.norm(rows[j])
            found.append(1 - cosine)
    return found


@pytest.mark.parametrize("method", METHODS)
def test_values_are_scipys_over_all_pairs(method):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(15, 4)), rng.normal(size=(15, 6))
    b[:, :4] += a
    wanted = METHODS[method](pairs(a), pairs(b))[0]
    assert rsa(a, b, method, draws=0).value == pytest.approx(wanted, abs=1e-12)


def test_ties_share_their_rank_and_count_as_no_agreement_in_tau_a():
    rng = np.random.default_rng(1)
    coarse = rng.integers(0, 3, size=(12, 3)).astype(float) + 0.001
    fine = rng.normal(size=(12, 5))
    x, y = np.round(pairs(coarse), 12), np.round(pairs(fine), 12)
    assert len(np.unique(x)) < len(x)
    assert rsa(coarse, fine, "spearman", draws=0).value == pytest.approx(stats.spearmanr(x, y)[0])
    score = sum(
        np.sign(x[p] - x[q]) * np.sign(y[p] - y[q]) for p in range(len(x)) for q in range(p)
    )
    couples = len(x) * (len(x) - 1) / 2
    assert rsa(coarse, fine, "kendall", draws=0).value == pytest.approx(score / couples)


@pytest.mark.parametrize("method", METHODS)
def test_without_items_is_the_value_of_the_others(method):
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(9, 4)), rng.normal(size=(9, 5))
    statistic = MEASURES[method].make(items_of(a, "a"), items_of(b, "b"))
    for group in ([0], [2, 7], [8]):
        kept = np.delete(np.arange(9), group)
        wanted = rsa(a[kept], b[kept], method, draws=0).value
        assert statistic.without(np.array(group)) == pytest.approx(wanted, abs=1e-9)


def test_a_permuted_statistic_is_that_of_permuted_rows():
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(10, 4)), rng.normal(size=(10, 5))
    from conceptlab.analysis.comparison.items import items_of
    from conceptlab.analysis.comparison.rsa import MEASURES

    order = rng.permutation(10)
    for method, measure in MEASURES.items():
        statistic = measure.make(items_of(a, "a"), items_of(b, "b"))
        wanted = rsa(a, b[order], method, draws=0).value
        assert statistic.permuted(order) == pytest.approx(wanted, abs=1e-12), method


def test_a_tree_of_concepts_compares_with_vectors():
    rng = np.random.default_rng(4)
    groups = np.repeat([0, 1, 2], 4)
    table = np.where(groups[:, None] == groups, 0.5, 0.1) + 0.5 * np.eye(12)
    names = [f"c{i}" for i in range(12)]
    tree = ConceptSimilarities(table, pd.DataFrame({"name": names, "category": ""}), "tree")
    from tests.analysis.comparison.test_items import vectors

    near = vectors(names, weights=np.eye(3)[groups] + 0.3 * rng.normal(size=(12, 3)))
    found = rsa(near, tree, "kendall", draws=200)
    assert found.value > 0.2
    assert found.p_value < 0.01
    assert found.over == "concepts"
    with pytest.raises(InputError, match="method is one of pearson, spearman, kendall"):
        rsa(near, tree, "cosine")


@pytest.mark.slow
def test_values_are_those_of_rsatoolbox():
    from rsatoolbox.rdm import RDMs, compare

    rng = np.random.default_rng(5)
    a, b = rng.normal(size=(14, 4)), rng.normal(size=(14, 6))
    b[:, :4] += a
    sides = [RDMs(np.array(pairs(rows))[None]) for rows in (a, b)]
    for method, theirs in (("pearson", "corr"), ("spearman", "spearman"), ("kendall", "tau-a")):
        wanted = float(np.squeeze(compare(*sides, method=theirs)))
        assert rsa(a, b, method, draws=0).value == pytest.approx(wanted, abs=1e-10), method


def test_values_without_some_of_many_items_differ_little_from_those_of_exact_ranks(monkeypatch):
    from conceptlab.analysis.comparison import rsa as module

    rng = np.random.default_rng(3)
    a = rng.normal(size=(120, 6))
    b = a + rng.normal(size=a.shape)
    items = [items_of(x, "x") for x in (a, b)]
    exact = module._Correlation(*items, ranked=True)
    monkeypatch.setattr(module, "MANY", 100)
    binned = module._Correlation(*items, ranked=True)
    for _ in range(10):
        group = rng.choice(120, 12, replace=False)
        assert binned.without(group) == pytest.approx(exact.without(group), abs=1e-3)
    none = np.empty(0, dtype=int)
    assert binned.without(none) == pytest.approx(exact.value(), abs=1e-3)
