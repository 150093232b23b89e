import numpy as np
import pandas as pd
import pytest

from conceptlab.analysis.comparison.compare import COLUMNS, MEASURES, adequacy, compare
from conceptlab.analysis.comparison.items import ConceptSimilarities
from conceptlab.errors import InputError
from tests.analysis.comparison.test_items import vectors

NAMES = [f"c{i}" for i in range(12)]


def test_every_pair_has_every_measure_that_it_can_have():
    a, b = vectors(NAMES), vectors([*NAMES[:10], "other"])
    tree = ConceptSimilarities(np.eye(12), pd.DataFrame({"name": NAMES, "category": ""}), "tree")
    table = compare({"a": a, "b": b, "tree": tree}, tuple(MEASURES), draws=5)
    assert list(table.columns) == COLUMNS
    of = {key: set(rows["measure"]) for key, rows in table.groupby(["i", "j"])}
    assert of["a", "b"] == set(MEASURES)
    assert of["b", "a"] == {"predictivity"}
    assert of["a", "tree"] == {m for m in MEASURES if m.startswith(("rsa", "distance"))}
    assert ("tree", "a") not in of
    assert set(table[(table["i"] == "a") & (table["j"] == "b")]["items"]) == {10}


def test_layers_compare_on_the_same_images(toy):
    _, acts = toy()
    turned = np.asarray(acts.pooled)[:, ::-1]
    table = compare({"layer": acts, "turned": turned}, ("rsa-spearman", "cka"), draws=20)
    assert np.allclose(table["value"], 1)
    assert set(table["over"]) == {"images"}


def test_what_cannot_be_compared_is_said():
    with pytest.raises(InputError, match="two spaces or more; got 1"):
        compare([np.eye(3)])
    with pytest.raises(InputError, match="unknown measure 'rsa'; known: distance"):
        compare([np.eye(5), np.eye(5)], ["rsa"])


def test_each_measure_says_when_it_is_adequate():
    table = adequacy()
    assert list(table["measure"]) == list(MEASURES)
    assert table["adequate"].str.startswith("Adequate where").all()
