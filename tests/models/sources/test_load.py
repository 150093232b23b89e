"""Networks from all sources, with trained weights, with random ones, and with faults."""

import logging
import random

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from conceptlab.errors import InputError, ModelError
from conceptlab.models import load_model
from conceptlab.numerics.geometry import Geometry

FACTORY = """
import torch
from torch import nn

def make():
    torch.manual_seed(5)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    module.size, module.mean, module.std = 24, (0.1, 0.2, 0.3), [0.5, 0.5, 0.25]
    module.class_names = ["a", "b"]
    return module

def plain():
    return nn.Conv2d(3, 2, 1)

def text():
    return "no module"

def fails():
    raise KeyError("weights.pth")
"""


@pytest.fixture
def factory(tmp_path):
    (tmp_path / "mine.py").write_text(FACTORY)
    return tmp_path / "mine.py"


def weights_of(model):
    return {k: v.clone() for k, v in model.module.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def names_and_shares(model, folder):
    """The likeliest class of two photographs, and its share."""
    photos = [Image.open(folder / f"photos/{n}.jpg") for n in ("chelsea", "coffee")]
    with torch.inference_mode():
        shares, top = model.module(model.prepare(photos)).softmax(dim=1).max(dim=1)
    return [model.class_names[i] for i in top], shares.tolist()


def test_squeezenet_recognises_photographs(shared_data):
    model = load_model(
        "torchvision:squeezenet1_0",
        weights=str(shared_data / "squeezenet1_0_imagenet.safetensors"),
        fit="crop",
    )
    assert (model.name, model.preprocessing.geometry.size) == ("squeezenet1_0", 224)
    names, shares = names_and_shares(model, shared_data)
    assert names == ["Egyptian cat", "espresso"]
    assert shares[1] == pytest.approx(0.87, abs=0.01)


def test_mobilenet_recognises_photographs(shared_data):
    model = load_model(
        "torchvision:mobilenet_v2@IMAGENET1K_V1",  # only says the preprocessing; no download
        weights=str(shared_data / "mobilenet_v2_imagenet.safetensors"),
        fit="crop",
        mean=(0.5,) * 3,
        std=(0.5,) * 3,
    )
    assert model.preprocessing.geometry.resize == 256
    assert names_and_shares(model, shared_data)[0][1] == "espresso"
    # these weights come from a network that pads only at the right and bottom
    for part in model.module.modules():
        if isinstance(part, nn.Conv2d) and part.stride == (2, 2):
            part.padding = (0, 0)
            part.register_forward_pre_hook(lambda m, i: (functional.pad(i[0], (0, 1, 0, 1)),))
    names, shares = names_and_shares(model, shared_data)
    assert names == ["Egyptian cat", "espresso"]
    assert shares[1] == pytest.approx(0.95, abs=0.01)


def test_torchvisions_own_preprocessing():
    model = load_model("torchvision:efficientnet_b0")  # 224 of 256, bicubic weights' numbers
    geometry = load_model("torchvision:efficientnet_b0", fit="crop").preprocessing.geometry
    whole, crop = model.preprocessing.geometry, geometry
    assert whole == Geometry(224, interpolation="bicubic")  # theirs, which was left out before
    assert crop == Geometry(224, "crop", 256, "bicubic")
    assert model.preprocessing.mean == pytest.approx((0.485, 0.456, 0.406))
    assert len(model.class_names) == 1000
    half = load_model("torchvision:squeezenet1_1", fit="crop", size=112).preprocessing.geometry
    assert half.spec() == {"size": 112, "fit": "crop", "resize": 128}


def test_settings_replace_the_sources():
    model = load_model("builtin:scenenet", size=32, mean=(0.1, 0.2, 0.3), std=[1, 2, 3], fit="crop")
    assert model.preprocessing.spec() == {
        "geometry": {"size": 32, "fit": "crop", "resize": 32},
        "mean": [0.1, 0.2, 0.3],
        "std": [1.0, 2.0, 3.0],
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mean": (0.5,)}, "mean and std take three numbers"),
        ({"std": (0.5, 0.5, 0)}, "std above 0"),
        ({"std": (0.5, 0.5, float("inf"))}, "std is a list of finite numbers"),
        ({"mean": (float("nan"), 0, 0)}, "mean is a list of finite numbers"),
        ({"fit": "fill"}, "fit is one of whole, crop; got 'fill'"),
        ({"size": 0}, "an input size is at least 1 pixel"),
        ({"device": "cuda:77"}, "cannot run on device 'cuda:77'"),
        ({"device": "gpu"}, "cannot run on device 'gpu'"),
    ],
)
def test_settings_that_make_no_sense(options, message):
    with pytest.raises(InputError, match=message):
        load_model("builtin:scenenet", **options)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("resnet18", "a model is written SOURCE:NAME, with SOURCE one of builtin, file"),
        ("torchvision:", "a model is written SOURCE:NAME"),
        ("torchvison:resnet18", "unknown model source 'torchvison'; nearest: torchvision"),
        ("torchvision:resnet_18", "torchvision has no model 'resnet_18'; nearest: .*resnet18"),
        (
            "torchvision:resnet18@IMAGENET",
            "resnet18 has no weights 'IMAGENET'; (nearest|known): .*IMAGENET1K_V1",
        ),
        ("timm:vit_tinny", "timm has no model 'vit_tinny'; nearest"),
        ("timm:resnet18@best", "after timm:resnet18 comes @pretrained or nothing; got @best"),
        ("builtin:scenent", "there is no built-in network 'scenent'; nearest: scenenet"),
        ("file:mine.py", "write a model of your own as file:PATH.py:FACTORY"),
        ("file:nowhere/mine.py:make", "there is no file nowhere/mine.py"),
    ],
)
def test_names_that_do_not_exist(spec, message):
    with pytest.raises(InputError, match=message):
        load_model(spec)


