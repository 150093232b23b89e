"""A transformer's class token as a layer of its own: every question that takes a layer."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import expit

import conceptlab as cl
from conceptlab.cli import main
from conceptlab.errors import InputError

FACTORY = """
import timm, torch

def vit():
    torch.manual_seed(0)
    net = timm.models.VisionTransformer(
        img_size=32, patch_size=8, embed_dim=12, depth=2, num_heads=2, reg_tokens=1, num_classes=3
    )
    for part in net.parameters():
        part.data += 0.2 * torch.randn(part.shape)
    return net
"""
BLOCK = "blocks.0"
TOKEN = BLOCK + "[cls]"
STUDY = """
name = "tokens"
[data]
spec = "scenes:n=60"
[[models]]
name = "vit"
spec = "file:net.py:vit"
size = 32
layers = ["blocks.0", "blocks.0[cls]"]
[dissect]
permutations = 0
[segment]
sizes = [2]
min_examples = 25
plain_control = false
shuffle_control = false
[classify]
sizes = [2]
min_examples = 12
shuffle_control = false
[pack]
enabled = false
[compare]
untrained = false
[tcav]
classes = ["0=sky"]
random = 5
redraws = 2
min_examples = 12
erase = 1
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokens")
    (folder / "net.py").write_text(FACTORY)
    return folder


@pytest.fixture(scope="module")
def model(place):
    return cl.load_model(f"file:{place / 'net.py'}:vit", size=32)


@pytest.fixture(scope="module")
def data():
    return cl.load_data("scenes:n=60")


@pytest.fixture(scope="module")
def acts(model, data, place):
    return cl.extract(model, data, [TOKEN], cache=place / "c", dtype="float32")[TOKEN]


@pytest.fixture(scope="module")
def probe(acts, data):
    return cl.ClassificationProbe(min_examples=8).fit(acts, data)


def passed(model, pictures, change=lambda output: output):
    """The network's scores, and what a hook of ours saw of the block (and made of it)."""
    seen = []

    def hook(module, inputs, output):
        changed = change(output.detach().clone().requires_grad_())
        seen.append(changed)
        return changed

    handle = model.module.blocks[0].register_forward_hook(hook)
    scores = model.module(model.prepare(pictures))
    handle.remove()
    return scores, seen[0]


@pytest.fixture(scope="module")
def pictures(data):
    return [data.image(i) for i in range(8)]


