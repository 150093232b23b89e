"""Every public result travels to another process as it is."""

import inspect
import pickle
import re
from dataclasses import replace
from functools import singledispatch

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_array

import conceptlab as cl
from conceptlab.errors import ModelError
from conceptlab.study.settings import Study
from tests.analysis.references.wordnet_files import write_wordnet
from tests.models.nets import probed

PLAIN = {"DataFrame", "ndarray", "Path", "bool"}  # and JSON values: theirs to pickle
LOOK = cl.Synthesis(size=32, steps=1)


class World:
    """A small network on a few pictures, what is learned there, and results of it by type."""

    def __init__(self, folder):
        torch.manual_seed(0)
        parts = [torch.nn.Conv2d(3, 6, 8, 8), torch.nn.ReLU()]
        head = [torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(6, 3)]
        self.model = probed(torch.nn.Sequential(*parts, *head), 32, ["a", "b", "c"])
        self.data, self.folder = cl.load_data("scenes:n=50"), folder
        self.acts = cl.extract(self.model, self.data, ["1"], cache=folder / "c")["1"]
        self.units = cl.dissect(self.acts, self.data)
        self.probe = cl.ClassificationProbe(min_examples=14).fit(self.acts, self.data)
        usable = self.probe.vectors.usable
        self.vectors = self.probe.vectors.select(
            [name for name, ok in zip(self.probe.vectors.names, usable, strict=True) if ok]
        )
        self.pictures = [self.data.image(i) for i in range(3)]
        self.layout = cl.Layout("tsne", grids=(2,))
        self.atlas = cl.atlas(self.acts, layout=self.layout)
        self.exemplars = cl.exemplars(self.acts, [0, 1], count=2)
        self.cavs = cl.CavProbe(random=4, examples=6, redraws=2, min_examples=24, seed=1)
        self.resampled = cl.ResampledProbe(self.probe, 10)

    def study(self):
        text = (
            '[data]\nspec = "scenes:n=9"\n[[models]]\nspec = "builtin:scenenet"\nlayers = ["*"]\n'
        )
        (self.folder / "study.toml").write_text(text)
        return cl.read_study(self.folder / "study.toml")

    def drawn(self):
        wanted = [cl.Unit("1", 0), cl.Neuron("1", 1), cl.Logit("a")]
        return cl.visualize(self.model, wanted, LOOK)

    def run(self, seed):
        noise = np.random.default_rng(seed).normal(size=self.vectors.weights.shape)
        return replace(self.vectors, weights=self.vectors.weights + noise)

    def pairs(self):
        names = self.vectors.names
        return [tuple(names[:2]), tuple(names[2:4]), tuple(names[4:6])]


RESULTS = {
    "Activations": lambda w: w.acts,
    "Analogies": lambda w: cl.analogies(w.vectors, w.pairs(), 9),
    "Atlas": lambda w: w.atlas,
    "AtlasComparison": lambda w: cl.compare_atlases(w.atlas, w.atlas, draws=9),
    "Caricature": lambda w: cl.caricature(w.model, w.pictures[:1], "1", LOOK).objectives[0],
    "CavProbe": lambda w: w.cavs.fit(w.acts, w.data),
    "Cavs": lambda w: w.cavs.fit(w.acts, w.data).cavs,
    "ClassificationProbe": lambda w: w.probe,
    "Clusters": lambda w: cl.clusters(w.vectors, 2, draws=9),
    "Concept": lambda w: cl.Concept("tree", "object", "pixel"),
    "ConceptSimilarities": lambda w: cl.wordnet(
        ["dog", "cat", "oak"], folder=write_wordnet(w.folder / "wordnet")
    ),
    "ConceptVectors": lambda w: w.vectors,
    "Decomposition": lambda w: cl.decompose(w.model, {0: w.pictures}, w.vectors),
    "Direction": lambda w: cl.directions(w.vectors, w.vectors.names[:1])[0],
    "Dissection": lambda w: w.units,
    "Dream": lambda w: cl.Dream("1"),
    "EmbeddingDistances": lambda w: cl.embedding_distance({"a": w.vectors, "b": w.vectors}),
    "Erasure": lambda w: cl.erase(
        w.model, {0: w.pictures}, w.vectors.select(w.vectors.names[:1]), units=2, random=3
    ),
    "Exemplars": lambda w: w.exemplars,
    "Fields": lambda w: cl.empirical_field(w.model, w.data, w.exemplars, occluder=16, step=16),
    "Hierarchy": lambda w: cl.hierarchy(w.vectors),
    "Icons": lambda w: cl.patch_icons(w.atlas, w.acts, w.data, size=8, small=8)[0],
    "ImageDecomposition": lambda w: cl.decompose_image(w.model, w.pictures[0], w.vectors, 0),
    "Inversion": lambda w: cl.invert(w.model, w.pictures[:1], "1", LOOK).objectives[0],
    "Layout": lambda w: w.layout,
    "Logit": lambda w: cl.Logit("a"),
    "Agreement": lambda w: cl.rsa(w.vectors, w.vectors, draws=9),
    "Neuron": lambda w: cl.Neuron("1", 0),
    "Packing": lambda w: cl.pack_units(w.acts, w.data, min_examples=20, shuffle_control=False),
    "Polysemanticity": lambda w: cl.polysemanticity(w.acts, [0, 1], count=12),
    "ProbeDataset": lambda w: w.data,
    "ProbedModel": lambda w: w.model,
    "Projection": lambda w: cl.project(w.vectors, "pca"),
    "ResampledProbe": lambda w: w.resampled.fit(w.acts, w.data),
    "DatasetPictures": lambda w: cl.DatasetPictures(w.data, np.arange(3)),
    "Sample": lambda w: cl.sample(w.acts),
    "SegmentationProbe": lambda w: cl.SegmentationProbe(min_examples=30).fit(w.acts, w.data),
    "Space": lambda w: w.vectors.space,
    "Study": World.study,
    "Synthesis": lambda w: LOOK,
    "Unit": lambda w: cl.Unit("1", 0),
    "VectorDistribution": lambda w: w.resampled.fit(w.acts, w.data).distribution,
    "Visualizations": World.drawn,
    "Zoom": lambda w: cl.zoom({"a": [w.run(1), w.run(2)], "b": [w.run(3)]}, draws=9),
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("world"))


