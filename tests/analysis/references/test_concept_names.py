"""Names of concepts: from whatever holds them, into words, and listed where unknown."""

import logging

import numpy as np
import pandas as pd
import pytest

from conceptlab.analysis.references.concept_names import names_of, unresolved, words_of
from conceptlab.errors import InputError
from tests.analysis.vectors.test_clusters import embedding


def test_names_come_from_vectors_tables_and_lists():
    vectors = embedding(np.eye(2), ["object", "part"], ["dog", "tail"])
    table = pd.DataFrame({"name": ["dog", "tail"], "category": ["object", "part"]}, index=[7, 9])
    for given in (vectors, table, table.assign(iou=0.5)):
        pd.testing.assert_frame_equal(names_of(given), table.reset_index(drop=True))
    for bare in (["dog", "tail"], ("dog", "tail"), table[["name"]], table.assign(category=None)):
        assert names_of(bare).to_numpy().tolist() == [["dog", ""], ["tail", ""]]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "no concepts"),
        (3, "concepts are vectors, a table"),
        ("dog", "concepts are vectors, a table"),
        (pd.DataFrame({"concept": ["dog"]}), "columns name and category"),
    ],
)
def test_what_holds_no_names_is_refused(given, said):
    with pytest.raises(InputError, match=said):
        names_of(given)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("dog", ["dog"]), ("street light", ["street", "light"]), ("bus-c", ["bus"]),
        ("dining_table", ["dining", "table"]), ("person-head", ["person", "head"]),
        ("SignSymbol", ["Sign", "Symbol"]), ("Column_Pole", ["Column", "Pole"]),
        ("SUVPickupTruck", ["SUV", "Pickup", "Truck"]), ("TVs", ["TVs"]), ("church/outdoor",
        ["church", "outdoor"]), ("t-shirt", ["t", "shirt"]), (" ", []),
    ],
)  # fmt: skip
def test_names_fall_into_words(name, words):
    assert words_of(name) == words


def test_unknown_names_are_logged_with_the_category_where_two_share_one(caplog):
    table = pd.DataFrame({"name": ["orange", "orange", "dog"], "category": ["color", "food", "x"]})
    with caplog.at_level(logging.WARNING):
        unresolved(table, pd.Series([False, False, False]), "nothing")
        assert not caplog.records
        unresolved(table, pd.Series([True, False, True]), "WordNet")
    assert caplog.messages == ["WordNet does not know color/orange, dog"]
