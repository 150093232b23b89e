"""Coverage of every 95 % interval, on made data whose truth is known.

    python analyses/benchmarks/interval_coverage.py [--repeats 2000] [--only WORD]

n is 10, 20, 50 and 200: images that show the concept, pictures of a class, units, concepts, items
or draws, whatever the interval is over. Tails are light and heavy. 'frames' are neighbouring frames
of a drive (values of neighbours correlate by 0.6, and ten concepts are looked at together, as a
probe has them). An interval should hold the truth in 93 to 97 of 100 data sets: others are flagged.
One JSON line for each: coverage in per cent with its standard error, mean width, share of data sets
that have no interval. Shares of few images are discrete, so accuracies vary within 0.04 of the one
that is named, or within one image of few. What a measure of two spaces depends on the number of
items, its truth is the mean of that number. Slower ones take fewer data sets.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain, product
from typing import Any

import numpy as np
import pandas as pd
from scipy.signal import lfilter
from scipy.special import expit, ndtr, ndtri, stdtrit

import conceptlab as cl
from conceptlab.analysis.comparison.compare import MEASURES
from conceptlab.analysis.effects.tcav import _interval as tcav_interval
from conceptlab.analysis.units.overlap import _interval as agreement_interval
from conceptlab.analysis.units.saturation import saturation
from conceptlab.analysis.vectors.analogies import _interval as analogy_interval
from conceptlab.numerics.intervals import balanced_bounds, mean_bounds
from conceptlab.numerics.serial import effective_number, effective_rows
from conceptlab.probes.segmentation.problem import PairCounts

NUMBERS = (10, 20, 50, 200)
TARGET = 93.0, 97.0
TOGETHER = 10  # concepts of one probe
FRAMES = 0.6  # correlation of neighbouring frames
Array = np.ndarray
#: Lower bounds, upper bounds, truths.
Found = tuple[Any, Any, Any]


def noise(rng: np.random.Generator, shape: tuple[int, ...], frames: bool) -> Array:
    """Normal values of variance 1; along the last axis those of neighbouring frames."""
    if not frames:
        return rng.normal(size=shape)
    fresh = rng.normal(size=(*shape[:-1], shape[-1] + 100)) * np.sqrt(1 - FRAMES**2)
    return lfilter([1], [1, -FRAMES], fresh, axis=-1)[..., 100:]


def accuracy(p: float, others: int, frames: bool, rng: np.random.Generator, n: int) -> Found:
    """Balanced accuracy; n images show each concept, spread over the split, and others do not."""
    near = min(max(0.04, 1 / n), 0.8 * (1 - p))
    truth = rng.uniform([p - near, 0.86], [min(p + near, 1), 0.94], (TOGETHER, 2))
    shown = np.zeros((TOGETHER, n + others), dtype=bool)
    for row in shown:
        start = rng.integers(others + 1)
        row[slice(start, start + n) if frames else rng.choice(n + others, n, replace=False)] = True
    chance = ndtr(noise(rng, shown.shape, frames))
    right = chance < np.where(shown, truth[:, :1], truth[:, 1:])
    places, series = np.tile(np.arange(n + others), TOGETHER), 2 * np.arange(TOGETHER)[:, None]
    worth = effective_number(right.ravel(), (series + ~shown).ravel(), places).reshape(-1, 2)
    count = np.stack([shown.sum(axis=1), (~shown).sum(axis=1)], axis=1)
    correct = np.stack([(right & shown).sum(axis=1), (right & ~shown).sum(axis=1)], axis=1)
    return (*balanced_bounds(correct, count, worth), truth.mean(axis=1))


def overlaps(kind: str, frames: bool, rng: np.random.Generator, size: tuple[int, int]) -> Array:
    """(..., 2) intersection and union of each image.

    'light': IoU about 0.4, unions of like sizes. 'heavy': unions whose logarithm varies by 1, and
    larger objects found better. 'zeros': likewise, half of them missed whole.
    """
    z = noise(rng, size, frames)
    spread, slope = (0.4, 0.0) if kind == "light" else (1.0, 0.6)
    share = expit(-0.4 + slope * z + 0.9 * noise(rng, size, frames))
    if kind == "zeros":
        share = np.where(ndtr(noise(rng, size, frames)) < 0.5, 0.0, share)
    union = np.rint(1e5 * np.exp(spread * z)) + 1
    return np.stack([np.rint(share * union), union], axis=-1)


TRUTHS: dict[str, tuple[float, float]] = {}


def masks(which: str, kind: str, frames: bool, rng: np.random.Generator, n: int) -> Found:
    """IoU_set or mean IoU_ind of ten concepts, by the table that probes print."""
    if kind not in TRUTHS:
        both, union = np.moveaxis(
            overlaps(kind, False, np.random.default_rng(1), (2000, 1000)), -1, 0
        )
        TRUTHS[kind] = float(both.sum() / union.sum()), float((both / union).mean())
    both, union = (
        part.ravel() for part in np.moveaxis(overlaps(kind, frames, rng, (TOGETHER, n)), -1, 0)
    )
    names = pd.DataFrame({"concept": [str(i) for i in range(TOGETHER)], "category": "object"})
    counts = PairCounts(
        names, np.full(TOGETHER, n), np.tile(np.arange(n), TOGETHER),
        np.repeat(np.arange(TOGETHER), n),
        np.stack([both, union, both], axis=1).astype(np.int64),
    ).table(intervals=True)  # fmt: skip
    low, high = ("low", "high") if which == "set" else ("ind_low", "ind_high")
    return counts[low], counts[high], TRUTHS[kind][which != "set"]


MEANS: dict[str, tuple[Callable[[Array], Array], float]] = {
    "normal": (lambda z: z, 0.0),
    "t3": (lambda z: _t3(ndtr(z)), 0.0),
    "exponential": (lambda z: -np.log(ndtr(-z)), 1.0),
    "lognormal": (np.exp, float(np.exp(0.5))),
}


def _t3(share: Array) -> Array:
    return stdtrit(3, share)


def means(kind: str, frames: bool, rng: np.random.Generator, n: int) -> Found:
    """Mean changes (`erase`) and contributions (`decompose`) of ten concepts."""
    work, truth = MEANS[kind]
    values = work(noise(rng, (TOGETHER, n), frames))
    return (*mean_bounds(values, effective_rows(values)), truth)


def sensitivity(p: float, redraws: int, rng: np.random.Generator, n: int) -> Found:
    """TCAV scores of ten concepts: at each image a chance of a positive derivative."""
    slope = rng.normal(size=(TOGETHER, redraws, 1)) * (0.3 if redraws > 1 else 0.0)
    near = min(0.04, 0.8 * (1 - p))
    truth = rng.uniform(p - near, min(p + near, 1.0), (TOGETHER, 1, 1))
    border = ndtri(truth) * np.sqrt(1 + 0.3**2 * (redraws > 1))
    image = rng.normal(size=(TOGETHER, 1, n))
    own = rng.normal(size=(TOGETHER, 1, 1)) * (0.3 if redraws > 1 else 0.0)  # of the concept's set
    score = (image + own < border).mean(axis=(1, 2))
    shares = (image + own + slope < border).astype(np.float32)
    return (*tcav_interval(score, shares), truth[:, 0, 0])


def agreement(heavy: bool, rng: np.random.Generator, n: int) -> Found:
    """Correlations of 0.5 between weights and IoU over n units (`unit_agreement`)."""
    shape = (3, TOGETHER, n)
    common, first, second = rng.gamma(1.0, size=shape) if heavy else rng.normal(size=shape)
    x, y = common + first, common + second
    x, y = (side - side.mean(axis=1, keepdims=True) for side in (x, y))
    x, y = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (x, y))
    return (*agreement_interval(x, y, np.einsum("ck,ck->c", x, y)), 0.5)


def _curves(rng: np.random.Generator, n: int, heavy: bool) -> pd.DataFrame:
    units = 2 ** np.arange(8)
    need = rng.gamma(1.5, 1.0, n) if heavy else rng.uniform(0, 5, n)
    best = rng.beta(2, 3, n)
    score = best[:, None] * np.clip((np.log2(units) + 1) / (need[:, None] + 1), 0, 1)
    return pd.DataFrame(
        {"task": "segment", "concept": np.repeat(np.arange(n), 8), "category": "object",
         "units": np.tile(units, n), "score": (score + 0.02 * rng.normal(size=score.shape)).ravel()}
    )  # fmt: skip


def saturated(heavy: bool, rng: np.random.Generator, n: int) -> Found:
    """The F of saturation over n concepts, a few of which need many units."""
    key = f"saturation {heavy}"
    if key not in TRUTHS:
        whole = saturation(_curves(np.random.default_rng(1), 50_000, heavy), 0.9)
        TRUTHS[key] = (float(whole["units"].iloc[-1]), 0.0)
    found = saturation(_curves(rng, n, heavy), 0.9).iloc[-1]
    return found["low"], found["high"], TRUTHS[key][0]


def relations(rng: np.random.Generator, n: int) -> Found:
    """Mean reciprocal rank of the analogies between n pairs, which are easy and hard ones."""
    easy = rng.normal(size=n)
    i, j = np.nonzero(~np.eye(n, dtype=bool))
    rank = 1 + rng.poisson(np.exp(0.5 - 0.7 * (easy[i] + easy[j])))
    terms = np.stack([2 * i, 2 * i + 1, 2 * j, 2 * j + 1], axis=1)
    if "relations" not in TRUTHS:
        big = np.random.default_rng(1)
        hard = np.exp(0.5 - 0.7 * np.sqrt(2) * big.normal(size=2_000_000))
        TRUTHS["relations"] = (float((1 / (1 + big.poisson(hard))).mean()), 0.0)
    return (*analogy_interval(1 / rank, terms), TRUTHS["relations"][0])


def spaces(name: str, kind: str, rng: np.random.Generator, n: int) -> Found:
    """A measure of two spaces of n items, the second a linear map of the first, with noise."""
    mix = np.random.default_rng(0).normal(size=(4, 6))
    draw: Any = rng.normal if kind == "light" else partial(rng.standard_t, 3)
    first = draw(size=(n, 4))
    second = first @ mix * (kind != "unrelated") + 2 * draw(size=(n, 6))
    found = MEASURES[name](first, second, 1, 0, "same")
    return (*found.interval, found.value)


def weights(similar: bool, rng: np.random.Generator, n: int) -> Found:
    """Weights, or cosines, of vectors with n draws; noise is a third of each vector's length."""
    truth = np.random.default_rng(2).normal(size=(4, 12))
    truth[1] = truth[0] + 0.7 * truth[1]
    fit = truth + 0.33 * rng.normal(size=truth.shape)
    space = cl.Space("net", "f" * 8, "top", 12, "raw")
    table = pd.DataFrame({"name": list("abcd"), "category": "object"})
    vectors = cl.ConceptVectors(fit, np.zeros(4), table, "segmentation", space)
    draws = (fit + 0.33 * rng.normal(size=(n, *fit.shape))).astype(np.float32)
    given = cl.VectorDistribution(vectors, draws, "made")
    unit = truth / np.linalg.norm(truth, axis=1, keepdims=True)
    if similar:
        found = cl.similarity_intervals(given)
        return found["low"], found["high"], (unit @ unit.T)[np.triu_indices(4, 1)]
    found = cl.weight_intervals(given)
    return found["low"], found["high"], unit.ravel()


