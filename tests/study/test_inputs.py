"""A study whose segmentation probes take thresholded units and units as they are."""

import pandas as pd
import pytest

from conceptlab.errors import InputError
from conceptlab.study.run import run_study
from conceptlab.study.settings import (
    ClassifySettings,
    CompareSettings,
    DataSettings,
    DissectSettings,
    LookSettings,
    ModelSettings,
    PackSettings,
    SegmentSettings,
    Study,
)
from conceptlab.vectors import ConceptVectors


def study(inputs):
    return Study(
        DataSettings("scenes:n=60"),
        (ModelSettings("builtin:scenenet", ("features.17",), "net"),),
        dissect=DissectSettings(permutations=0),
        segment=SegmentSettings(inputs=inputs, sizes=(2,), shuffle_control=False),
        classify=ClassifySettings(sizes=(2,), shuffle_control=False),
        compare=CompareSettings(untrained=False, draws=0, measures=()),
        pack=PackSettings(enabled=False),
        look=LookSettings(units=0),
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    place = tmp_path_factory.mktemp("inputs")
    run_study(study(("binary", "raw")), place / "run", cache=place / "cache")
    return place / "run"


def test_both_probes_stand_beside_each_other(run):
    concepts = pd.read_csv(run / "tables" / "concepts.csv")
    assert list(concepts["task"].unique()) == ["segment", "segment-raw", "classify"]
    both = concepts.set_index(["task", "concept"])
    thresholded, raw = both.loc["segment"], both.loc["segment-raw"]
    known = thresholded["probe_score"].notna()
    assert known.sum() > 20
    assert raw["probe_score"][known].mean() > thresholded["probe_score"][known].mean()
    for control in ("position_score", "colour_score", "plain_score", "best_unit_score"):
        pd.testing.assert_series_equal(raw[control], thresholded[control])
        assert thresholded[control][known].notna().all()
    assert both.loc["classify"]["plain_score"].isna().all()
    scored = concepts[concepts["probe_score"].notna()]
    tested = scored["difference_p"].notna()
    assert scored["difference_p"][tested].between(0, 1).all()
    assert tested.mean() > 0.5
    assert (scored["note"][~tested] != "").all()
    subsets = pd.read_csv(run / "tables" / "subsets.csv")
    assert set(subsets["task"]) == {"segment", "segment-raw", "classify"}


def test_vectors_are_kept_by_task_and_the_report_names_both(run):
    folder = run / "vectors" / "net" / "features.17"
    assert ConceptVectors.load(folder / "segment-raw.h5").space.inputs == "raw"
    assert ConceptVectors.load(folder / "segment.h5").space.inputs == "binary@0.005"
    page = (run / "report.html").read_text()
    assert "units not thresholded" in page
    assert "position and colour" in page


@pytest.mark.parametrize(
    ("settings", "say"),
    [
        ({"inputs": ()}, "inputs lists binary, raw or both"),
        ({"inputs": ("raw", "raw")}, "each once"),
        ({"inputs": ("dense",)}, "inputs is one of binary, raw"),
        ({"inputs": ("raw",), "loss": "net2vec"}, "no raw inputs"),
    ],
)
def test_inputs_that_make_no_sense(settings, say):
    with pytest.raises(InputError, match=say):
        SegmentSettings(**settings)
