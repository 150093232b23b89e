import json

import pandas as pd
import pytest

from conceptlab.errors import InputError
from conceptlab.probes.units.detectors import detector_counts
from conceptlab.probes.units.dissection import dissect
from conceptlab.probes.units.netdissect_csv import (
    FIELDS,
    read_units,
    summarize_units,
    write_network_dissection,
)

PARTS = [f"{c}-{f}" for c in ("object", "part", "texture") for f in FIELDS]
THEIRS = f"""unit,category,label,score,{",".join(PARTS)}
1,object,dog,0.30,dog,10,10,5,0.30,head,10,10,5,0.10,,0,0,7,0.5
2,object,dog,0.20,dog,10,10,5,0.20,head,10,10,5,0.03,striped,9,9,1,0.05
3,part,wheel,0.06,car,10,10,5,0.05,wheel,10,10,5,0.06,striped,9,9,1,0.01
4,object,nan,0.01,nan,10,10,5,0.01,wheel,10,10,5,0.01,striped,9,9,1,0.01
"""


@pytest.fixture
def theirs(tmp_path):
    path = tmp_path / "theirs.csv"
    path.write_text(THEIRS)
    return path


def test_every_category(theirs):
    found = summarize_units(theirs)
    assert found == {
        "rule": "every-category",
        "threshold": 0.04,
        "detectors": {"object": 3, "part": 2, "texture": 1},
        "unique_detectors": {"object": 2, "part": 2, "texture": 1},
        "unique_total": 5,
    }
    json.dumps(found)


def test_best_label(theirs):
    found = summarize_units(theirs, rule="best-label")
    # unit 1's texture score has an empty label: no detector, however high
    assert found["detectors"] == {"object": 2, "part": 1, "texture": 0}
    assert found["unique_detectors"] == {"object": 1, "part": 1, "texture": 0}
    assert found["unique_total"] == 2


def test_threshold_is_exceeded_not_reached(theirs):
    assert summarize_units(theirs, threshold=0.30)["detectors"]["object"] == 0
    assert summarize_units(theirs, threshold=0.29)["detectors"]["object"] == 1


def test_a_concept_called_nan_is_a_concept(theirs):
    assert "nan" in read_units(theirs)["concept"].tolist()


def test_ours_written_their_way_counts_the_same(toy, tmp_path):
    data, acts = toy()
    found = dissect(acts, data, 0.15, label_size=16)
    path = tmp_path / "ours.csv"
    write_network_dissection(found, path)
    table = pd.read_csv(path)
    assert table["unit"].tolist() == list(range(1, 9))
    assert table["label"][:3].tolist() == ["thing0", "thing1", "thing2"]
    ratio = table["object-intersect"] / (
        table["object-truth"] + table["object-activation"] - table["object-intersect"]
    )
    pd.testing.assert_series_equal(ratio, table["object-iou"], check_names=False)
    for rule in ("every-category", "best-label"):
        counts = found.detectors(rule=rule)
        summary = summarize_units(path, rule=rule)
        assert summary["detectors"] == dict(
            zip(counts["category"], counts["detectors"], strict=True)
        )


def test_our_long_table_is_read_as_well(tmp_path):
    path = tmp_path / "units.csv"
    path.write_text(
        "model,layer,unit,concept,category,iou_train,iou_val,threshold\n"
        "a,x,0,dog,object,0.5,0.5,1\na,x,0,head,part,0.5,0.2,1\na,y,0,dog,object,0.5,0.3,1\n"
        "a,y,1,cat,object,0.5,,1\n"
    )
    found = summarize_units(path)
    assert found["detectors"] == {"object": 2, "part": 1}
    assert found["unique_detectors"] == {"object": 1, "part": 1}


def test_other_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="cannot read"):
        read_units(tmp_path / "none.csv")
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    with pytest.raises(InputError, match="no table of units"):
        read_units(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text("unit,category,label,score\n1,object,dog,much\n")
    with pytest.raises(InputError, match="non-number"):
        read_units(tmp_path / "b.csv")
    with pytest.raises(InputError, match="rule is one of"):
        detector_counts(pd.DataFrame(columns=["unit", "concept", "category", "iou"]), rule="all")
