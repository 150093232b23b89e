"""False positive rates and power of every permutation test, over many data sets.

    python analyses/benchmarks/permutation_levels.py [--repeats 2000] [--only neighbours]

Under the null nothing relates to anything, in the way that each test takes for granted: concepts of
a category are exchangeable for analogies, items for the comparisons, runs for zoom. Neighbours take
vectors for normal, of any covariance: units of unequal scales (log-normal), correlated units,
vectors of few dimensions, few concepts of many units and the reverse, and ridge regressions of
random labels. Others are beyond their null hypothesis: heavy tails, concepts of which unlike
numbers of images are labelled. All concepts of a data set count, and the standard error is over
data sets. A test at 0.05 should then reject 0.04 to 0.06 of them. Rows that begin with 'undefined'
have nothing to test, and no p-value (`without_p` is 1). Power is the share rejected where an effect
is planted. One JSON line a test; slower tests take fewer data sets. `--only` picks tests by a part
of their name.
"""

import argparse
import json
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

import conceptlab as cl
from conceptlab.analysis.comparison.compare import MEASURES
from conceptlab.numerics.parallel import ordered_map

LEVEL, DRAWS = 0.05, 99
POWER = 40  # data sets with an effect
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


def probes(fewest: int, most: int) -> Callable[[np.random.Generator, tuple[int, int]], Rows]:
    """Ridge regressions of so many random images of 200 against the others."""

    def make(rng: np.random.Generator, shape: tuple[int, int]) -> Rows:
        images = np.maximum(rng.normal(size=(200, shape[1])) @ rng.normal(size=2 * shape[1:]), -1)
        images = (images - images.mean(axis=0)) * np.exp(rng.normal(size=shape[1]))
        shown = [np.arange(200) < rng.integers(fewest, most + 1) for _ in range(shape[0])]
        labels = np.stack(
            [rng.permutation(row / row.mean() - ~row / (~row).mean()) for row in shown]
        )
        moments = images.T @ images
        ridge = np.trace(moments) / 100 * np.eye(shape[1])
        fits: Rows = labels @ images @ np.linalg.inv(moments + ridge)
        return fits

    return make


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


def undefined(work: Callable[..., Any], side: str) -> Test:
    """A side that says nothing: the same for all items, up to rounding, or one unit each."""

    def chance(rng: np.random.Generator, planted: bool) -> float:
        first = rng.normal(size=(CONCEPTS, 5))
        second = np.eye(CONCEPTS)
        if side == "constant":
            second = np.full((CONCEPTS, 6), 0.1) * (1 + 1e-16 * rng.normal(size=(CONCEPTS, 6)))
        sides = (second, first) if planted else (first, second)
        return float(work(*sides, draws=DRAWS, seed=_seed(rng)).p_value)

    return chance


