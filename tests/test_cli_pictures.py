"""Commands that show what a layer responds to: answers, and bad input."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from conceptlab.cli import main
from conceptlab.vectors import ConceptVectors

MODEL, DATA, LAYER = "builtin:scenenet", "scenes:n=60", "features.17"
GRID = ("--grid", "3", "--grid", "5", "--per-image", "4", "--method", "tsne")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("pictures")


@pytest.fixture
def conceptlab(conceptlab):
    """The same with the model, and data and a layer unless they are left out."""

    def run(command, *words, data=DATA, layer=LAYER):
        given = [command, MODEL, *([data] if data else []), *(("-l", layer) if layer else ())]
        return conceptlab(*given, "--cache", "cache", *words)

    return run


def rows_of(answer):
    code, out, err = answer
    assert code == 0, err
    assert out.count("\n") == 1
    return pd.DataFrame(json.loads(out))


def test_exemplars_of_units(conceptlab, place):
    found = rows_of(conceptlab("exemplars", "-u", "3", "-u", "7", "--count", "4", "--out", "run",
                               "--fields", "1", "--json"))  # fmt: skip
    assert len(found[found["way"] == "top"]) == 4 * 2  # of those that were asked for
    assert set(found.loc[found["way"] == "range", "unit"]) == {3, 7}
    top = found[(found["unit"] == 3) & (found["way"] == "top")]
    assert top["value"].is_monotonic_decreasing
    for way in ("top", "diverse", "range"):
        with Image.open(place / f"run/figures/exemplars-{way}-scenenet-{LAYER}.png") as picture:
            assert picture.width > 4 * 100
    kinds = set(pd.read_csv(place / "run/tables/pictures.csv")["kind"])
    assert {"filters-features.0", f"maps-{LAYER}"} <= kinds
    fields = pd.read_csv(place / "run/tables/fields.csv")
    assert fields["unit"].tolist() == [3, 7]
    code, out, _ = conceptlab("exemplars", "-u", "3", "--by", "0,1", "--choose", "top", "--out",
                              "corner")  # fmt: skip
    assert code == 0
    table = pd.read_csv(place / "corner/tables/exemplars.csv")
    assert (table["y"] == 0).all()
    assert (table["x"] == 1).all()
    assert "unit 3" in out


@pytest.fixture
def vectors(conceptlab, place):
    """A file of two vectors: a unit of the layer, and its negative."""
    rows_of(conceptlab("exemplars", "-u", "3", "--count", "1", "--choose", "top", "--out", "v",
                       "--json"))  # fmt: skip
    from conceptlab.activations.store import Activations

    (path,) = (place / "cache").glob(f"scenenet-*/*/{LAYER}.h5")
    weights = np.zeros((2, 96))
    weights[:, 3] = 1, -1
    names = pd.DataFrame({"name": ["three", "not three"], "category": "object"})
    made = ConceptVectors(weights, np.zeros(2), names, "cav", Activations(path).space())
    made.save(place / "two.h5")
    return place / "two.h5"


def test_exemplars_of_vectors(conceptlab, vectors):
    found = rows_of(conceptlab("exemplars", "--vectors", vectors, "--concept", "three", "--count",
                               "4", "--choose", "top", "--out", "vectors", "--json"))  # fmt: skip
    units = rows_of(conceptlab("exemplars", "-u", "3", "--count", "4", "--choose", "top", "--out",
                               "units", "--json"))  # fmt: skip
    assert found["target"].tolist() == ["three"] * 4
    assert found["image"].tolist() == units.loc[units["unit"] == 3, "image"].tolist()


def test_visualize_units_directions_classes_and_pictures(conceptlab, place, vectors):
    photo = place / "photo.png"
    Image.effect_mandelbrot((70, 50), (-2, -1, 1, 1), 20).convert("RGB").save(photo)
    found = rows_of(
        conceptlab("visualize", "-u", "3", "--vectors", vectors, "--class", "street", "--dream",
                   "--invert", photo, "--caricature", photo, "--steps", "6", "--out", "images",
                   "--json")
    )  # fmt: skip
    assert found["kind"].value_counts().to_dict() == {
        "optimised": 5, "inverted": 1, "caricatured": 1,
    }  # fmt: skip
    assert (found["value"] > found["start"]).all()
    for path in found["picture"]:
        with Image.open(place / "images" / path) as picture:
            assert picture.size == (64, 64)
    one = found[found["objective"] == f"{LAYER} unit 3"].iloc[0]
    best = pd.read_csv(place / "images/tables/images.csv").set_index("objective")["best"]
    assert best[one["objective"]] > 0
    assert (place / f"images/figures/inverted-scenenet-{LAYER}.png").is_file()


def test_visualize_needs_no_data_and_classes_no_layer(conceptlab, place):
    more = ("--steps", "4", "--out", "bare", "--json")
    units = rows_of(conceptlab("visualize", "--diverse", "2", "-u", "1", *more, data=None))
    assert units["objective"].tolist() == [f"{LAYER} unit 1"] * 2
    images = [np.asarray(Image.open(place / "bare" / path)) for path in units["picture"]]
    assert (images[0] != images[1]).any()
    alone = rows_of(conceptlab("visualize", "--class", "forest", *more, data=None, layer=None))
    assert "class forest" in set(alone["objective"])
    again = rows_of(conceptlab("visualize", "--class", "forest", *more[:3], "again", "--json",
                               data=None, layer=None))  # fmt: skip
    step = "steps/scenenet/classes/images-optimised/image-0000.png"
    assert len(again) == 1
    assert (place / "bare" / step).read_bytes() == (place / "again" / step).read_bytes()


def test_atlas_writes_its_page_and_cells(conceptlab, place):
    out = ("--class", "street", "--out", "map")
    code, said, err = conceptlab("atlas", *GRID, *out)
    assert code == 0, err
    assert "map/atlas.html" in said
    cells = pd.read_csv(place / "map/tables/cells.csv", keep_default_na=False)
    assert set(cells["resolution"]) == {3, 5}
    assert set(cells["focus"]) == {"", "street"}
    assert (cells["n"] >= 3).all()
    page = (place / "map/atlas.html").read_bytes()
    names = {path.name for path in (place / "map/figures").iterdir()}
    assert {f"atlas-scenenet-{LAYER}.png", f"atlas-scenenet-{LAYER}-street.pdf"} <= names
    shutil.rmtree(place / "map")
    rows_of(conceptlab("atlas", *GRID, *out, "--json"))
    assert (place / "map/atlas.html").read_bytes() == page  # the same seed gives the same page
    code, *_ = conceptlab("atlas", *GRID, *out, "--seed", "1")
    assert code == 0
    assert (place / "map/atlas.html").read_bytes() != page


def test_two_classes_are_compared_on_an_atlas_of_both(conceptlab, place):
    both = ("--class", "beach", "--class", "harbour")
    code, _, err = conceptlab("atlas", *GRID, *both, "--out", "two")
    assert code == 0, err
    table = pd.read_csv(place / "two/tables/atlas_classes.csv")
    assert set(table["class_a"] + table["class_b"]) == {"beachharbour"}
    np.testing.assert_allclose(table["difference"], table["a"] - table["b"], atol=1e-5)
    cells = pd.read_csv(place / "two/tables/cells.csv", keep_default_na=False)
    assert set(cells["focus"]) == {"", "beach", "harbour", "beach and harbour"}


def test_the_atlas_takes_the_concepts_that_a_run_folder_has_learned(conceptlab, place, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["probe", "segment", MODEL, DATA, "-l", LAYER, "--cache", "cache", "--out", "known"])
    assert stopped.value.code == 0
    capsys.readouterr()
    found = rows_of(conceptlab("atlas", *GRID, "--out", "known", "--json"))
    assert found["score"].notna().all()
    clear = found["score"] >= 1
    assert clear.any()
    assert (found["concept"].fillna("") != "")[clear].all()
    assert (found["concept"].fillna("") == "")[~clear].all()
    assert "sky" in (place / "known/atlas.html").read_text()


def test_pictures_without_labels_do(conceptlab, place):
    folder = place / "plain"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(12):
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)).save(folder / f"{i}.png")
    found = rows_of(conceptlab("atlas", "--grid", "2", "--per-image", "4", "--neighbours", "5",
                               "--out", "plainmap", "--json",
                               data=f"pictures:{folder}"))  # fmt: skip
    assert found["n"].sum() <= 48
    code, *_ = conceptlab("exemplars", "-u", "1", "--out", "plainlook", data=f"pictures:{folder}")
    assert code == 0


@pytest.mark.parametrize(
    ("command", "words", "sentence"),
    [
        ("exemplars", ("-u", "96"), "units 0 to 95; got 96"),
        ("exemplars", ("--choose", "best"), "choose is one of top, diverse, range"),
        ("exemplars", ("--by", "9,0"), "position (row, column) in the 8 x 8 map"),
        ("exemplars", ("--by", "median"), "by is 'max', 'mean', or a position"),
        ("exemplars", ("--concept", "sky"), "give it with --vectors"),
        ("exemplars", ("--vectors", "no.h5"), "no.h5"),
        ("visualize", ("-u", "96"), "96"),
        ("visualize", ("--class", "streat"), "nearest: street"),
        ("visualize", ("-u", "1", "--parameters", "waves"), "parameters is one of"),
        ("visualize", ("-u", "1", "--rate", "nan"), "rate is a finite number; got nan"),
        ("visualize", ("-u", "1", "--rate", "1e38", "--parameters", "free"), "lower the rate"),
        ("visualize", ("--invert", "no.jpg"), "no.jpg is missing"),
        ("atlas", ("--method", "pca"), "method is one of umap, tsne"),
        ("atlas", ("--icons", "emoji"), "icons is one of patches, optimised"),
        ("atlas", ("--neighbours", "100", *GRID[2:4]), "neighbours"),
        ("atlas", ("--least", "1000", *GRID), "no cell"),
        ("atlas", ("--class", "streat", *GRID), "nearest: street"),
        ("atlas", ("--vectors", "no.h5", *GRID), "no.h5"),
    ],
)
def test_wrong_input_is_one_sentence(conceptlab, command, words, sentence):
    code, out, err = conceptlab(command, *words, "--out", "wrong")
    assert code == 2, err + out
    assert sentence in err
    assert err.count("\n") == 1
    assert "Traceback" not in err + out


def test_a_layer_is_needed_for_all_but_classes(conceptlab):
    code, _, err = conceptlab("visualize", "-u", "3", layer=None)
    assert (code, err.count("\n")) == (2, 1)
    assert "name the layer with -l" in err
