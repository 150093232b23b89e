"""What goes wrong with exemplars, images by optimisation and atlases: a sentence, nothing lost."""

import hashlib
import resource
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from conceptlab.activations.extract import extract
from conceptlab.activations.patches import patches
from conceptlab.activations.sample import sample
from conceptlab.analysis.atlas.icons import patch_icons
from conceptlab.analysis.atlas.layout import Layout, atlas
from conceptlab.analysis.atlas.optimised_icons import optimised_icons
from conceptlab.analysis.units.exemplars import CHOICE, _strong, exemplars
from conceptlab.analysis.units.receptive_field import empirical_field
from conceptlab.cli import main
from conceptlab.data import load_data
from conceptlab.errors import CacheError, InputError, LayerError, ModelError
from conceptlab.models import load_model
from conceptlab.passes.tangent import Tangent
from conceptlab.synthesis.objectives import Direction, Logit, Neuron, Unit
from conceptlab.synthesis.settings import Synthesis
from conceptlab.synthesis.visualize import caricature, invert, visualize
from conceptlab.views.plots.exemplars import draw_exemplars
from tests.models.nets import Small, probed

TWO = Synthesis(steps=2)
NAMES = ["<img src=x onerror=alert(1)>", 'a, "b"', "new\nline", "ünï ☃", "quo'te", "=cmd", "&amp;"]
CLASSES = ['<script>alert("c")</script>, x', "two\nlines"]
FACTORY = f"""
import torch
from torch import nn

class Net(nn.Module):
    class_names = {CLASSES!r}

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Conv2d(3, 6, 3, padding=1)
        self.head = nn.Linear(6, 2)

    def forward(self, x):
        return self.head(self.layer(x).relu().mean(dim=(2, 3)))

def net():
    return Net()
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with pictures whose names are traps, and a network whose classes are."""
    folder = tmp_path_factory.mktemp("traps")
    (folder / "own").mkdir()
    random = np.random.default_rng(0)
    names = [*NAMES, *(f"plain{i}" for i in range(17))]
    for name in names:
        pixels = random.integers(0, 256, (4, 4, 3)).astype(np.uint8)
        Image.fromarray(pixels).resize((16, 16)).save(folder / "own" / f"{name}.png")
    modes = {"grey.png": "L", "ink.jpg": "CMYK", "clear.png": "RGBA", "wide.png": "RGB"}
    for name, mode in modes.items():
        size = (300, 1) if name == "wide.png" else (9, 9)
        Image.new("RGB", size, (200, 10, 60)).convert(mode).save(folder / "own" / name)
    (folder / "net.py").write_text(FACTORY)
    return folder


@pytest.fixture(scope="module")
def loaded(place):
    """The network, the pictures, and the layer's activations."""
    model = load_model(f"file:{place}/net.py:net", size=16)
    data = load_data(f"pictures:{place}/own")
    return model, data, extract(model, data, ["layer"], cache=place / "own cache")["layer"]


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    """Other pictures."""
    folder = tmp_path_factory.mktemp("others")
    for name in range(3):
        Image.new("RGB", (8, 8)).save(folder / f"{name}.png")
    return load_data(f"pictures:{folder}")


@pytest.fixture
def conceptlab(conceptlab):
    """The same on a network of pictures and a layer."""

    def run(command, *words):
        given = [command, "file:net.py:net", "pictures:own", "-l", "layer", "--size", "16"]
        return conceptlab(*given, "--cache", "cache", *words)

    return run


