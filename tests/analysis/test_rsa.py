import numpy as np
import pandas as pd
import pytest
from scipy import stats

from conceptlab.analysis.embedding import ConceptSimilarities, items_of
from conceptlab.analysis.rsa import rsa
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
def test_resamples_are_those_of_repeated_items_without_their_own_pairs(method):
    from conceptlab.analysis.embedding import items_of
    from conceptlab.analysis.rsa import MEASURES

    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(9, 4)), rng.normal(size=(9, 5))
    statistic = MEASURES[method].make(items_of(a, "a"), items_of(b, "b"))
    times = np.array([2, 0, 1, 1, 0, 3, 1, 1, 0])
    drawn = np.repeat(np.arange(9), times)
    x, y = [], []
    for p, i in enumerate(drawn):
        for j in drawn[:p]:
            if i != j:
                x.append(pairs(a[[j, i]])[0])
                y.append(pairs(b[[j, i]])[0])
    x, y = np.round(x, 12), np.round(y, 12)
    if method == "kendall":  # of tau-a all couples of different pairs count, repeated ones are none
        names = [(min(i, j), max(i, j)) for p, i in enumerate(drawn) for j in drawn[:p] if i != j]
        couples = [(p, q) for p in range(len(x)) for q in range(p) if names[p] != names[q]]
        wanted = np.mean([np.sign(x[p] - x[q]) * np.sign(y[p] - y[q]) for p, q in couples])
    else:
        wanted = METHODS[method](x, y)[0]
    assert statistic.resampled(times) == pytest.approx(wanted, abs=1e-9)


def test_a_permuted_statistic_is_that_of_permuted_rows():
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(10, 4)), rng.normal(size=(10, 5))
    from conceptlab.analysis.embedding import items_of
    from conceptlab.analysis.rsa import MEASURES

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
    from tests.analysis.test_embedding import vectors

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


def test_resamples_of_many_items_differ_little_from_those_of_their_exact_ranks(monkeypatch):
    from conceptlab.analysis import rsa as module

    rng = np.random.default_rng(3)
    a = rng.normal(size=(120, 6))
    b = a + rng.normal(size=a.shape)
    items = [items_of(x, "x") for x in (a, b)]
    exact = module._Correlation(*items, ranked=True)
    monkeypatch.setattr(module, "MANY", 100)
    binned = module._Correlation(*items, ranked=True)
    for _ in range(10):
        times = np.bincount(rng.integers(0, 120, 120), minlength=120)
        assert binned.resampled(times) == pytest.approx(exact.resampled(times), abs=1e-3)
    assert binned.resampled(np.ones(120, dtype=int)) == pytest.approx(exact.value(), abs=1e-3)
