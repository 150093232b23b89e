"""Sketches of a layer's outputs, and how two are compared."""

import numpy as np
import pytest

from conceptlab.numerics.sketch import FIXED, LAYER, UNIT, Sketch

SHAPE = (4, 2, 5, 3, 3)


def sketch(change=None, dtype="float32", shape=SHAPE):
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    values[:, 1] = np.abs(values[:, 0]) * 1.5
    if change:
        change(values)
    return Sketch(values, dtype, FIXED[: shape[0]])


def scales(found):
    return found.values[:, 1].max(axis=(0, 2, 3))


@pytest.mark.parametrize(("factor", "differs"), [(0.5, False), (2.0, True)])
@pytest.mark.parametrize("plane", [0, 1])
def test_beyond_the_stated_rounding_it_differs(plane, factor, differs):
    plain = sketch()
    allowed = UNIT * scales(plain)[3] + LAYER * scales(plain).mean()
    other = sketch(
        lambda v: v.__setitem__((2, plane, 3, 1, 1), v[2, plane, 3, 1, 1] - factor * allowed)
    )
    assert bool(plain.difference(other)) == bool(other.difference(plain)) == differs


def test_what_differs_is_named():
    found = sketch().difference(sketch(lambda v: v[1, 0, 3].__iadd__(1.0)))
    assert found.startswith("unit 3 by ")
    assert "'shapes', 1 of 5 units in all" in found
    assert "float64 values instead of float32" in sketch(dtype="float64").difference(sketch())
    small = sketch(shape=(4, 2, 5, 1, 1))
    assert small.difference(sketch()) == "5 units on 1 x 1 cells instead of 5 units on 3 x 3 cells"


def test_only_common_inputs_are_compared():
    longer = sketch(lambda v: v[3].fill(9.0))
    assert longer.difference(sketch())
    assert not longer.head(3).difference(sketch())
    assert not sketch().difference(longer.head(3))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_undefined_values_have_to_be_the_same(value):
    odd = sketch(lambda v: v.__setitem__((0, 0, 0, 0, 0), value))
    again = sketch(lambda v: v.__setitem__((0, 0, 0, 0, 0), value))
    assert not odd.difference(again)
    assert odd.difference(sketch())
    assert sketch().difference(odd)


def test_silent_layers_and_no_units():
    silent = Sketch(np.zeros(SHAPE, dtype=np.float32), "float32", FIXED)
    assert not silent.difference(silent)
    assert silent.difference(sketch())
    none = Sketch(np.zeros((4, 2, 0, 1, 1), dtype=np.float32), "float32", FIXED)
    assert not none.difference(none)


@pytest.mark.parametrize(
    ("shape", "dtype", "inputs"),
    [((4, 2, 5, 3), "float32", FIXED), ((4, 3, 5, 3, 3), "float32", FIXED),
     ((4, 2, 5, 3, 3), "int8", FIXED), ((4, 2, 5, 3, 3), "float32", FIXED[:2])],
)  # fmt: skip
def test_what_is_no_sketch_is_refused(shape, dtype, inputs):
    with pytest.raises(ValueError, match="a sketch of"):
        Sketch(np.zeros(shape, dtype=np.float32), dtype, inputs)
