"""Peak memory of every step after extraction, with 500 images and with 4,000.

Synthetic activations (512 units, 13 x 13, float16) and label maps (22 concepts, 112 x 112). Each
step runs in a process of its own, over the same files, once with each number of images; the figure
is the ratio of the largest resident sizes. extraction_memory.py does the same for extraction.
Prints one JSON line per step.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

import conceptlab as cl
from conceptlab.activations.blockfile import BlockFile
from conceptlab.activations.cache import create_file
from conceptlab.activations.labels import label_store
from conceptlab.data import Labels

SHAPE = (512, 13, 13)
SIDE = 112
BLOCK = 32


class Synthetic(cl.ProbeDataset):
    """Label maps of coarse squares, a plane of objects and one of colours."""

    def __init__(self, count: int) -> None:
        self.spec = self.name = f"synthetic-{count}"
        self.splits = np.array(["train", "train", "val"])[np.sort(np.arange(count) * 3 // count)]
        self.names = np.array([f"{s}/{i:06d}" for i, s in enumerate(self.splits)])
        kinds = ["object"] * 11 + ["color"] * 11
        names = [f"c{i}" for i in range(22)]
        self.catalogue = pd.DataFrame({"name": names, "category": kinds, "level": "pixel"})
        self.planes = 2

    def image(self, i: int) -> Image.Image:
        return Image.new("RGB", (SIDE, SIDE))

    def labels(self, i: int) -> Labels:
        rng = np.random.default_rng(i)
        coarse = np.stack([rng.integers(-4, 11, (14, 14)), rng.integers(4, 22, (14, 14))])
        coarse[1][coarse[1] < 11] = -1
        big = coarse.repeat(8, axis=1).repeat(8, axis=2).astype(np.int32)
        return Labels(big, None, np.array([], dtype=np.int64))

    def validate(self) -> list:
        return []

    def _image_bytes(self, i: int) -> bytes:
        return str(i).encode()

    def _label_bytes(self):
        yield self.name.encode()


def write(root: Path, data: Synthetic) -> Path:
    """Random activations, block by block."""
    count = len(data)
    path = root / f"model-{count}" / data.name / "layer.h5"
    geometry = {"size": 2 * SIDE, "fit": "whole", "resize": None}
    spec = {
        "model": {"fingerprint": "m" * 64, "preprocessing": {"geometry": geometry}},
        "data": {"fingerprint": data.fingerprint},
        "layer": "layer",
        "dtype": "float16",
    }
    arrays = {"activations": ((count, *SHAPE), "float16"), "pooled": ((count, 512), "float32")}
    names = np.char.encode(data.names, "utf-8")
    attrs = {"kind": "activations", "model": "synthetic"}
    create_file(path, arrays, spec, block=BLOCK, constants={"image": names}, attrs=attrs)
    rng = np.random.default_rng(0)
    with BlockFile(path, write=True) as file:
        for block in range(file.blocks):
            start, stop = file.rows(block)
            values = rng.standard_normal((stop - start, *SHAPE), dtype=np.float32).clip(0)
            rows = {"activations": values.astype(np.float16), "pooled": values.mean(axis=(2, 3))}
            file.write_block(block, rows)
    return path


STEPS = {
    "labels": lambda acts, data: label_store(acts, data),
    "dissect": lambda acts, data: cl.dissect(acts, data),
    "segment": lambda acts, data: cl.SegmentationProbe().fit(acts, data).score(acts, data),
    "segment net2vec": lambda acts, data: cl.SegmentationProbe("net2vec").fit(acts, data),
    "classify": lambda acts, data: cl.ClassificationProbe().fit(acts, data).score(acts, data),
}


def peak(step: str, count: int, path: Path) -> float:
    """Largest resident size of a process that runs one step, in MB."""
    command = [sys.executable, __file__, "--step", step, "--count", str(count), "--path", str(path)]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(run.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--few", type=int, default=500)
    parser.add_argument("--many", type=int, default=4000)
    parser.add_argument("--step")
    parser.add_argument("--count", type=int)
    parser.add_argument("--path", type=Path)
    options = parser.parse_args()
    if options.step:
        data = Synthetic(options.count)
        STEPS[options.step](cl.Activations(options.path), data)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        return
    with tempfile.TemporaryDirectory() as folder:
        counts = (options.few, options.many)
        paths = {n: write(Path(folder), Synthetic(n)) for n in counts}
        for step in STEPS:
            few, many = (peak(step, n, paths[n]) for n in counts)
            print(json.dumps({
                "figure": f"peak memory of {step}, {options.many} against {options.few} images",
                "ratio": round(many / few, 3), "target": 1.1, "met": many / few <= 1.1,
                "mb": [round(few), round(many)],
            }))  # fmt: skip


if __name__ == "__main__":
    main()
