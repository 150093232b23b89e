import numpy as np
import pytest

from conceptlab.analysis.comparison.cka import linear_cka
from conceptlab.analysis.comparison.items import ConceptSimilarities
from conceptlab.errors import InputError


def hsic_1(k, m):
    """Song et al. 2012, eq. 5, as a mean over all quadruples of different items."""
    n = len(k)
    total = count = 0.0
    for i in range(n):
        for j in range(n):
            for q in range(n):
                for r in range(n):
                    if len({i, j, q, r}) == 4:
                        total += k[i, j] * (m[i, j] + m[q, r] - 2 * m[i, q])
                        count += 1
    return total / count


def test_the_plain_form_is_that_of_the_features():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 5)), rng.normal(size=(20, 7))
    cx, cy = x - x.mean(axis=0), y - y.mean(axis=0)
    norms = np.linalg.norm(cx.T @ cx) * np.linalg.norm(cy.T @ cy)
    wanted = np.linalg.norm(cy.T @ cx) ** 2 / norms
    assert linear_cka(x, y, draws=0).value == pytest.approx(wanted, abs=1e-12)


def test_the_debiased_form_is_that_of_quadruples():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(8, 3)), rng.normal(size=(8, 4))
    k, m = x @ x.T, y @ y.T
    wanted = hsic_1(k, m) / np.sqrt(hsic_1(k, k) * hsic_1(m, m))
    assert linear_cka(x, y, debiased=True, draws=0).value == pytest.approx(wanted, abs=1e-10)


def test_few_items_fool_the_plain_form_and_not_the_debiased():
    rng = np.random.default_rng(2)
    plain, debiased = [], []
    for _ in range(40):
        x, y = rng.normal(size=(10, 200)), rng.normal(size=(10, 200))
        plain.append(linear_cka(x, y, draws=0).value)
        debiased.append(linear_cka(x, y, debiased=True, draws=0).value)
    assert np.mean(plain) > 0.8
    assert abs(np.mean(debiased)) < 0.1


def test_similarities_alone_have_no_coordinates():
    import pandas as pd

    concepts = pd.DataFrame({"name": list("abcd"), "category": ""})
    tree = ConceptSimilarities(np.eye(4), concepts, "tree")
    with pytest.raises(InputError, match="knows only similarities"):
        linear_cka(tree, tree)


def test_the_plain_form_is_the_cosine_of_scikit_learns_centred_kernels():
    from sklearn.metrics.pairwise import linear_kernel
    from sklearn.preprocessing import KernelCenterer

    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(12, 40)), rng.normal(size=(12, 5))
    k, m = (KernelCenterer().fit_transform(linear_kernel(rows)).ravel() for rows in (x, y))
    wanted = k @ m / np.linalg.norm(k) / np.linalg.norm(m)
    assert linear_cka(x, y, draws=0).value == pytest.approx(wanted, abs=1e-12)
