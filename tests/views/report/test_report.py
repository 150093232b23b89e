"""The report of whatever tables a run folder has, whatever concepts are called."""

import numpy as np
import pandas as pd
import pytest

from conceptlab.views.report.cells import table_of
from conceptlab.views.report.concepts import concept_pages
from conceptlab.views.report.report import write_report
from conceptlab.views.tables import read_examples, read_tables
from tests.views.conftest import HOSTILE

EVIL = "<script>alert(1)</script>"
COLUMNS = (
    "model,layer,task,concept,category,n_train,n_val,best_unit,best_unit_score,probe_score,"
    "train_score,unit_low,unit_high,probe_low,probe_high,chance_score,chance_high,"
    "shuffled_score,untrained_score,untrained_unit_score,iou_ind,unit_iou_ind,note"
)
SCORES = "0.5,0.05,0.2,0.3,0.5,0.02,0.03,0.05,0.1,0.01,0.3,0.1,"
CONCEPTS = f"""{COLUMNS}
net,conv,segment,{EVIL},object,50,20,3,0.1,0.4,{SCORES}
net,conv,segment,tree,"a""b",50,20,4,0.2,0.3,{SCORES}
net,conv,segment,rare,object,3,1,-1,,,,,,,,,,,,,,,too few examples
"""


@pytest.fixture
def run(tmp_path):
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "concepts.csv").write_text(CONCEPTS)
    return tmp_path


def test_names_are_escaped_wherever_they_stand(run):
    page = write_report(run).read_text()
    assert EVIL not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert page.count("<script>") == 1  # the page's own
    assert 'data-v="a"b"' not in page


def test_draws_what_is_there(run):
    page = write_report(run).read_text()
    assert "0.400" in page
    assert "tree" in page
    assert "rare" in page


def test_small_chances_are_not_written_as_zero():
    frame = pd.DataFrame({"p_value": [1e-9, 0.25, np.nan], "used_p": [0.0, 1.0, 0.0004]})
    texts = [[text for text, _ in row] for row in table_of(frame).rows]
    assert texts == [["<0.0001", "<0.0001"], ["0.2500", "1.0000"], ["-", "0.0004"]]
    assert table_of(frame).rows[0][0][1] == "1e-09"  # it is sorted by its full value


def test_nothing_but_an_empty_folder_is_still_a_page(tmp_path):
    (tmp_path / "tables").mkdir()
    assert write_report(tmp_path).read_text().rstrip().endswith("</html>")


def test_concepts_name_the_units_that_carry_them_in_their_best_layer(finished):
    tables = read_tables(finished)
    pages = {p["concept"]: p for p in concept_pages(tables, read_examples(finished))}
    concepts = tables["concepts"]
    for name in ("tree", HOSTILE):
        own = concepts[(concepts["concept"] == name) & (concepts["task"] == "segment")]
        best = own.loc[own.groupby("model")["probe_score"].idxmax()]
        rows = [[text for text, _ in row] for row in pages[name]["shares"].rows]
        assert len(rows) == 3 * len(best)  # units of each network's best layer
        assert {(row[0], row[1]) for row in rows} == set(zip(best["model"], best["layer"],
                                                             strict=True))  # fmt: skip
