"""Made images beside the probe set: a literal comparison, and what is left out."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from conceptlab.analysis.optimised import BLOCK, against_probe
from conceptlab.errors import InputError
from conceptlab.synthesis.objectives import Logit, Neuron, Unit
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


def test_units_meet_means_and_neurons_any_position(toy):
    _, acts = toy(images=BLOCK + 20)
    asked = [Unit("layer", 2), Logit(0), Neuron("layer", 2), Neuron("layer", 5, (0, 0)),
             Unit("other", 1), Unit("layer", 0)]  # fmt: skip
    found = against_probe(made(asked, [0.1, 1.0, 99.0, 0.2, 5.0, 50.0]), acts)
    assert found["objective"].tolist() == [asked[i].text for i in (0, 2, 3, 5)]
    assert found["unit"].tolist() == [2, 2, 5, 0]
    values = acts.array.astype(np.float64)
    for row, unit, pool in ((0, 2, np.mean), (1, 2, np.max), (2, 5, np.max), (3, 0, np.mean)):
        each = [pool(values[i, unit]) for i in range(len(acts))]
        assert_allclose(found["best"][row], max(each), rtol=1e-3)
        assert found["image"][row] == acts.names[int(np.argmax(each))]
    assert found["beaten"].tolist() == [False, True, False, True]
    assert_allclose(found["ratio"], found["value"] / found["best"])


def test_nothing_to_compare_is_an_error(toy):
    _, acts = toy()
    with pytest.raises(InputError, match="no image was made for a unit of layer"):
        against_probe(made([Unit("other", 0), Logit(1)], [1.0, 2.0]), acts)


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
