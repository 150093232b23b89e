"""Peak memory of sampling vectors from a large cache.

    python analyses/benchmarks/sampling_memory.py [--images 100000] [--gigabytes 10]

The cache's space is reserved and never written, so it reads as zeros; sampling does not care. It is
sampled in a process of its own. Prints one JSON line: the peak resident memory above the result's
own bytes (with Python and its libraries), in gigabytes.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from conceptlab.activations.blockfile import BlockFile
from conceptlab.activations.cache import create_file
from conceptlab.activations.sample import sample
from conceptlab.activations.store import Activations

UNITS = 512
BLOCK = 4096
TARGET = 1.0


def make(path: Path, images: int, gigabytes: float) -> None:
    """A complete cache of `images` square maps of `UNITS` units."""
    side = max(1, round((gigabytes * 1e9 / images / UNITS / 2) ** 0.5))
    geometry = {"size": 224, "fit": "whole", "resize": None}
    spec = {
        "model": {"fingerprint": "m" * 64, "preprocessing": {"geometry": geometry}},
        "data": {"fingerprint": "d" * 64},
        "layer": "layer",
        "dtype": "float16",
    }
    create_file(
        path,
        {
            "activations": ((images, UNITS, side, side), "float16"),
            "pooled": ((images, UNITS), "float32"),
        },
        spec,
        block=BLOCK,
        constants={"image": np.array([f"train/{i:07}".encode() for i in range(images)])},
        attrs={"kind": "activations", "model": "made up"},
    )
    with BlockFile(path, write=True) as file:
        for block in range(file.blocks):
            file.commit(block, 0)


def alone(options: argparse.Namespace) -> None:
    activations = Activations(options.alone)
    started = time.perf_counter()
    found = sample(activations, most=options.vectors)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    own = sum(part.nbytes for part in (found.values, found.images, found.places, found.names))
    print(json.dumps({"peak": peak, "result": own, "seconds": seconds, "vectors": len(found)}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--vectors", type=int, default=100_000)
    parser.add_argument("--gigabytes", type=float, default=10.0)
    parser.add_argument("--alone", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        alone(options)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model" / "data" / "layer.h5"
        make(path, options.images, options.gigabytes)
        size = path.stat().st_size
        command = [sys.executable, __file__, "--alone", str(path)]
        command += ["--vectors", str(options.vectors)]
        run = subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(run.stdout)
    above = (found["peak"] - found["result"]) / 1e9
    row = {
        "figure": "sampling, peak memory above the result in GB",
        "vectors": found["vectors"],
        "cache_gigabytes": round(size / 1e9, 2),
        "result_gigabytes": round(found["result"] / 1e9, 3),
        "above_gigabytes": round(above, 3),
        "seconds": round(found["seconds"], 1),
        "target": TARGET,
        "met": above < TARGET,
    }
    print(json.dumps(row))


if __name__ == "__main__":
    main()
