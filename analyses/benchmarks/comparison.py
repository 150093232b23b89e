"""Time and memory of comparing embeddings, as ratios within one run.

    python analyses/benchmarks/comparison.py [--runs 7]

Random vectors: comparisons take as long whatever the vectors say. Memory is the growth of the
largest resident size of a process of its own, over what it holds before. One JSON line a figure.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
from scipy.stats import spearmanr

import conceptlab as cl

SPACES, CONCEPTS, UNITS = 24, 501, 256
DRAWS = 1000
IMAGES, WIDE = 10_000, 512


def vectors(count: int, units: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, units))


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def ratios(work: Callable[[], object], peer: Callable[[], object], runs: int) -> list[float]:
    """Work / peer, taken in turns; both once before, for what is compiled or allocated."""
    work()
    peer()
    return [seconds(work) / seconds(peer) for _ in range(runs)]


def say(what: str, target: float, values: list[float], **more: object) -> None:
    line = {"figure": what, "target": target, "median": round(statistics.median(values), 4),
            "runs": [round(v, 4) for v in values], **more}  # fmt: skip
    print(json.dumps(line), flush=True)


def figure_10(runs: int) -> None:
    spaces = [vectors(CONCEPTS, UNITS, seed) for seed in range(SPACES)]

    def whole() -> None:
        found = cl.embedding_distance(spaces)
        assert len(found.matrix) == SPACES
        assert len(found.by_category)

    def products() -> None:
        for space in spaces:
            space @ space.T

    say("24 embeddings of 501 concepts / 24 products W W^T", 3.0, ratios(whole, products, runs))


def rsa_test(runs: int) -> None:
    a, b = vectors(CONCEPTS, UNITS, 0), vectors(CONCEPTS, UNITS, 1)
    pairs = np.tril_indices(CONCEPTS, -1)
    x, y = (np.corrcoef(rows)[pairs] for rows in (a, b))

    def peer() -> None:
        for _ in range(DRAWS // 50):
            spearmanr(x, y)

    found = ratios(lambda: cl.rsa(a, b, draws=DRAWS), peer, runs)
    say("RSA, 1,000 permutations and bootstrap samples / 1,000 spearmanr", 0.1,
        [value / 50 for value in found], note="peer measured on 20 calls")  # fmt: skip


def resident() -> float:
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most * (1 if sys.platform == "darwin" else 1024) / 1e6


def many(measure: str) -> None:
    """Peak megabytes of one measure over many images, beyond the images themselves."""
    x, y = (vectors(IMAGES, WIDE, seed).astype(np.float32) for seed in (0, 1))
    work = {"rsa": cl.rsa, "cka": cl.linear_cka}[measure]
    work(x[:2100], y[:2100], draws=2)
    before = resident()
    work(x, y, draws=20)
    print(json.dumps({"megabytes": resident() - before}))


def concepts(count: int) -> None:
    """Peak megabytes and seconds of comparing two embeddings, and one product's seconds."""
    a, b = vectors(count, UNITS, 0), vectors(count, UNITS, 1)
    cl.embedding_distance([a[:100], b[:100]])
    cl.rsa(a[:100], b[:100], draws=0)
    before = resident()
    took = seconds(lambda: (cl.embedding_distance([a, b]), cl.rsa(a, b, draws=0)))
    grown = resident() - before
    print(json.dumps({"megabytes": grown, "seconds": took, "product": seconds(lambda: a @ a.T)}))


def alone(*words: str) -> dict[str, float]:
    """What this script prints in a process of its own."""
    text = subprocess.run([sys.executable, __file__, *words], check=True, capture_output=True)
    found: dict[str, float] = json.loads(text.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--alone", nargs=2, metavar=("WHAT", "SIZE"))
    options = parser.parse_args()
    if options.alone:
        what, size = options.alone
        concepts(int(size)) if what == "concepts" else many(what)
        return
    figure_10(options.runs)
    rsa_test(min(options.runs, 3))
    square = IMAGES**2 * 8 / 1e6
    for measure in ("rsa", "cka"):
        grown = alone("--alone", measure, "0")["megabytes"]
        say(f"{measure} on 10,000 images x 512 units: peak memory / one N x N matrix", 1.0,
            [grown / square], megabytes=round(grown))  # fmt: skip
    for count in (500, 5000):
        found = alone("--alone", "concepts", str(count))
        say(f"D_ij and RSA of {count} concepts: peak memory / one (C, C) matrix", 2.0,
            [found["megabytes"] / (count**2 * 8 / 1e6)], megabytes=round(found["megabytes"]),
            seconds=round(found["seconds"], 2), product=round(found["product"], 3))  # fmt: skip


if __name__ == "__main__":
    main()