def same(one, other):
    """Raise unless two things have one type and one content."""
    assert type(one) is type(other)
    compare(one, other)


@singledispatch
def compare(one, other):
    """By their fields or attributes, where they are ours; what only one keeps in mind is left."""
    if not type(one).__module__.startswith(("conceptlab", "tests")):
        np.testing.assert_equal(one, other)
        return
    own, found = vars(one), vars(other)
    assert found.keys() <= own.keys()
    for key in found:
        same(own[key], found[key])


@compare.register
def _(one: pd.DataFrame, other):
    pd.testing.assert_frame_equal(one, other)


@compare.register(np.ndarray)
@compare.register(torch.Tensor)
def _(one, other):
    np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


@compare.register
def _(one: csr_array, other):
    assert (one != other).nnz == 0


@compare.register
def _(one: torch.nn.Module, other):
    compare(dict(one.state_dict()), dict(other.state_dict()))


@compare.register
def _(one: dict, other):
    assert list(one) == list(other)
    for key in one:
        same(one[key], other[key])


@compare.register(list)
@compare.register(tuple)
def _(one, other):
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        same(a, b)


@compare.register
def _(one: cl.Activations, other):
    assert one.path == other.path
    np.testing.assert_array_equal(one.array, other.array)


def test_every_public_type_is_listed():
    """A new public class, or a public function that returns one, has to be tried below."""
    wanted = set()
    for name in cl.__all__:
        found = getattr(cl, name)
        if inspect.isclass(found):
            wanted |= set() if issubclass(found, Exception) else {name}
            continue
        text = str(inspect.signature(found).return_annotation)
        kinds = set(re.findall(r"[\w.]*\.(\w+)(?=['\],]|$)", text)) - {"Any", "dtype", "float32"}
        assert text != str(inspect.Signature.empty), name
        wanted |= {kind for kind in kinds - PLAIN if not kind.startswith("_")}
    assert wanted == set(RESULTS)
    assert Study.__name__ in wanted  # what is not public itself, but returned, counts too


@pytest.mark.parametrize("name", RESULTS)
def test_it_is_the_same_after_a_journey(name, world):
    found = RESULTS[name](world)
    assert name in {kind.__name__ for kind in type(found).__mro__}
    same(found, pickle.loads(pickle.dumps(found)))


def test_what_travels_still_works(world):
    data, acts, model, vectors = pickle.loads(
        pickle.dumps((world.data, world.acts, world.model, world.vectors))
    )
    np.testing.assert_array_equal(acts.array, world.acts.array)
    assert (data.fingerprint, model.fingerprint) == (
        world.data.fingerprint,
        world.model.fingerprint,
    )
    pd.testing.assert_frame_equal(
        vectors.score(model, data.image(0)), world.vectors.score(world.model, world.data.image(0))
    )


def test_a_model_of_a_file_says_that_it_does_not_travel(tmp_path):
    (tmp_path / "own.py").write_text(
        "import torch\n"
        "class Own(torch.nn.Conv2d): pass\n"
        "def make(): return torch.nn.Sequential(Own(3, 4, 3), torch.nn.Flatten())\n"
    )
    model = cl.load_model(f"file:{tmp_path / 'own.py'}:make", size=8)
    with pytest.raises(ModelError, match="cannot be pickled: its Own is made in that file"):
        pickle.dumps(model)
