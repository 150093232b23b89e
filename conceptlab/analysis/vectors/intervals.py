"""What the choice of images leaves open: intervals of weights and similarities of concepts.

The thesis, section 7.2.2, asks which concepts are "more well defined". Draws come from
`conceptlab.ResampledProbe`, and what they assume stands in them.
"""

from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conceptlab.errors import InputError
from conceptlab.given import checked
from conceptlab.numerics.testing import TIE, benjamini_hochberg
from conceptlab.vectors import ConceptVectors, unit_rows

Floats = NDArray[np.float64]
PINNED = 0.5  # reliability: draws scatter about the fit by less than half its squared length


class Distribution(Protocol):
    """Vectors and their draws (`conceptlab.VectorDistribution` is one)."""

    @property
    def vectors(self) -> ConceptVectors:
        """Of the whole fit."""
        ...

    @property
    def draws(self) -> NDArray[Any]:
        """(R, C, K) weights."""
        ...


@checked
def weight_intervals(distribution: Distribution, level: float = 0.95) -> pd.DataFrame:
    """An interval for each weight of each concept, of vectors at unit length.

    Student's t about the fitted weight, with the standard deviation over draws: draws are too few
    for quantiles, and their mean is not the fit. Weights of one concept depend on one another.

    Args:
        distribution: of the vectors.
        level: of each interval alone.

    Returns:
        A row per concept with a vector and unit: concept, category, unit, weight, low, high,
        p_value (of a weight of 0; NaN where no draw differs from another), p_bh (Benjamini &
        Hochberg 1995, over all rows).

    Raises:
        InputError: a level outside 0..1.
    """
    from scipy.stats import t as student

    vectors, rows, draws = _parts(distribution, level)
    length = np.linalg.norm(vectors.weights[rows], axis=1, keepdims=True)
    weights = vectors.weights[rows] / length
    count = np.isfinite(draws[:, :, 0]).sum(axis=0)
    spread = np.nanstd(draws, axis=0, ddof=1) / length
    degrees = np.maximum(count - 1, 1)[:, None]
    reach = student.ppf((1 + level) / 2, degrees) * spread
    with np.errstate(divide="ignore", invalid="ignore"):
        chances = 2 * student.sf(np.abs(weights) / spread, degrees)
    chances = np.where(spread > TIE * np.abs(weights), chances, np.nan).ravel()  # none without
    units = weights.shape[1]
    return pd.DataFrame(
        {
            "concept": np.array(vectors.names, dtype=object)[rows].repeat(units),
            "category": vectors.concepts["category"].to_numpy()[rows].repeat(units),
            "unit": np.tile(np.arange(units), len(rows)), "weight": weights.ravel(),
            "low": (weights - reach).ravel(), "high": (weights + reach).ravel(),
            "p_value": chances, "p_bh": benjamini_hochberg(chances),
        }
    )  # fmt: skip


@checked
def similarity_intervals(distribution: Distribution, level: float = 0.95) -> pd.DataFrame:
    """An interval for the cosine of every two concepts.

    Student's t on Fisher's scale, about the fitted cosine. Noise in the vectors draws cosines
    towards 0, or together where both have it in common: `corrected` takes out as much as the draws
    hold (Spearman 1904), and the interval is moved and stretched as the cosine is.

    Args:
        distribution: of the vectors.
        level: of each interval alone.

    Returns:
        A row per pair of concepts with a vector: concept_i, concept_j, category_i, category_j,
        similarity, low, high (95 % of the cosine without noise), corrected; these NaN where
        a vector is all noise.

    Raises:
        InputError: a level outside 0..1.
    """
    from scipy.stats import t as student

    vectors, rows, draws = _parts(distribution, level)
    weights = vectors.weights[rows]
    unit = unit_rows(weights)
    fitted = _fisher(unit @ unit.T)
    first, second, count = (np.zeros((len(rows), len(rows))) for _ in range(3))
    for draw in draws:
        known = np.isfinite(draw[:, 0])
        own = unit_rows(np.nan_to_num(draw))
        away = np.where(np.outer(known, known), _fisher(own @ own.T) - fitted, 0.0)
        first += away
        second += away**2
        count += np.outer(known, known)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.sqrt(np.maximum(second - first**2 / count, 0.0) / (count - 1))
    noise, length = _noise(draws), np.linalg.norm(weights, axis=1)
    # draws are longer than the fit by their noise, so that its products move their cosines less
    longer = np.sqrt(1 + np.diagonal(noise) / length**2)
    reach = student.ppf((1 + level) / 2, np.maximum(count - 1, 1)) * spread
    reach *= np.outer(longer, longer)
    low, high = (
        _corrected(np.tanh(bound) * np.outer(length, length), weights, noise)
        for bound in (fitted - reach, fitted + reach)
    )
    i, j = np.triu_indices(len(rows), 1)
    names = np.array(vectors.names, dtype=object)[rows]
    category = vectors.concepts["category"].to_numpy()[rows]
    return pd.DataFrame(
        {
            "concept_i": names[i], "concept_j": names[j], "category_i": category[i],
            "category_j": category[j], "similarity": (unit @ unit.T)[i, j],
            "low": low[i, j], "high": high[i, j],
            "corrected": _corrected(weights @ weights.T, weights, noise)[i, j],
        }
    )  # fmt: skip