def test_equal_objectives_are_equal_whatever_their_numbers_are_made_of():
    one = np.int64(1)
    direction = np.ones(4)
    pairs = [
        (Unit("a", 1), Unit("a", one)),
        (Neuron("a", 1, (1, 1)), Neuron("a", one, np.array([1, 1]))),
        (Logit(1), Logit(one)),
        (Direction("a", direction, (1, 1), 2), Direction("a", direction, [one, one], 2.0)),
        (2 * Unit("a", 1), np.float32(2) * Unit("a", 1)),
        (0.5 * Unit("a", 1) - Logit("x"), Unit("a", 1) * np.float64(0.5) - Logit("x")),
    ]
    for plain, other in pairs:
        assert plain.digest() == other.digest()
    assert Unit("a", 1).digest() != Unit("a", 2).digest()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Unit("a", 2.5), "unit is a whole number; got 2.5"),
        (lambda: Unit("a", "3"), "unit is a whole number; got '3'"),
        (lambda: Logit(2.5), "which is a text or a whole number; got 2.5"),
        (lambda: Neuron("a", 1, (1,)), r"a position is \(row, column\)"),
        (lambda: Neuron("a", 1, (0.5, 1)), "position is a list of whole numbers"),
        (lambda: Direction("a", np.ones(4), "centre"), "position is a list of whole numbers"),
        (lambda: Direction("a", np.ones(4), None, np.nan), "cosine is a finite number; got nan"),
    ],
)
def test_what_is_no_objective_is_said_when_it_is_made(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()


def test_only_objectives_are_added_and_only_numbers_multiply():
    for wrong in (lambda: Unit("a", 1) + 3, lambda: Unit("a", 1) - "b", lambda: "b" * Unit("a", 1)):
        with pytest.raises(TypeError, match=r"unsupported operand|can't multiply"):
            wrong()


def test_numbers_and_pictures_that_make_no_sense_are_refused():
    model = probed(Small())
    for how, sentence in (
        ({"seed": -1}, "seed is a whole number of at least 0; got -1"),
        ({"seed": 0.5}, "seed is a whole number of at least 0; got 0.5"),
        ({"batch_size": 1.5}, "batch_size is a whole number; got 1.5"),
        ({"start": []}, "give at least one picture"),
    ):
        with pytest.raises(InputError, match=sentence):
            visualize(model, Unit("second", 1), TWO, **how)
    with pytest.raises(InputError, match="give at least one objective"):
        visualize(model, None, TWO)
    for changed in (invert, caricature):
        with pytest.raises(InputError, match="give at least one picture"):
            changed(model, [], "second", TWO)


class Flat(Small):
    """One that takes 8 x 8 pixels alone."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(5 * 64, 2)

    def forward(self, x):
        return self.head(self.second(self.relu(self.first(x))).flatten(1))


def test_the_size_that_a_network_takes_is_advised_only_where_it_is_another():
    takes = r"choose a size that it takes, such as its own, 8, with octaves=1"
    with pytest.raises(ModelError, match=takes):
        visualize(probed(Flat()), Logit(1), Synthesis(steps=1, octaves=2))
    with pytest.raises(ModelError, match=r"12 x 12 pixels .*choose a size that it takes$"):
        visualize(probed(Flat(), size=12), Logit(1), TWO)


def test_nan_says_where_it_came_and_what_to_change():
    broken = Small()
    with torch.no_grad():
        broken.second.bias[3] = torch.nan
    with pytest.raises(ModelError, match="starts from: check the weights and the preprocessing"):
        visualize(probed(broken), Unit("second", 3), TWO)
    wild = Synthesis(steps=9, rate=1e38, parameters="free")
    with pytest.raises(ModelError, match=r"unit 1 is nan at step \d: lower the rate, which is 1e"):
        visualize(probed(Small()), Unit("second", 1), wild)


def test_other_pictures_than_those_of_the_activations_are_never_shown(loaded, others):
    _, _, acts = loaded
    found = exemplars(acts, [1], count=2)
    one, at = np.array([0]), np.array([[0, 0]])
    for show in (
        lambda: patches(acts, others, one, at),
        lambda: found.patches(others),
        *(lambda s=s: draw_exemplars(found, others, show=s) for s in ("masked", "whole", "patch")),
    ):
        with pytest.raises(InputError, match="made from other pictures"):
            show()


def test_samples_and_fields_refuse_numbers_that_make_no_sense(loaded):
    model, data, acts = loaded
    for how, sentence in (
        ({"per_image": 1.5}, "per_image is a whole number; got 1.5"),
        ({"seed": -1}, "seed is a whole number of at least 0; got -1"),
        ({"seed": 0.5}, "seed is a whole number of at least 0; got 0.5"),
    ):
        with pytest.raises(InputError, match=sentence):
            sample(acts, **how)
    found = exemplars(acts, [1], count=1)
    with pytest.raises(InputError, match="batch_size is a whole number of at least 1"):
        empirical_field(model, data, found, batch_size=0)


def test_exemplars_say_where_there_is_no_room(loaded):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))  # bytes of a file
    try:
        with pytest.raises(CacheError, match=r"no room for .* free some, or name another folder"):
            exemplars(loaded[2])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(exemplars(loaded[2], count=2)) == 2 * 6


def test_diverse_exemplars_are_chosen_among_so_many_however_many_there_are():
    values = np.linspace(1, 0, 10**6, dtype=np.float32)
    assert _strong(values, 9) == CHOICE
    assert _strong(values, CHOICE) == 10 * CHOICE  # what is asked for counts for more
    assert _strong(values[:1000], 1) == 50


def test_vectors_that_are_all_zero_are_left_out(place):
    module = load_model(f"file:{place}/net.py:net").module
    rectified = nn.Sequential(module.layer, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with torch.no_grad():
        module.layer.weight[:], module.layer.bias[:] = 0.2, 0.0
        module.layer.weight[:, 0] = 0.7
    model = probed(rectified, size=16)
    data = load_data(f"pictures:{place}/own")
    acts = extract(model, data, ["1"], cache=place / "zero cache")["1"]
    drawn = sample(acts, 4)
    alive = drawn.values.any(axis=1)
    assert 5 < alive.sum() < len(drawn)
    found = atlas(acts, layout=Layout("tsne", 5, grids=(1, 2), per_image=4))
    assert np.array_equal(found.sample.values, drawn.values[alive])
    made = optimised_icons(found, model, patch_icons(found, acts, data), steps=1)
    assert [len(own.icons) for own in made] == [len(grid) for grid in found.grids]


class Classed(nn.Module):
    """A token of the class before four of the picture, and a head that reads the first alone."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.class_token = nn.Parameter(torch.randn(1, 1, 4))
        self.cut = nn.Conv2d(3, 4, 4, stride=4)
        self.join = nn.Identity()
        self.mix = nn.Linear(5, 5)
        self.last = nn.Identity()
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        tokens = self.cut(x).flatten(2).transpose(1, 2)
        tokens = self.join(torch.cat([self.class_token.expand(len(x), -1, -1), tokens], 1))
        mixed = self.mix(tokens.transpose(1, 2)).transpose(1, 2)
        tokens = self.last(tokens + mixed / 4)
        return self.head(tokens[:, 0])


def test_a_map_that_the_scores_do_not_read_is_no_attribution_of_zero():
    model = probed(Classed())
    assert Tangent(model, "join").classes == 2
    with pytest.raises(LayerError, match="class token of layer last and nothing of its map"):
        Tangent(model, "last")


class Seen(HTMLParser):
    """The elements of a page and their attributes."""

    def __init__(self, page):
        super().__init__()
        self.scripts, self.handlers = 0, []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.scripts += tag == "script"
        self.handlers += [name for name, _ in attrs if name.startswith("on")]


def contents(folder):
    """The digest of every file, beside the records of when it was made."""
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(Path(folder).rglob("*"))
        if file.is_file() and file.name != "step.json"
    }


