"""A whole study on drawn pictures, through the command line, as a user runs it."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from conceptlab.cli import main
from conceptlab.vectors import ConceptVectors

STUDY = """
name = "tiny"
[data]
spec = "scenes:n=80"
[[models]]
name = "plain"
spec = "builtin:scenenet"
layers = ["features.17"]
[[models]]
name = "residual"
spec = "builtin:sceneres"
layers = ["stages.2"]
[dissect]
permutations = 2
[segment]
sizes = [2]
min_examples = 5
[classify]
sizes = [2]
min_examples = 5
[compare]
arithmetic = ["tree - green", "no such thing + tree"]
"""


def run(*words):
    with pytest.raises(SystemExit) as stopped:
        main([str(word) for word in words])
    return stopped.value.code


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("study")
    (place / "study.toml").write_text(STUDY)
    assert run("run", place / "study.toml", "--out", place / "run", "--cache", place / "c") == 0
    return place


def table(folder, name):
    return pd.read_csv(
        folder / "run" / "tables" / f"{name}.csv", keep_default_na=False, na_values=["", "nan"]
    )


def test_run_folder_holds_what_the_contract_lists(folder):
    place = folder / "run"
    for name in ("study.toml", "manifest.json", "report.html", "tables/units.csv"):
        assert (place / name).is_file(), name
    for model, layer in (("plain", "features.17"), ("residual", "stages.2")):
        for task in ("unit", "segment", "classify"):
            vectors = ConceptVectors.load(place / "vectors" / model / layer / f"{task}.h5")
            assert len(vectors) == 116
    units = table(folder, "units")
    assert units.columns.tolist() == [
        "model", "layer", "unit", "concept", "category", "iou_train", "iou_val", "threshold",
    ]  # fmt: skip
    pixel = 116 - 10 - 6  # scenes and textures hold for a whole picture
    assert units.groupby(["model", "layer"]).size().tolist() == [96 * pixel, 80 * pixel]
    assert units["unit"].min() == 0
    assert "object/mountain" in set(units["concept"])
    assert set(units["category"]) == {"object", "part", "material", "color"}
    concepts = table(folder, "concepts")
    assert concepts.columns[:11].tolist() == [
        "model", "layer", "task", "concept", "category", "n_train", "n_val", "best_unit",
        "best_unit_score", "probe_score", "train_score",
    ]  # fmt: skip
    assert len(concepts) == 2 * 2 * 116
    assert {"scene/mountain", "object/mountain"} <= set(concepts["concept"])


def test_summary_is_what_the_table_of_concepts_says(folder):
    concepts, summary = table(folder, "concepts"), table(folder, "summary")
    for row in summary.itertuples():
        own = concepts[(concepts["model"] == row.model) & (concepts["task"] == row.task)]
        known = own.dropna(subset=["probe_score", "best_unit_score"])
        better = (known["probe_score"] > known["best_unit_score"]) & (known["difference_p"] <= 0.05)
        worse = (known["probe_score"] < known["best_unit_score"]) & (known["difference_p"] <= 0.05)
        assert row.n_concepts == len(known)
        assert row.share_better == pytest.approx(better.mean(), rel=1e-4)
        assert row.share_worse == pytest.approx(worse.mean(), rel=1e-4)
        assert row.share_better + row.share_tied + row.share_worse == pytest.approx(1, rel=1e-4)
        assert row.mean_probe == pytest.approx(known["probe_score"].mean(), rel=1e-4)


def test_every_score_has_its_interval_and_controls(folder):
    concepts = table(folder, "concepts")
    fitted = concepts.dropna(subset=["probe_score"])
    assert len(fitted) > 60
    known = fitted.dropna(subset=["probe_low", "probe_high"])
    # only an IoU_set has none: of one image, or where all images have the same, above 0 and below 1
    per_image = table(folder, "per_image").groupby(["model", "layer", "concept"])["iou_probe"]
    images = per_image.agg(["size", "min", "max"])
    for at, row in fitted.iterrows():
        bounded = True
        if row["task"] == "segment":
            n, low, high = images.loc[(row["model"], row["layer"], row["concept"])]
            bounded = n > 1 and (low < high or low in (0, 1))
        assert bounded == (at in known.index), row["concept"]
    assert (known["probe_low"] <= known["probe_score"] + 1e-6).all()
    assert (known["probe_score"] <= known["probe_high"] + 1e-6).all()
    for control in ("shuffled_score", "untrained_score", "untrained_unit_score"):
        assert fitted[control].notna().mean() > 0.8, control
    segment = fitted[fitted["task"] == "segment"]
    assert segment["chance_score"].notna().all()
    assert segment["position_score"].notna().all()
    assert segment["colour_score"].between(0, 1).all()
    assert segment["plain_score"].mean() > segment["position_score"].mean()
    assert segment["probe_score"].mean() > segment["chance_score"].mean() + 0.05
    few = concepts[concepts["note"] == "too few examples"]
    assert len(few)
    assert few["probe_score"].isna().all()


def test_best_units_are_those_of_the_table_of_units(folder):
    units, concepts = table(folder, "units"), table(folder, "concepts")
    chosen = concepts[(concepts["task"] == "segment") & concepts["best_unit_score"].notna()]
    merged = chosen.merge(
        units, left_on=["model", "layer", "concept", "best_unit"],
        right_on=["model", "layer", "concept", "unit"],
    )  # fmt: skip
    assert len(merged) == len(chosen)
    np.testing.assert_allclose(merged["best_unit_score"], merged["iou_val"], atol=2e-3)


def test_neighbours_sums_and_distances(folder):
    nearest = table(folder, "nearest")
    assert (nearest["concept"] != nearest["neighbour"]).all()
    assert set(nearest["rank"]) == {1, 2, 3, 4, 5}
    sums = table(folder, "arithmetic")
    assert set(sums["plus"]) <= {"tree"}
    distances = table(folder, "distances")
    same = distances["model_i"] == distances["model_j"]
    assert (distances.loc[same, "distance"] == 0).all()
    assert (distances.loc[~same, "distance"] > 0).all()


def test_manifest_names_versions_fingerprints_and_steps(folder):
    manifest = json.loads((folder / "run" / "manifest.json").read_text())
    assert manifest["data"]["images"] == 80
    assert [m["name"] for m in manifest["models"]] == ["plain", "residual"]
    assert all(len(m["fingerprint"]) == 64 for m in manifest["models"])
    assert {"torch", "numpy", "conceptlab"} <= set(manifest["versions"])
    steps = manifest["steps"]
    assert {"plain features.17 dissect", "residual stages.2 classify"} <= set(steps)
    assert all(s["seconds"] >= 0 and s["peak_memory_mb"] > 0 for s in steps.values())


def test_report_stands_alone(folder):
    page = (folder / "run" / "report.html").read_text()
    assert not re.search(r'(src|href)\s*=\s*"(?!data:|#)', page)
    assert "http" not in re.sub(r"data:image/[a-z]+;base64,[A-Za-z0-9+/=]+", "", page)
    assert page.count("data:image/") > 20
    assert "scene/mountain" in page


@pytest.mark.slow
def test_a_second_run_computes_nothing_and_writes_the_same(folder):
    before = {p: p.stat().st_mtime_ns for p in (folder / "run" / "steps").rglob("step.json")}
    tables = {p.name: p.read_bytes() for p in (folder / "run" / "tables").iterdir()}
    assert run(
        "run", folder / "study.toml", "--out", folder / "run", "--cache", folder / "c", "--quiet"
    ) == 0  # fmt: skip
    after = {p: p.stat().st_mtime_ns for p in (folder / "run" / "steps").rglob("step.json")}
    assert before == after
    assert tables == {p.name: p.read_bytes() for p in (folder / "run" / "tables").iterdir()}


def test_report_is_drawn_again_from_the_folder_alone(folder, capsys):
    (folder / "run" / "report.html").unlink()
    assert run("report", folder / "run", "--json") == 0
    assert (folder / "run" / "report.html").is_file()
    assert json.loads(capsys.readouterr().out)["report"].endswith("report.html")


def test_units_of_the_run_can_be_summarized(folder, capsys):
    path = folder / "run" / "tables" / "units.csv"
    assert run("units", "summarize", path, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == ["rule", "threshold", "detectors", "unique_detectors", "unique_total"]
    assert found["unique_total"] == sum(found["unique_detectors"].values())


def test_wrong_input_is_one_sentence_and_code_2(folder, capsys):
    for words, said in (
        (("run", folder / "none.toml"), "cannot read the study file"),
        (("report", folder), "no run folder"),
        (("layers", "builtin:scenet"), "nearest: scenenet"),
        (("extract", "builtin:scenenet", "scenes:n=20", "-l", "features.99"), "features.9"),
        (("extract", "builtin:scenenet", "nowhere:x", "-l", "head"), "unknown data source"),
    ):
        assert run(*words) == 2
        captured = capsys.readouterr()
        assert said in captured.err
        assert captured.err.count("\n") == 1
        assert "Traceback" not in captured.err
