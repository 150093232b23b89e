"""Concept activation vectors with everything that their tests need: counterparts and re-draws.

Kim et al. 2018, "Interpretability Beyond Feature Attribution" (TCAV), sections 3.2 to 3.6.
"""

import html
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conceptlab.errors import InputError
from conceptlab.given import require_fields, require_number, require_seed
from conceptlab.probes.cav.bundle import Bundle
from conceptlab.probes.cav.sets import (
    FEWEST,
    Ints,
    Plan,
    Roles,
    Side,
    plan_complement,
    plan_pairs,
    plan_random,
    random_sets,
)
from conceptlab.probes.cav.training import Samples, Settings, train
from conceptlab.space import Space
from conceptlab.vectors import ConceptVectors

Floats = NDArray[np.float64]
RANDOM, COMPLEMENT = "random", "complement"
SIZES = (*range(2, 10), *(round(10 * 1.25**step) for step in range(40)))
FEWEST_RANDOM = 4  # sets: a spread of three values says little, of one nothing
CHANCE_NOTE = "no better than chance"


@dataclass(frozen=True)
class CavGroup:
    """Concepts whose sets are of one size.

    Args:
        places: (C,) their rows in the vectors.
        roles: the rows of the bundle that are theirs.
        inflation: by how much the spread of random sets understates that of a concept's, which is
            not drawn from the same finite pool.
    """

    places: Ints
    roles: Roles
    inflation: float = 1.0


@dataclass(frozen=True)
class Cavs:
    """Concept activation vectors, one by one and on average.

    Args:
        vectors: the mean direction of each concept over its counterparts, kind 'cav'; `concepts`
            has columns name, category, n_train, examples (k images of each set), accuracy (on
            held-out images), chance (whether that is no better than guessing), stability (mean
            cosine between the directions of re-drawn images), note.
        bundle: every single direction, at unit length.
        groups: which of them belong to what.
        form: 'pooled', 'positions' or 'flattened'.
    """

    vectors: ConceptVectors
    bundle: Bundle
    groups: tuple[CavGroup, ...]
    form: str

    def __len__(self) -> int:
        """C, the number of concepts."""
        return len(self.vectors)

    def _repr_html_(self) -> str:
        text = html.escape(f"{len(self.bundle)} CAVs on {self.form} activations")
        return f"<p>{text}</p>{self.vectors._repr_html_()}"


@dataclass(frozen=True)
class Drawing:
    """How sets are drawn; see `conceptlab.CavProbe`."""

    against: str
    random: int
    examples: int
    redraws: int
    seed: int

    def __post_init__(self) -> None:
        """Check the settings."""
        require_fields(self)
        require_seed(self.seed)
        for name in ("random", "examples", "redraws"):
            require_number(getattr(self, name), name, 0)
        if self.random < FEWEST_RANDOM:
            many = "one random counterpart" if self.random == 1 else f"{self.random} random sets"
            raise InputError(
                f"{many} cannot say what random sets of images reach: take at least "
                f"{FEWEST_RANDOM}, and better 50"
            )
        if self.against not in (RANDOM, COMPLEMENT) and self.random < 2 * FEWEST_RANDOM:
            raise InputError(
                f"random pairs for relative CAVs take at least {2 * FEWEST_RANDOM} random sets; "
                f"got {self.random}"
            )
        if self.examples < FEWEST:
            raise InputError(f"examples is at least {FEWEST}; got {self.examples}")


def collect(
    samples: Samples,
    sides: Sequence[Side | None],
    pool: Ints,
    concepts: pd.DataFrame,
    space: Space,
    drawing: Drawing,
    settings: Settings,
    apart: bool,
) -> Cavs:
    """Draw the sets of all concepts, train the classifiers, put the result together.

    Args:
        samples: the layer's outputs.
        sides: (C,) the images of each concept; None where there are too few.
        pool: rows that random sets are drawn from.
        concepts: (C,) columns name, category, note and what else is known.
        space: of the vectors.
        drawing: of the sets.
        settings: of the classifiers.
        apart: whether the concepts' images are not part of the pool.

    Raises:
        InputError: fewer random images than two sets need.
    """
    sizes = np.array([0 if s is None else _size(s, drawing.examples) for s in sides], dtype=int)
    largest = int(sizes.max(initial=0))
    if drawing.against != COMPLEMENT and len(pool) < 2 * largest:
        raise InputError(
            f"{len(pool)} random images are too few for sets of {largest}: give at least "
            f"{2 * largest}, or take fewer examples"
        )
    plans, places = [], []
    for size in sorted(set(sizes[sizes > 0])):
        chosen = np.flatnonzero(sizes == size)
        own = [s for s, mine in zip(sides, sizes == size, strict=True) if mine and s is not None]
        plans.append(_planned(own, pool, int(size), drawing))
        places.append(chosen)
    table = concepts.assign(
        examples=sizes, accuracy=np.nan, chance=False, stability=np.nan, note=concepts["note"]
    )
    trained = train(samples, plans, settings) if plans else []
    weights, bias = np.zeros((len(sides), space.units)), np.zeros(len(sides))
    groups, first = [], 0
    for place, plan, found in zip(places, plans, trained, strict=True):
        inflation = _inflation(len(pool), int(sizes[place[0]]), drawing) if apart else 1.0
        draws = plan.roles.draws
        weights[place] = found.bundle.sums(draws) / draws.shape[1]
        bias[place] = found.bias[draws].mean(axis=1)
        columns = ["accuracy", "stability"]
        table.loc[place, columns] = np.column_stack([found.accuracy, found.stability])
        table.loc[place, "chance"] = found.chance
        table.loc[place[found.chance], "note"] = CHANCE_NOTE
        groups.append(CavGroup(place, plan.roles.after(first), inflation))
        first += len(found.bundle)
    nothing = Bundle.of(np.zeros((0, space.units)))
    bundle = Bundle.joined([found.bundle for found in trained]) if trained else nothing
    vectors = ConceptVectors(
        weights, bias, table, "cav", space, provenance={**vars(drawing), **vars(settings)}
    )
    return Cavs(vectors, bundle, tuple(groups), settings.form)


def _size(side: Side, most: int) -> int:
    """How many images a side's sets hold: few different numbers, since each has its own null."""
    known = len(side.rows) if side.others is None else min(len(side.rows), len(side.others))
    return most if known >= most else max(size for size in SIZES if size <= known)


def _planned(sides: Sequence[Side], pool: Ints, size: int, drawing: Drawing) -> Plan:
    if drawing.against == COMPLEMENT:
        return plan_complement(sides, drawing.random, size, drawing.redraws, drawing.seed)
    most = min(drawing.examples, len(pool))  # whatever other concepts there are
    sets = random_sets(pool, drawing.random, most, drawing.seed)
    if drawing.against == RANDOM:
        return plan_random(sides, sets, size, drawing.redraws, drawing.seed, pool)
    return plan_pairs(sides, sets, size, drawing.redraws, drawing.seed)


def _inflation(pool: int, size: int, drawing: Drawing) -> float:
    """The sd of a concept's set mean about the random sets' own, over the sd among random sets.

    Sets of k out of a pool of M images vary by s^2 (1/k - 1/M) about the pool's mean; a set from
    elsewhere by s^2 (1/k + 1/M). A pair of such sets varies by 2 s^2 / k.
    """
    if drawing.against == COMPLEMENT:
        return 1.0
    inside = 1 / size - 1 / pool
    outside = 1 / size + 1 / pool if drawing.against == RANDOM else 1 / size
    return float(np.sqrt(outside / inside))
