"""Every cell of a CSV reads back as it was written, and none of them is a formula."""

import csv
import math
import os

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from conceptlab.csvtable import TEXTS, escaped, read_table, write_table

NAMES = [
    "007", "nan", "NA", "None", "null", "true", "False", "1e5", "inf", " ", "", "a,b", 'say "x"',
    "two\nlines", "cr\rlf\r\n", "\ttab", "Straße", "日本", "🌳",
    "'tis", "''", "-5", "- dash", "=1+1",
    "@SUM(A1)", "+1", "'=1",
    "''=1", " =1", "a;=1", "a;'=1", "\uff1d1", "\r=1", "\t=1", "#",
]  # fmt: skip
FORMULA = tuple("=+-@\t\r\uff1d\uff0b\uff0d\uff20")
texts = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"))


def through(tmp_path, table, **how):
    write_table(tmp_path / "t.csv", table)
    return read_table(tmp_path / "t.csv", **how)


@pytest.mark.parametrize("columns", [1, 2])
def test_names_read_back(tmp_path, columns):
    table = pd.DataFrame({"concept": NAMES, "name": NAMES[::-1]}).iloc[:, :columns]
    for found in (through(tmp_path, table), through(tmp_path, table, texts=True)):
        assert found.to_numpy().tolist() == table.to_numpy().tolist()


def test_no_cell_is_a_formula_and_negative_numbers_are_numbers(tmp_path):
    through(tmp_path, pd.DataFrame({"concept": NAMES, "score": -1.5}))
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [r["concept"] for r in rows if r["concept"].lstrip(" ").startswith(FORMULA)] == []
    assert {r["score"] for r in rows} == {"-1.5"}
    for part in (part for r in rows for part in r["concept"].split(";")):
        assert not part.startswith(FORMULA)


@given(texts)
@example("'\t'=")
@example(" \t=")
@example(";;'=\n-")
def test_the_escape_is_undone(text):
    from conceptlab.csvtable import _unescaped

    assert _unescaped(escaped(text)) == text
    assert not escaped(text).startswith(FORMULA)


@given(st.lists(st.floats(width=64) | st.floats(width=32), min_size=1))
@example([5e-324, 1.7976931348623157e308, 0.1 + 0.2, -0.0, math.nan, math.inf, -math.inf])
def test_floats_read_back(tmp_path_factory, values):
    folder = tmp_path_factory.getbasetemp()
    for kind in ("float64", "float32"):
        with np.errstate(over="ignore"):
            wanted = np.array(values, kind)
        found = through(folder, pd.DataFrame({"score": wanted, "rank": 1}))["score"]
        assert np.array_equal(found.to_numpy(float), wanted.astype(float), equal_nan=True)


def test_numbers_keep_their_kind(tmp_path):
    table = pd.DataFrame(
        {"rank": [1, 2**53 + 1], "usable": [True, False], "score": [math.nan, 0.1], "class": [3, 4]}
    )
    found = through(tmp_path, table)
    assert found["rank"].tolist() == [1, 2**53 + 1]
    assert found["usable"].tolist() == [True, False]
    assert found["class"].tolist() == ["3", "4"]


def test_a_missing_text_is_an_empty_one(tmp_path):
    table = pd.DataFrame({"note": ["x", None, math.nan], "rank": 1})
    assert through(tmp_path, table)["note"].tolist() == ["x", "", ""]


def test_texts_in_a_column_of_numbers_are_told(tmp_path):
    assert "colour" not in TEXTS
    with pytest.raises(TypeError, match="colour"):
        write_table(tmp_path / "t.csv", pd.DataFrame({"colour": ["007"]}))
    assert not (tmp_path / "t.csv").exists()


def test_a_pipe_is_no_table(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="it is no regular file"):
        read_table(tmp_path / "pipe")
