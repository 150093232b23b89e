"""The caption experiment: what its pictures say, what reliance is, all scripts end to end."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import conceptlab as cl

FOLDER = Path(__file__).resolve().parents[2] / "analyses" / "tcav"
SCRIPTS = ("network", "captions", "train", "experiment")
PLACES = ["beach", "forest", "desert", "street"]
SETS = ["rho-0.00", "rho-1.00", "right", "wrong", "removed"]


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
def drawn(scripts, tmp_path_factory):
    """A run folder of few pictures."""
    place = tmp_path_factory.mktemp("tcav")
    scripts["captions"].main(
        [str(place), "--images", "120", "--probe", "200", "--levels", "0", "1"]
    )
    return place


@pytest.fixture(scope="session")
def run(scripts, drawn):
    """The same with two networks that learned little."""
    scripts["train"].main([str(drawn), "--epochs", "2", "--seeds", "1"])
    return drawn


@pytest.fixture
def data(drawn):
    """A function that gives a data set and its table of captions."""

    def opened(name):
        folder = drawn / "data" / name
        table = pd.read_csv(folder / "captions.csv", keep_default_na=False)
        found = cl.load_data(f"folder:{folder}")
        return found, table.set_index("image").loc[found.names]

    return opened


def captions_mask(data, i):
    """Where the labels of picture i are a caption, and of which class."""
    names = data.catalogue["name"]
    shown = {names[c]: m for c, m in data.masks(i).items() if names[c].startswith("caption-")}
    assert len(shown) <= 1
    return next(iter(shown.items()), ("", np.zeros((64, 64), bool)))


def pixels(data, i):
    return np.asarray(data.image(i)).astype(int)


@pytest.mark.parametrize("name", [*SETS, "probe"])
def test_the_data_sets_are_in_the_folder_format(data, name):
    found, table = data(name)
    assert not [p for p in found.validate() if p.severity == "error"]
    assert len(found) == (200 if name == "probe" else 120)
    scenes = found.catalogue["name"]
    shown = [[scenes[c] for c in found.labels(i).image_concepts] for i in range(len(found))]
    assert shown == [[place] for place in table["class"]]


@pytest.mark.parametrize("name", [*SETS, "probe"])
def test_masks_are_the_sticker_of_the_caption_that_the_table_names(data, scripts, name):
    found, table = data(name)
    side = scripts["captions"].STICKER
    for i, row in enumerate(table.itertuples()):
        concept, mask = captions_mask(found, i)
        assert concept == (f"caption-{row.caption}" if row.caption else "")
        want = np.zeros((64, 64), bool)
        if row.caption:
            want[row.top : row.top + side, row.left : row.left + side] = True
            sticker = scripts["captions"].sticker(PLACES.index(row.caption))
            assert (pixels(found, i)[want] == sticker.reshape(-1, 3)).all()
        assert (mask == want).all()


@pytest.mark.parametrize("name", ["rho-0.00", "rho-1.00", "right", "wrong"])
def test_without_caption_a_picture_differs_within_the_sticker_alone(data, name):
    (found, _), (bare, table) = data(name), data("removed")
    assert list(found.names) == list(bare.names)
    assert not table["caption"].any()
    for i in range(len(found)):
        _, mask = captions_mask(found, i)
        differs = (pixels(found, i) != pixels(bare, i)).any(axis=2)
        assert (differs == mask).all()
        assert mask.any()
        planes, plain = found.labels(i).planes, bare.labels(i).planes
        assert (planes[:, ~mask] == plain[:, ~mask]).all()


def test_right_and_wrong_captions(data):
    for name, right in (("right", True), ("rho-1.00", True), ("wrong", False)):
        _, table = data(name)
        assert ((table["caption"] == table["class"]) == right).all()
    _, table = data("wrong")
    assert set(table["caption"]) == set(PLACES)


def test_captions_of_the_probe_set_are_any_or_none_whatever_the_class(data):
    _, table = data("probe")
    share = table["caption"].value_counts(normalize=True)
    assert set(share.index) == {"", *PLACES}
    error = np.sqrt(0.2 * 0.8 / len(table))
    assert abs(share - 0.2).max() < 4 * error
    agree = (table["caption"] == table["class"]).mean()
    assert abs(agree - 0.2) < 4 * error


def test_rho_is_the_correlation_of_class_and_caption(scripts):
    captions, count = scripts["captions"], 1200
    blank, nothing = Image.new("RGB", (128, 128)), np.full((128, 128), -1)
    shown = [
        captions.shown(blank, nothing, i % 4, np.random.default_rng([5, i])) for i in range(count)
    ]
    place = np.array([picture.place for picture in shown])
    for rho in captions.LEVELS:
        choice = captions.choices([rho])[captions.level_name(rho)]
        said = np.array([choice(picture) for picture in shown])
        phi = [np.corrcoef(place == c, said == c)[0, 1] for c in range(4)]
        assert abs(np.mean(phi) - rho) < 4 * np.sqrt((1 - rho**2) / 3 / count) + 1e-9
        assert abs(np.bincount(said, minlength=4) / count - 0.25).max() < 0.05


def test_other_levels_and_seeds_draw_the_same_pictures_and_other_ones(scripts):
    pictures = scripts["captions"].pictures
    first, again, other = (list(pictures(6, seed)) for seed in (3, 3, 4))
    assert all((a.pixels == b.pixels).all() and a.luck == b.luck
               for a, b in zip(first, again, strict=True))  # fmt: skip
    assert not any((a.pixels == b.pixels).all() for a, b in zip(first, other, strict=True))


def one_hot(classes, height=2.0):
    return height * np.eye(4, dtype=np.float32)[classes]


def test_reliance_of_a_network_that_reads_captions_and_of_one_that_does_not(scripts):
    reliance = scripts["train"].reliance
    y = np.repeat(np.arange(4), 25)
    default = np.zeros_like(y)  # calls all pictures without a caption a beach
    reads = {"own": y, "right": y, "removed": default, "wrong": (y + 1) % 4}
    table = reliance({name: one_hot(said) for name, said in reads.items()}, y).set_index("class")
    assert table.loc["all", "reliance"] == pytest.approx(0.75)
    assert table.loc["all", "accuracy_wrong"] == 0
    assert table.loc["all", "logit_drop"] == pytest.approx(2 * 0.75)
    # the default class keeps its own pictures and takes all the others': half of it is lost too
    assert table.loc[PLACES, "reliance"].tolist() == pytest.approx([0.5] * 4)
    assert table.loc[PLACES, "logit_drop"].tolist() == pytest.approx([0, 2, 2, 2])
    sees = np.where(np.arange(100) % 5 == 0, 3, y)
    table = reliance({name: one_hot(sees) for name in reads}, y)
    assert (table["reliance"] == 0).all()
    assert (table["logit_drop"] == 0).all()
    assert table["accuracy_right"].iloc[0] == pytest.approx((sees == y).mean())


@pytest.mark.slow
def test_the_table_of_reliance_is_what_the_stored_networks_do(run, data, scripts):
    table = pd.read_csv(run / "tables" / "reliance.csv")
    assert list(table["class"]) == ["all", *PLACES] * 2
    assert table["n"].tolist() == 2 * [48, *table["n"][1:5]]
    for rho in (0.0, 1.0):
        weights = run / "weights" / f"rho-{rho:.2f}-seed-0.safetensors"
        model = cl.load_model(scripts["train"].SPEC, weights=weights)
        own = table[table["rho"] == rho].set_index("class")
        logits = {}
        for name in ("right", "removed", "wrong"):
            found, captions = data(name)
            rows = np.flatnonzero(found.splits == "test")
            y = np.array([PLACES.index(place) for place in captions["class"].iloc[rows]])
            with torch.inference_mode():
                said = model.module(model.prepare([found.image(i) for i in rows])).numpy()
            logits[name] = said[np.arange(len(y)), y]
            reached = (said.argmax(axis=1) == y).mean()
            assert own.loc["all", f"accuracy_{name}"] == pytest.approx(reached, abs=1e-6)
            hit = said.argmax(axis=1) == 2
            balanced = (hit[y == 2].mean() + (~hit[y != 2]).mean()) / 2
            assert own.loc["desert", f"accuracy_{name}"] == pytest.approx(balanced, abs=1e-6)
        drop = logits["right"] - logits["removed"]
        assert own.loc["all", "logit_drop"] == pytest.approx(drop.mean(), abs=1e-4)
        assert own.loc["street", "logit_drop"] == pytest.approx(drop[y == 3].mean(), abs=1e-4)


@pytest.mark.parametrize("name", ["train", "experiment"])
def test_another_folder_is_refused_in_a_sentence(scripts, tmp_path, name):
    with pytest.raises(SystemExit) as stopped:
        scripts[name].main([str(tmp_path)])
    assert str(tmp_path) in str(stopped.value)
    assert "\n" not in str(stopped.value)


@pytest.mark.slow
def test_a_network_relies_on_captions_that_say_all_and_not_on_those_that_say_nothing(
    scripts, tmp_path
):
    scripts["captions"].main(
        [str(tmp_path), "--images", "1000", "--probe", "10", "--levels", "0", "1"]
    )
    scripts["train"].main([str(tmp_path), "--epochs", "12", "--seeds", "1"])
    table = pd.read_csv(tmp_path / "tables" / "reliance.csv").set_index(["class", "rho"])
    assert abs(table.loc[("all", 0.0), "reliance"]) < 0.1
    assert table.loc[("all", 1.0), "reliance"] > 0.4
    assert table.loc[("all", 1.0), "accuracy_right"] > 0.9


@pytest.mark.slow
def test_the_experiment_asks_all_methods_of_all_networks(scripts, run):
    scripts["experiment"].main([str(run), "--images", "8", "--layers", "features.11", "hidden.1"])
    table = pd.read_csv(run / "tables" / "experiment.csv", keep_default_na=False, na_values=[""])
    roles = table.groupby(["rho", "layer", "class"])["role"].value_counts().unstack()
    assert len(roles) == 2 * 2 * 4
    assert (roles["own caption"] == 1).all()
    assert (roles["other caption"] == 3).all()
    assert (roles["own content"] >= 1).all()
    truth = pd.read_csv(run / "tables" / "reliance.csv").set_index(["rho", "class"])
    want = truth["reliance"].reindex(pd.MultiIndex.from_frame(table[["rho", "class"]]))
    assert (table["reliance"].to_numpy() == want.to_numpy()).all()
    measures = ["score", "effect", "share", "direction_logit_change", "units_logit_change"]
    assert np.isfinite(table[measures].to_numpy(float)).all()
    assert table["score"].between(0, 1).all()
    agreed = pd.read_csv(run / "tables" / "agreement.csv")
    assert set(agreed["layer"]) == {"features.11", "hidden.1"}
    own = table[(table["role"] == "own caption") & (table["layer"] == "hidden.1")]
    rank = own["direction_logit_change"].rank(), own["logit_drop"].rank()
    row = agreed[(agreed["layer"] == "hidden.1") & (agreed["measure"] == "direction_logit_change")]
    assert row["logit_drop"].iloc[0] == pytest.approx(-np.corrcoef(*rank)[0, 1], abs=1e-5)
    with Image.open(run / "experiment.png") as picture:
        values = np.asarray(picture.convert("L"))
    assert len(np.unique(values)) > 20
    assert 0.005 < (values < 250).mean()
