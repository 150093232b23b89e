"""No step can read a setting that its key does not hold."""

import csv
from dataclasses import fields, is_dataclass, replace
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import pytest

from conceptlab.cli import main
from conceptlab.data import load_data
from conceptlab.errors import InputError
from conceptlab.study.atlases import Territory, make_atlas
from conceptlab.study.effects import Effects, make_decomposition, make_erasure, make_tcav
from conceptlab.study.folder import Outputs, RunFolder
from conceptlab.study.kinds import make_kinds
from conceptlab.study.layer_steps import LAYER_STEPS, PROBES, make_examples
from conceptlab.study.look import (
    Look,
    make_exemplars,
    make_filters,
    make_unit_images,
)
from conceptlab.study.reads import only, values
from conceptlab.study.settings import DataSettings, ModelSettings, ResampleSettings, Study
from conceptlab.study.steps import Layer, made, untrained_step

STUDY = Study(
    DataSettings("scenes"), (ModelSettings("m", ("l",)),), resample=ResampleSettings(draws=2)
)
DATA = load_data("scenes:n=10")
#: Settings that no step reads: they say which steps are asked for, or with which pictures, units
#: and concepts (these are in keys themselves), or are read whenever a run's tables are written.
NO_STEP = {
    "name", "pack.enabled", "atlas.enabled", "atlas.classes", "tcav.classes", "tcav.images",
    "tcav.erase", "compare.neighbours", "compare.arithmetic", "compare.untrained",
    "compare.measures", "compare.draws", "compare.wordnet", "compare.words", "data.spec",
}  # fmt: skip
WORDS = (
    "upsample-first", "labelled", "net2vec", "test", "random", "logistic", "positions", "nnls",
    "tsne", "optimised", "raw", "both", "path", "other",
)  # fmt: skip


class Keys(RunFolder):
    """A run folder whose steps make nothing; it keeps their keys."""

    def step(self, names, key, make, holds=None):
        self.keys = {**getattr(self, "keys", {}), names: key}
        return super().step(names, key, lambda: Outputs({}, {}, {}), holds)


def keys(study, folder):
    """The key of every kind of step of a study of one layer."""
    provenance = {"dtype": "float16", "recorded": {}}
    acts = SimpleNamespace(provenance=provenance, layer="l", has_map=True)
    model = SimpleNamespace(name="m")
    layer, run = Layer(acts, DATA, study), Keys(folder)
    for make in (*LAYER_STEPS, make_examples):
        make(run, "m", "l", layer)
    made(run, ("m", "l", "untrained"), layer, untrained_step, PROBES)
    effects = Effects(layer, model, {})
    for make in (make_tcav, make_decomposition, make_erasure):
        make(run, "m", "l", effects)
    look = Look(layer, model, (0, 1))
    make_filters(run, "m", model, [layer])
    make_exemplars(run, "m", "l", look)
    make_unit_images(run, "m", "l", look)
    make_kinds(run, "m", look)
    make_atlas(run, "m", "l", Territory(layer, model), ())
    return {names[2]: key for names, key in run.keys.items()}


def settings():
    """The names of all settings of a study but those of its models."""
    for field in fields(Study):
        table = getattr(STUDY, field.name)
        if is_dataclass(table):
            yield from (f"{field.name}.{own.name}" for own in fields(table))
        elif field.name != "models":
            yield field.name


def others(value):
    """Values to try in place of one."""
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, str):
        yield from (word for word in WORDS if word != value)
    elif isinstance(value, tuple):
        yield (3,)
        yield from (("rsa-pearson",), ("raw",))
    elif isinstance(value, float):
        yield from (value / 2, value + 0.25)
    else:
        yield from (value + 1, value + 50)


def varied(name):
    """The study with another value of a setting."""
    table, _, own = name.rpartition(".")
    whole = getattr(STUDY, table) if table else STUDY
    for value in others(getattr(whole, own)):
        try:
            changed = replace(whole, **{own: value})
            return replace(STUDY, **{table: changed}) if table else changed
        except InputError:
            continue
    raise AssertionError(f"no other value of {name} is known to this test")


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return keys(STUDY, tmp_path_factory.mktemp("plain"))


