"""Settings that are none are told by their name, wherever they are given."""

import numpy as np
import pandas as pd
import pytest

import conceptlab as cl
from conceptlab.errors import InputError
from conceptlab.given import require_names, require_number, require_seed

TABLE = pd.DataFrame({"name": list("abcdefgh"), "category": ["thing"] * 8})
WHOLE = [-1, 2.5, "3", None, True, float("nan"), 2**70]


def vectors(seed):
    weights = np.random.default_rng(seed).normal(size=(8, 5))
    space = cl.Space("net", "f" * 8, "top", 5, "raw")
    return cl.ConceptVectors(weights, np.zeros(8), TABLE, "segmentation", space)


A, B = vectors(0), vectors(1)
SEEDED = {
    "neighbours": lambda **how: cl.neighbours(A, 2, **({"draws": 9} | how)),
    "rsa": lambda **how: cl.rsa(A, B, **({"draws": 9} | how)),
    "linear_cka": lambda **how: cl.linear_cka(A.weights, B.weights, **({"draws": 9} | how)),
    "procrustes": lambda **how: cl.procrustes(A, B, **({"draws": 9} | how)),
    "compare": lambda **how: cl.compare({"a": A, "b": B}, **({"draws": 9} | how)),
    "clusters": lambda **how: cl.clusters(A, 2, **({"draws": 9} | how)),
    "resampled": lambda **how: cl.ResampledProbe(cl.ClassificationProbe(), **how),
}
SEED_ALONE = {
    "project": lambda seed: cl.project(A, "pca", seed=seed),
    "classification": lambda seed: cl.ClassificationProbe(seed=seed),
    "segmentation": lambda seed: cl.SegmentationProbe(seed=seed),
    "layout": lambda seed: cl.Layout(seed=seed),
}


@pytest.mark.parametrize("name", SEEDED)
@pytest.mark.parametrize("value", WHOLE)
def test_draws_that_are_no_number(name, value):
    with pytest.raises(InputError, match=r"^draws is "):
        SEEDED[name](draws=value)


@pytest.mark.parametrize("name", [*SEEDED, *SEED_ALONE])
@pytest.mark.parametrize("value", WHOLE)
def test_seeds_that_are_none(name, value):
    with pytest.raises(InputError, match=r"^seed is "):
        (SEEDED | SEED_ALONE)[name](seed=value)


def test_seeds_and_numbers_of_numpy_and_the_largest_seed_do():
    assert cl.rsa(A, B, draws=np.int64(9), seed=np.uint32(3)) == cl.rsa(A, B, draws=9, seed=3)
    assert cl.clusters(A, 2, draws=9, seed=2**32 - 1).table.equals(
        cl.clusters(A, 2, draws=9, seed=np.int64(2**32 - 1)).table
    )
    require_seed(0)
    require_number(np.int8(3), "k", 3)
    require_names([], "plus")


@pytest.mark.parametrize("k", [0, *WHOLE])
def test_numbers_of_neighbours_that_are_none(k):
    for ask in (
        lambda: A.nearest("a", k), lambda: A.arithmetic(["a"], ["b"], k),
        lambda: cl.neighbours(A, k),
    ):  # fmt: skip
        with pytest.raises(InputError, match=r"^k is "):
            ask()


@pytest.mark.parametrize("names", ["a", None, 3, [3], [None]])
def test_what_is_no_list_of_names(names):
    for ask in (
        lambda: A.arithmetic(names), lambda: A.arithmetic(["a"], names),
        lambda: cl.compare({"a": A, "b": B}, names),
    ):  # fmt: skip
        with pytest.raises(InputError, match="is a list of names"):
            ask()
    if names != "a":
        with pytest.raises(InputError, match="a selection is a list of names"):
            A.select(names)


@pytest.mark.parametrize("name", [[], ["a"], None, 3])
def test_one_name_is_a_text(name):
    with pytest.raises(InputError, match="is a list of names"):
        A.nearest(name)
