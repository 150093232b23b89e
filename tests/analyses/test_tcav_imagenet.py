"""ImageNet networks on CamVid: what the labels are, what tints do, all of it on few frames."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageOps

import conceptlab as cl

FOLDER = Path(__file__).resolve().parents[2] / "analyses" / "tcav"


@pytest.fixture(scope="module")
def script():
    """The script as a module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        for name in ("imagenet", "frames"):
            patch.delitem(sys.modules, name, raising=False)
        found = importlib.import_module("imagenet")
        for name in ("imagenet", "frames"):
            del sys.modules[name]
        yield found


@pytest.fixture(scope="module")
def frames(script):
    return script.Frames.of(cl.load_data("scenes:n=60"), seed=3)


def test_much_is_more_than_the_median_frame_of_train_shows(frames):
    data, train = frames.pixels, frames.pixels.splits == "train"
    area = np.zeros((len(data), len(data.catalogue)))
    for i in range(len(data)):
        for concept, mask in data.masks(i).items():
            area[i, concept] = mask.sum() / mask.size
    want = [set(np.flatnonzero(row > np.median(area[train], axis=0))) for row in area]
    assert [set(frames.much.image_concepts(i)) for i in range(len(data))] == want
    assert list(frames.much.catalogue["name"]) == list(data.catalogue["name"])
    common = (area[train] > 0).mean(axis=0) > 0.9
    assert common.any()
    half = frames.much.concepts["n_train"].to_numpy()[common] / train.sum()
    assert (abs(half - 0.5) < 0.05).all()


def test_other_labels_serve_the_same_activations(frames):
    assert frames.much.fingerprint == frames.pixels.fingerprint == frames.random.fingerprint
    prints = {d.label_fingerprint for d in (frames.much, frames.pixels, frames.random)}
    assert len(prints) == 3
    assert np.asarray(frames.much.image(4)).tolist() == np.asarray(frames.pixels.image(4)).tolist()
    assert not frames.much.masks(0)


def test_random_sets_are_halves_that_depend_on_the_seed_alone(script, frames):
    share = frames.random.concepts[["n_train", "n_val", "n_test"]].sum(axis=1) / len(frames.pixels)
    assert abs(share - 0.5).max() < 4 * 0.5 / np.sqrt(len(frames.pixels))
    again = script.Frames.of(frames.pixels, seed=3).random
    other = script.Frames.of(frames.pixels, seed=4).random
    assert again.label_fingerprint == frames.random.label_fingerprint != other.label_fingerprint


@pytest.mark.parametrize("name", ["red", "yellow", "green", "blue"])
def test_a_tint_moves_a_picture_half_way_to_shades_of_its_colour(script, name):
    noise = np.random.default_rng(0).integers(0, 256, (8, 9, 3), dtype=np.uint8)
    picture, color = Image.fromarray(noise), script.TINTS[name]
    found = np.asarray(script.tinted(picture, color), float)
    grey = picture.convert("L")
    shades = np.asarray(ImageOps.colorize(grey, "black", "white", mid=color), float)
    assert abs(found - (noise + shades) / 2).max() <= 1
    middle = script.tinted(Image.new("RGB", (2, 2), (127, 127, 127)), color).getpixel((0, 0))
    target = np.array([int(color[k : k + 2], 16) for k in (1, 3, 5)])
    assert abs(np.array(middle) - (target + 127) / 2).max() <= 2


def test_the_pictures_of_a_class_are_the_frames_that_the_network_is_surest_of(script, frames):
    class Model:
        class_names = ("a", "b")

    held = frames.held_out
    lead = np.random.default_rng(0).normal(size=len(held))
    logits = 50 * np.ones((len(held), 2)) + np.random.default_rng(1).normal(size=(len(held), 1))
    logits[:, 1] += lead
    network = script.Network("none", Model(), (), logits)
    found = network.pictures(["b"], frames, 3)["b"]
    assert set(found.rows) == set(held[np.argsort(lead)[-3:]])


