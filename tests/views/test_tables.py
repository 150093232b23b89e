import json

import pandas as pd
import pytest

from conceptlab.errors import InputError
from conceptlab.views.tables import WANTED, read_examples, read_tables

from .conftest import CONCEPTS


def test_every_table_is_read_and_texts_stay_texts(run):
    tables = read_tables(run)
    assert set(tables) == set(WANTED) - {"unmade"}  # only where a part failed
    assert set(tables["concepts"]["concept"]) == set(CONCEPTS)
    assert tables["concepts"]["note"].isin(["", "too few examples"]).all()
    assert tables["concepts"]["probe_score"].dtype == float


def test_tables_that_are_not_there_or_empty_are_left_out(run):
    (run / "tables" / "units.csv").unlink()
    (run / "tables" / "summary.csv").write_text("")
    header = (run / "tables" / "nearest.csv").read_text().splitlines()[0]
    (run / "tables" / "nearest.csv").write_text(header + "\n")
    assert set(WANTED) - set(read_tables(run)) == {"units", "summary", "nearest", "unmade"}


def test_a_column_that_a_run_may_leave_out_is_read_as_missing(run):
    path = run / "tables" / "concepts.csv"
    pd.read_csv(path).drop(columns=["untrained_score", "note"]).to_csv(path, index=False)
    concepts = read_tables(run)["concepts"]
    assert concepts["untrained_score"].isna().all()
    assert (concepts["note"] == "").all()


@pytest.mark.parametrize(
    ("content", "said"),
    [("model,layer\na,b\n", "lacks the columns"), ("a,b\n1,2,3,4\n5\n6,7,8,9,10\n", "concepts")],
)
def test_a_table_that_cannot_be_read_is_named(run, content, said):
    (run / "tables" / "concepts.csv").write_text(content)
    with pytest.raises(InputError, match=said) as raised:
        read_tables(run)
    assert "concepts.csv" in str(raised.value)


def test_pictures_that_are_gone_are_left_out_with_a_warning(run, caplog):
    before = read_examples(run)
    before["file"].iloc[0].unlink()
    after = read_examples(run)
    assert len(after) == len(before) - 1
    assert "1 pictures" in caplog.text


def test_no_examples_are_a_table_without_rows(tmp_path):
    found = read_examples(tmp_path)
    assert found.empty
    assert {"kind", "concept", "picture", "file"} <= set(found.columns)


@pytest.mark.parametrize("content", ["{", json.dumps({"kind": "top"})])
def test_an_index_that_cannot_be_read_is_named(run, content):
    (run / "examples" / "index.json").write_text(content)
    with pytest.raises(InputError, match=r"index\.json"):
        read_examples(run)
