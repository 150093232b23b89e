"""Every command of the contract, on little data."""

import json

import pandas as pd
import pytest

from conceptlab.cli.entry import reorder

MODEL, DATA = "builtin:scenenet", "scenes:n=60"
LAYER = ("-l", "features.17")
STUDY = f"""
seed = 4
[data]
spec = "{DATA}"
[[models]]
spec = "{MODEL}"
layers = ["features.17"]
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder that the commands of this module share, with a cache."""
    return tmp_path_factory.mktemp("commands")


@pytest.fixture
def answer(conceptlab):
    """A function that runs a command with --json and gives the one line that it answers."""

    def run(*words):
        code, out, _ = conceptlab(*words, "--json")
        assert code == 0
        assert out.count("\n") == 1
        return json.loads(out)

    return run


def test_layers_says_shapes_and_bytes(conceptlab, answer):
    rows = {row["layer"]: row for row in answer("layers", MODEL)}
    assert rows["features.8"]["shape"] == [48, 16, 16]
    assert rows["features.8"]["bytes_per_image"] == 48 * 16 * 16 * 2
    some = answer("layers", MODEL, "-l", "features.1[0-9]", "-l", "features.8")
    assert [row["layer"] for row in some] == ["features.8"] + [
        f"features.{i}" for i in range(10, 18)
    ]
    code, out, _ = conceptlab("layers", MODEL, *LAYER)
    assert (code, len(out.splitlines())) == (0, 2)
    assert "(96, 8, 8)" in out


def test_a_table_has_all_its_rows_and_whole_numbers_look_whole(conceptlab, answer):
    rows = answer("layers", "torchvision:densenet121")
    _, out, _ = conceptlab("layers", "torchvision:densenet121")
    lines = out.splitlines()
    assert len(lines) == len(rows) + 1 == 433
    assert lines[1].split() == "features.conv0 Conv2d (64, 112, 112) 2 7 9408 1605632 1".split()
    assert lines[-1].split() == "classifier Linear (1000, 1, 1) - - 1025000 2000 1".split()


@pytest.mark.parametrize("group", [(), ("data",), ("probe",), ("cache",), ("units",)])
def test_the_list_of_commands_says_whole_sentences(conceptlab, monkeypatch, group):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = conceptlab(*group, "--help")
    assert code == 0
    assert "..." not in out.partition("Commands:")[2]


def test_data_describe_counts(conceptlab, answer):
    rows = answer("data", "describe", DATA)
    assert len(rows) == 116
    assert {"id", "name", "category", "level", "n_train", "n_val", "n_test"} <= set(rows[0])
    code, out, _ = conceptlab("data", "describe", DATA)
    assert code == 0
    assert out.startswith("scenes:n=60: 60 images (train ")


def test_data_validate_finds_nothing(conceptlab, answer):
    assert answer("data", "validate", DATA) == {"errors": 0, "problems": []}
    assert conceptlab("data", "validate", DATA)[:2] == (0, "0 errors, 0 remarks\n")


def test_data_prepare_keeps_label_maps(answer, place):
    said = answer("data", "prepare", DATA, "--size", 64)
    assert said == {"images": 60, "concepts": 116, "label_size": 32}
    assert list((place / "cache" / "labels").rglob("*.h5"))


def test_dry_run_says_bytes_and_writes_nothing(answer, tmp_path):
    cache = tmp_path / "none"
    said = answer("extract", MODEL, DATA, *LAYER, "--cache", cache, "--dry-run")
    sketch = 8 * 2 * 96 * 4 * 4 * 4  # what the layer gives for eight pictures
    assert said["bytes"] == said["missing_bytes"] == 60 * 96 * (8 * 8 * 2 + 4) + sketch
    assert said["expected_seconds"] >= 0
    assert said["free_bytes"] > 0
    assert said["layers"] == ["features.17"]
    assert not cache.exists()


