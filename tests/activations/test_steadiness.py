"""Networks that are random in evaluation mode, or give a picture what its batch makes of it."""

import numpy as np
import pytest
import torch
from torch import nn

import conceptlab as cl
from conceptlab.errors import ActivationError


class Net(nn.Module):
    """A convolution, something after it, and a head."""

    def __init__(self, after):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.after, self.head = nn.Conv2d(3, 8, 8, 8), after, nn.Linear(8, 4)

    def forward(self, x):
        return self.head(self.after(self.conv(x)).mean((2, 3)))


class Dropping(nn.Module):
    def forward(self, x):
        return nn.functional.dropout(x, 0.5, training=True)


class Stubborn(nn.BatchNorm2d):
    def train(self, mode=True):
        return super().train(True)


@pytest.fixture(scope="module")
def data():
    return cl.load_data("scenes:n=24")


def load(after):
    return cl.load_model(Net(after), size=64, mean=(0.5,) * 3, std=(0.5,) * 3)


def extract(model, data, folder, layer="after", batch_size=6):
    settings = {"cache": folder, "batch_size": batch_size, "dtype": "float32"}
    return cl.extract(model, data, [layer], **settings)[layer]


def test_what_is_random_is_refused_and_what_comes_before_it_is_not(data, tmp_path):
    model = load(Dropping())
    with pytest.raises(ActivationError, match=r"layer after of Net gives other values .* dropout"):
        extract(model, data, tmp_path)
    assert len(extract(model, data, tmp_path, "conv")) == 24


@pytest.mark.parametrize(
    "after",
    [Stubborn(8), nn.BatchNorm2d(8, track_running_stats=False)],
    ids=["stubborn", "none"],
)
def test_the_batch_is_part_of_the_key_where_it_counts(data, tmp_path, caplog, after):
    model = load(after)
    six = extract(model, data, tmp_path)
    assert "gives a picture other values in another batch" in caplog.text
    with torch.inference_mode():
        x = model.module.conv(model.prepare([data.image(i) for i in range(6)]))
        wanted = nn.functional.batch_norm(x, None, None, training=True)
    np.testing.assert_allclose(six.read(0, 6), wanted.numpy(), atol=1e-5)
    four = extract(model, data, tmp_path, batch_size=4)
    assert four.path != six.path
    assert np.abs(four.read(0, 4) - six.read(0, 4)).max() > 0.01
    assert extract(model, data, tmp_path).path == six.path
    caplog.clear()
    assert (
        extract(model, data, tmp_path, "conv").path
        == extract(model, data, tmp_path, "conv", batch_size=4).path
    )  # before the statistics, the batch does not count
    assert caplog.text == ""


def test_an_ordinary_network_has_no_batch_in_its_key(data, tmp_path, caplog):
    model = load(nn.BatchNorm2d(8))
    assert extract(model, data, tmp_path).path == extract(model, data, tmp_path, batch_size=4).path
    assert caplog.text == ""


@pytest.mark.filterwarnings("ignore:torch.ao.quantization is deprecated")
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_dynamic_quantization_takes_its_range_from_the_batch(data, tmp_path, caplog):
    plain = Net(nn.ReLU()).eval()
    module = torch.ao.quantization.quantize_dynamic(plain, {nn.Linear}, dtype=torch.qint8)
    model = cl.load_model(module, size=64, mean=(0.5,) * 3, std=(0.5,) * 3)
    assert len(extract(model, data, tmp_path)) == 24
    assert caplog.text == ""
    assert len(extract(model, data, tmp_path, "head")) == 24
    assert "quantization by the batch's range" in caplog.text
