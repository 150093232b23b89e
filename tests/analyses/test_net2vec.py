"""Tables and figures of Net2Vec from a small run on drawn pictures, each number reckoned anew."""

import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from scipy.stats import pearsonr
from torch.nn import functional as F

from conceptlab.errors import ModelError
from conceptlab.models import load_model
from conceptlab.study.opening import open_model
from conceptlab.study.run import run_study
from conceptlab.study.studyfile import read_study
from conceptlab.vectors import ConceptVectors

FOLDER = Path(__file__).resolve().parents[2] / "analyses" / "net2vec"
SCRIPTS = [f"table{i}" for i in (1, 2, 3)] + [f"figure{i}" for i in range(1, 11)]
AT = ["model", "layer"]
STUDY = """
name = "small"
[data]
spec = "scenes:n=40"
[[models]]
name = "plain"
spec = "builtin:scenenet"
layers = ["features.8", "features.17"]
[[models]]
name = "residual"
spec = "builtin:sceneres"
layers = ["stages.2"]
[dissect]
permutations = 0
[segment]
sizes = [4]
min_examples = 5
shuffle_control = false
[classify]
sizes = [4]
min_examples = 5
shuffle_control = false
[compare]
arithmetic = ["sky + tree", "tree + sky - green"]
untrained = false
measures = []
draws = 0
[pack]
enabled = false
"""


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    place = tmp_path_factory.mktemp("net2vec")
    (place / "study.toml").write_text(STUDY)
    run_study(read_study(place / "study.toml"), place / "run", cache=place / "cache")
    return place / "run"


@pytest.fixture
def script(run, tmp_path, monkeypatch, capsys):
    """A function that runs a script on the run, and gives its CSVs by name."""

    def execute(name, *words, of=run):
        monkeypatch.syspath_prepend(str(FOLDER))
        monkeypatch.setattr(sys, "argv", [name, str(of), "--out", str(tmp_path), *map(str, words)])
        runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
        said = [Path(line.partition(": ")[0]) for line in capsys.readouterr().out.splitlines()]
        assert all(path.is_file() for path in said)
        pictures = [path for path in said if path.suffix == ".png"]
        assert pictures
        for path in pictures:
            require_drawn(path)
        return {p.stem: read(p) for p in said if p.suffix == ".csv"}

    return execute


def require_drawn(path):
    with Image.open(path) as picture:
        assert min(picture.size) > 100, path
        values = np.asarray(picture.convert("L"))
    assert len(np.unique(values)) > 20, path
    assert 0.005 < (values < 250).mean(), path


def read(path):
    return pd.read_csv(path, keep_default_na=False, na_values=["", "nan"])


def table(run, name):
    return read(run / "tables" / f"{name}.csv")


def vectors(run, model, layer, task):
    return ConceptVectors.load(run / "vectors" / model / layer / f"{task}.h5")


def rows_of(frame, **values):
    for column, value in values.items():
        frame = frame[frame[column] == value]
    return frame


def both_scores(run):
    return table(run, "concepts").dropna(subset=["probe_score", "best_unit_score"])


def places(frame):
    return list(dict.fromkeys(zip(frame["model"], frame["layer"], strict=True)))


