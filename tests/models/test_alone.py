"""One network in many threads: every call gives what it gives alone, to the bit."""

import copy
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

from conceptlab.activations.extract import extract
from conceptlab.activations.pictures import layer_outputs
from conceptlab.analysis.effects.decomposition import decompose, decompose_image
from conceptlab.analysis.effects.erasure import erase
from conceptlab.analysis.effects.tcav import tcav
from conceptlab.data import load_data
from conceptlab.models.alone import _TAKEN, alone
from conceptlab.models.sources.load import load_model
from conceptlab.models.watch import watch
from conceptlab.passes.ablation import scores_changed, scores_intact, set_to_mean
from conceptlab.passes.gradient import derivatives, scores
from conceptlab.passes.occlusion import occluded
from conceptlab.passes.rest import rest_of
from conceptlab.passes.tangent import Tangent
from conceptlab.probes.cav.probe import picture_cavs
from conceptlab.synthesis.objectives import Unit
from conceptlab.synthesis.settings import Synthesis
from conceptlab.synthesis.visualize import caricature, invert, visualize
from conceptlab.vectors import ConceptVectors

from .nets import state

SIZE, UNITS, THREADS, ROUNDS = 16, 6, 8, 3


class Residual(nn.Module):
    """Shortcuts, an in-place ReLU, batch norm: what passes and edits have to get right."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)
        self.second = nn.Conv2d(8, UNITS, 3, stride=2, padding=1)
        self.third = nn.Conv2d(UNITS, UNITS, 3, padding=1)
        self.head = nn.Linear(UNITS, 4)

    def forward(self, x):
        x = self.second(self.relu(self.norm(self.first(x))))
        return self.head((x + self.third(torch.relu(x))).mean(dim=(2, 3)))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    module = Residual().train()  # a mode of its own, which every call has to give back
    found = load_model(module, size=SIZE, mean=(0.5,) * 3, std=(0.5,) * 3)
    module.norm.train()
    return found


def picture(seed):
    return Image.fromarray(
        np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    )


def vectors_of(model):
    names = pd.DataFrame({"name": ["a", "b"], "category": "object"})
    rows = np.random.default_rng(1).normal(size=(2, UNITS))
    return ConceptVectors(rows, np.zeros(2), names, "cav", model.space("second", UNITS))


def numbers(found):
    """Whatever a call returns as a list of arrays and tables."""
    if isinstance(found, pd.DataFrame):
        return [found.to_csv()]
    if isinstance(found, dict):
        return [part for value in found.values() for part in numbers(value)]
    if isinstance(found, tuple | list):
        return [part for value in found for part in numbers(value)]
    return [np.asarray(found)]


def _layers(model):
    """Another `ProbedModel` of the same module lists its layers."""
    other = copy.copy(model)
    other._listed = None
    return other.layers()


def _rest(model, images):
    with rest_of(model, "second") as rest:
        intact = scores_intact(rest, model.prepare(images))
        return intact, scores_changed(rest, set_to_mean(np.array([1, 2]), np.zeros(UNITS)))


def _extract(model, images, place):
    """Another data set for each call, so that each has a pass of its own."""
    data = load_data(f"scenes:n=20,seed={np.asarray(images[0])[0, 0, 0]}")
    found = extract(model, data, ["second", "third"], place, batch_size=7, dtype="float32")
    return {name: acts.array for name, acts in found.items()}


CALLS = {
    "activations": lambda m, i, p: m.activations(i, ["second", "first"]),
    "apply": lambda m, i, p: m.apply(vectors_of(m), i[0]),
    "segment": lambda m, i, p: vectors_of(m).segment(m, i[0]),
    "score": lambda m, i, p: vectors_of(m).score(m, i[0]),
    "layers": lambda m, i, p: _layers(m),
    "sketch": lambda m, i, p: [s.values for s in m.sketch(["second"]).values()],
    "fingerprint": lambda m, i, p: m.fingerprint,
    "layer_outputs": lambda m, i, p: list(layer_outputs(m, i, "second", 2)),
    "scores": lambda m, i, p: scores(m, m.prepare(i)),
    "derivatives": lambda m, i, p: derivatives(
        m, m.prepare(i), ["second"], np.array([[0, 3]] * len(i))
    ).layers["second"].gradients,
    "rest": lambda m, i, p: _rest(m, i),
    "tangent": lambda m, i, p: Tangent(m, "second").of_pictures(
        m.prepare(i), np.zeros((len(i), 2), dtype=np.int64)
    ),
    "occluded": lambda m, i, p: list(
        occluded(m, "second", np.array(i[0]), np.array([[0, 0, 4, 4]] * 3), np.array([[1, 1]]))
    ),
    "visualize": lambda m, i, p: visualize(m, Unit("second", 2), Synthesis(steps=2)).images,
    "invert": lambda m, i, p: invert(m, i[:1], "second", Synthesis(steps=2)).images,
    "caricature": lambda m, i, p: caricature(m, i[:1], "second", Synthesis(steps=2)).images,
    "picture_cavs": lambda m, i, p: picture_cavs(
        m, {"one": i * 2}, [picture(s) for s in range(900, 920)], layer="second", redraws=2
    ).vectors.weights,
    "tcav": lambda m, i, p: tcav(m, {0: i, 1: i[::-1]}, vectors_of(m), random=5),
    "erase": lambda m, i, p: erase(m, {0: i, 1: i[::-1]}, vectors_of(m), random=20, units=2).table,
    "decompose": lambda m, i, p: decompose(m, {0: i}, vectors_of(m)).table,
    "decompose_image": lambda m, i, p: decompose_image(m, i[0], vectors_of(m), 0).table,
    "extract": _extract,
}  # fmt: skip


def in_threads(calls):
    """What each call returns when all begin at once."""
    ready = threading.Barrier(len(calls))

    def start(call):
        ready.wait()
        return [numbers(call()) for _ in range(ROUNDS)]

    with ThreadPoolExecutor(len(calls)) as pool:
        return [f.result() for f in [pool.submit(start, call) for call in calls]]


def check(model, names, tmp_path):
    images = [[picture(10 * t + k) for k in range(5)] for t in range(len(names))]

    def call(number, folder):
        return lambda: CALLS[names[number]](model, images[number], tmp_path / folder)

    before = state(model.module)
    alone_ = [numbers(call(t, "alone")()) for t in range(len(names))]
    found = in_threads([call(t, "together") for t in range(len(names))])
    for t, rounds in enumerate(found):
        for again in rounds:
            assert len(again) == len(alone_[t]) > 0
            for one, other in zip(again, alone_[t], strict=True):
                assert type(one) is type(other)
                assert np.array_equal(one, other), names[t]
    assert state(model.module) == before
    assert not _TAKEN


@pytest.mark.parametrize("name", list(CALLS))
def test_eight_threads_with_one_function(model, name, tmp_path):
    check(model, [name] * THREADS, tmp_path)


def test_all_functions_at_once(model, tmp_path):
    check(model, list(CALLS), tmp_path)


def test_networks_that_share_nothing_do_not_wait():
    inside, done = threading.Event(), threading.Event()

    def hold():
        with alone(nn.Linear(2, 2)):
            inside.set()
            assert done.wait(20)

    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(hold)
        assert inside.wait(20)
        with alone(nn.Linear(2, 2)):
            done.set()
        held.result()


@pytest.mark.parametrize("shared", ["module", "parameter", "settings"])
def test_networks_that_share_a_part_wait(shared):
    part = nn.Linear(2, 2)
    one, other = nn.Sequential(part), nn.Sequential(nn.ReLU(), nn.Linear(2, 2))
    if shared == "module":
        other.append(part)
    elif shared == "parameter":
        other[1].weight = part.weight
    order, inside = [], threading.Event()

    def hold():
        with alone(one, settings=shared == "settings"), alone(part):  # it may enter again
            inside.set()
            threading.Event().wait(0.2)
            order.append("first")

    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(hold)
        assert inside.wait(20)
        with alone(other):
            order.append("second")
        held.result()
    assert order == ["first", "second"]
    assert not _TAKEN


def test_a_pass_between_the_steps_of_a_generator_does_not_disturb_it(model):
    images = [picture(seed) for seed in range(4)]
    wanted = list(layer_outputs(model, images, "second", 2))
    other = model.activations(images[3], ["first", "second"])
    found = []
    for part in layer_outputs(model, images, "second", 2):
        found.append(part)
        assert np.array_equal(model.activations(images[3], ["first"])["first"], other["first"])
        assert np.array_equal(model.activations(images[3], ["second"])["second"], other["second"])
    assert all(map(np.array_equal, found, wanted))


def test_a_generator_that_nobody_finishes_lets_go(model):
    parts = layer_outputs(model, [picture(seed) for seed in range(4)], "second", 2)
    next(parts)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(parts.close).result()
    assert not _TAKEN


def test_a_pass_by_somebody_else_is_left_alone(model):
    """A thread that runs the module itself meets the hooks of a call, which do nothing to it."""
    batch = model.prepare([picture(0)])
    with torch.inference_mode():
        plain = model.module.eval()(batch)
    kept = []
    with torch.inference_mode(), watch(model.module, ["first"], lambda *a: kept.append(a)) as run:
        with ThreadPoolExecutor(1) as pool:
            found = pool.submit(_bare, model.module, batch).result()
        run(batch)
    assert torch.equal(found, plain)
    assert len(kept) == 1


def _bare(module, batch):
    with torch.inference_mode():
        return module(batch)
