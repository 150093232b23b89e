"""Made images beside the probe set: a literal comparison, and what is left out."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from conceptlab.analysis.units.optimised import BLOCK, against_probe
from conceptlab.synthesis.objectives import Direction, Logit, Neuron, Unit
from conceptlab.synthesis.settings import Synthesis
from conceptlab.synthesis.visualize import Visualizations, visualize


def made(objectives, values):
    table = pd.DataFrame(
        {
            "objective": [one.text for one in objectives],
            "layer": [", ".join(one.layers) for one in objectives],
            "start": 0.0,
            "value": values,
            "note": "",
        }
    )
    count = len(objectives)
    return Visualizations(
        np.zeros((count, 4, 4, 3), dtype=np.uint8), table, np.zeros((1, count)), tuple(objectives)
    )


def test_units_and_directions_meet_means_and_neurons_any_position(toy):
    _, acts = toy(images=BLOCK + 20)
    vector = np.linspace(-1, 1, acts.shape[1])
    asked = [Unit("layer", 2), Logit(0), Neuron("layer", 2), Neuron("layer", 5, (0, 0)),
             Unit("other", 1), Unit("layer", 0), Direction("layer", vector),
             Direction("layer", vector, cosine=1.0)]  # fmt: skip
    found = against_probe(made(asked, [0.1, 1.0, 99.0, 0.2, 5.0, 50.0, 1.0, 1.0]), acts)
    assert found["objective"].tolist() == [one.text for one in asked]
    values = acts.array.astype(np.float64)
    along = np.tensordot(values, vector, (1, 0)).mean(axis=(1, 2))
    each = {
        0: values[:, 2].mean(axis=(1, 2)), 2: values[:, 2].max(axis=(1, 2)),
        3: values[:, 5].max(axis=(1, 2)), 5: values[:, 0].mean(axis=(1, 2)), 6: along,
    }  # fmt: skip
    for row, means in each.items():
        assert_allclose(found["best"][row], means.max(), rtol=1e-3)
        assert found["image"][row] == acts.names[int(means.argmax())]
        assert found["beaten"][row] == (found["value"][row] > means.max())
    assert found["beaten"].tolist()[:4] == [False, pd.NA, True, False]
    known = found[found["best"] > 0]
    assert_allclose(known["ratio"], known["value"] / known["best"])


def test_of_other_objectives_nothing_is_known(toy):
    _, acts = toy()
    found = against_probe(made([Unit("other", 0), Logit(1)], [1.0, 2.0]), acts)
    assert found["best"].isna().all()
    assert found["beaten"].isna().all()
    assert (found["image"] == "").all()


@pytest.mark.slow
def test_images_of_units_beat_every_image_of_the_probe_set(tmp_path):
    import conceptlab as cl

    model = cl.load_model("builtin:scenenet")
    data = cl.load_data("scenes:n=60")
    acts = cl.extract(model, data, layers=["features.17"], cache=tmp_path)["features.17"]
    found = visualize(model, [Unit("features.17", u) for u in range(8)], Synthesis(steps=128))
    table = against_probe(found, acts)
    assert table["beaten"].sum() >= 7
    control = visualize(model, [Unit("features.17", u) for u in range(8)], Synthesis(steps=0))
    assert against_probe(control, acts)["beaten"].sum() == 0
