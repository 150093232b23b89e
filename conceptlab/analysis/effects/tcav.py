"""TCAV: how sensitive a class is to a concept, tested against what random images give.

Kim et al. 2018, "Interpretability Beyond Feature Attribution", sections 3.3 to 3.5. The sensitivity
of a class to a concept at an image is the derivative of the class's score (its logit, not a loss)
along the concept's direction at unit length: positive where more of the concept raises the class.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conceptlab.analysis.effects.sensitivity import Sums, directional_derivatives, with_random
from conceptlab.errors import InputError
from conceptlab.given import checked, require_seed
from conceptlab.numerics.intervals import discounted, jeffreys
from conceptlab.numerics.serial import effective_rows
from conceptlab.numerics.testing import (
    benjamini_hochberg,
    holm,
    permutation_p,
    prediction_p,
)
from conceptlab.probes.cav.result import Cavs
from conceptlab.probes.cav.sets import Roles
from conceptlab.vectors import ConceptVectors

if TYPE_CHECKING:
    from conceptlab.activations.pictures import Pictures
    from conceptlab.models.outputs import Output
    from conceptlab.models.probed import ProbedModel

Floats = NDArray[np.float64]
Vectors = Cavs | ConceptVectors
ZERO = "all derivatives are 0: the class reads this layer nowhere along the concept"
UNANSWERED = ["score", "magnitude", "effect", "p_value", "p_rank"]  # where they are
COLUMNS = [
    "class", "concept", "category", "layer", "kind", "score", "magnitude", "sensitivity", "effect",
    "p_value", "p_adjusted", "p_bh", "p_rank", "interval", "random_low", "random_high", "n",
    "accuracy", "stability", "note",
]  # fmt: skip


@checked
def tcav(  # noqa: PLR0913 (one call asks everything of a layer)
    model: "ProbedModel",
    images: "Mapping[Any, Pictures]",
    vectors: "Vectors | Mapping[str, Vectors] | Sequence[Vectors]",
    *,
    layer: str | None = None,
    random: "int | Vectors" = 100,
    output: "Output" = None,
    batch_size: int = 32,
    seed: int = 0,
    progress: bool = False,
) -> pd.DataFrame:
    """How each class depends on each concept, with a test against random vectors.

    One forward and one backward pass for each image serve all concepts, counterparts and layers.

    The statistic is the mean sensitivity over a concept's counterparts in units of its standard
    deviation over them: it does not saturate as the score does (which is 0 or 1 for a single CAV
    where only a linear head follows), and depends on no length of a vector. It is compared with the
    same number for random sets in the concept's place, by a two-sided t-test for one new
    observation: a concept's images are one set, however many counterparts there are. The usual
    t-test of the scores takes the counterparts for independent observations, and finds too much.
    Every pair of random sets is trained once, and stands with either sign for its two members, so
    no pair is counted twice. `p_rank` tests the score itself by its rank among the random sets',
    which assumes only that a concept's set is like them; it is at least 1 / (R + 1).

    Vectors without counterparts are compared with random directions, all at unit length, by their
    mean sensitivity.

    A row does not depend on what else is asked, but for p_adjusted and p_bh, and for the interval:
    how alike neighbouring images are is measured over all concepts of a layer.

    Args:
        model: the network.
        images: class (name, or column of the scores) to its pictures, or to a preprocessed tensor
            (n, 3, S, S); see `conceptlab.activations.pictures.Pictures`.
        vectors: CAVs with their counterparts (`CavProbe().fit(...).cavs`, `picture_cavs`), or any
            concept vectors over the units of a layer; several, or a mapping of layers to them, are
            answered by the same passes.
        layer: of the vectors; only to make sure.
        random: for vectors without counterparts of their own: a number of random directions of the
            layer's own variation on the class's pictures, or vectors of the same layer to be taken
            for random (such as CAVs, whose random pairs are meant).
        output: where the scores are in what the network returns: None for a tensor, a key, a place,
            or a function that gives (n, classes) or (n,).
        batch_size: images a pass; it changes nothing beyond rounding.
        seed: of random directions.
        progress: show images per second.

    Returns:
        A row per class, layer and concept that has a vector: class, concept, category, layer, kind
        (of vectors); score (share of the class's images with a positive derivative, mean over
        counterparts), magnitude (sum of the positive derivatives over the sum of all absolute ones,
        in 0..1, mean over counterparts), sensitivity (mean derivative along unit length), effect
        (the statistic less its mean over random sets, in their standard deviations), p_value,
        p_adjusted (Holm over all rows) and p_bh (Benjamini-Hochberg), p_rank, interval (95 % of the
        score: images drawn anew, and the concept's images where its CAVs hold re-draws), random_low
        and random_high (where 95 % of random vectors' scores lie), n (images whose gradients are
        finite; others are left out and told), accuracy and stability of the CAV, note (such as 'no
        better than chance').

    Raises:
        InputError: no images or no vectors, a class that does not exist.
        SpaceError: vectors of another network or layer.
        LayerError: no differentiable path from a layer to the scores.
        ModelError: a network that does not return one number per picture and class.
    """
    require_seed(seed)
    given = _given(model, vectors, layer)
    if not images:
        raise InputError("tcav needs pictures of at least one class, as {class: pictures}")
    for which, pictures in images.items():
        if not len(pictures):
            raise InputError(f"class {which!r} has no pictures")
    parts = []
    for which, pictures in images.items():  # each by itself: no class's answer depends on another
        own = {which: pictures}
        cavs = [with_random(model, own, one, random, (batch_size, seed)) for one in given]
        ((name, found),) = directional_derivatives(model, own, cavs, output, batch_size, progress)
        parts += [_rows(name, one, sums) for one, sums in zip(cavs, found, strict=True)]
    table = pd.concat([part for part in parts if len(part)] or parts, ignore_index=True)
    if not len(table):
        raise InputError("none of these concepts has a vector (too few examples to fit one)")
    table["p_adjusted"] = holm(table["p_value"].to_numpy())
    table["p_bh"] = benjamini_hochberg(table["p_value"].to_numpy())
    return table[COLUMNS]


def _given(
    model: "ProbedModel", vectors: "Vectors | Mapping[str, Vectors] | Sequence[Vectors]",
    layer: str | None,
) -> list[Vectors]:  # fmt: skip
    """The vectors of a call, checked against the network and the layer that is meant."""
    from conceptlab.models.steadiness import require_repeatable_scores

    if isinstance(vectors, Cavs | ConceptVectors):
        several: list[Vectors] = [vectors]
    else:
        listed: Any = vectors.values() if isinstance(vectors, Mapping) else vectors
        several = list(listed) if isinstance(listed, Iterable) else [listed]
    if not several:
        raise InputError("tcav needs concept vectors of at least one layer")
    for one in several:
        if not isinstance(one, Cavs | ConceptVectors):
            raise InputError(f"tcav takes Cavs or ConceptVectors; got a {type(one).__name__}")
        space = (one.vectors if isinstance(one, Cavs) else one).space
        space.require_model(model, layer)
        model.resolve([space.layer])
    require_repeatable_scores(model)
    return several


def _rows(name: str, cavs: Cavs, sums: Sums) -> pd.DataFrame:
    """What one class says of the concepts of one layer."""
    vectors = cavs.vectors
    parts = []
    for group, counts in zip(cavs.groups, sums.shares, strict=True):
        roles = group.roles
        null, balance, shares = _null(sums, roles)
        statistic = _statistic(sums.mean[roles.draws])
        own = (sums.positive - sums.negative)[roles.draws].mean(axis=1)
        still = ~(sums.total[roles.draws].sum(axis=1) > 0)  # NaN without an image
        known = vectors.concepts.iloc[group.places].reindex(
            columns=["category", "accuracy", "stability", "note"]
        )
        score = sums.positive[roles.draws].mean(axis=1)
        spread = null.std(axis=1, ddof=1)
        low, high = _interval(score, counts)
        lowest, highest = np.quantile(shares, [0.025, 0.975], axis=1)
        moved = sums.total[roles.null].sum(axis=(1, 2)) > 0  # whether any random vector counts
        part = known.reset_index(drop=True).assign(
            **{"class": name},
            concept=[vectors.names[place] for place in group.places],
            layer=vectors.space.layer,
            kind=vectors.kind,
            score=score,
            magnitude=_ratio(sums.up, sums.total)[roles.draws].mean(axis=1),
            sensitivity=sums.mean[roles.draws].mean(axis=1),
            effect=_ratio(statistic - null.mean(axis=1), spread),
            p_value=prediction_p(statistic, null, group.inflation),
            p_rank=_rank_p(own, balance),
            interval=list(zip(low.tolist(), high.tolist(), strict=True)),
            random_low=np.where(moved, lowest, np.nan),
            random_high=np.where(moved, highest, np.nan),
            n=sums.images,
            place=group.places,
        )
        parts.append(_without(part, still, sums))
    if not parts:
        return pd.DataFrame(columns=COLUMNS)
    return pd.concat(parts).sort_values("place", kind="stable").drop(columns="place")


def _without(part: pd.DataFrame, still: NDArray[np.bool_], sums: Sums) -> pd.DataFrame:
    """Rows with no answer where there is none, and notes that say so.

    Args:
        part: rows of some concepts.
        still: (C,) whether no derivative along a concept differs from 0.
        sums: of the class's images.
    """
    part.loc[still, UNANSWERED] = np.nan
    part["interval"] = [
        (np.nan, np.nan) if none else both
        for none, both in zip(still, part["interval"], strict=True)
    ]
    said = [part["note"].astype(object).fillna("").astype(str).to_numpy(dtype=object)]
    if sums.images:
        said.append(np.where(still, ZERO, ""))
    if sums.unknown:
        count = sums.images + sums.unknown
        left = f"gradients of {sums.unknown} of {count} images are not finite: left out"
        said.append(np.full(len(part), left, dtype=object))
    notes = ["; ".join(text for text in row if text) for row in zip(*said, strict=True)]
    return part.assign(note=notes if any(notes) else part["note"])


def _statistic(derivatives: Floats) -> Floats:
    """Mean over counterparts (..., m) in standard deviations over them; the mean itself of one."""
    mean: Floats = derivatives.mean(axis=-1)
    if derivatives.shape[-1] == 1:
        return mean
    spread = derivatives.std(axis=-1, ddof=1)
    found: Floats = np.divide(mean, spread, out=np.full_like(mean, np.nan), where=spread > 0)
    return found


def _null(sums: Sums, roles: Roles) -> tuple[Floats, Floats, Floats]:
    """(C, E) what each random element reaches in the place of each concept.

    Returns:
        Its statistic, its share of positive less its share of negative derivatives, and its share
        of positive ones.
    """
    ahead = roles.signs > 0
    up, down = sums.positive[roles.null], sums.negative[roles.null]
    statistic = _statistic(np.where(ahead, sums.mean[roles.null], -sums.mean[roles.null]))
    found = [
        np.where(ahead, part, other).mean(axis=2)
        for part, other in ((up - down, down - up), (up, down))
    ]
    if roles.shared:  # in the score, the pair of the concept and an element counts for both
        own, width = roles.draws, roles.null.shape[2]
        flipped = (sums.negative - sums.positive)[own], sums.negative[own]
        found = [(width * f + o) / (width + 1) for f, o in zip(found, flipped, strict=True)]
    count = len(roles.draws)
    null, balance, shares = (np.broadcast_to(f, (count, f.shape[1])) for f in (statistic, *found))
    return null, balance, shares


def _rank_p(own: Floats, null: Floats) -> Floats:
    """(C,) two-sided p of a rank: the share of all elements that are as far from balance."""
    chances = [permutation_p(o, n) for o, n in zip(np.abs(own), np.abs(null), strict=True)]
    return np.array(chances)


def _ratio(top: Floats, bottom: Floats) -> Floats:
    """A quotient, NaN where nothing is divided."""
    found: Floats = np.divide(top, bottom, out=np.full(np.shape(top), np.nan), where=bottom > 0)
    return found


def _interval(score: Floats, shares: NDArray[np.float32]) -> tuple[Floats, Floats]:
    """95 % of a score over images and re-drawn concepts.

    Both errors are independent, so their reaches add up by squares (Newcombe 1998): Jeffreys' of a
    share of images, and Student's t over re-draws. Both are taken on the scale of probits (of
    counts with half an image more on either side), on which a turned concept moves the border that
    normal derivatives cross, and so scores near 0 or 1, as much as others.

    Args:
        score: (C,) that the interval is about.
        shares: (C, Q, n) share of positive derivatives at each image for each re-draw.
    """
    if not shares.shape[2]:
        nothing = np.full(len(score), np.nan)
        return nothing, nothing
    from scipy.special import ndtr, ndtri, stdtrit

    each = shares.mean(axis=1, dtype=np.float64)
    count, redraws = shares.shape[2], shares.shape[1]
    trials = discounted(count, effective_rows(each))
    bounds = jeffreys(score * trials, trials)

    def probit(share: Floats) -> Floats:
        found: Floats = ndtri((count * share + 0.5) / (count + 1))
        return found

    about = probit(score)
    below, above = about - probit(bounds[0]), probit(bounds[1]) - about
    if redraws > 1:
        spread = probit(shares.mean(axis=2, dtype=np.float64)).std(axis=1, ddof=1)
        reach = stdtrit(redraws - 1, 0.975) * spread
        below, above = np.hypot(below, reach), np.hypot(above, reach)
    low, high = (((count + 1) * ndtr(z) - 0.5) / count for z in (about - below, about + above))
    return np.clip(low, 0, 1), np.clip(high, 0, 1)