def test_any_name_and_any_picture_on_one_page_and_the_same_again(conceptlab, place):
    atlases = ("atlas", "--grid", "2", "--method", "tsne", "--neighbours", "5", "--per-image", "3",
               "--class", CLASSES[1])  # fmt: skip
    for out, order in (("one", (0, 1)), ("two", (1, 0))):
        for which in order:
            words = [("exemplars", "--count", "30", "--choose", "top"), atlases][which]
            code, _, err = conceptlab(*words, "--out", out)
            assert code == 0, err
    assert contents(place / "one") == contents(place / "two")  # whatever came first
    page = (place / "one/atlas.html").read_text(encoding="utf-8")
    assert "alert(" in page
    assert Seen(page).handlers == []
    assert page.count("<script") == Seen(page).scripts  # none within another's text
    assert f"{CLASSES[0]}" not in page
    before = contents(place / "one")
    code, _, err = conceptlab(*atlases, "--out", "one")
    assert code == 0
    assert err.count("as before") == 2
    assert contents(place / "one") == before


@pytest.mark.parametrize("command", ["exemplars", "atlas"])
def test_a_damaged_picture_is_named_and_nothing_is_left_behind(conceptlab, place, command):
    bad = place / "bad"
    bad.mkdir(exist_ok=True)
    (bad / "whole.png").write_bytes((place / "own/plain0.png").read_bytes())
    (bad / "torn.png").write_bytes((place / "own/plain1.png").read_bytes()[:60])
    with pytest.raises(SystemExit) as stopped:
        main([command, "file:net.py:net", "pictures:bad", "-l", "layer", "--size", "16", "--cache",
              "cache", "--out", "torn"])  # fmt: skip
    assert stopped.value.code == 2
    assert not list(place.glob("torn/steps/*/*/[!.]*"))
