"""Time and memory of exemplars, against one scan of the cache by numpy.

    python analyses/benchmarks/exemplars.py [--images 3000] [--units 512] [--side 13] [--rounds 5]

A cache of random float16 maps, half of them zero as after a ReLU, is made in a temporary folder and
read once before the clock starts, so the files are warm for all sides. numpy's scan is
`array.max(axis=(2, 3))` of the memory-mapped file, in pieces of 64 images, in as many threads as
the library uses. The sides take turns in one run. One JSON line a figure: medians over the rounds,
their ratio, and the target; then the growth of the peak memory.
"""

import argparse
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import conceptlab as cl
from conceptlab.activations.blockfile import BlockFile
from conceptlab.activations.cache import create_file
from conceptlab.analysis.units.exemplars import exemplars
from conceptlab.numerics.parallel import ordered_map, workers

PIECE = 64
TARGET = 2.0


def main() -> None:
    """Make the cache, and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--units", type=int, default=512)
    parser.add_argument("--side", type=int, default=13)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        acts = make(Path(folder), (given.images, given.units, given.side, given.side))
        measure(acts, given.rounds)


def make(folder: Path, shape: tuple[int, int, int, int]) -> cl.Activations:
    """A cache of random maps."""
    path = folder / "model-00000000" / "data-00000000" / "layer.h5"
    names = np.array([f"train/{i:07d}" for i in range(shape[0])])
    geometry = {"size": 16 * shape[2], "fit": "whole", "resize": None}
    create_file(
        path,
        {"activations": (shape, "float16"), "pooled": (shape[:2], "float32")},
        {
            "model": {"fingerprint": "m" * 64, "preprocessing": {"geometry": geometry}},
            "data": {"fingerprint": "d" * 64}, "layer": "layer", "dtype": "float16",
        },
        block=PIECE,
        constants={"image": np.char.encode(names, "utf-8")},
        attrs={"kind": "activations", "model": "random"},
    )  # fmt: skip
    rng = np.random.default_rng(0)
    with BlockFile(path, write=True) as file:
        for block in range(file.blocks):
            start, stop = file.rows(block)
            values = np.maximum(rng.standard_normal((stop - start, *shape[1:]), np.float32), 0)
            pooled = values.mean(axis=(2, 3))
            file.write_block(block, {"activations": values.astype(np.float16), "pooled": pooled})
    return cl.Activations(path)


def scan(acts: cl.Activations) -> None:
    """The maximum of every map by numpy, in threads."""

    def piece(start: int) -> np.ndarray:
        return acts.array[start : start + PIECE].max(axis=(2, 3))

    for _ in ordered_map(piece, range(0, len(acts), PIECE)):
        pass


def measure(acts: cl.Activations, rounds: int) -> None:
    """Print the ratio of each way of choosing to the scan."""
    works: dict[str, Callable[[], object]] = {
        "top by max": lambda: exemplars(acts),
        "top by mean": lambda: exemplars(acts, by="mean"),
        "top by position": lambda: exemplars(acts, by=(0, 0)),
        "diverse by max": lambda: exemplars(acts, choose="diverse"),
        "range by max": lambda: exemplars(acts, choose="range"),
    }
    exemplars(acts, of=[0], count=1)  # compiles
    before = peak_mib()
    for work in works.values():
        work()
    grown = round(peak_mib() - before)
    works["numpy"] = lambda: scan(acts)
    scan(acts)
    spent: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(rounds):
        for name in list(works)[:: -1 if turn % 2 else 1]:
            started = time.perf_counter()
            works[name]()
            spent[name].append(time.perf_counter() - started)
    middle = {name: statistics.median(values) for name, values in spent.items()}
    for name in list(works)[:-1]:
        line = {
            "figure": f"exemplars of all units, {name}",
            "ratio": round(middle[name] / middle["numpy"], 3), "target": TARGET,
            "seconds": round(middle[name], 3), "numpy_seconds": round(middle["numpy"], 3),
            "shape": acts.shape, "threads": workers(), "rounds": rounds,
        }  # fmt: skip
        print(json.dumps(line))
    print(json.dumps({"figure": "exemplars, peak memory above the start, MiB", "value": grown}))


def peak_mib() -> float:
    """The most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
