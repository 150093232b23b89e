"""Fixtures of all tests."""

import os
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:  # processes share the cores: one thread each
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import pytest
from hypothesis import settings
from PIL import Image

from conceptlab.activations.blockfile import BlockFile
from conceptlab.activations.cache import create_file
from conceptlab.activations.store import Activations
from conceptlab.data.base import Labels, ProbeDataset

settings.register_profile("conceptlab", deadline=None)  # the first call compiles
settings.load_profile("conceptlab")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images, labels and weights beside the checkout, where there is one."""
    folder = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no shared data beside the checkout")
    return folder


class ToyData(ProbeDataset):
    """Label maps given as arrays; pictures of one colour."""

    def __init__(self, planes, splits, catalogue, unlabelled=None, holds=None):
        self.spec = self.name = "toy"
        self._planes, self._unlabelled, self._holds = planes, unlabelled, holds
        self.splits = np.asarray(splits)
        self.names = np.array([f"{s}/{i:05d}" for i, s in enumerate(self.splits)])
        self.planes = planes.shape[1]
        self.catalogue = catalogue

    def image(self, i):
        return Image.new("RGB", (32, 32), (i % 256, 0, 0))

    def labels(self, i):
        holds = np.array([], dtype=np.int64) if self._holds is None else self._holds[i]
        unlabelled = None if self._unlabelled is None else self._unlabelled[i]
        return Labels(self._planes[i].astype(np.int32), unlabelled, np.asarray(holds, dtype=int))

    def validate(self):
        return []

    def _image_bytes(self, i):
        return bytes([i % 256])

    def _label_bytes(self):
        yield self._planes.tobytes()


def catalogue_of(*concepts):
    """A catalogue from (name, category) or (name, category, level)."""
    rows = [(*c, "pixel") if len(c) == 2 else c for c in concepts]
    return pd.DataFrame(rows, columns=["name", "category", "level"])


@pytest.fixture
def store_activations(tmp_path):
    """A function that puts an array (N, K, H, W) into a cache as a layer's activations."""

    def store(values, data, size=32, dtype="float16", layer="layer", network="m" * 64):
        path = tmp_path / "model-00000000" / "toy-00000000" / f"{layer}.h5"
        geometry = {"size": size, "fit": "whole", "resize": None}
        spec = {
            "model": {"fingerprint": network, "preprocessing": {"geometry": geometry}},
            "data": {"fingerprint": data.fingerprint},
            "layer": layer,
            "dtype": dtype,
        }
        create_file(
            path,
            {"activations": (values.shape, dtype), "pooled": (values.shape[:2], "float32")},
            spec,
            block=16,
            constants={"image": np.char.encode(data.names, "utf-8")},
            attrs={"kind": "activations", "model": "toy"},
        )
        with BlockFile(path, write=True) as file:
            for block in range(file.blocks):
                start, stop = file.rows(block)
                part = values[start:stop]
                pooled = part.astype(np.float32).mean(axis=(2, 3))
                file.write_block(block, {"activations": part.astype(dtype), "pooled": pooled})
        return Activations(path)

    return store


@pytest.fixture
def toy(store_activations):
    """A data set of blocks and a layer in which units 0-2 are the objects, and all else is noise.

    Three objects and three colours on a 32 x 32 map in squares of 8, one category with unlabelled
    pixels; 5 more units of noise.
    """

    def make(seed=0, images=60, noise=0.3):
        rng = np.random.default_rng(seed)
        objects = rng.integers(-1, 3, (images, 4, 4))
        colors = rng.integers(3, 6, (images, 4, 4))
        big = np.stack([objects, colors], axis=1).repeat(8, axis=2).repeat(8, axis=3)
        unlabelled = (big[:, 0] == -1).astype(np.uint64)
        values = np.abs(rng.normal(0, noise, (images, 8, 4, 4)))
        for unit in range(3):
            values[:, unit] += 3.0 * (objects == unit)
        splits = np.array(["train"] * (images * 2 // 3) + ["val"] * (images - images * 2 // 3))
        names = [(f"thing{i}", "object") for i in range(3)] + [(f"c{i}", "color") for i in range(3)]
        data = ToyData(big, splits, catalogue_of(*names), unlabelled)
        return data, store_activations(values, data)

    return make


@pytest.fixture
def place(tmp_path):
    """Where commands run; modules may have one folder for all their tests."""
    return tmp_path


@pytest.fixture
def conceptlab(place, monkeypatch, capsys):
    """A function that runs a command, and gives its code, stdout and stderr."""
    from conceptlab.cli import main

    monkeypatch.setenv("CONCEPTLAB_CACHE", "cache")
    monkeypatch.chdir(place)

    def run(*words):
        with pytest.raises(SystemExit) as stopped:
            main([str(word) for word in words])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return stopped.value.code, said.out, said.err

    return run