def test_every_kind_of_step_is_here(plain):
    assert set(plain) == {
        "dissect", "segment", "classify", "subsets", "pack", "resample", "examples", "untrained",
        "tcav", "decompose", "erase", "filters", "exemplars", "images-optimised", "kinds", "atlas",
    }  # fmt: skip


@pytest.mark.parametrize("name", sorted(settings()))
def test_a_changed_setting_changes_the_keys_of_the_steps_that_can_read_it(name, plain, tmp_path):
    table = name.partition(".")[0]
    readers = {s for s, key in plain.items() if {name, table} & key["settings"].keys()}
    assert bool(readers) != (name in NO_STEP or (name == "look.units" and not readers))
    changed = keys(varied(name), tmp_path)
    assert readers <= {step for step in plain if changed.get(step) != plain[step]}


def test_other_settings_cannot_be_read():
    part = only(STUDY, ("seed", "segment", "dissect.tau", "atlas.most"))
    assert (part.seed, part.segment.split, part.dissect.tau) == (0, "val", 0.005)
    for read in (
        lambda: part.name, lambda: part.classify, lambda: part.dissect.order,
        lambda: part.atlas.layout(0), lambda: part.models,
    ):  # fmt: skip
        with pytest.raises(AttributeError, match="its key does not hold it"):
            read()
    with pytest.raises(AttributeError):
        _ = part.dissect.no_such_setting
    assert values(STUDY, ("seed", "dissect.tau", "pack")) == {
        "seed": 0, "dissect.tau": 0.005, "pack": {"enabled": True, "least": 0.01},
    }  # fmt: skip


def test_a_step_that_reads_more_than_it_says_fails(tmp_path):
    layer = Layer(SimpleNamespace(provenance={"recorded": {}}), DATA, STUDY)
    with pytest.raises(AttributeError, match=r"reads the setting classify "):
        made(RunFolder(tmp_path), ("m", "l", "s"), layer, lambda own: own.study.classify, ("seed",))


BASE = """
name = "tiny"
[data]
spec = "scenes:n=80"
[[models]]
name = "plain"
spec = "builtin:scenenet"
layers = ["features.17"]
[dissect]
permutations = 0
tau = {tau}
[segment]
sizes = []
min_examples = 5
shuffle_control = false
plain_control = false
[classify]
sizes = []
min_examples = 5
shuffle_control = false
split = "{split}"
[pack]
enabled = {pack}
[look]
units = 0
[tcav]
classes = ["street"]
images = 6
random = 8
examples = 8
erase = 2
min_examples = 5
[compare]
untrained = false
measures = []
"""


def run(*words):
    with pytest.raises(SystemExit) as stopped:
        main([str(word) for word in words])
    return stopped.value.code


def tables(folder: Path):
    """The cells of all tables, and which vectors there are."""
    texts = {path.name: path.read_text() for path in folder.glob("tables/*.csv")}
    found = {name: list(csv.reader(StringIO(text, newline=""))) for name, text in texts.items()}
    vectors = sorted(path.relative_to(folder) for path in folder.rglob("vectors/**/*.h5"))
    return found, vectors


@pytest.mark.slow
def test_a_run_into_the_same_folder_equals_a_fresh_one(tmp_path):
    def made(case, out):
        study = tmp_path / "study.toml"
        study.write_text(BASE.format(**case))
        assert run("run", study, "--out", tmp_path / out, "--cache", tmp_path / "c") == 0
        return tables(tmp_path / out)

    first = {"tau": 0.005, "split": "val", "pack": "true"}
    other = {"tau": 0.02, "split": "train", "pack": "false"}
    fresh = made(first, "same")
    assert made(other, "same") == made(other, "fresh") != fresh
    assert made(first, "same") == fresh
