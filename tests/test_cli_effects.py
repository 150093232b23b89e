"""Commands that ask what concepts do to predictions: answers, and bad input."""

import json

import pandas as pd
import pytest

MODEL, DATA = "builtin:scenenet", "scenes:n=60"
FEW = ("--images", "4", "--examples", "10")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("effects")


@pytest.fixture
def conceptlab(conceptlab):
    """The same on a layer of the model."""

    def run(command, *words, layer="features.17"):
        return conceptlab(command, MODEL, DATA, "-l", layer, "--cache", "cache", *words)

    return run


def rows_of(answer):
    code, out, err = answer
    assert code == 0, err
    assert out.count("\n") == 1
    return pd.DataFrame(json.loads(out))


def test_tcav_says_every_class_and_concept(conceptlab, place):
    found = rows_of(
        conceptlab("tcav", "--class", "street", "--class", "beach=sea", *FEW, "--random", "8",
                   "--out", "run", "--json")
    )  # fmt: skip
    assert set(found["class"]) == {"street", "beach"}
    assert {"score", "magnitude", "p_value", "p_adjusted", "low", "high", "n"} <= set(found)
    assert (place / "run/figures/tcav-cav-scenenet-features.17.png").is_file()
    assert len(pd.read_csv(place / "run/tables/tcav.csv")) == len(found)
    again = conceptlab("tcav", "--class", "street", "--class", "beach=sea", *FEW, "--random", "8",
                       "--out", "run", "--json")  # fmt: skip
    pd.testing.assert_frame_equal(rows_of(again), found)
    code, out, _ = conceptlab("tcav", "--class", "street", *FEW, "--random", "8", "--out", "run")
    assert code == 0
    assert "tables/ has all" in out


def test_tcav_along_other_vectors(conceptlab, place):
    file = place / "run/vectors/scenenet/features.17/cav.h5"
    found = rows_of(
        conceptlab("tcav", "--class", "street", *FEW, "--random", "8", "--vectors", file,
                   "--out", "run", "--json")
    )  # fmt: skip
    assert set(found["kind"]) == {"cav", "cav cav"}
    assert not found.duplicated(["class", "concept", "kind"]).any()


def test_decompose_adds_up(conceptlab, place):
    found = rows_of(conceptlab("decompose", "--class", "street", *FEW, "--out", "run", "--json"))
    classes = pd.read_csv(place / "run/tables/decomposed_classes.csv")
    assert found["contribution"].sum() == pytest.approx(classes["logit"][0], rel=1e-4)
    assert (place / "run/figures/sankey-scenenet-features.17.png").is_file()


def test_erase_takes_named_concepts(conceptlab, place):
    found = rows_of(
        conceptlab("erase", "--class", "street", "--concept", "sky", *FEW, "--random", "8",
                   "--out", "run", "--json")
    )  # fmt: skip
    assert found["concept"].tolist() == ["sky", "sky"]
    assert found["ablation"].tolist() == ["direction", "units"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--class", "streat"), "nearest: street"),
        (("--class", "street", "--random", "1"), "one random counterpart cannot say"),
        (("--class", "street", "--classifier", "forest"), "classifier is one of"),
        (("--class", "street", "--against", "skyy"), "nearest: sky"),
        (("--class", "street", "--form", "whole"), "form is one of"),
        (("--class", "street", "--vectors", "no.h5"), "there is no file no.h5"),
        (("--class", "street=nothing"), "no concept 'nothing'"),
    ],
)
def test_wrong_input_is_one_sentence(conceptlab, words, sentence):
    code, out, err = conceptlab("tcav", *words)
    assert code == 2
    assert sentence in err
    assert err.count("\n") == 1
    assert "Traceback" not in err + out


def test_a_layer_without_a_way_to_the_output_is_refused(conceptlab):
    code, _, err = conceptlab("tcav", "--class", "street", layer="no.such")
    assert (code, err.count("\n")) == (2, 1)
    assert "no layer 'no.such'" in err
