"""False positive rates and power of every permutation test, over many data sets.

    python analyses/benchmarks/permutation_levels.py [--repeats 4000] [--only neighbours]

Under the null nothing relates to anything, in the way that each test takes for granted: concepts of
a category are exchangeable for analogies, items for the comparisons, runs for zoom. The nulls of
neighbours are the hard ones: units of unequal scales (log-normal), correlated units, heavy tails,
vectors of few dimensions, few concepts of many units and the reverse; all concepts of a data set
count, and the standard error is over data sets. A test at 0.05 should then reject at most 0.05 of
them, and where nothing can be tested there is no p-value (`without_p`). Power is the share rejected
where an effect is planted. One JSON line a test; slower tests take fewer data sets. `--only` picks
tests by a part of their name.
"""

import argparse
import json
from collections.abc import Callable
from typing import Any

import numpy as np

import conceptlab as cl
from conceptlab.numerics.parallel import ordered_map

LEVEL, DRAWS = 0.05, 199
CONCEPTS, UNITS = 20, 16
Rows = np.ndarray
#: The p-values of a data set, with or without a planted effect.
Test = Callable[[np.random.Generator, bool], Any]


def neighbours(
    make: Callable[[np.random.Generator, tuple[int, int]], Rows],
    shape: tuple[int, int] = (CONCEPTS, UNITS),
    center: bool = False,
) -> Test:
    """The first neighbour of every concept; planted: that of the second points to the first."""

    def chance(rng: np.random.Generator, planted: bool) -> Rows:
        rows = make(rng, shape)
        if planted:
            rows[1] += 2 * rows[0]
        found = cl.neighbours(rows, 1, DRAWS, _seed(rng), center=center)
        chances: Rows = found["p_value"].to_numpy()
        return chances[:1] if planted else chances

    return chance


def equal(rng: np.random.Generator, shape: tuple[int, int]) -> Rows:
    """Units of one scale."""
    return rng.normal(size=shape)


def scaled(spread: float) -> Callable[[np.random.Generator, tuple[int, int]], Rows]:
    """Units whose scales are log-normal, with that standard deviation of the logarithm."""
    return lambda rng, shape: rng.normal(size=shape) * np.exp(spread * rng.normal(size=shape[1]))


def correlated(rng: np.random.Generator, shape: tuple[int, int]) -> Rows:
    """Units that correlate by 0.8 with the next one, 0.64 with the one after, ..."""
    far = np.abs(np.subtract.outer(np.arange(shape[1]), np.arange(shape[1])))
    return rng.normal(size=shape) @ np.linalg.cholesky(0.8**far).T


def heavy(rng: np.random.Generator, shape: tuple[int, int]) -> Rows:
    """Weights of Student's t with two degrees of freedom, whose variance is infinite."""
    return rng.standard_t(2, size=shape)


def flat(rng: np.random.Generator, shape: tuple[int, int]) -> Rows:
    """Vectors near one subspace of three dimensions, as concepts of one origin are."""
    few = rng.normal(size=(shape[0], 3)) @ rng.normal(size=(3, shape[1]))
    return 1.5 * few + rng.normal(size=shape)


def analogies(rng: np.random.Generator, planted: bool) -> float:
    """Four pairs; planted: all share one difference, with noise of its size."""
    rows = rng.normal(size=(CONCEPTS, UNITS))
    if planted:
        rows[4:8] = rows[:4] + 2 * rng.normal(size=UNITS) + 0.5 * rng.normal(size=(4, UNITS))
    pairs = [(str(i), str(i + 4)) for i in range(4)]
    return cl.analogies(rows, pairs, DRAWS, _seed(rng), within="all").p_value


def clusters(rng: np.random.Generator, planted: bool) -> float:
    """Three clusters beside three categories; planted: they agree for half the concepts."""
    truth = np.arange(CONCEPTS) % 3
    rows = 3 * np.eye(3, UNITS)[truth] + rng.normal(size=(CONCEPTS, UNITS))
    names = rng.permutation(truth)
    if planted:
        names[: CONCEPTS // 2] = truth[: CONCEPTS // 2]
    given = _vectors(rows, [str(n) for n in names])
    return cl.clusters(given, 3, "ward", _seed(rng), draws=DRAWS).p_value


def comparison(work: Callable[..., Any]) -> Test:
    """Two spaces; planted: the second is a linear map of the first, with noise."""

    def chance(rng: np.random.Generator, planted: bool) -> float:
        first = rng.normal(size=(CONCEPTS, 5))
        second = rng.normal(size=(CONCEPTS, 6))
        if planted:
            second = first @ rng.normal(size=(5, 6)) + second
        return float(work(first, second, draws=DRAWS, seed=_seed(rng)).p_value)

    return chance


def zoom(runs: int) -> Test:
    """Two networks of so many runs; planted: they differ by more than their runs."""

    def chance(rng: np.random.Generator, planted: bool) -> float:
        base = rng.normal(size=(CONCEPTS, UNITS))
        other = base + 0.5 * planted * rng.normal(size=base.shape)
        given = {
            name: [centre + 0.3 * rng.normal(size=base.shape) for _ in range(runs)]
            for name, centre in (("a", base), ("b", other))
        }
        return float(cl.zoom(given, draws=DRAWS, seed=_seed(rng)).whole["p_value"].iloc[0])

    return chance


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**32))