Work = Callable[[np.random.Generator, int], Found]
Case = tuple[str, Work, float]


def of_scores() -> Iterator[Case]:
    """Name, data set and its interval, share of the repeats that it takes: of probes."""
    for p in (0.6, 0.9, 0.99):
        yield f"balanced accuracy, p = {p} and 0.9 of 200", partial(accuracy, p, 200, False), 1
    yield "balanced accuracy, frames, p = 0.8", partial(accuracy, 0.8, 200, True), 1
    for which in ("set", "ind"):
        for kind in ("light", "heavy", "zeros"):
            yield f"IoU_{which}, {kind}", partial(masks, which, kind, False), 1
        yield f"IoU_{which}, frames, heavy", partial(masks, which, "heavy", True), 1


def of_effects() -> Iterator[Case]:
    """Likewise, of what concepts do to classes."""
    for kind in MEANS:
        yield f"erasure and decomposition, {kind}", partial(means, kind, False), 1
    yield "erasure and decomposition, frames, normal", partial(means, "normal", True), 1
    for p in (0.7, 0.95):
        yield f"TCAV, one CAV, p = {p}", partial(sensitivity, p, 1), 1
        yield f"TCAV, 20 re-draws, p = {p}", partial(sensitivity, p, 20), 1


def of_spaces() -> Iterator[Case]:
    """Likewise, of concepts, units and spaces."""
    for tail, heavy in (("light", False), ("heavy", True)):
        yield f"agreement of units, {tail}", partial(agreement, heavy), 1
        yield f"F of saturation, {tail}", partial(saturated, heavy), 0.2
    yield "analogies", relations, 1
    yield "weights of a distribution", partial(weights, False), 1
    yield "similarities of a distribution", partial(weights, True), 1
    for name, kind in product(MEASURES, ("light", "heavy", "unrelated")):
        yield f"{name}, {kind}", partial(spaces, name, kind), 0.1