def test_table_1_has_columns_of_the_tasks_that_were_done(run, monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    own = runpy.run_path(str(FOLDER / "table1.py"))
    done = read(run / "tables" / "concepts.csv")
    titles = [title for task, title in own["TASKS"].items() if (done["task"] == task).any()]
    assert 0 < len(titles) < len(own["TASKS"])
    assert list(own["layout"](own["shares"](done)).columns) == ["network", "layer", *titles]


def test_table_1_counts_concepts(run, script):
    made, concepts = script("table1"), both_scores(run)
    for row in made["table1"].itertuples():
        own = rows_of(concepts, model=row.model, layer=row.layer, task=row.task)
        wins = sum(p >= u for p, u in zip(own["probe_score"], own["best_unit_score"], strict=True))
        assert row.n_concepts == len(own)
        assert row.share_probe_at_least_unit == pytest.approx(wins / len(own), rel=1e-4)
    lost = concepts[concepts["probe_score"] < concepts["best_unit_score"]]
    assert list(made["table1-failures"]["concept"]) == list(lost["concept"])
    subsets = table(run, "subsets").dropna(subset=["score"])
    unit = concepts.set_index([*AT, "task", "concept"])["best_unit_score"]
    for row in made["table1-subsets"].itertuples():
        own = rows_of(subsets, model=row.model, layer=row.layer, task=row.task, units=row.units)
        keys = [(row.model, row.layer, row.task, c) for c in own["concept"]]
        wins = [s >= unit[k] for k, s in zip(keys, own["score"], strict=True) if k in unit.index]
        assert row.share_probe_at_least_unit == pytest.approx(np.mean(wins), rel=1e-4)


def nearest_by_hand(v, query, without, count=5):
    """'name (cosine)' of the nearest vectors, in a loop."""
    found = []
    for name, row in zip(v.names, v.weights, strict=True):
        if np.any(row) and name not in without:
            cosine = row @ query / np.linalg.norm(row) / np.linalg.norm(query)
            found.append((-cosine, name))
    return [f"{name} ({-cosine:.2f})" for cosine, name in sorted(found)[:count]]


def unit(v, name):
    row = v.weights[v.names.index(name)]
    return row / np.linalg.norm(row)


def test_table_2_has_both_spaces_of_the_best_layer(run, script):
    made = script("table2", "--concepts", "sky", "tree")["table2"]
    summary = rows_of(table(run, "summary"), task="segment")
    best = {m: own.loc[own["mean_probe"].idxmax(), "layer"] for m, own in summary.groupby("model")}
    assert dict(places(made)) == best
    for (model, layer, concept), own in made.groupby([*AT, "concept"]):
        for task, column in (("segment", "segmentation"), ("classify", "classification")):
            v = vectors(run, model, layer, task)
            if not v.usable[v.names.index(concept)]:
                assert (own[column] == "n/a").all()
            else:
                want = nearest_by_hand(v, unit(v, concept), [concept])
                assert [c.split(" (")[1] for c in own[column]] == [c.split(" (")[1] for c in want]
                assert own[column].iloc[0] == want[0]


def test_table_2_takes_the_best_concepts_with_both_vectors(run, script):
    made = script("table2")["table2"]
    for model, layer in places(made):
        names = list(rows_of(made, model=model, layer=layer)["concept"].drop_duplicates())
        usable = [vectors(run, model, layer, t) for t in ("segment", "classify")]
        both = set.intersection(*({n for n, u in zip(v.names, v.usable, strict=True) if u}
                                  for v in usable))  # fmt: skip
        score = rows_of(both_scores(run), model=model, layer=layer, task="segment")
        score = score[score["concept"].isin(both)].nlargest(5, "probe_score")
        assert names == list(score["concept"])


def test_table_3_adds_unit_vectors(run, script):
    made = script("table3")["table3"]
    assert set(made["sum"]) == {"sky + tree", "tree + sky - green"}
    for (model, layer, task), own in rows_of(made, sum="tree + sky - green").groupby([*AT, "task"]):
        v = vectors(run, model, layer, task)
        query = unit(v, "tree") + unit(v, "sky") - unit(v, "green")
        want = nearest_by_hand(v, query, ["tree", "sky", "green"])
        assert own["nearest"].iloc[0] == want[0]
    asked = script("table3", "--sums", "sky - tree", "--layer", "features.17")["table3"]
    assert set(asked["sum"]) == {"sky - tree"}
    assert places(asked) == [("plain", "features.17")]


def test_figure_1_lists_the_pictures_and_what_units_serve(run, script):
    made = script("figure1")["figure1"]
    assert (
        made.groupby([*AT, "unit"])["rank"].apply(list).map(lambda r: r == [1, 2, 3, 4, 5])
    ).all()
    concepts = rows_of(table(run, "concepts"), task="segment")
    for row in made.itertuples():
        own = rows_of(concepts, model=row.model, layer=row.layer, best_unit=row.unit)
        assert row.names == ", ".join(own["concept"])


@pytest.mark.parametrize(
    ("name", "csv"), [("figure2", "figure2"), ("figure6", "figure6-categories")]
)
def test_figures_2_and_6_are_means_and_standard_errors(run, script, name, csv):
    made, concepts = script(name)[csv], both_scores(run)
    assert made["concepts"].sum() == len(concepts)
    for row in made.itertuples():
        own = rows_of(concepts, model=row.model, layer=row.layer, task=row.task,
                      category=row.category)["probe_score"].to_numpy()  # fmt: skip
        assert row.mean_probe == pytest.approx(sum(own) / len(own), rel=1e-4)
        if len(own) > 1:
            error = np.sqrt(((own - own.mean()) ** 2).sum() / (len(own) - 1) / len(own))
            assert row.sem_probe == pytest.approx(error, rel=1e-4, abs=1e-9)


def test_figure_3_saturates_between_the_sizes_around_95_percent(run, script):
    made, subsets = script("figure3"), table(run, "subsets").dropna(subset=["score"])
    curves = made["figure3-means"]
    for row in made["figure3"].itertuples():
        if row.category == "all":
            continue
        own = rows_of(
            subsets, model=row.model, layer=row.layer, task=row.task, category=row.category
        )
        mean = {f: own.loc[own["units"] == f, "score"].mean() for f in sorted(set(own["units"]))}
        drawn = rows_of(
            curves, model=row.model, layer=row.layer, task=row.task, category=row.category
        )
        assert dict(zip(drawn["units"], drawn["score"], strict=True)) == pytest.approx(
            mean, rel=1e-4
        )
        floor = 0.5 if row.task == "classify" else 0.0
        if max(mean.values()) > floor:
            target = floor + 0.95 * (max(mean.values()) - floor)
            first = min(f for f, score in mean.items() if score >= target - 1e-9)
            before = max([f for f in mean if f < first], default=first)
            assert before <= row.units * 1.0001
            assert row.units <= first * 1.0001


def test_figure_4_shows_the_best_images_of_a_unit_that_is_shared(run, script):
    made, per_image = script("figure4")["figure4"], table(run, "per_image")
    concepts = rows_of(both_scores(run), task="segment")
    for (model, layer), rows in made.groupby(AT):
        own = rows_of(concepts, model=model, layer=layer)
        third = {}
        for k in set(own["best_unit"]):
            scores = sorted(rows_of(own, best_unit=k)["best_unit_score"], reverse=True)
            third[k] = scores[2] if len(scores) > 2 else -1.0
        k = rows["unit"].iloc[0]
        assert third[k] == max(third.values()) >= 0
        for concept, shown in rows.groupby("concept"):
            assert concept in set(rows_of(own, best_unit=k)["concept"])
            every = rows_of(per_image, model=model, layer=layer, concept=concept)["iou_unit"]
            assert list(shown["iou_unit"]) == sorted(every, reverse=True)[: len(shown)]


def test_figure_5_counts_every_unit_once(run, script):
    made, concepts = script("figure5"), table(run, "concepts").dropna(subset=["best_unit_score"])
    for (model, layer, task), rows in made["figure5"].groupby([*AT, "task"]):
        own = rows_of(concepts, model=model, layer=layer, task=task)
        served = [list(own["best_unit"]).count(k) for k in range(int(rows["units"].sum()))]
        assert rows["units"].sum() == vectors(run, model, layer, "unit").space.units
        for row in rows.itertuples():
            assert row.units == served.count(row.concepts)
            assert row.share == pytest.approx(row.units / len(served), rel=1e-4)


def test_figure_6_has_the_gain(run, script):
    made = script("figure6")["figure6"]
    summary = table(run, "summary")
    np.testing.assert_allclose(
        made["gain"], summary["mean_probe"] / summary["mean_unit"], rtol=1e-4
    )


def test_figure_7_counts_zeros_and_deciles_of_the_rest(run, script):
    made, per_image = script("figure7")["figure7"], table(run, "per_image")
    per_image = per_image.dropna(subset=["iou_unit", "iou_probe"])
    assert len(made) == len(per_image[[*AT, "concept"]].drop_duplicates())
    for row in made.iloc[::7].itertuples():
        values = rows_of(per_image, model=row.model, layer=row.layer, concept=row.concept)[
            "iou_probe"
        ]
        assert row.images == len(values)
        assert row.zeros_probe == pytest.approx(list(values).count(0) / len(values), rel=1e-4)
        if (values > 0).any():
            assert row.probe_50 == pytest.approx(values[values > 0].median(), rel=1e-4)


def test_figure_8_takes_an_image_at_each_decile(run, script):
    made, per_image = script("figure8", "--concepts", "sky")["figure8"], table(run, "per_image")
    for (model, layer), rows in rows_of(made, concept="sky").groupby(AT):
        every = rows_of(per_image, model=model, layer=layer, concept="sky")["iou_probe"]
        above = sorted(every[every > 0])
        for row in rows.itertuples():
            want = above[int(np.ceil(row.decile / 10 * len(above))) - 1]
            assert row.iou_probe == pytest.approx(want, rel=1e-4)


def test_figure_9_correlates_iou_with_positive_weights(run, script):
    made, units = script("figure9"), table(run, "units")
    found = made["figure9"]
    for row in found.iloc[::9].itertuples():
        v = vectors(run, row.model, row.layer, "segment")
        own = rows_of(units, model=row.model, layer=row.layer, concept=row.concept)
        weights = np.maximum(v.weights[v.names.index(row.concept)], 0)
        iou = own.sort_values("unit")["iou_val"].to_numpy()
        if np.isfinite(row.r):
            r, p = pearsonr(weights, iou)
            assert row.r == pytest.approx(r, abs=1e-4)
            # a correlation that rests on one unit has no t-test
            several = np.isfinite(row.p_value)
            assert several == (np.count_nonzero(weights) > 1)
            assert not several or row.p_value == pytest.approx(p, rel=0.02, abs=1e-6)
    for row in made["figure9-layers"].itertuples():
        own = rows_of(found, model=row.model, layer=row.layer).dropna(subset=["p_value"])
        assert row.share == pytest.approx((own["p_value"] < 0.01).mean(), rel=1e-4)
        assert row.share_holm <= row.share_bh <= row.share
    parts = made["figure9-units"].groupby([*AT, "concept"])["share_weight"].sum()
    np.testing.assert_allclose(parts, 1, rtol=1e-3)


def test_figure_10_is_the_formula(run, script, tmp_path):
    made = script("figure10")
    sources = made["figure10-spaces"]
    loaded = {r.name: vectors(run, r.model, r.layer, r.task)
              for r in sources.itertuples(index=False)}  # fmt: skip
    assert len(loaded) == 4
    shared = set.intersection(*({n for n, u in zip(v.names, v.usable, strict=True) if u}
                                for v in loaded.values()))  # fmt: skip
    names = [n for n in next(iter(loaded.values())).names if n in shared]
    cosines = {k: np.array([[unit(v, a) @ unit(v, b) for b in names] for a in names])
               for k, v in loaded.items()}  # fmt: skip
    for row in made["figure10"].itertuples():
        want = ((cosines[row.i] - cosines[row.j]) ** 2).sum()
        assert row.concepts == len(names)
        assert row.distance == pytest.approx(want, rel=1e-4, abs=1e-9)
    categories = table(run, "concepts").drop_duplicates("concept").set_index("concept")["category"]
    for row in made["figure10-categories"].iloc[::3].itertuples():
        own = [i for i, n in enumerate(names) if categories[n] == row.category]
        apart = ((cosines[row.i] - cosines[row.j]) ** 2).sum(axis=1)
        assert row.distance == pytest.approx(apart[own].mean(), rel=1e-4, abs=1e-9)


def test_figure_10_takes_word_vectors(script, tmp_path_factory):
    words = tmp_path_factory.mktemp("words") / "glove.txt"
    rng = np.random.default_rng(0)
    lines = [f"{w} " + " ".join(f"{x:.3f}" for x in rng.normal(size=8))
             for w in ("sky", "tree", "house", "cloud", "grass", "green", "blue")]  # fmt: skip
    words.write_text("\n".join(lines) + "\n")
    made = script("figure10", "--words", words)["figure10"]
    assert "words" in set(made["i"])
    assert made["concepts"].max() <= len(lines)


@pytest.mark.parametrize("name", SCRIPTS)
def test_another_folder_is_refused(script, tmp_path, name):
    with pytest.raises(SystemExit, match="is no run folder: it has no tables"):
        script(name, of=tmp_path)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("table2", "--concepts", "skyy"), "nearest: sky"),
        (("table3", "--sums", "tree + skyy"), "nearest: sky"),
        (("figure4", "--unit", "9999"), "unit 9999 of plain"),
        (("figure7", "--concepts", "skyy"), "nearest: sky"),
        (("figure8", "--layer", "features.71"), "nearest: features"),
        (("figure9", "--model", "plane"), "nearest: plain"),
        (("figure9", "--model", "residual", "--layer", "features.17"), "known: stages.2"),
        (("figure10", "--words", "nowhere.txt"), "nowhere.txt"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(script, words, said):
    with pytest.raises(SystemExit) as stopped:
        script(*words)
    assert said in str(stopped.value)
    assert "\n" not in str(stopped.value)


@pytest.mark.parametrize(
    ("missing", "name"), [("subsets", "figure3"), ("units", "figure9"), ("per_image", "figure7")]
)
def test_a_table_that_the_run_lacks_is_named(run, script, tmp_path_factory, missing, name):
    part = tmp_path_factory.mktemp("part")
    (part / "tables").mkdir()
    for path in (run / "tables").glob("*.csv"):
        if path.stem != missing:
            (part / "tables" / path.name).write_bytes(path.read_bytes())
    with pytest.raises(SystemExit, match=f"has no tables/{missing}.csv, which this needs"):
        script(name, of=part)


def test_a_fault_is_one_sentence_and_code_1(tmp_path):
    done = subprocess.run(
        [sys.executable, FOLDER / "figure2.py", tmp_path], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.startswith("figure2.py: ")
    assert done.stderr.count("\n") == 1


def forward(state, x, blocks):
    """The network of the weights' README, written out: option A shortcuts, no biases."""

    def norm(name, x):
        keys = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(x, *(state[f"{name}.{k}"] for k in keys))

    x = norm("bn1", F.conv2d(x, state["conv1.weight"], padding=1)).relu()
    for stage in (1, 2, 3):
        for block in range(blocks):
            at, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            out = F.conv2d(x, state[f"{at}.conv1.weight"], stride=stride, padding=1)
            out = norm(f"{at}.bn1", out).relu()
            out = norm(f"{at}.bn2", F.conv2d(out, state[f"{at}.conv2.weight"], padding=1))
            if stride == 2:
                zeros = torch.zeros(len(x), x.shape[1] // 2, *out.shape[2:])
                x = torch.cat([zeros, x[:, :, ::2, ::2], zeros], dim=1)
            x = (out + x).relu()
    return x.mean((2, 3)) @ state["linear.weight"].T + state["linear.bias"]


@pytest.mark.parametrize(("name", "blocks"), [("resnet20", 3), ("resnet56", 9)])
def test_cifar_networks_compute_what_their_weights_mean(shared_data, name, blocks):
    weights = shared_data / f"{name}_cifar10.safetensors"
    model = load_model(f"file:{FOLDER / 'cifar_resnet.py'}:{name}", weights=weights)
    with Image.open(shared_data / "photos" / "chelsea.jpg") as picture, torch.inference_mode():
        x = model.prepare([picture])
        logits = model.module(x)
        want = forward(load_file(weights), x, blocks)
    assert x.shape == (1, 3, 32, 32)
    torch.testing.assert_close(logits, want, rtol=1e-4, atol=1e-4)
    assert model.class_names[int(logits.argmax())] == "cat"
    assert model.preprocessing.mean == (0.485, 0.456, 0.406)


def test_weights_of_another_depth_are_refused(shared_data):
    with pytest.raises(ModelError, match=r"layer1\.3"):
        load_model(f"file:{FOLDER / 'cifar_resnet.py'}:resnet20",
                   weights=shared_data / "resnet56_cifar10.safetensors")  # fmt: skip


def test_the_study_names_data_networks_and_layers_that_are_there(shared_data):
    study = read_study(FOLDER / "study.toml")
    place = Path(study.data.spec.partition(":")[2].partition(",")[0])
    assert place.samefile(shared_data / "camvid")
    for settings in study.models:
        assert open_model(settings, 0).resolve(settings.layers) == list(settings.layers)