def pinned_down(distribution: Distribution) -> pd.DataFrame:
    """Which concepts the data pins down, and which have a vector that other images would change.

    Args:
        distribution: of the vectors.

    Returns:
        A row per concept with a vector, the least reliable first: concept, category, n_train (where
        known), reliability (1 - mean squared distance of draws to the fit, as a share of the fit's
        squared length; at least 0), cosine (median, of draws with the fit), low (5 % of them are
        lower), told_apart (share of draws that are nearer to their own concept's fit than to any
        other's; concepts that always go together cannot be), pinned (reliability above 0.5).
    """
    vectors, rows, draws = _parts(distribution, 0.95)
    weights = vectors.weights[rows]
    unit = unit_rows(weights)
    # about the fit, not about their mean: draws that agree on another vector do not bear it out
    away = np.nanmean(((draws - weights) ** 2).sum(axis=2), axis=0)
    reliability = np.clip(1 - away / (weights**2).sum(axis=1), 0.0, 1.0)
    cosines = np.full(draws.shape[:2], np.nan)
    apart = np.full(draws.shape[:2], np.nan)
    for place, draw in enumerate(draws):
        known = np.isfinite(draw[:, 0])
        found = unit_rows(draw[known]) @ unit.T
        itself = np.arange(len(found)), np.flatnonzero(known)
        cosines[place, known] = own = found[itself]
        found[itself] = -np.inf
        apart[place, known] = own > found.max(axis=1) + 1e-9
    table = pd.DataFrame(
        {
            "concept": np.array(vectors.names, dtype=object)[rows],
            "category": vectors.concepts["category"].to_numpy()[rows],
            "reliability": reliability, "cosine": np.nanmedian(cosines, axis=0),
            "low": np.nanquantile(cosines, 0.05, axis=0), "told_apart": np.nanmean(apart, axis=0),
            "pinned": reliability > PINNED,
        }
    )  # fmt: skip
    if "n_train" in vectors.concepts:
        table.insert(2, "n_train", vectors.concepts["n_train"].to_numpy()[rows])
    return table.sort_values("reliability", kind="stable", ignore_index=True)


def _parts(
    distribution: Distribution, level: float
) -> tuple[ConceptVectors, NDArray[np.int64], Floats]:
    """The vectors, rows of the concepts that have one in two draws at least, and their draws."""
    if not 0 < level < 1:
        raise InputError(f"level is a share between 0 and 1; got {level}")
    vectors, draws = distribution.vectors, distribution.draws
    often = np.isfinite(draws).all(axis=2).sum(axis=0) >= 2
    rows = np.flatnonzero(vectors.usable & often)
    if not len(rows):
        raise InputError("no concept has a vector in two draws: there is nothing to say of any")
    return vectors, rows, draws[:, rows].astype(np.float64)


def _fisher(cosines: Floats) -> Floats:
    limit = 1 - 1e-9
    found: Floats = np.arctanh(np.clip(cosines, -limit, limit))
    return found


def _noise(draws: Floats) -> Floats:
    """(C, C) what noise adds to the products of vectors, on average."""
    mean = np.nanmean(draws, axis=0)
    noise, count = (np.zeros((draws.shape[1], draws.shape[1])) for _ in range(2))
    for draw in draws:
        known = np.isfinite(draw[:, 0])
        away = np.where(known[:, None], draw - mean, 0.0)
        noise += away @ away.T
        count += np.outer(known, known)
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Floats = noise / (count - 1)
    return found


def _corrected(products: Floats, weights: Floats, noise: Floats) -> Floats:
    """(C, C) cosines of products of vectors, without what noise adds to these and to lengths."""
    square = (weights**2).sum(axis=1) - np.diagonal(noise)
    length = np.sqrt(np.where(square > 0, square, np.nan))
    found: Floats = np.clip((products - noise) / np.outer(length, length), -1.0, 1.0)
    return found