def test_families_are_means_of_sizes_and_nothing_for_concepts_not_chosen(script):
    at = {"network": "n", "layer": "l", "vectors": "cav-complement"}
    rows = [{**at, "class": k, "concept": c, "category": "x"} for k in "ab" for c in "pq"]
    used = pd.DataFrame(rows).assign(effect=[1.0, -2, -3, 4])
    parts = pd.DataFrame(rows[:1]).assign(share=-0.4)
    parts = pd.concat([parts, pd.DataFrame([{**rows[2], "concept": "residual", "share": 1.0}])])
    gone = pd.DataFrame(rows).assign(ablation="direction", logit_change=[1.0, 0, 0, -1])
    gone = pd.concat([gone, gone.assign(ablation="units", logit_change=9.0)])
    encoded = pd.DataFrame([{**at, "concept": c, "encoded": 0.5} for c in "pq"])
    found = script.families(encoded, used, parts, gone).set_index("concept")
    assert found["used"].tolist() == [2.0, 3.0]
    assert found["contributing"].tolist() == pytest.approx([0.2, 0.0])
    assert found["erased"].tolist() == [0.5, 0.5]


@pytest.fixture(scope="module")
def few(shared_data, tmp_path_factory):
    """A folder like the shared one with some of CamVid's frames."""
    place = tmp_path_factory.mktemp("few")
    for path in shared_data.iterdir():
        if path.name != "camvid":
            (place / path.name).symlink_to(path)
    for kind in ("images", "labels"):
        for split, step in (("train", 6), ("val", 20), ("test", 20)):
            folder = place / "camvid" / kind / split
            folder.mkdir(parents=True)
            for path in sorted((shared_data / "camvid" / kind / split).iterdir())[::step]:
                (folder / path.name).symlink_to(path)
    (place / "camvid" / "classes.csv").symlink_to(shared_data / "camvid" / "classes.csv")
    return place


@pytest.mark.slow
def test_all_tables_and_figures_of_one_layer(script, few, tmp_path):
    layer = "features.12"
    words = ["--data", few, "--out", tmp_path / "run", "--cache", tmp_path / "cache"]
    classes = {"streetcar", "traffic light"}
    words += ["--images", 4, "--networks", "squeezenet", "--layers", layer, "--classes", *classes]
    script.main([str(word) for word in words])
    tables = {p.stem: pd.read_csv(p) for p in (tmp_path / "run" / "tables").iterdir()}
    said = tables["predictions"]
    assert said["among_five"].sum() == 5 * said["n"].iloc[0]
    assert said["first"].sum() == said["n"].iloc[0]
    tcav = tables["tcav"]
    kinds = {"cav-complement", "cav-random", "segmentation", "classification"}
    assert set(tcav["vectors"]) == kinds
    for name in ("tcav", "decomposition", "erasure"):
        assert set(tables[name]["class"]) == classes
        assert set(tables[name]["layer"]) == {layer}
    told = tcav.dropna(subset=["score"])  # none where no gradient counts
    assert len(told) > len(tcav) / 4
    assert told[["low", "high"]].notna().all(axis=None)
    assert (told["low"] <= told["score"] + 1e-6).all()
    assert (told["score"] <= told["high"] + 1e-6).all()
    assert set(tables["random"]["category"]) == {"random"}
    parts = tables["decomposition"]
    own = parts[parts["vectors"] == "segmentation"].groupby("class")["contribution"].sum()
    at = tables["classes"].query("vectors == 'segmentation'").set_index("class")["logit"]
    assert own.to_dict() == pytest.approx(at.to_dict(), rel=1e-4)
    tints = tables["tints"]
    assert len(tints) == len(script.TINTS) * len(script.COLORED)
    strong = tints[tints["p_adjusted"] < 0.05]
    sure = strong[strong["truth"].abs() > 2 * strong["truth_error"]]
    assert len(sure)
    assert (np.sign(sure["sensitivity"]) == np.sign(sure["truth"])).mean() > 0.7
    photos = tables["photos"].groupby("photo")["class"].first()
    assert photos.to_dict() == script.PHOTOS
    figures = {p.stem for p in (tmp_path / "run" / "figures").iterdir()}
    drawn = {f"{name}-squeezenet-{layer}" for name in ("tcav", "families", "sankey")}
    assert figures == drawn | {"erasure-squeezenet", "photos-squeezenet"}
    for path in (tmp_path / "run" / "figures").iterdir():
        with Image.open(path) as picture:
            assert len(np.unique(np.asarray(picture.convert("L")))) > 20
