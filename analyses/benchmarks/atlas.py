"""Time of an activation atlas, against umap-learn's `fit_transform` of the same rows.

    python analyses/benchmarks/atlas.py [--vectors 100000]

A cache of images of 512 units in clusters, of 4 x 4 positions; a network with a linear head of 100
classes; 20 concept vectors. The atlas samples, lays out, and fills three grids with means, nearest
vectors, concept scores and attributions, without icons. UMAP has the same settings and seed, so
both lay out on one thread. One JSON line.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import umap
from torch import nn

import conceptlab as cl
from conceptlab.activations.blockfile import BlockFile
from conceptlab.activations.cache import create_file
from conceptlab.activations.sample import sample
from conceptlab.activations.store import Activations
from conceptlab.analysis.atlas.layout import Layout, atlas
from conceptlab.models.probed import ProbedModel
from conceptlab.vectors import ConceptVectors

UNITS, SIDE, CLASSES, CONCEPTS, CLUSTERS = 512, 4, 100, 20, 60
BLOCK = 1000
TARGET = 1.2


class Head(nn.Module):
    """A layer, and a linear head on its means."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Conv2d(3, UNITS, 8, stride=8)
        self.head = nn.Linear(UNITS, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.head(self.layer(x).mean(dim=(2, 3)))
        return scores


def made_up(path: Path, model: ProbedModel, images: int) -> Activations:
    """A cache of rectified vectors around the centres of clusters."""
    spec = {
        "model": {"fingerprint": model.fingerprint, "preprocessing": model.preprocessing.spec()},
        "data": {"fingerprint": "d" * 64},
        "layer": "layer",
        "dtype": "float16",
    }
    create_file(
        path,
        {
            "activations": ((images, UNITS, SIDE, SIDE), "float16"),
            "pooled": ((images, UNITS), "float32"),
        },
        spec,
        block=BLOCK,
        constants={"image": np.array([f"train/{i:07}".encode() for i in range(images)])},
        attrs={"kind": "activations", "model": "head"},
    )
    rng = np.random.default_rng(0)
    centres = rng.normal(0, 1, (CLUSTERS, UNITS)).astype(np.float32)
    with BlockFile(path, write=True) as file:
        for block in range(file.blocks):
            start, stop = file.rows(block)
            own = centres[rng.integers(CLUSTERS, size=(stop - start, SIDE, SIDE))]
            noise = rng.standard_normal(own.shape, dtype=np.float32)
            values = np.maximum(own + noise, 0).transpose(0, 3, 1, 2)
            pooled = values.mean(axis=(2, 3))
            file.write_block(block, {"activations": values.astype(np.float16), "pooled": pooled})
    return Activations(path)


def concepts(activations: Activations) -> ConceptVectors:
    rows = np.random.default_rng(1).normal(size=(CONCEPTS, UNITS))
    names = pd.DataFrame({"name": [f"c{i}" for i in range(CONCEPTS)], "category": "object"})
    return ConceptVectors(rows, np.zeros(CONCEPTS), names, "segmentation", activations.space())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vectors", type=int, default=100_000)
    count = parser.parse_args().vectors
    model = cl.load_model(Head(), size=8 * SIDE)
    layout = Layout()
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "model" / "data"
        vectors = concepts(small := made_up(cache / "small.h5", model, 5000))
        atlas(small, model, vectors, layout=layout)  # compile
        activations = made_up(cache / "layer.h5", model, count)
        started = time.perf_counter()
        found = atlas(activations, model, vectors, layout=layout)
        whole = time.perf_counter() - started
        rows = sample(activations, seed=layout.seed).values
        started = time.perf_counter()
        umap.UMAP(
            n_neighbors=layout.neighbours, metric="cosine", random_state=layout.seed, n_jobs=1
        ).fit_transform(rows)
        alone = time.perf_counter() - started
    row = {
        "figure": "atlas / umap-learn's fit_transform",
        "vectors": len(found.sample),
        "cells": [len(grid) for grid in found.grids],
        "seconds": [round(whole, 1), round(alone, 1)],
        "ratio": round(whole / alone, 3),
        "target": TARGET,
        "met": whole / alone <= TARGET,
    }
    print(json.dumps(row))


if __name__ == "__main__":
    main()