def _vectors(rows: Rows, categories: list[str]) -> cl.ConceptVectors:
    import pandas as pd

    table = pd.DataFrame({"name": [f"c{i}" for i in range(len(rows))], "category": categories})
    space = cl.Space("net", "f" * 8, "top", rows.shape[1], "raw")
    return cl.ConceptVectors(rows, np.zeros(len(rows)), table, "segmentation", space)


#: Test, share of the data sets that it takes.
TESTS: dict[str, tuple[Test, float]] = {
    "neighbours, equal scales": (neighbours(equal), 0.05),
    "neighbours, equal scales, centred": (neighbours(equal, center=True), 0.05),
    "neighbours, log-normal scales, sd 1": (neighbours(scaled(1)), 0.05),
    "neighbours, log-normal scales, sd 2": (neighbours(scaled(2)), 0.05),
    "neighbours, log-normal scales, sd 2, centred": (neighbours(scaled(2), center=True), 0.05),
    "neighbours, correlated units": (neighbours(correlated), 0.05),
    "neighbours, correlated units, centred": (neighbours(correlated, center=True), 0.05),
    "neighbours, correlated units, 10 concepts": (neighbours(correlated, (10, UNITS)), 0.1),
    "neighbours, correlated units, 80 concepts": (neighbours(correlated, (80, UNITS)), 0.025),
    "neighbours, correlated units, 6 concepts of 128": (neighbours(correlated, (6, 128)), 0.1),
    "neighbours, 3 dimensions of 64 units": (neighbours(flat, (CONCEPTS, 64)), 0.05),
    "neighbours, 3 dimensions of 64 units, centred": (
        neighbours(flat, (CONCEPTS, 64), center=True),
        0.05,
    ),
    "neighbours, 3 dimensions of 64 units, 80 concepts": (neighbours(flat, (80, 64)), 0.0125),
    "neighbours, heavy tails": (neighbours(heavy), 0.05),
    "neighbours, heavy tails, centred": (neighbours(heavy, center=True), 0.05),
    "neighbours, 6 concepts of 128 units": (neighbours(scaled(1), (6, 128)), 0.1),
    "neighbours, 100 concepts of 6 units": (neighbours(scaled(1), (100, 6)), 0.0125),
    "analogies": (analogies, 1.0),
    "distance": (comparison(lambda a, b, **k: _measure("distance", a, b, **k)), 0.5),
    "rsa spearman": (comparison(cl.rsa), 0.25),
    "linear cka": (comparison(cl.linear_cka), 0.25),
    "procrustes": (comparison(cl.procrustes), 0.25),
    "predictivity": (comparison(cl.predictivity), 0.125),
    "clusters and categories": (clusters, 0.125),
    "zoom, 2 runs each (conservative)": (zoom(2), 0.25),
    "zoom, 4 runs each": (zoom(4), 0.25),
}


def _measure(name: str, a: Rows, b: Rows, *, draws: int, seed: int) -> object:
    from conceptlab.analysis.compare import MEASURES

    return MEASURES[name](a, b, draws, seed, "same")


def rate(test: Test, repeats: int, planted: bool, seed: int) -> tuple[float, float, float]:
    """The share of p-values of at most 0.05, its standard error, and the share without any."""
    seeds = np.random.SeedSequence([seed, planted]).spawn(repeats)
    found = list(ordered_map(lambda s: test(np.random.default_rng(s), planted), seeds))
    chances = np.stack([np.atleast_1d(p) for p in found])
    each = (chances <= LEVEL).mean(axis=1)  # tests of one data set depend on one another
    error = float(each.std(ddof=1) / np.sqrt(repeats))
    return float(each.mean()), error, float(np.isnan(chances).mean())


def main() -> None:
    """Measure and say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="part of a test's name")
    arguments = parser.parse_args()
    tests = {name: test for name, test in TESTS.items() if arguments.only in name}
    for name, (test, share) in tests.items():
        repeats = max(100, int(share * arguments.repeats))
        false, error, without = rate(test, repeats, False, arguments.seed)
        line = {
            "test": name, "data_sets": repeats, "draws": DRAWS,
            "false_positives": round(false, 4), "standard_error": round(error, 4),
            "power": round(rate(test, min(repeats, 100), True, arguments.seed)[0], 3),
            "without_p": without,
        }  # fmt: skip
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