def test_extract_caches_each_layer(conceptlab, answer, place):
    rows = answer("extract", MODEL, DATA, "-l", "features.8", *LAYER)
    assert [(r["layer"], r["shape"]) for r in rows] == [
        ("features.8", [60, 48, 16, 16]),
        ("features.17", [60, 96, 8, 8]),
    ]
    assert all((place / row["path"]).is_file() for row in rows)
    code, out, err = conceptlab("extract", MODEL, DATA, *LAYER, "--quiet")
    assert (code, err) == (0, "")
    assert out.startswith("features.17: [60, 96, 8, 8] float16 ")
    said = answer("extract", MODEL, DATA, *LAYER, "--dry-run")
    assert said["missing_bytes"] == said["expected_seconds"] == 0


def test_dissect_and_what_others_read_of_it(conceptlab, answer, place):
    rows = answer("dissect", MODEL, DATA, *LAYER, "--out", "d", "--netdissect-csv", "nd.csv")
    assert len(rows) == 116
    assert {"model", "layer", "concept", "category", "unit", "score"} <= set(rows[0])
    units = pd.read_csv(place / "d" / "tables" / "units.csv", keep_default_na=False)
    assert units.columns.tolist() == [
        "model", "layer", "unit", "concept", "category", "iou_train", "iou_val", "threshold",
    ]  # fmt: skip
    assert set(units["category"]) == {"object", "part", "material", "color"}  # what has pixels
    theirs = pd.read_csv(place / "nd.csv")
    assert theirs.columns[:4].tolist() == ["unit", "category", "label", "score"]
    assert len(theirs) == 96
    ours = answer("units", "summarize", "d/tables/units.csv")
    found = answer("units", "summarize", "nd.csv")
    for said in (ours, found):
        assert list(said) == ["rule", "threshold", "detectors", "unique_detectors", "unique_total"]
        assert (said["rule"], said["threshold"]) == ("every-category", 0.04)
        assert said["unique_total"] == sum(said["unique_detectors"].values()) > 0
    assert {k: found["detectors"][k] for k in ours["detectors"]} == ours["detectors"]
    best = answer("units", "summarize", "nd.csv", "--rule", "best-label", "--threshold", 0.1)
    assert (best["rule"], best["threshold"]) == ("best-label", 0.1)
    assert sum(best["detectors"].values()) <= sum(found["detectors"].values())
    code, out, _ = conceptlab("units", "summarize", "nd.csv")
    assert code == 0
    assert "unique_total: " in out


def test_image_level_concepts_have_rows_where_asked(answer, place):
    answer("dissect", MODEL, DATA, *LAYER, "--out", "i", "--image-level")
    units = pd.read_csv(place / "i" / "tables" / "units.csv")
    assert {"scene", "texture"} <= set(units["category"])
    best = pd.read_csv(next((place / "i" / "steps").rglob("best.csv"))).query("category == 'scene'")
    known = best[(best["n"] > 0) & (best["unit"] >= 0)]  # a unit is chosen on train
    assert len(known) > 0
    assert known["score"].notna().all()
    merged = best.merge(units, on=["concept", "unit"])
    assert merged.loc[merged["n"] > 0, "score"].equals(merged.loc[merged["n"] > 0, "iou_val"])


def test_scores_of_another_split_stand_under_its_name(answer, place):
    found = answer(
        "probe", "segment", MODEL, DATA, *LAYER, "--out", "other split", "--split", "test"
    )
    assert {row["split"] for row in found} == {"test"}
    tables = place / "other split" / "tables"
    units, concepts = (pd.read_csv(tables / f"{name}.csv") for name in ("units", "concepts"))
    assert [c for c in units.columns if c.startswith("iou_")] == ["iou_train", "iou_test"]
    assert concepts["n_val"].isna().all()
    n = {row["concept"]: row["n"] for row in found}
    assert dict(zip(concepts["concept"], concepts["n_test"], strict=True)) == n


