"""Networks that raise, or leave, in their forward pass: one sentence, and nothing is done."""

import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import conceptlab as cl
from conceptlab.cli import main
from conceptlab.errors import ModelError, UnfinishedError
from conceptlab.models.forward import PassFailed, forward


class Failing(nn.Module):
    """Fails from its pass number `after` on, in the way that is asked."""

    def __init__(self, how, after=0):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.how, self.after = nn.Conv2d(3, 4, 3), how, after
        self.passes = 0

    def forward(self, x):
        if self.passes >= self.after:
            self.how()
        self.passes += 1
        return self.conv(x)


def fail():
    raise KeyError("boom\nand more")


def leave():
    sys.exit(0)


def exhaust():
    raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")


@pytest.mark.parametrize(("how", "said"), [(fail, "KeyError: 'boom"), (leave, "SystemExit: 0")])
def test_the_network_and_its_input_are_named(how, said):
    wanted = r"Failing fails .* of 2 x \(3, 8, 8\) float32 values"
    with pytest.raises(PassFailed, match=wanted) as info:
        forward(Failing(how), torch.zeros(2, 3, 8, 8))
    assert said in str(info.value)


def test_memory_that_is_short_can_be_resumed():
    with pytest.raises(UnfinishedError, match="a smaller --batch-size"):
        forward(Failing(exhaust), torch.zeros(2, 3, 8, 8))


@pytest.mark.parametrize("how", [fail, leave])
def test_extraction_that_fails_is_no_extraction(how, tmp_path):
    data = cl.load_data("scenes:n=24")
    module = Failing(how, after=10**9)
    model = cl.load_model(module, size=64, mean=(0.5,) * 3, std=(0.5,) * 3)
    model.layers()
    small = {"cache": tmp_path, "batch_size": 4}
    module.passes, module.after = 0, 5  # sketches and two blocks pass
    with pytest.raises(ModelError, match=r"Failing fails .* for the images from"):
        cl.extract(model, data, ["conv"], **small)
    module.after = 10**9
    acts = cl.extract(model, data, ["conv"], **small)["conv"]
    wanted = model.activations([data.image(i) for i in range(len(data))], ["conv"])["conv"]
    np.testing.assert_allclose(acts.read(0, len(data)), wanted, atol=5e-3)


def test_the_command_line_ends_with_two(tmp_path, capsys):
    (tmp_path / "net.py").write_text(
        "import sys\nfrom torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n        self.conv = nn.Conv2d(3, 4, 3)\n"
        "    def forward(self, x):\n"
        "        if len(x) > 4:\n            sys.exit(0)\n"
        "        return self.conv(x)\n"
        "def make():\n    net = Net()\n    net.size = 32\n    return net\n"
    )
    spec = f"file:{tmp_path / 'net.py'}:make"
    words = ["extract", spec, "scenes:n=24", "-l", "conv", "--cache", str(tmp_path / "c")]
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "Net fails in its forward pass" in capsys.readouterr().err


def grey():
    return nn.Sequential(nn.Conv2d(1, 4, 3))


def fixed():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 62 * 62, 2))


@pytest.mark.parametrize(
    ("module", "hint"),
    [
        (grey(), r"it takes 1 channels: give as many numbers with --mean and --std$"),
        (fixed(), r"it runs on pictures of 64 x 64: give another size with --size$"),
        (Failing(fail), r"\(KeyError: .*\)$"),
    ],
)
def test_what_helps_is_found_by_trying(module, hint):
    model = cl.load_model(module, size=40)
    with pytest.raises(ModelError, match=hint):
        model.layers()


def test_early_stops_pass_through_networks_that_catch_everything():
    class Catching(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 3)

        def forward(self, x):
            try:
                y = self.conv(x)
            except Exception:
                y = torch.zeros(len(x), 4, 9, 9)
            return self.head(y)

    model = cl.load_model(Catching(), size=16)
    found = model.activations(Image.new("RGB", (16, 16), "red"), ["conv"])["conv"]
    assert found.shape == (1, 4, 14, 14)