def test_timm():
    model = load_model("timm:test_vit", seed=3)
    assert model.name == "test_vit"
    size = model.preprocessing.geometry.size
    assert size == model.module.pretrained_cfg["input_size"][-1]
    crop = load_model("timm:test_vit", fit="crop").preprocessing.geometry
    assert crop.resize == int(size / model.module.pretrained_cfg["crop_pct"])
    assert list(model.preprocessing.mean) == list(model.module.pretrained_cfg["mean"])
    assert model.layers()["shape"].notna().any()
    assert same(weights_of(model), weights_of(load_model("timm:test_vit", seed=3)))


def test_a_factory_of_ones_own(factory):
    model = load_model(f"file:{factory}:make")
    assert model.preprocessing.geometry.size == 24
    assert model.preprocessing.mean == (0.1, 0.2, 0.3)
    assert model.preprocessing.std == (0.5, 0.5, 0.25)
    assert model.class_names == ["a", "b"]
    assert model.name == "mine-make"
    assert not model.module.training
    assert model.activations(Image.new("RGB", (9, 9)), ["2"])["2"].shape == (1, 4, 22, 22)


def test_a_factorys_source_counts(factory):
    before = load_model(f"file:{factory}:make").fingerprint
    assert load_model(f"file:{factory}:make").fingerprint == before
    factory.write_text(FACTORY + "\n# scaled elsewhere\n")
    assert load_model(f"file:{factory}:make").fingerprint != before


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mak", r"mine\.py has no 'mak'; nearest: make"),
        ("torhc", r"mine\.py has no 'torhc'; known: make, plain, text, fails$"),
        ("text", r"text in .*mine\.py returns str, which is no torch\.nn\.Module"),
        ("fails", r"fails in .*mine\.py fails \(KeyError: 'weights\.pth'\)"),
    ],
)
def test_a_factory_that_fails(factory, name, message):
    with pytest.raises(ModelError, match=message):
        load_model(f"file:{factory}:{name}")


@pytest.mark.parametrize("content", ["def make(:\n", "import nothing_of_that_name\n", "exit(1)\n"])
def test_a_file_that_fails(factory, content):
    factory.write_text(content)
    with pytest.raises(ModelError, match=r"make in .*mine\.py fails"):
        load_model(f"file:{factory}:make")


def test_what_a_factory_prints_is_no_answer(tmp_path, capsys, monkeypatch):
    made = "\nprint('read')\ndef talk():\n    print('made')\n    return make()\n"
    (tmp_path / "talks.py").write_text(FACTORY + made)
    monkeypatch.setenv("HOME", str(tmp_path))
    load_model("file:~/talks.py:talk")
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("read\nmade\n")