def test_probes_share_a_run_folder_and_a_report_shows_it(conceptlab, answer, place):
    segment = answer("probe", "segment", MODEL, DATA, *LAYER, "--out", "p")
    classify = answer("probe", "classify", MODEL, DATA, *LAYER, "--out", "p")
    for rows in (segment, classify):
        assert len(rows) == 116
        assert {"concept", "score", "low", "high", "n", "n_train", "note"} <= set(rows[0])
    concepts = pd.read_csv(place / "p" / "tables" / "concepts.csv")
    assert concepts.columns[:11].tolist() == [
        "model", "layer", "task", "concept", "category", "n_train", "n_val", "best_unit",
        "best_unit_score", "probe_score", "train_score",
    ]  # fmt: skip
    assert set(concepts["task"]) == {"segment", "classify"}
    for task in ("unit", "segment", "classify"):
        assert (place / "p" / "vectors" / "scenenet" / "features.17" / f"{task}.h5").is_file()
    assert answer("report", "p") == {"report": "p/report.html"}
    assert (place / "p" / "report.html").stat().st_size > 10_000


def test_a_command_on_a_study_s_folder_keeps_the_sums_of_the_study(answer, place):
    text = '[data]\nspec = "x"\n[[models]]\nspec = "builtin:scenenet"\nlayers = ["a"]\n'
    (place / "s").mkdir()
    (place / "s" / "study.toml").write_text(text + '[compare]\narithmetic = ["grass - green"]\n')
    answer("probe", "classify", MODEL, "scenes:n=200", *LAYER, "--out", "s")
    sums = pd.read_csv(place / "s" / "tables" / "arithmetic.csv")
    assert set(sums["plus"]) == {"grass"}


def test_cache_ls_and_prune(conceptlab, answer, place):
    answer("extract", MODEL, DATA, *LAYER)
    rows = answer("cache", "ls")
    assert "features.17" in [row["layer"] for row in rows]
    assert all(row["complete"] == 1 for row in rows)
    path = next(row["path"] for row in rows if row["layer"] == "features.17")
    left = (place / path).with_name("features.17.h5.damaged-1")
    left.write_bytes(b"left")
    gone = answer("cache", "prune", "--dry-run")
    assert [row["reason"] for row in gone] == ["set aside as damaged"]
    assert gone[0]["path"].endswith(left.name)
    assert left.is_file()
    assert len(answer("cache", "prune")) == 1
    assert not left.exists()
    assert conceptlab("cache", "prune")[:2] == (0, "none\n")


@pytest.mark.parametrize("words", [("--json", "--quiet"), ("--quiet", "--json")])
@pytest.mark.parametrize("before", [True, False])
def test_options_of_every_command_stand_before_or_after(conceptlab, words, before):
    command = ["data", "validate", DATA]
    options = [*words, "--seed", "3", "--device=cpu"]
    code, out, err = conceptlab(*([*options, *command] if before else [*command, *options]))
    assert (code, err) == (0, "")
    assert json.loads(out) == {"errors": 0, "problems": []}


def test_reorder_leaves_what_stands_after_two_hyphens():
    assert reorder(["a", "--", "--json", "--seed", "1"]) == ["a", "--", "--json", "--seed", "1"]


def test_the_seed_of_the_command_line_goes_before_the_study_s(conceptlab, answer, place):
    (place / "seeded.toml").write_text(STUDY)
    assert answer("run", "seeded.toml", "--dry-run")["study"]["seed"] == 4
    said = answer("run", "seeded.toml", "--dry-run", "--seed", 0)
    assert (said["study"]["seed"], said["study"]["name"]) == (0, "seeded")
    assert said["extractions"][0]["bytes"] == 60 * 96 * (8 * 8 * 2 + 4) + 8 * 2 * 96 * 64
    code, out, _ = conceptlab("run", "seeded.toml", "--dry-run")
    assert code == 0
    assert "[dissect]\ntau = 0.005\n" in out
    assert not (place / "runs").exists()


@pytest.mark.slow
def test_demo(answer, place):
    said = answer("demo", "--images", 120, "--out", "demo")
    assert said["report"] == "demo/report.html"
    assert {row["model"] for row in said["summary"]} == {"scenenet", "scenenet-rotation"}
    assert {row["task"] for row in said["summary"]} == {"segment", "classify"}
    assert (place / "demo" / "manifest.json").is_file()
