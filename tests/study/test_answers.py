"""The tables of a study that answer questions: as Python gives them, from the run's own files."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import conceptlab as cl
from conceptlab.analysis.comparison.compare import compare
from conceptlab.errors import InputError
from conceptlab.study.comparison import require_references
from conceptlab.study.run import run_study
from conceptlab.study.settings import CompareSettings
from conceptlab.study.studyfile import read_study
from tests.analysis.references.wordnet_files import write_wordnet

PLACES = [("scenenet", "features.8"), ("scenenet", "features.17"),
          ("scenenet-second", "features.17"), ("sceneres", "stages.2")]  # fmt: skip


@pytest.fixture
def tables(studied):
    return {p.stem: pd.read_csv(p) for p in (studied / "tables").glob("*.csv")}


def vectors(studied, task):
    return {
        f"{m} {n}": cl.ConceptVectors.load(studied / "vectors" / m / n / f"{task}.h5")
        for m, n in PLACES
    }


@pytest.mark.parametrize("task", ["segment", "classify"])
def test_every_measure_is_taken_between_all_embeddings(studied, tables, task):
    own = tables["comparison"]
    own = own[own["task"] == task]
    wanted = compare(vectors(studied, task), ["rsa-spearman", "cka-debiased"], draws=20)
    assert len(own) == len(wanted) == 2 * 6
    for column in ("value", "low", "high", "p_value", "items"):
        np.testing.assert_allclose(own[column], wanted[column], rtol=1e-4)
    assert list(own["model_i"] + " " + own["layer_i"]) == list(wanted["i"])


def test_activations_of_the_same_images_are_compared_too(studied, tables):
    own = tables["comparison"]
    own = own[own["task"] == "activations"]
    assert (own["over"] == "images").all()
    cache = studied.parent / "cache"
    layers = {
        f"{m} {n}": cl.Activations(next(cache.glob(f"{m}-????????/*/{n}.h5"))) for m, n in PLACES
    }
    wanted = compare(layers, ["rsa-spearman", "cka-debiased"], draws=0)
    np.testing.assert_allclose(own["value"], wanted["value"], rtol=1e-4)


def test_networks_are_zoomed_in_on_beside_their_runs(studied, tables):
    table = tables["zoom"].set_index("task")
    assert list(table.index) == ["segment", "classify"]
    assert table.loc["segment", ["runs_i", "runs_j"]].tolist() == [2, 1]
    own = vectors(studied, "segment")
    runs = [own["scenenet features.17"], own["scenenet-second features.17"]]  # both have it
    wanted = cl.zoom({"a": runs, "b": own["sceneres stages.2"]}, draws=0).whole
    assert table.loc["segment", "within"] == pytest.approx(wanted["within"].item(), rel=1e-4)
    assert len(tables["zoom_by_concept"]) > len(tables["zoom_by_category"]) > 2


def test_units_are_packed_and_vectors_have_distributions(studied, tables):
    packing = tables["packing"]
    sizes = packing.groupby(["model", "layer"], sort=False).size()
    assert sizes.tolist() == [48, 96, 96, 80]
    assert packing["packed"].sum() > packing["chance"].sum()
    pinned = tables["pinned"]
    assert set(pinned["task"]) == {"segment", "classify"}
    file = studied / "steps" / "sceneres" / "stages.2" / "resample" / "segment-draws.h5"
    found = cl.VectorDistribution.load(file)
    assert len(found) == 3
    own = pinned[(pinned["layer"] == "stages.2") & (pinned["task"] == "segment")]
    wanted = cl.pinned_down(found)
    np.testing.assert_allclose(own["reliability"], wanted["reliability"], atol=1e-4)


def test_overlap_is_that_of_the_runs_own_tables(studied, tables):
    units = tables["units"]
    own = units[(units["model"] == "sceneres")]
    found = tables["agreement"].query("model == 'sceneres'").set_index("concept")
    wanted = cl.unit_agreement(vectors(studied, "segment")["sceneres stages.2"], own)
    np.testing.assert_allclose(found["r"], wanted.set_index("concept")["r"], atol=2e-3)
    assert set(tables["agreement_by_layer"]["layer"]) == {n for _, n in PLACES}
    shares = tables["unit_shares"]
    assert shares.groupby(["model", "layer", "concept"]).size().max() == 10
    saturated = cl.saturation(tables["subsets"])
    np.testing.assert_allclose(tables["saturation"]["units"], saturated["units"], rtol=1e-3)


def test_the_best_layers_lie_on_a_plane(studied, tables):
    plane = tables["projection"]
    at = plane[(plane["model"] == "sceneres") & (plane["task"] == "segment")]
    found = vectors(studied, "segment")["sceneres stages.2"]
    wanted = cl.project(found.select(lambda _: found.usable), "tsne").table
    every = [n for n, used in zip(found.names, found.usable, strict=True) if used]
    assert list(at["concept"]) == every  # as all tables write them
    np.testing.assert_allclose(at["x"], wanted["x"], rtol=1e-3, atol=1e-3)
    assert at["cluster"].nunique() > 1


def test_neighbours_are_written_as_in_all_tables(studied, tables):
    nearest = tables["nearest"].query("model == 'sceneres' and task == 'segment'")
    found = vectors(studied, "segment")["sceneres stages.2"]
    name = nearest["concept"].iloc[0]
    own = nearest[nearest["concept"] == name]
    wanted = found.nearest(name, len(own))
    assert list(own["neighbour"]) == list(wanted["concept"])
    np.testing.assert_allclose(own["cosine"], wanted["cosine"], rtol=1e-4, atol=1e-5)


def test_the_report_has_them_and_says_when_measures_are_adequate(studied):
    page = (studied / "report.html").read_text()
    for text in ('id="overlap"', 'id="embedding"', "How many units a concept needs",
                 "Concepts packed into units", "Networks and training runs",
                 "When each measure is adequate", "Adequate where the pattern"):  # fmt: skip
        assert text in page, text


@pytest.mark.slow
def test_another_run_does_nothing_anew_but_what_changed(studied, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(studied, run)
    study = read_study(run / "study.toml")
    kept = {p: p.stat().st_mtime_ns for p in run.glob("steps/*/*/*/step.json")}
    changed = replace(study, compare=replace(study.compare, measures=("distance",)))
    run_study(changed, run, cache=studied.parent / "cache")
    again = {p for p, then in kept.items() if p.stat().st_mtime_ns != then}
    assert {p.parent.name for p in again} == {"compare"}
    assert set(pd.read_csv(run / "tables" / "comparison.csv")["measure"]) == {"distance"}
    manifest = json.loads((run / "manifest.json").read_text())
    assert "files" not in json.dumps(manifest["models"])  # no path of this machine


def answered(conceptlab, *words):
    code, out, err = conceptlab(*words, "--json")
    assert code == 0, err
    return pd.DataFrame(json.loads(out))


def test_run_folders_and_layers_of_the_cache_are_spaces_too(conceptlab, studied):
    found = answered(conceptlab, "compare", studied, "-m", "rsa-spearman", "--draws", "0")
    assert len(found) == 6
    assert "scenenet features.8" in set(found["i"])
    cache = studied.parent / "cache"
    layers = [next(cache.glob(f"{name}-*/*/{layer}.h5")) for name, layer in
              (("scenenet", "features.17"), ("sceneres", "stages.2"))]  # fmt: skip
    raw = answered(conceptlab, "compare", *layers, "-m", "cka", "--draws", "0")
    assert raw["over"].item() == "images"
    assert raw["items"].item() == 60


@pytest.mark.slow
def test_overlap_writes_what_a_study_writes(conceptlab, studied):
    kept = {n: (studied / "tables" / f"{n}.csv").read_text()
            for n in ("agreement", "saturation", "packing", "pinned")}  # fmt: skip
    code, out, _ = conceptlab("overlap", studied, "--json")
    assert code == 0
    found = json.loads(out)
    assert [row["layer"] for row in found["agreement_by_layer"]] == [
        "features.8", "features.17", "features.17", "stages.2",
    ]  # fmt: skip
    assert {row["task"] for row in found["saturation"]} == {"segment", "classify"}
    for name, text in kept.items():
        assert (studied / "tables" / f"{name}.csv").read_text() == text
    _, text, _ = conceptlab("overlap", studied)
    assert "share_holm" in text


@pytest.mark.parametrize(
    ("words", "said"),
    [((), "holds 4 embeddings; say which"),
     (("--task", "all"), "task is one of segment, classify, unit")],
)  # fmt: skip
def test_one_embedding_of_a_run_has_to_be_named(conceptlab, studied, words, said):
    code, out, err = conceptlab("nearest", studied, "sky", *words)
    assert (code, out) == (2, "")
    assert said in err.strip().splitlines()[-1]


def test_a_reference_that_is_not_there_stops_a_study_at_its_beginning(tmp_path, monkeypatch):
    monkeypatch.setenv("CONCEPTLAB_WORDNET", str(tmp_path / "none"))
    with pytest.raises(InputError, match="no WordNet in"):
        require_references(CompareSettings(wordnet="path"))
    monkeypatch.setenv("CONCEPTLAB_WORDNET", str(write_wordnet(tmp_path / "dict")))
    require_references(CompareSettings(wordnet="path"))
    with pytest.raises(InputError, match="cannot read the word vectors"):
        require_references(CompareSettings(words=str(tmp_path / "none.txt")))


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('[compare]\nmeasures = ["rsa"]', "measures is one of distance, rsa-pearson"),
        ('[compare]\nwordnet = "lin"', "wordnet is one of path, wup"),
        ("[compare]\ndraws = -1", "draws is at least 0"),
        ("[pack]\nleast = 1.5", "least is a share from 0 to below 1"),
        ("[resample]\ndraws = 1", "draws is 0, for none, or at least 2"),
        ("[resample]\nblock = 0", "block is at least 1"),
    ],
)
def test_settings_are_checked(tmp_path, table, said):
    path = tmp_path / "s.toml"
    model = '[[models]]\nspec = "builtin:scenenet"\nlayers = ["features.17"]\n'
    path.write_text(f'[data]\nspec = "scenes:n=60"\n{model}{table}\n')
    with pytest.raises(InputError, match=said):
        read_study(path)


def test_word_vectors_lie_beside_the_study(tmp_path):
    path = tmp_path / "s.toml"
    model = '[[models]]\nspec = "builtin:scenenet"\nlayers = ["features.17"]\n'
    path.write_text(f'[data]\nspec = "scenes:n=60"\n{model}[compare]\nwords = "w.txt"\n')
    assert read_study(path).compare.words == str(tmp_path / "w.txt")
