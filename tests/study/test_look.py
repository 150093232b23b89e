"""What layers respond to, as steps of a study: what they leave in a run folder."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from conceptlab.activations.store import Activations
from conceptlab.models import load_model
from conceptlab.study.kinds import extremes
from conceptlab.study.look import convolutions

LAYERS = [
    ("scenenet", "features.8"), ("scenenet", "features.17"), ("scenenet-second", "features.17"),
    ("sceneres", "stages.2"),
]  # fmt: skip


def table(studied, name):
    return pd.read_csv(studied / "tables" / f"{name}.csv", keep_default_na=False, na_values=[""])


def test_every_layer_has_pictures_and_every_network_its_filters(studied):
    found = table(studied, "pictures")
    at = list(found[["model", "layer"]].drop_duplicates().itertuples(index=False, name=None))
    assert set(at) == {*LAYERS, *((m, "all") for m in ("scenenet", "scenenet-second", "sceneres"))}
    own = found[(found["model"] == "scenenet") & (found["layer"] == "features.17")]
    assert set(own["kind"]) == {
        "exemplars-top", "exemplars-diverse", "exemplars-range", "optimised", "kinds",
    }  # fmt: skip
    every = found[found["layer"] == "all"]
    assert {"filters-features.0", "maps-features.17"} <= set(every["kind"])
    for path in found["picture"]:
        with Image.open(studied / path) as picture:
            assert picture.width > 100


def test_exemplars_of_all_units_and_fields_of_those_shown(studied):
    found, fields = table(studied, "exemplars"), table(studied, "fields")
    for model, layer in LAYERS:
        own = found[(found["model"] == model) & (found["layer"] == layer)]
        top = own[own["way"] == "top"]
        units = top["unit"].max() + 1
        assert len(top) == 3 * units
        assert len(own[own["way"] == "diverse"]) == len(own[own["way"] == "range"]) == 6
        shown = set(own.loc[own["way"] == "range", "unit"])
        some = fields[(fields["model"] == model) & (fields["layer"] == layer)]
        assert set(some["unit"]) == shown
        known = some.dropna()
        assert (known["field_px"] <= 1.2 * known["theoretical_px"]).all()


def test_images_are_measured_against_the_data_set(studied):
    found = table(studied, "images")
    assert len(found) == 2 * len(LAYERS)
    silent = found["value"] <= found["start"]  # a unit may take more than four steps to wake
    assert silent.sum() <= 1
    assert (found.loc[silent, "value"] == 0).all()
    (path,) = studied.parent.glob("cache/scenenet-*/*/features.8.h5")
    pooled = Activations(path).pooled
    own = found[(found["model"] == "scenenet") & (found["layer"] == "features.8")]
    units = own["objective"].str.rpartition(" ")[2].astype(int)
    np.testing.assert_allclose(own["best"], pooled[:, units].max(axis=0), rtol=1e-4)
    for path in own["picture"]:
        with Image.open(studied / path) as picture:
            assert picture.size == (64, 64)


def test_kinds_of_image_with_packed_concepts(studied):
    found, members = table(studied, "polysemanticity"), table(studied, "polysemanticity_members")
    for model, layer in LAYERS:
        own = found[(found["model"] == model) & (found["layer"] == layer)]
        assert own["unit"].tolist() == list(range(len(own)))
        assert own["packed"].notna().all()
        some = members[(members["model"] == model) & (members["layer"] == layer)]
        assert set(some["unit"]) == set(extremes(own, 2))
        assert all((studied / path).is_file() for path in some["picture"])
    pictures = table(studied, "polysemanticity_pictures")
    assert (pictures.groupby(["model", "layer", "unit"]).size() == 3).all()


def test_atlases_of_layers_and_of_the_classes_that_a_network_has(studied):
    cells = table(studied, "cells")
    at = cells[["model", "layer", "focus"]].fillna("").drop_duplicates()
    assert set(at.itertuples(index=False, name=None)) == {
        (model, layer, focus) for model, layer in LAYERS for focus in ("", "street")
    }
    assert set(cells["resolution"]) == {3, 6}
    assert (cells["n"] >= 2).all()
    assert cells["score"].notna().all()  # of the study's own segmentation vectors
    pairs = table(studied, "atlas_comparison")
    assert len(pairs) == 6 * 2  # of four layers, at two resolutions
    assert pairs["adjusted"].between(-1, 1).all()
    page = (studied / "atlas.html").read_text()
    assert "scenenet-second, features.17, street" in page
    drawn = list((studied / "figures").glob("atlas-*"))
    assert len(drawn) == 2 * 2 * len(LAYERS)  # PNG and PDF
    report = (studied / "report.html").read_text()
    assert 'href="atlas.html"' in report
    assert "Activation atlas of sceneres, stages.2" in report


def test_convolutions_that_lead_to_a_layer():
    model = load_model("builtin:scenenet")
    assert convolutions(model, ["features.0"]) == ["features.0"]
    first, last = convolutions(model, ["features.17"])
    assert first == "features.0"
    assert last.startswith("features.1")


@pytest.mark.parametrize(("count", "expected"), [(1, [2, 1]), (2, [2, 0, 3, 1]), (9, [2, 0, 3, 1])])
def test_extremes_are_the_most_single_minded_and_the_most_many_minded(count, expected):
    units = pd.DataFrame(
        {"unit": [0, 1, 2, 3, 4], "clusters": [1, 3, 1, 2, 0],
         "similarity": [0.2, 0.5, 0.9, 0.5, 0.0]}
    )  # fmt: skip
    assert extremes(units, count) == expected
