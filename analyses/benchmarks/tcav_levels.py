"""False positive rate and power of TCAV's tests on networks whose reliance is known.

    python analyses/benchmarks/tcav_levels.py [--seeds 200] [--classifiers ridge svm] [--units 64]

Each seed draws a network of units on each of the picture's channels, whose four classes read those
of the first channel alone; 2,000 random pictures; and concepts of 50 pictures:

* other: brighter by one standard deviation in the channels that no class reads. The classes are
  independent of such a concept by construction, however well its pictures are told from others.
* none: pictures like the random ones.
* read: moved along a class's own mean gradient in the first channel, by one standard deviation of
  the pictures. That class depends on it.

A test at 0.05 should find 0.05 of the first two kinds and most of the third. Beside it stands the
t-test of the captum tutorial (captum.ai/tutorials/TCAV_Image): scores of the concept against random
sets, and of one random set against the others, as two samples of independent numbers. One JSON line
a classifier; standard errors are over seeds.
"""

import argparse
import json
import logging
import time
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import ttest_ind
from torch import Tensor, nn

import conceptlab as cl
from conceptlab.analysis.effects.sensitivity import directional_derivatives

LEVEL = 0.05
SIDE, CLASSES = 4, 4
POOL, PICTURES, SETS = 2000, 50, 50
NULLS, IMAGES = 5, 20  # concepts of each kind without effect; pictures of a class
BRIGHTER, MOVED = 1.0, 1.0  # standard deviations
KINDS = {"other": "false_positives_other", "none": "false_positives_none", "read": "power"}


class Reader(nn.Module):
    """Units on each channel, of which the classes read the first channel's."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.units = nn.Sequential(nn.Conv2d(3, 3 * units, SIDE, groups=3), nn.ReLU())
        self.head = nn.Sequential(nn.Linear(units, 16), nn.Tanh(), nn.Linear(16, CLASSES))

    def forward(self, pictures: Tensor) -> Tensor:
        """(n, classes) scores of pictures (n, 3, S, S)."""
        scores: Tensor = self.head(self.units(pictures)[:, : self.head[0].in_features, 0, 0])
        return scores


def network(units: int, generator: torch.Generator) -> cl.ProbedModel:
    """A `Reader` of random weights."""
    module = Reader(units)
    for values in module.parameters():
        scale = values[0].numel() ** -0.5 if values.ndim > 1 else 0.3
        values.data = scale * torch.randn(values.shape, generator=generator)
    return cl.load_model(module, size=SIDE)


def concepts(model: cl.ProbedModel, generator: torch.Generator) -> dict[str, Any]:
    """Sets of pictures of the three kinds."""

    def drawn() -> Tensor:
        return torch.randn(PICTURES, 3, SIDE, SIDE, generator=generator)

    sets = {f"none {i}": drawn() for i in range(NULLS)}
    for i in range(NULLS):
        sets[f"other {i}"] = drawn()
        sets[f"other {i}"][:, 1:] += BRIGHTER
    for which in range(2):
        seen = drawn().requires_grad_()
        (slope,) = torch.autograd.grad(model.module(seen)[:, which].sum(), seen)
        along = slope.sum(dim=0) / slope.sum(dim=0).norm()
        sets[f"read {which}"] = drawn() + MOVED * along
    return sets


def found(seed: int, classifier: str, penalty: float, units: int) -> pd.DataFrame:
    """What the tests say of a seed: columns class, concept, kind, p_value, p_rank, p_captum."""
    generator = torch.Generator().manual_seed(seed)
    model = network(units, generator)
    sets = concepts(model, generator)
    pool: Any = torch.randn(POOL, 3, SIDE, SIDE, generator=generator)
    cavs = cl.picture_cavs(
        model, sets, pool, layer="units", classifier=classifier, penalty=penalty,
        counterparts=SETS, examples=PICTURES, redraws=0, batch_size=256, seed=seed,
    )  # fmt: skip
    images: dict[int, Any] = {
        which: torch.randn(IMAGES, 3, SIDE, SIDE, generator=generator) for which in range(CLASSES)
    }
    table = cl.tcav(model, images, cavs, seed=seed)
    table["kind"] = table["concept"].str.split().str[0]
    own = table["class"] == table["concept"].str.split().str[1]
    table = table[(table["kind"] != "read") | own]
    captum = captum_p(model, images, cavs)
    table["p_captum"] = [captum[at] for at in zip(table["class"], table["concept"], strict=True)]
    return table


def captum_p(
    model: cl.ProbedModel, images: dict[int, Any], cavs: cl.Cavs
) -> dict[tuple[str, str], float]:
    """The tutorial's p-value of each class and concept, from scores by sign."""
    roles, chances = cavs.groups[0].roles, {}
    for name, (sums,) in directional_derivatives(model, images, [cavs], None, 64, False):
        first = roles.null[0, 0]
        ahead = roles.signs[0, 0] > 0
        random = np.where(ahead, sums.positive[first], sums.negative[first])
        for concept, draws in zip(cavs.vectors.names, roles.draws, strict=True):
            with warnings.catch_warnings():  # all scores of one set may be 0 or 1
                warnings.simplefilter("ignore", RuntimeWarning)
                chance = ttest_ind(sums.positive[draws], random).pvalue
            chances[name, concept] = float(chance)
    return chances


def rates(tables: Sequence[pd.DataFrame], column: str) -> dict[str, Any]:
    """Share of each kind at or below the level, with its standard error over seeds."""
    per_seed = pd.DataFrame([(t[column] <= LEVEL).groupby(t["kind"]).mean() for t in tables])
    error = per_seed.std(ddof=1) / np.sqrt(len(per_seed))
    return {
        name: f"{per_seed[kind].mean():.4f} +- {error[kind]:.4f}" for kind, name in KINDS.items()
    }


def main() -> None:
    """Measure and say."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="seed to begin with")
    parser.add_argument(
        "--classifiers", nargs="+", default=["ridge", "logistic", "svm", "difference"]
    )
    parser.add_argument("--penalty", type=float, default=10.0)
    parser.add_argument("--units", type=int, default=8, help="on each channel")
    arguments = parser.parse_args()
    logging.getLogger("conceptlab").setLevel(logging.ERROR)  # random concepts are at chance
    for classifier in arguments.classifiers:
        start = time.perf_counter()
        seeds = range(arguments.first, arguments.first + arguments.seeds)
        tables = [found(seed, classifier, arguments.penalty, arguments.units) for seed in seeds]
        for test, column in (("t", "p_value"), ("rank", "p_rank"), ("captum", "p_captum")):
            line = {
                "classifier": classifier, "penalty": arguments.penalty,
                "units": 3 * arguments.units, "test": test, "seeds": len(tables),
                **rates(tables, column),
            }  # fmt: skip
            print(json.dumps(line), flush=True)
        print(json.dumps({"seconds": round(time.perf_counter() - start)}), flush=True)


if __name__ == "__main__":
    main()
