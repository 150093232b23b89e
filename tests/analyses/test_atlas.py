"""What the atlas analyses measure, on planted cases, and both scripts on few pictures."""

import importlib
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.stats import spearmanr

import conceptlab as cl
from conceptlab.analysis.atlas.grid import Grid

FOLDER = Path(__file__).resolve().parents[2] / "analyses" / "atlas"
SCRIPTS = ("common", "scenes", "imagenet")
FOCUS = "traffic light and streetcar"
LAYOUT = cl.Layout("tsne", neighbours=6, grids=(2, 4), per_image=2)


@pytest.fixture(scope="module")
def scripts():
    """The scripts as modules; their short names are free again afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        for name in SCRIPTS:
            patch.delitem(sys.modules, name, raising=False)
        found = {name: importlib.import_module(name) for name in SCRIPTS}
        for name in SCRIPTS:
            del sys.modules[name]
        yield found


@pytest.fixture(scope="module")
def data():
    return cl.load_data("scenes:n=60,seed=0")


@pytest.fixture(scope="module")
def run(scripts, data, tmp_path_factory):
    """The atlases of all layers, and the script's tables, of 60 pictures."""
    folder = tmp_path_factory.mktemp("atlas")
    script, results = scripts["scenes"], scripts["common"].Results(folder / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(script, "EVERY", 24)
        patch.delitem(script.NETWORKS, "sceneres")
        found = list(script.places(data, LAYOUT, folder / "cache"))
        tables, views = {}, []
        for place in found:
            settings = cl.Synthesis(steps=12)
            view, own = script.looked_at(place, data, settings, results, 0)
            views.append(view)
            for name, table in own.items():
                tables.setdefault(name, []).append(table)
    results.write(tables)
    return found, tables, views, folder / "run"


def test_a_rank_correlation_with_its_p_value(scripts):
    goes_with = scripts["common"].goes_with
    draw = np.random.default_rng(5)
    a = draw.integers(0, 6, 40)
    b = a + draw.integers(0, 5, 40)
    found, p_value = goes_with(a, b, 0)
    assert found == pytest.approx(spearmanr(a, b).statistic)
    assert p_value == 1 / 10000
    weak = draw.permutation(b)
    found, p_value = goes_with(a, weak, 0)
    assert found == pytest.approx(spearmanr(a, weak).statistic)
    assert p_value == pytest.approx(spearmanr(a, weak).pvalue, abs=0.02)
    assert np.isnan(goes_with(a, np.ones(40), 0)).all()


@pytest.mark.slow
def test_the_truth_is_what_the_masks_and_labels_say(scripts, data, run):
    place = run[0][1]
    atlas, size = place.atlas, place.acts.shape[2:]
    truth = scripts["scenes"].Truth(data, atlas, size)
    names = data.catalogue["name"]
    for n in range(0, len(atlas.sample), 7):
        i, (y, x) = int(atlas.sample.images[n]), atlas.sample.places[n]
        assert truth.scene[n] in set(names[data.labels(i).image_concepts])
        here = {names[c] for c, mask in data.masks(i, size).items() if mask[y, x]}
        said = np.array(atlas.concepts)[truth.present[n]]
        assert {name.partition("/")[2] or name for name in said} <= here


def planted(attributions, scores):
    """A place whose atlas has two cells of three vectors, as far as the judges read it."""
    where, nearest = np.array([0, 1]), np.array([[0], [3]])
    grid = Grid(
        2, where, where, np.array([3, 3]), np.zeros((2, 1)), np.array(attributions),
        np.array(scores), nearest,
    )  # fmt: skip
    atlas = SimpleNamespace(
        classes=("beach", "forest"), concepts=("sea", "tree", "bird"), grids=(grid,),
        points=np.array([[0.1, 0.1]] * 3 + [[0.9, 0.9]] * 3),
    )  # fmt: skip
    found = np.array([True, True, False])
    return SimpleNamespace(of={"layer": "here"}, atlas=atlas, found=found), grid


TRUTH = SimpleNamespace(
    scene=["beach", "beach", "forest", "forest", "forest", "forest"],
    present=[[True, False, False]] * 3 + [[False, True, False]] * 2 + [[False, False, True]],
)


def test_classes_of_cells_beside_the_best_labelling_and_chance(scripts):
    judge, nothing = scripts["scenes"].classes_of, [[0.0] * 3] * 2
    place, grid = planted([[2, 1], [1, 2]], nothing)
    right = judge(place, TRUTH, grid, 0)
    assert right["classes"] == right["majority"] == pytest.approx(5 / 6)
    place, grid = planted([[1, 2], [2, 1]], nothing)
    wrong = judge(place, TRUTH, grid, 0)
    assert wrong["classes"] == pytest.approx(1 / 6)
    assert wrong["majority"] == pytest.approx(5 / 6)
    assert abs(right["chance"] - 0.5) < 0.2  # either dealing of two classes to two cells


def test_first_concepts_of_cells_beside_how_often_they_are_anywhere(scripts):
    place, grid = planted([[2, 1], [1, 2]], [[0.5, 0.2, np.nan], [0.1, 1.5, 2.0]])
    table = scripts["scenes"].concepts_of(place, TRUTH, grid).set_index(["among", "least"])
    assert table["cells"].tolist() == [2, 1, 2, 1]
    whole, clear = table.loc[("all", -np.inf)], table.loc[("all", 1.0)]
    assert whole["present"] == pytest.approx((1 + 1 / 3) / 2)  # sea, and bird
    assert whole["anywhere"] == pytest.approx((1 / 2 + 1 / 6) / 2)
    assert whole["more"] == 1
    assert clear["commonest"] == "bird"
    assert clear["present"] == pytest.approx(1 / 3)
    assert table.loc[("found", 1.0), "commonest"] == "tree"
    assert table.loc[("found", 1.0), "present"] == pytest.approx(2 / 3)


@pytest.mark.slow
def test_scenes_writes_what_it_says_and_keeps_to_its_bounds(run):
    found, tables, views, folder = run
    titles = ["scenenet features.8", "scenenet features.17", "untrained features.17"]
    assert [place.title for place in found] == titles
    assert [view["name"] for view in views] == [place.title for place in found]
    for name in tables:
        assert len(pd.read_csv(folder / "tables" / f"{name}.csv")) == sum(map(len, tables[name]))
    truth = pd.concat(tables["truth"])
    assert (truth["classes"] <= truth["majority"] + 1e-9).all()
    assert (truth["chance"] < truth["majority"]).all()
    assert (truth["vectors"] <= 120).all()
    own = truth.set_index(["network", "layer", "resolution"])["classes"]
    assert own["scenenet", "features.17", 4] > own["untrained", "features.17", 4]
    images = pd.concat(tables["images"])
    assert (images["beaten"] == (images["value"] > images["best"])).all()
    assert len(images) == sum(len(range(0, place.acts.shape[1], 24)) for place in found)
    assert (images["value"] > images["start"]).mean() > 0.9
    units, kinds = pd.concat(tables["units"]), pd.concat(tables["kinds"])
    assert units["units"].sum() == len(kinds)
    assert units["live"].sum() == (kinds["clusters"] > 0).sum()
    for place in found:
        with Image.open(folder / "figures" / f"atlas-{place.title.replace(' ', '-')}.png") as shown:
            assert len(shown.convert("L").getcolors()) > 20


@pytest.mark.slow
def test_atlases_are_compared_in_pairs(scripts, run):
    table = pd.concat(scripts["scenes"].compared(run[0], 0))
    assert len(table) == 3 * len(LAYOUT.grids)
    assert table["p_value"].between(0, 1).all()
    assert (table["adjusted"] <= 1).all()


def exemplar_table(images, target="unit 0"):
    return pd.DataFrame({"target": target, "image": [f"train/{name}" for name in images]})


def test_frames_of_one_film_close_by_are_repeats(scripts):
    names = ["0016E5_00390", "0016E5_00420", "0016E5_00900", "Seq05VD_f00400", "chelsea"]
    repeats = scripts["imagenet"].repeats
    assert repeats(exemplar_table(names)) == pytest.approx(2 / 4)
    assert repeats(exemplar_table(["0016E5_00390", "0016E5_00480", "0016E5_00570"])) == 1
    assert repeats(exemplar_table(["0016E5_00390", "0016E5_00481", "Seq05VD_f00390"])) == 0
    apart = [exemplar_table([name], f"unit {i}") for i, name in enumerate(names[:2])]
    assert repeats(pd.concat(apart)) == 0


@pytest.mark.slow
def test_inversions_are_nearer_from_early_layers(scripts, shared_data):
    script = scripts["imagenet"]
    network = script.Network.of("squeezenet", shared_data)
    network = replace(network, depths=("features.0", "features.12"))
    photos = [Image.open(shared_data / "photos" / f"{name}.jpg") for name in script.PHOTOS]
    images, table = script.inverted(network, photos, 40, 0)
    assert len(images) == 3 * len(photos)
    assert np.array_equal(images[0], network.small.decode(photos[0]))
    wide = table.pivot(index="photo", columns="layer", values="psnr")
    assert (wide["features.0"] > wide["features.12"] + 2).all()
    for i, name in enumerate(script.PHOTOS):
        error = (images[i].astype(float) - images[i + len(photos)]) ** 2
        assert wide.loc[name, "features.0"] == pytest.approx(-10 * np.log10(error.mean() / 255**2))


@pytest.mark.slow
def test_imagenet_from_few_frames_to_tables_and_page(scripts, shared_data, tmp_path, monkeypatch):
    script, folder = scripts["imagenet"], tmp_path / "data"
    for split in ("train", "val", "test"):
        frames = sorted((shared_data / "camvid" / "images" / split).iterdir())
        for frame in frames[:: len(frames) // 12 + 1]:
            for kind in ("images", "labels"):
                place = folder / "camvid" / kind / split
                place.mkdir(parents=True, exist_ok=True)
                source = next((shared_data / "camvid" / kind / split).glob(f"{frame.stem}*"))
                (place / source.name).symlink_to(source)
    for name in ("camvid/classes.csv", "photos", "squeezenet1_0_imagenet.safetensors"):
        (folder / name).symlink_to(shared_data / name)
    monkeypatch.setattr(script, "LAYOUT", replace(LAYOUT, per_image=4))
    monkeypatch.setattr(script, "FEW", (1, 2))
    monkeypatch.setattr(script, "UNITS", 2)
    monkeypatch.setattr(script, "LOGITS", script.LOGITS[:2])
    network = script.Network.of("squeezenet", folder)
    given = SimpleNamespace(data=folder, cache=tmp_path / "cache", seed=0, steps=6, optimised=False)
    results = scripts["common"].Results(tmp_path / "run")
    files = sorted([*folder.glob("camvid/images/*/*"), *folder.glob("photos/*.jpg")])
    data = script.pictures(files, tmp_path / "pictures")
    assert len(data) == len(files)
    acts = cl.extract(network.model, data, [network.layer], cache=given.cache)[network.layer]
    whole, views, tables = script.atlas_of(network, acts, data, given, results)
    assert len(whole.sample) == 4 * len(files)
    assert [view["name"] for view in views] == ["squeezenet", f"squeezenet: {FOCUS}"]
    difference = tables["classes"]["a"] - tables["classes"]["b"]
    assert np.allclose(difference, tables["classes"]["difference"])
    choices = script.exemplified(acts, 0).set_index("choose")
    assert choices.loc["top", "strength"] >= choices.loc["diverse", "strength"]
    assert choices.loc["diverse", "strength"] > choices.loc["range", "strength"]
    made, logits = script.of_classes(network, cl.Synthesis(steps=20), 0)
    assert (logits["value"] > logits["start"]).all()
    assert (logits["probability"] > 0.01).all()  # of 1000 classes
    assert logits["probability_larger"].between(0, 1).all()
    assert made.images.shape == (2, script.SIDE, script.SIDE, 3)
    page = cl.write_atlas(tmp_path / "atlas.html", views, "few")
    assert page.stat().st_size > 10_000
