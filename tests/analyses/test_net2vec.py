"""The scripts of Net2Vec's tables and figures, on a small study of drawn scenes."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import conceptlab as cl
from conceptlab.study.settings import (
    ClassifySettings,
    CompareSettings,
    DataSettings,
    DissectSettings,
    ModelSettings,
    PackSettings,
    SegmentSettings,
    Study,
    read_study,
)

FOLDER = Path(__file__).resolve().parents[2] / "analyses" / "net2vec"
SCRIPTS = [*(f"table{i}" for i in (1, 2, 3)), *(f"figure{i}" for i in range(1, 11))]


@pytest.fixture(scope="session")
def studied(tmp_path_factory):
    """A run folder of two networks."""
    place = tmp_path_factory.mktemp("net2vec")
    study = Study(
        DataSettings("scenes:n=90"),
        tuple(
            ModelSettings(f"builtin:{name}", layers, name)
            for name, layers in (
                ("scenenet", ("features.8", "features.17")), ("sceneres", ("stages.2",)),
            )
        ),
        dissect=DissectSettings(permutations=0),
        segment=SegmentSettings(sizes=(1, 4), shuffle_control=False),
        classify=ClassifySettings(sizes=(1, 4), shuffle_control=False),
        compare=CompareSettings(
            untrained=False, measures=(), arithmetic=("grass - green", "sky - blue")
        ),
        pack=PackSettings(enabled=False),
    )  # fmt: skip
    cl.run_study(study, place / "run", cache=place / "cache")
    return place / "run"


@pytest.fixture
def script(monkeypatch, capsys):
    """A function that runs a script, and gives its exit code and what it says."""
    monkeypatch.syspath_prepend(str(FOLDER))

    def run(name, *words):
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *(str(w) for w in words)])
        code = 0
        try:
            runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
        except SystemExit as stopped:
            code = stopped.code
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_writes_tables_and_pictures(script, studied, tmp_path, name):
    code, out, err = script(name, studied, "--out", tmp_path)
    assert (code, err) == (0, err)
    written = sorted(Path(line) for line in out.splitlines())
    assert sorted(tmp_path.iterdir()) == written
    assert {path.suffix for path in written} == {".csv", ".png"}
    for path in written:
        assert path.name.startswith(name)
        if path.suffix == ".png":
            with Image.open(path) as picture:
                assert min(picture.size) > 60
                assert len(picture.convert("RGB").getcolors(1 << 24)) > 10
        else:
            assert len(pd.read_csv(path)) > 0


def test_without_out_they_lie_in_the_run_folder(script, studied):
    script("table1", studied)
    assert (studied / "net2vec" / "table1.csv").is_file()


def test_table_2_has_the_neighbours_of_both_tasks(script, studied, tmp_path):
    script("table2", studied, "--concept", "tree", "--concept", "sky", "--out", tmp_path)
    best = pd.read_csv(studied / "tables" / "concepts.csv")
    rows = best[(best["task"] == "segment") & (best["model"] == "scenenet")]
    layer = rows.groupby("layer")["probe_score"].mean().idxmax()
    vectors = cl.ConceptVectors.load(studied / "vectors" / "scenenet" / layer / "segment.h5")
    wanted = vectors.nearest("tree", 5)
    found = pd.read_csv(tmp_path / "table2-scenenet.csv")
    first = wanted.iloc[0]
    assert found["tree, segmentation"][0] == f"{first['concept']} ({first['cosine']:.2f})"
    assert len([c for c in found if c.startswith(("tree", "sky"))]) == 4


def test_figures_2_and_6_hold_means_over_the_same_concepts(script, studied, tmp_path):
    script("figure2", studied, "--out", tmp_path)
    script("figure6", studied, "--out", tmp_path)
    rows = pd.read_csv(studied / "tables" / "concepts.csv")
    rows = rows.dropna(subset=["probe_score", "best_unit_score"])
    own = rows[(rows["layer"] == "stages.2") & (rows["task"] == "segment")]
    own = own[own["category"] == "object"]
    for name in ("figure2", "figure6"):
        table = pd.read_csv(tmp_path / f"{name}.csv").set_index(["layer", "task", "category"])
        found = table.loc["stages.2", "segment", "object"]
        assert found["concepts"] == len(own)
        assert found["probe"] == pytest.approx(own["probe_score"].mean(), rel=1e-4)
        assert found["best_unit_error"] == pytest.approx(own["best_unit_score"].sem(), rel=1e-4)


def test_figure_3_takes_the_share(script, studied, tmp_path):
    script("figure3", studied, "--share", "0.5", "--out", tmp_path / "half")
    script("figure3", studied, "--out", tmp_path / "most")
    half, most = (
        pd.read_csv(tmp_path / name / "figure3-saturation.csv")["units"]
        for name in ("half", "most")
    )
    assert (half <= most).all()
    assert (half < most).any()


def test_figure_5_counts_every_unit_once(script, studied, tmp_path):
    script("figure5", studied, "--out", tmp_path)
    table = pd.read_csv(tmp_path / "figure5.csv")
    counts = table[table["task"] == "segment"].groupby("layer")["unit"].agg(["size", "nunique"])
    assert counts.loc["features.17"].tolist() == [96, 96]
    concepts = pd.read_csv(studied / "tables" / "concepts.csv")
    chosen = concepts[(concepts["task"] == "segment") & (concepts["best_unit"] >= 0)]
    assert table[table["task"] == "segment"]["concepts"].sum() == len(chosen)


def test_figure_9_correlates_units_and_weights(script, studied, tmp_path):
    script("figure9", studied, "--concept", "sky", "--out", tmp_path)
    shares = pd.read_csv(tmp_path / "figure9-sceneres.csv")
    assert set(shares["concept"]) == {"sky"}
    table = pd.read_csv(tmp_path / "figure9.csv").set_index(["layer", "concept"])
    r = np.corrcoef(np.maximum(shares["weight"], 0), shares["iou"])[0, 1]
    assert table.loc[("stages.2", "sky"), "r"] == pytest.approx(r, abs=1e-3)


def test_figure_10_puts_both_tasks_in_one_matrix(script, studied, tmp_path):
    script("figure10", studied, "--out", tmp_path)
    table = pd.read_csv(tmp_path / "figure10.csv")
    assert set(table["i"]) == {"scenenet-S", "sceneres-S", "scenenet-C", "sceneres-C"}
    parts = pd.read_csv(tmp_path / "figure10-categories.csv").set_index(["i", "j"])
    own = parts.loc[("scenenet-S", "sceneres-S")]
    wide = table.set_index(["i", "j"]).loc[("scenenet-S", "sceneres-S")]
    assert own["distance"].mean() < wide["distance"] < own["distance"].max() * wide["concepts"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("table1", "nowhere"), "nowhere is no run folder"),
        (("table2", "RUN", "--concept", "treee"), "no concept 'treee' here; nearest: tree"),
        (("table3", "RUN", "--sum", "grass - gren"), "no concept 'gren'"),
        (("figure3", "RUN", "--share", "7"), "share is a number above 0"),
        (("figure9", "RUN", "--concept", "skyy"), "no concept 'skyy'"),
        (("figure10", "RUN", "--words", "none.txt"), "cannot read the word vectors none.txt"),
    ],
)
def test_bad_input_is_one_sentence(script, studied, tmp_path, words, said):
    name, *rest = (studied if word == "RUN" else word for word in words)
    code, _, err = script(name, *rest, "--out", tmp_path)
    assert code == 2
    assert said in err
    assert err.strip().splitlines()[-1].startswith("error: ")


def test_a_table_that_a_run_lacks_is_named(script, studied, tmp_path):
    bare = tmp_path / "run"
    (bare / "tables").mkdir(parents=True)
    for name in ("table1", "figure3", "figure7"):
        code, _, err = script(name, bare)
        assert code == 2
        assert "has no tables/" in err
    code, _, err = script("figure1", bare)
    assert "has no example pictures" in err


def test_the_study_on_camvid_can_be_read():
    study = read_study(FOLDER / "study.toml")
    assert [model.title for model in study.models] == [
        "squeezenet", "mobilenet", "resnet20", "resnet56",
    ]  # fmt: skip


@pytest.mark.parametrize(("name", "layers"), [("resnet20", 20), ("resnet56", 56)])
def test_the_residual_networks_have_their_layers(name, layers):
    model = cl.load_model(f"file:{FOLDER / 'cifar_resnet.py'}:{name}")
    kinds = [type(m).__name__ for m in model.module.modules()]
    assert kinds.count("Conv2d") + kinds.count("Linear") == layers
    shapes = model.layers().set_index("layer")["shape"]
    assert [tuple(shapes[f"layer{i}"]) for i in (1, 2, 3)] == [(16, 32, 32), (32, 16, 16),
                                                              (64, 8, 8)]  # fmt: skip


@pytest.mark.parametrize("name", ["resnet20", "resnet56"])
def test_the_residual_networks_know_a_cat(shared_data, name):
    import torch

    weights = shared_data / f"{name}_cifar10.safetensors"
    model = cl.load_model(f"file:{FOLDER / 'cifar_resnet.py'}:{name}", weights=weights)
    with Image.open(shared_data / "photos" / "chelsea.jpg") as picture:
        small = picture.convert("RGB").resize((32, 32), Image.Resampling.BICUBIC)
    pixels = (np.asarray(small) / 255 - model.module.mean) / model.module.std
    with torch.no_grad():
        logits = model.module(torch.tensor(pixels.transpose(2, 0, 1)[None], dtype=torch.float32))
    chances = logits.softmax(1)[0]
    assert model.module.class_names[int(chances.argmax())] == "cat"
    assert float(chances.max()) > 0.99
