"""Settings that are none are told by their name, wherever they are given."""

import dataclasses
import inspect
import re

import numpy as np
import pandas as pd
import pytest

import conceptlab as cl
from conceptlab.errors import InputError
from conceptlab.given import MADE_BY, kinds_of, require_names, require_number, require_seed
from conceptlab.probes.cav.result import Drawing
from conceptlab.probes.cav.training import Settings
from conceptlab.study import settings as study

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


NAN = float("nan")
WRONG = {
    "int": ["3", 2.5, None, [3], NAN, True, 10**30, 10**5000, np.float64(3), np.array(3)],
    "float": ["x", None, [0.5], NAN, True, 10**400, np.array(0.5), np.float32("nan")],
    "str": [3, None, ["bce"], 2.5, b"bce"],
    "bool": ["no", None, 2, [True], NAN],
    "Path": [3, None, b"x", ["x"], "a\0b"],
    "several int": ["12", None, 3, [1.5], ["a"], np.ones((2, 2), int)],
    "several float": ["12", None, 3, ["a"], [NAN]],
    "several str": ["12", None, 3, [1], [None]],
    "DataFrame": [None, "x", {"a": [1]}, 2.5],
    "mapping": [None, "x", [1], 2.5],
    **{kind: [None, "features.17", {"features.17": 1}] for kind in MADE_BY},
}
SETTINGS = [
    cl.CavProbe, cl.ClassificationProbe, cl.SegmentationProbe, cl.ResampledProbe, cl.Layout,
    cl.Synthesis, cl.Unit, cl.Neuron, cl.Dream, cl.Logit, cl.Direction, Drawing, Settings,
    *(c for c in vars(study).values() if dataclasses.is_dataclass(c) and "study" in c.__module__),
]  # fmt: skip
METHODS = [
    cl.Activations.active, cl.Activations.thresholds, cl.CavProbe.score, cl.Dissection.best,
    cl.Dissection.detectors, cl.Dissection.labels, cl.ClassificationProbe.score,
    cl.SegmentationProbe.score, cl.SegmentationProbe.per_image, cl.Zoom.units,
]  # fmt: skip
FUNCTIONS = [f for f in map(cl.__getattr__, cl.__all__) if inspect.isfunction(f)]


def kinds(call):
    """What parameters of plain types allow."""
    parameters = inspect.signature(call).parameters.values()
    return {p.name: found for p in parameters if (found := kinds_of(p.annotation))}


def sound(kind):
    """Something of a kind, as far as its type goes."""
    values = {"int": 3, "float": 0.5, "str": "a", "bool": True, "Path": "a", "mapping": {"a": 1},
              "DataFrame": TABLE}  # fmt: skip
    if kind in values:
        return values[kind]
    if kind.startswith("several"):
        return [values[kind.split()[1]]]
    return type(kind, (), {})()


def wrong_calls(call):
    """Calls in which one argument is wrong, and all that have to be there are sound."""
    parameters, known = inspect.signature(call).parameters, kinds(call)
    needed = [
        p.name for p in parameters.values() if p.default is p.empty and p.kind != p.VAR_KEYWORD
    ]
    base = {name: sound(known[name][0]) if name in known else None for name in needed}
    for name, allowed in known.items():
        values = WRONG[allowed[0]] if len(set(allowed) - {"None"}) == 1 else []
        for value in values:
            if value is not None or "None" not in allowed:
                yield name, base | {name: value}


@pytest.mark.parametrize("call", [*FUNCTIONS, *SETTINGS, *METHODS], ids=lambda c: c.__qualname__)
def test_an_argument_of_another_type_is_named(call):
    """Nothing is run: the argument is refused before anything is read, opened or computed."""
    for name, arguments in wrong_calls(call):
        with pytest.raises(InputError, match=rf"^{name} is (?!.*\n)") as found:
            call(**arguments)
        assert len(str(found.value)) < 320
        assert not re.search(r"\d{200}", str(found.value))


def test_most_public_functions_have_such_arguments():
    looked_at = [call.__name__ for call in FUNCTIONS if any(wrong_calls(call))]
    assert len(looked_at) > 45
    assert len(list(wrong_calls(cl.CavProbe))) > 60


def test_numbers_and_switches_of_numpy_do():
    of_numpy = cl.CavProbe(
        penalty=np.float32(2), min_examples=np.int16(5), label_size=np.int64(8), seed=np.uint32(1)
    )
    assert (
        of_numpy.get_params()
        == cl.CavProbe(penalty=2, min_examples=5, label_size=8, seed=1).get_params()
    )
    assert cl.SegmentationProbe(shuffle=np.bool_(True), tau=np.float16(0.5)).shuffle
    assert cl.Layout(grids=np.array([8, 4])).grids == (4, 8)
    assert cl.linear_cka(A, B, debiased=np.bool_(False), draws=9) == cl.linear_cka(A, B, draws=9)