class _Net(nn.Module):
    """Units, then a small head that is not linear."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__()
        self.units = nn.Sequential(nn.Conv2d(3, UNITS, 2, stride=2), nn.ReLU())
        self.head = nn.Sequential(nn.Linear(UNITS, 8), nn.Tanh(), nn.Linear(8, 2))
        generator = torch.Generator().manual_seed(_seed(rng))
        for values in self.parameters():
            values.data = 0.5 * torch.randn(values.shape, generator=generator)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """(n, 2) scores of pictures (n, 3, S, S)."""
        scores: torch.Tensor = self.head(self.units(pictures).mean(dim=(2, 3)))
        return scores


def erasure(ablation: str) -> Test:
    """Random directions against random directions; planted: what class 0 reads."""

    def chance(rng: np.random.Generator, planted: bool) -> Rows:
        net = _Net(rng)
        model = cl.load_model(net, size=4)
        scale = np.exp(rng.normal(size=UNITS))
        rows, controls = (scale * rng.normal(size=(n, UNITS)) for n in (6, 30))
        if planted:
            rows[:] = (net.head[2].weight[0] @ net.head[0].weight).detach().numpy()
        space = cl.Space(model.spec, model.fingerprint, "units", UNITS, "raw")
        given = [_vectors(part, ["made"] * len(part), space) for part in (rows, controls)]
        pictures = torch.randn(60, 3, 4, 4, generator=torch.Generator().manual_seed(_seed(rng)))
        table = cl.erase(
            model, {0: pictures[:20]}, given[0], random=given[1], reference=pictures[20:]
        ).table
        chances: Rows = table.loc[table["ablation"] == ablation, "p_value"].to_numpy()
        return chances

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


def _vectors(rows: Rows, categories: list[str], space: cl.Space | None = None) -> cl.ConceptVectors:
    table = pd.DataFrame({"name": [f"c{i}" for i in range(len(rows))], "category": categories})
    space = space or cl.Space("net", "f" * 8, "top", rows.shape[1], "raw")
    return cl.ConceptVectors(rows, np.zeros(len(rows)), table, "segmentation", space)


def _measure(name: str, a: Rows, b: Rows, *, draws: int, seed: int) -> Any:
    return MEASURES[name](a, b, draws, seed, "same")


#: Of neighbours: what vectors are drawn from, their shape, share of the data sets.
VECTORS: dict[str, tuple[Callable[[np.random.Generator, tuple[int, int]], Rows], Any, float]] = {
    "equal scales": (equal, (CONCEPTS, UNITS), 0.1),
    "log-normal scales, sd 1": (scaled(1), (CONCEPTS, UNITS), 0.1),
    "log-normal scales, sd 2": (scaled(2), (CONCEPTS, UNITS), 0.1),
    "log-normal scales, 6 concepts of 128 units": (scaled(1), (6, 128), 0.1),
    "log-normal scales, 100 concepts of 6 units": (scaled(1), (100, 6), 0.025),
    "correlated units": (correlated, (CONCEPTS, UNITS), 0.1),
    "correlated units, 80 concepts": (correlated, (80, UNITS), 0.025),
    "correlated units, 6 concepts of 128": (correlated, (6, 128), 0.1),
    "3 dimensions of 64 units": (flat, (CONCEPTS, 64), 0.1),
    "3 dimensions of 64 units, 80 concepts": (flat, (80, 64), 0.025),
    "random labels, 40 images each": (probes(40, 40), (CONCEPTS, UNITS), 0.1),
    "random labels, 40 images each, 64 units": (probes(40, 40), (CONCEPTS, 64), 0.1),
    "random labels, 8 to 60 images (beyond)": (probes(8, 60), (CONCEPTS, UNITS), 0.1),
    "heavy tails (beyond)": (heavy, (CONCEPTS, UNITS), 0.1),
}
CENTRED = ("log-normal scales, sd 2", "correlated units", "3 dimensions of 64 units")  # as well
COMPARED: dict[str, tuple[Callable[..., Any], float]] = {
    "distance": (partial(_measure, "distance"), 0.5),
    "rsa spearman": (cl.rsa, 0.25),
    "linear cka": (cl.linear_cka, 0.25),
    "cka debiased": (partial(cl.linear_cka, debiased=True), 0.25),
    "procrustes": (cl.procrustes, 0.25),
    "predictivity": (cl.predictivity, 0.125),
}
#: Test, share of the data sets that it takes.
TESTS: dict[str, tuple[Test, float]] = {
    **{
        f"neighbours{', centred' * center}, {name}": (neighbours(make, shape, center), share)
        for name, (make, shape, share) in VECTORS.items()
        for center in {False, name in CENTRED}
    },
    "analogies": (analogies, 1.0),
    **{name: (comparison(work), share) for name, (work, share) in COMPARED.items()},
    "clusters and categories": (clusters, 0.125),
    "zoom, 2 runs each (conservative)": (zoom(2), 0.25),
    "zoom, 4 runs each": (zoom(4), 0.25),
    "erase, direction": (erasure("direction"), 0.1),
    "erase, units": (erasure("units"), 0.1),
    **{
        f"undefined: {name}, constant side": (undefined(work, "constant"), 0.0)
        for name, (work, _) in COMPARED.items()
    },
    "undefined: rsa spearman, one-hot side": (undefined(cl.rsa, "one-hot"), 0.0),
    "undefined: neighbours, one-hot vectors": (neighbours(lambda _, shape: np.eye(shape[1])), 0.0),
}


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
    parser.add_argument("--repeats", type=int, default=2000)
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
            "power": round(rate(test, min(repeats, POWER), True, arguments.seed)[0], 3),
            "without_p": without,
        }  # fmt: skip
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