def measured(work: Work, n: int, repeats: int, seed: int) -> dict[str, Any]:
    """What so many data sets say of one interval."""
    parts: list[list[Array]] = []
    have = 0
    while have < repeats:
        found = work(np.random.default_rng([seed, n, len(parts)]), n)
        parts.append(
            [np.atleast_1d(np.asarray(x, dtype=float)) for x in np.broadcast_arrays(*found)]
        )
        have += len(parts[-1][0])
    low, high, truth = (np.concatenate(column) for column in zip(*parts, strict=True))
    if (
        getattr(work, "func", None) is spaces
    ):  # the value itself is given: its mean over data sets is meant
        truth = np.full(len(truth), truth.mean())
    known = np.isfinite(low) & ~np.isnan(high)
    held = ((low <= truth + 1e-12) & (truth <= high + 1e-12))[known]
    sets = [np.mean(h) for h in np.array_split(held, len(parts))] if len(held) else [np.nan]
    cover = 100 * float(held.mean()) if len(held) else float("nan")
    wide = (high - low)[known & np.isfinite(high)]
    return {
        "n": n, "data_sets": len(low), "coverage": round(cover, 1),
        "standard_error": round(100 * float(np.std(sets) / np.sqrt(len(sets))), 1),
        "mean_width": round(float(wide.mean()), 4) if len(wide) else None,
        "without": round(1 - len(held) / len(low), 3),
        "flag": "" if TARGET[0] <= cover <= TARGET[1] else "outside 93-97 %",
    }  # fmt: skip


def main() -> None:
    """Measure and say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=2000)
    parser.add_argument("--only", default="", help="intervals whose name holds this")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for name, work, share in chain(of_scores(), of_effects(), of_spaces()):
        if arguments.only not in name:
            continue
        for n in NUMBERS:
            part = share * (0.3 if n == max(NUMBERS) and share < 1 else 1)
            found = measured(work, n, max(60, int(arguments.repeats * part)), arguments.seed)
            print(json.dumps({"interval": name, **found}), flush=True)


if __name__ == "__main__":
    main()
