"""Concept erasure: take a concept out of a layer, run the rest, and see which classes change.

Two ablations, each against controls of equal size. 'direction': the concept's direction is
projected out at every position, around the mean; controls move the output as far at every position,
along random directions. 'units': the concept's top units are set to their mean; controls are random
sets of as many units.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm.auto import tqdm

from conceptlab.activations.pictures import Pictures
from conceptlab.analysis.effects.erasure_passes import (
    Ablations,
    ClassEffect,
    ErasureRun,
    require_pointwise,
    require_units,
)
from conceptlab.analysis.effects.sensitivity import random_rows
from conceptlab.errors import InputError
from conceptlab.given import checked, require_number, require_seed
from conceptlab.models.outputs import Output, class_name
from conceptlab.models.steadiness import require_repeatable_scores
from conceptlab.numerics.intervals import mean_bounds
from conceptlab.numerics.serial import effective_rows
from conceptlab.numerics.testing import benjamini_hochberg, holm, prediction_p
from conceptlab.passes.rest import rest_of
from conceptlab.probes.cav.result import Cavs
from conceptlab.vectors import ConceptVectors, unit_rows

if TYPE_CHECKING:
    from conceptlab.models.probed import ProbedModel

log = logging.getLogger(__name__)
ABLATIONS = ("direction", "units")
FEWEST_SEEN = 2  # pictures of a reference
FEWEST = 3  # controls; with two, chance has one degree of freedom
STILL = (
    "neither the concept nor a control changes the mean score by more than its rounding; about a "
    "class's own mean this is so wherever the rest is linear: give reference pictures"
)


@dataclass(frozen=True)
class Erasure:
    """What erasing each concept does to each class.

    Args:
        table: a row for each class, concept and ablation; see `erase`.
        classes: columns class, column, n, score (mean over the images), accuracy, all before.
    """

    table: pd.DataFrame
    classes: pd.DataFrame

    def _repr_html_(self) -> str:
        return str(self.table.to_html(max_rows=30, escape=True))


@checked
def erase(  # noqa: PLR0913 (one call asks everything of a layer)
    model: "ProbedModel",
    images: Mapping[Any, Pictures],
    vectors: Cavs | ConceptVectors,
    layer: str | None = None,
    *,
    units: int = 10,
    random: int | Cavs | ConceptVectors = 20,
    reference: Pictures | None = None,
    control_images: int | None = 20,
    output: Output = None,
    batch_size: int = 32,
    seed: int = 0,
    progress: bool = False,
) -> Erasure:
    """Take each concept out of a layer, run the rest of the network, and compare with chance.

    'direction' replaces the output h at every position by h - ((h - mu).v) v, with v the concept's
    unit vector and mu the mean over the reference pictures and their positions. Its controls are
    h - ((h - mu).v) u: at every position as long a step, along random directions u, the same for
    all concepts. Where
    the rest is linear, the test asks whether the class's score depends on v more than on a u, and
    how far its images are from the mean cancels.

    The u are drawn from the layer's own variation: Gaussian combinations of the centred, pooled
    outputs, at unit length. Whatever is learned from images lies in it, noise too: on
    `builtin:scenenet`, features.17, directions drawn evenly from all would call 33 % of the probes
    of several units that were learned from shuffled labels significant at 5 %, and 53 % of the
    differences between means of random images; these call 1 % and 3 %. The price is power where a
    layer varies in few ways: with d effective dimensions no standardised effect is much above
    sqrt(d) (2.6 there), which does not survive Holm over many rows. The CAVs of random sets
    (`random=`) are the better controls, of sharp CAVs (`CavProbe(penalty=0.1)`): with a stiff
    penalty they are nearly differences of means, and vary as the layer does.

    'units' sets the units of largest |v| (at most `units`, and those alone that weigh anything) to
    mu; its controls are sets of as many units that vary about as much.

    The test is a prediction test (`conceptlab.numerics.testing.prediction_p`), two-sided; it takes
    the changes under controls to be about normal. Tokens that are no part of the layer stay as they
    are: where a network reads the class token alone (after the last block of many transformers), no
    change of the others reaches the scores, and there is no p-value (LAYER[cls] is that token). A
    change of a score below the rounding of the image's largest one counts as none.

    A class's numbers do not depend on the other classes that are asked, nor a concept's on the
    other concepts, but for p_adjusted and p_bh, and for low and high: how alike neighbouring images
    are is measured over all concepts of the call.
    Without a reference, mu is the mean of the class itself: about it, the mean change is 0 wherever
    the rest is linear, and only what the concept's variation within the class does is left. Give
    the data set's pictures as reference to ask what the concept does for the class.

    Both need concepts x random passes of the rest, which is what this costs (of a whole pass of
    SqueezeNet, 0.06 from features.12 and 0.7 from features.5).
    `control_images` bounds both: controls, and the observed change that they are compared
    with, are of so many images of a class, evenly spaced.

    Args:
        model: the network.
        images: class (name, or column from 0) to its pictures, files or preprocessed tensor.
        vectors: over one of the network's layers, of any kind; only directions count. Of CAVs each
            concept's mean direction is taken, and their random pairs are the controls.
        layer: that layer; to be sure, since the vectors know it.
        units: how many are ablated.
        random: how many controls of each ablation; or random counterparts of the concepts, vectors
            of the same layer learned in the same way from shuffled labels or random images (of
            CAVs, their random pairs), whose directions are then those of the controls.
        reference: pictures, of all kinds, whose mean the layer is set to along a concept, and whose
            variation controls are drawn from; of the class itself if not given.
        control_images: of each class; None for all.
        output: where the scores are, see `conceptlab.models.outputs.scores_of`.
        batch_size: images a pass.
        seed: of the controls.
        progress: show images done and the time left.

    Returns:
        `.table` with columns class, concept, category, layer, ablation ('direction', 'units'),
        removed (RMS of the displacement over that of the output from its mean, on the class's
        images), logit_change (mean over the class's images of its score, erased - intact),
        random_change (mean over the controls), effect (observed - mean, in standard deviations of
        the controls), p_value, p_adjusted (Holm, over all rows of an ablation), p_bh (Benjamini &
        Hochberg), accuracy_before, accuracy_after and random_accuracy (share of the class's images
        that score highest in it; NaN for a network of one output), low and high (95 % interval of
        logit_change over images), n, note (of the vector). Where `control_images` leaves images
        out, random_accuracy is accuracy_before plus the controls' mean change on theirs. p_value
        is NaN where neither concept nor controls change anything, and note says so.

    Raises:
        InputError: fewer than two images of a class, an unknown class, numbers that do not fit.
        SpaceError: vectors of another network or layer.
    """
    require_seed(seed)
    if isinstance(vectors, Cavs):
        vectors, random = vectors.vectors, vectors
    if not isinstance(vectors, ConceptVectors):
        raise InputError(f"erase takes Cavs or ConceptVectors; got a {type(vectors).__name__}")
    _check(model, images, vectors, layer)
    if isinstance(random, Cavs):
        random = _as_vectors(random)
    count = _check_numbers(vectors, units, random, control_images)
    rows = unit_rows(vectors.weights[vectors.usable])
    _require_reference(reference)
    own = sum(len(pictures) for pictures in images.values())
    total = own + (own if reference is None else len(reference))
    with (
        rest_of(model, vectors.space.layer) as rest,
        tqdm(total=total, unit="image", disable=not progress) as bar,
    ):
        asking = ErasureRun(model, rest, output, batch_size, bar)

        def variants(pictures: Pictures) -> Ablations:
            generator = np.random.default_rng([seed, 0])  # of each alike: classes are independent
            seen = asking.look(pictures, count, generator)
            if isinstance(random, ConceptVectors):
                seen = replace(seen, directions=unit_rows(random.weights[random.usable]))
            return Ablations.of(rows, seen, units, generator)

        columns = asking.columns(images)
        shared = None if reference is None else variants(reference)
        outcomes = [
            asking.outcome(pictures, int(column), shared or variants(pictures), control_images)
            for column, pictures in zip(columns, images.values(), strict=True)
        ]
    names = [class_name(model, which) for which in images]
    tables = [_rows(names, outcomes, kind, vectors) for kind in range(len(ABLATIONS))]
    classes = pd.DataFrame(
        {
            "class": names,
            "column": [o.column for o in outcomes],
            "n": [len(o.score) for o in outcomes],
            "score": [o.score.mean() for o in outcomes],
            "accuracy": [o.right.mean() for o in outcomes],
        }
    )
    return Erasure(pd.concat(tables, ignore_index=True), classes)


def _as_vectors(cavs: Cavs) -> ConceptVectors:
    """The random pairs of CAVs as vectors."""
    rows = random_rows(cavs)
    names = pd.DataFrame({"name": [f"random {i}" for i in range(len(rows))], "category": "random"})
    return ConceptVectors(rows, np.zeros(len(rows)), names, "cav", cavs.vectors.space)


def _require_reference(reference: Any) -> None:
    """Refuse what is no pictures, or too few."""
    if reference is None:
        return
    if isinstance(reference, str | bytes | Mapping) or not hasattr(reference, "__len__"):
        raise InputError(f"reference is a list of pictures; got a {type(reference).__name__}")
    if len(reference) < FEWEST_SEEN:
        raise InputError(f"{len(reference)} reference pictures say nothing of a layer; take 100")


def _check(
    model: "ProbedModel",
    images: Mapping[Any, Pictures],
    vectors: ConceptVectors,
    layer: str | None,
) -> None:
    """Refuse images and vectors that do not fit the network."""
    vectors.space.require_model(model, layer)
    require_repeatable_scores(model)
    require_pointwise(vectors)
    if not vectors.usable.any():
        few = ", ".join(vectors.names[:3]) + (", ..." if len(vectors) > 3 else "")
        raise InputError(
            f"erasure takes vectors, and no concept given has one ({few}: too few examples to fit "
            "one)"
        )
    if not images:
        raise InputError("name at least one class and its pictures")
    for which, pictures in images.items():
        if len(pictures) < 2:
            raise InputError(f"class {which} has fewer than two pictures; give it more")


def _check_numbers(
    vectors: ConceptVectors, units: int, random: int | ConceptVectors, control_images: int | None
) -> int:
    """How many controls; refuses numbers that do not fit, and says if concepts have no vector."""
    if isinstance(random, ConceptVectors):
        replace(vectors.space, inputs="raw").require_equal(replace(random.space, inputs="raw"))
        count = int(random.usable.sum())
    else:
        require_number(random, "random", 0)
        count = random
    require_units(vectors, units)
    if count < FEWEST:
        controls = "one control says" if count == 1 else f"{count} controls say"
        raise InputError(f"{controls} nothing about chance; take 20")
    if control_images is not None:
        require_number(control_images, "control_images", 2)
    if not vectors.usable.all():
        log.warning("erasure: %d concepts have no vector, left out", (~vectors.usable).sum())
    return count


def _noted(notes: pd.Series, still: NDArray[np.bool_]) -> list[str]:
    """Notes of the vectors, and why some rows have no effect."""
    given = notes.astype(object).fillna("").astype(str)
    return [
        "; ".join(part for part in (text, STILL if none else "") if part)
        for text, none in zip(given, still, strict=True)
    ]


def _rows(
    names: list[str], outcomes: list[ClassEffect], ablation: int, vectors: ConceptVectors
) -> pd.DataFrame:
    """The rows of one ablation: all concepts of the first class, of the second, ..."""
    usable = vectors.usable
    concepts = vectors.concepts.assign(concept=vectors.names).loc[usable]
    note = concepts["note"] if "note" in concepts else pd.Series("", concepts.index)
    parts = []
    for name, found in zip(names, outcomes, strict=True):
        change, controls = found.change[ablation], found.controls[ablation]
        spread = np.where(np.ptp(controls, axis=1) > 0, controls.std(axis=1, ddof=1), 0.0)
        middle, before = controls.mean(axis=1), found.right.mean()
        low, high = mean_bounds(change, effective_rows(change))
        still = ~found.tested[ablation].astype(bool) & ~controls.any(axis=1)
        chance = before + found.control_right[ablation].mean(axis=1)
        parts.append(
            pd.DataFrame(
                {
                    "class": name,
                    "concept": concepts["concept"].to_numpy(),
                    "category": concepts["category"].to_numpy(),
                    "layer": vectors.space.layer,
                    "ablation": ABLATIONS[ablation],
                    "removed": found.removed[ablation],
                    "logit_change": found.mean[ablation],
                    "random_change": middle,
                    "effect": np.divide(
                        found.tested[ablation] - middle, spread,
                        out=np.full(len(spread), np.nan), where=spread > 0,
                    ),
                    "p_value": prediction_p(found.tested[ablation], controls),
                    "accuracy_before": before,
                    "accuracy_after": found.after[ablation],
                    "random_accuracy": np.clip(chance, 0.0, 1.0),
                    "low": low,
                    "high": high,
                    "n": change.shape[1],
                    "note": _noted(note, still),
                }
            )
        )  # fmt: skip
    table = pd.concat(parts, ignore_index=True)
    table.insert(10, "p_adjusted", holm(table["p_value"].to_numpy()))
    table.insert(11, "p_bh", benjamini_hochberg(table["p_value"].to_numpy()))
    return table