def test_a_ready_module(factory):
    module = nn.Conv2d(3, 2, 1).train()
    model = load_model(module, size=8)
    assert model.module is module
    assert not module.training
    assert model.spec == "module:Conv2d"
    with pytest.raises(InputError, match="say the input size of the module"):
        load_model(module)


def test_weights_from_a_file(factory, tmp_path):
    trained = load_model(f"file:{factory}:plain", seed=9)
    save_file(trained.module.state_dict(), tmp_path / "w.safetensors")
    model = load_model(f"file:{factory}:plain", weights=str(tmp_path / "w.safetensors"))
    assert same(weights_of(model), weights_of(trained))
    with pytest.raises(ModelError, match="do not fit SceneNet: the file lacks"):
        load_model("builtin:scenenet", weights=str(tmp_path / "w.safetensors"))


@pytest.mark.parametrize("spec", ["builtin:scenenet", "torchvision:squeezenet1_0", "timm:test_vit"])
def test_untrained_is_another_network_by_seed(spec, tmp_path):
    model = load_model(spec, untrained=True, seed=1)
    assert model.name.endswith("-untrained")
    again, other = (weights_of(load_model(spec, untrained=True, seed=s)) for s in (1, 2))
    assert same(weights_of(model), again)
    assert not same(again, other)
    if spec.startswith("builtin"):
        trained = load_model(spec)
        assert not same(weights_of(trained), again)
        assert trained.fingerprint != model.fingerprint
        assert str(trained.module) == str(model.module)


def test_an_untrained_module_leaves_the_trained_one(factory):
    module = nn.Sequential(nn.Conv2d(3, 2, 1))
    before = module[0].weight.clone()
    model = load_model(module, size=8, untrained=True)
    assert torch.equal(module[0].weight, before)
    assert not torch.equal(model.module[0].weight, before)
    # a factory that seeds and fills its own weights is drawn anew as well
    made, drawn = (load_model(f"file:{factory}:make", untrained=u) for u in (False, True))
    assert not torch.equal(made.module[0].weight, drawn.module[0].weight)


def test_torchs_generator_is_left_alone(factory):
    torch.manual_seed(123)
    expected = torch.get_rng_state()
    numbers = random.getstate()
    for spec in ("builtin:scenenet", "torchvision:squeezenet1_0", f"file:{factory}:make"):
        load_model(spec, untrained=True, seed=7)
        assert torch.equal(torch.get_rng_state(), expected)
    with pytest.raises(ModelError):
        load_model(f"file:{factory}:fails")
    assert torch.equal(torch.get_rng_state(), expected)
    assert random.getstate() == numbers


def test_random_weights_are_warned_of(caplog):
    with caplog.at_level(logging.WARNING):
        load_model("torchvision:squeezenet1_0", untrained=True)
        load_model("builtin:scenenet")
        assert caplog.records == []
        load_model("torchvision:squeezenet1_0")
    assert "torchvision:squeezenet1_0 has random weights" in caplog.text


def test_the_source_of_a_ready_module_counts():
    """Two classes of one name with equal weights, that compute different things."""

    def first():
        class Net(nn.Module):
            def forward(self, x):
                return x

        return Net()

    def second():
        class Net(nn.Module):
            def forward(self, x):
                return x.relu()

        return Net()

    one, again, other = (load_model(make(), size=8) for make in (first, first, second))
    assert repr(one.module) == repr(other.module)
    assert one.fingerprint == again.fingerprint != other.fingerprint


def traced(module):
    return torch.jit.trace(module, torch.zeros(1, 3, 8, 8))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("script", [torch.jit.script, traced])
def test_torchscript_is_refused_in_a_sentence(script):
    with pytest.raises(ModelError, match="is a TorchScript network, whose layers cannot be read"):
        load_model(script(nn.Sequential(nn.Conv2d(3, 4, 3)).eval()), size=8)


def test_a_compiled_network_is_the_one_that_was_compiled():
    module = nn.Sequential(nn.Conv2d(3, 4, 3))
    model = load_model(torch.compile(module), size=8)
    assert model.layers()["layer"].tolist() == ["0"]
    assert model.module is module