def test_what_is_kept_is_the_first_token(model, acts, data, pictures):
    _, tokens = passed(model, pictures)
    assert acts.shape == (60, 12, 1, 1)
    assert not acts.has_map
    first = tokens[:, 0].detach().numpy()
    np.testing.assert_allclose(acts.array[:8, :, 0, 0], first, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(acts.pooled[:8], first, rtol=1e-5, atol=1e-6)


def test_where_in_a_picture_is_not_asked_of_a_token(acts, data):
    for ask in (cl.dissect, cl.chance_of_best, cl.SegmentationProbe().fit):
        with pytest.raises(InputError, match=r"blocks.0\[cls\] gives one vector a picture"):
            ask(acts, data)


def test_units_are_compared_with_concepts_of_whole_pictures(acts, data):
    found = cl.dissect(acts, data, 0.2, image_level=True, scope="labelled")
    pixel = (found.concepts["level"] == "pixel").to_numpy()
    assert np.isnan(found.iou("train")[:, pixel]).all()
    best = found.best()
    assert (best["unit"][pixel] == -1).all()
    train = acts.splits == "train"
    fires = acts.array[train, :, 0, 0] > found.thresholds
    shows = np.array(
        [[c in data.image_concepts(i) for c in found.concepts.index] for i in np.flatnonzero(train)]
    )
    scene = (found.concepts["category"] == "scene").to_numpy()
    both = fires.T.astype(int) @ shows[:, scene]
    union = fires.sum(axis=0)[:, None] + shows[:, scene].sum(axis=0) - both
    expected = both / union
    expected[:, shows[:, scene].sum(axis=0) == 0] = 0  # an IoU with nothing
    np.testing.assert_allclose(found.iou("train")[:, scene], expected)


def test_vectors_of_a_token_apply_to_new_pictures(model, probe, pictures):
    vectors = probe.vectors
    _, tokens = passed(model, pictures[:1])
    logits = vectors.weights @ tokens[0, 0].detach().numpy() + vectors.bias
    table = vectors.score(model, pictures[0]).set_index("concept")["score"]
    np.testing.assert_allclose(table[vectors.names], expit(logits), atol=1e-6)
    maps = vectors.segment(model, pictures[0], (5, 6))
    np.testing.assert_allclose(maps, np.tile(expit(logits)[:, None, None], (5, 6)), atol=1e-6)


def test_sensitivity_is_the_derivative_at_the_token_alone(model, probe, pictures):
    found = cl.tcav(model, {0: pictures, 1: pictures}, probe.vectors, random=5)
    scores, tokens = passed(model, pictures)
    for column in (0, 1):
        (slope,) = torch.autograd.grad(scores[:, column].sum(), tokens, retain_graph=True)
        along = slope[:, 0].numpy() @ probe.vectors.normalized.weights[probe.vectors.usable].T
        own = found[found["class"] == str(column)]
        np.testing.assert_allclose(own["sensitivity"], along.mean(axis=0), atol=1e-6)
        np.testing.assert_allclose(own["score"], (along > 0).mean(axis=0))


def test_cavs_of_a_single_position_are_those_of_pooled_activations(acts, data):
    how = {"random": 4, "examples": 10, "min_examples": 20, "classifier": "ridge"}
    pooled, positions = (
        cl.CavProbe(form=form, **how).fit(acts, data).vectors for form in ("pooled", "positions")
    )
    assert pooled.usable.sum() > 5
    assert positions.space == pooled.space
    np.testing.assert_allclose(positions.weights, pooled.weights, atol=1e-3)


def test_a_concept_is_taken_out_of_the_token_alone(model, probe, pictures):
    name = probe.vectors.names[int(np.flatnonzero(probe.vectors.usable)[0])]
    vector = probe.vectors.select([name])
    found = cl.erase(model, {0: pictures, 1: pictures}, vector, units=3, random=4).table
    before, tokens = passed(model, pictures)
    direction = torch.tensor(vector.normalized.weights[0], dtype=torch.float32)
    mean = tokens[:, 0].detach().mean(dim=0)
    units = np.argsort(-np.abs(vector.weights[0]))[:3]

    def project(output):
        token = output[:, 0]
        rest = token - ((token - mean) @ direction)[:, None] * direction
        return torch.cat([rest[:, None], output[:, 1:]], dim=1)

    def level(output):
        token = output[:, 0].clone()
        token[:, units] = mean[units]
        return torch.cat([token[:, None], output[:, 1:]], dim=1)

    for ablation, change in (("direction", project), ("units", level)):
        after, _ = passed(model, pictures, change)
        moved = (after - before).mean(dim=0).detach().numpy()
        own = found[found["ablation"] == ablation].set_index("class")["logit_change"]
        np.testing.assert_allclose([own["0"], own["1"]], moved[:2], atol=1e-5)


@pytest.mark.slow
def test_a_study_asks_of_a_token_what_can_be_asked(place):
    (place / "study.toml").write_text(STUDY)
    words = ["run", place / "study.toml", "--out", place / "run", "--cache", place / "c"]
    with pytest.raises(SystemExit) as stopped:
        main([str(word) for word in words])
    assert stopped.value.code == 0

    def layers(name, task=None):
        table = pd.read_csv(place / "run" / "tables" / f"{name}.csv")
        return set(table["layer"] if task is None else table["layer"][table["task"] == task])

    assert layers("units") == {BLOCK}
    assert layers("concepts", "segment") == {BLOCK}
    for name in ("concepts", "subsets"):
        assert layers(name, "classify") == {BLOCK, TOKEN}, name
    for name in ("tcav", "decomposition", "erasure"):
        assert layers(name) == {BLOCK, TOKEN}, name
    assert TOKEN in (place / "run" / "report.html").read_text()
