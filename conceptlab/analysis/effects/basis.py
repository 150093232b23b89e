"""A vector as a sum of concept vectors with coefficients of at least 0, and what is left of it.

Zhou, Sun, Bau & Torralba 2018, "Interpretable basis decomposition for visual explanation",
section 3.2: w = s_1 q_1 + ... + s_n q_n + r.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conceptlab.errors import InputError, SpaceError
from conceptlab.given import require_number
from conceptlab.models.probed import ProbedModel
from conceptlab.models.steadiness import require_repeatable_scores
from conceptlab.probes.cav.result import Cavs
from conceptlab.vectors import ConceptVectors, unit_rows

Floats = NDArray[np.float64]
Places = NDArray[np.int64]
METHODS = ("greedy", "nnls")
GAIN = 1e-12  # of a vector's squared length: what lowers the residual by less lowers nothing
SPAN = 1e-10  # of a unit vector's squared length, and of a coefficient: less is rounding
PATIENCE = 30  # passes of the active-set method for each concept


@dataclass(frozen=True)
class Basis:
    """What a vector is made of.

    Args:
        places: (F,) rows of the concepts with a coefficient above 0, in the order of the rows.
        coefficients: (F,) s_i of each.
        residual: (K,) r, what is left.
        explained: 1 - ||r||^2 / ||w||^2, in 0..1; NaN for a vector of zeros.
    """

    places: Places
    coefficients: Floats
    residual: Floats
    explained: float


@dataclass(frozen=True)
class Candidates:
    """Concept vectors that a class may be made of, and how it is done.

    Args:
        rows: (C, K) at unit length, by name, so that the order of the concepts changes nothing.
        table: C rows; columns concept, category, note.
        layer: of all of them.
        method: see `nonnegative_basis`.
        components: see there.
    """

    rows: Floats
    table: pd.DataFrame
    layer: str
    method: str
    components: int

    def basis(self, weights: Floats) -> Basis:
        """The basis of a class's w (K,)."""
        return nonnegative_basis(weights, self.rows, self.method, self.components)

    def parts(self, basis: Basis) -> Floats:
        """(F + 1, K) what adds up to w: each concept's vector by its coefficient, and r."""
        scaled = basis.coefficients[:, None] * self.rows[basis.places]
        return np.vstack([scaled, basis.residual])


def candidates(
    model: ProbedModel,
    vectors: Cavs | ConceptVectors,
    layer: str | None,
    method: str,
    components: int,
    centred: bool,
) -> Candidates:
    """The concepts of a network's layer that have a vector.

    Args:
        model: the network that the vectors were learned on.
        vectors: over the outputs of one layer; of CAVs, each concept's mean direction.
        layer: that layer, or None.
        method: see `nonnegative_basis`.
        components: see there.
        centred: see `basis_rows`.

    Raises:
        InputError: an unknown method, components below 1, no concept with a vector, vectors over
            flattened maps.
        SpaceError: vectors of another network or layer.
    """
    if method not in METHODS:
        raise InputError(f"method is one of {', '.join(METHODS)}; got {method!r}")
    require_number(components, "components", 1)
    vectors = vectors.vectors if isinstance(vectors, Cavs) else vectors
    if not isinstance(vectors, ConceptVectors):
        raise InputError(f"it takes Cavs or ConceptVectors; got a {type(vectors).__name__}")
    layer = _layer(model, vectors, layer)
    with np.errstate(invalid="ignore"):  # infinite weights become NaN, and so no vector
        rows = basis_rows(vectors.weights, centred)
    names = np.array(vectors.names, dtype=str)
    usable = np.flatnonzero(vectors.usable & rows.any(axis=1))
    if not len(usable):
        raise InputError(
            f"none of the {len(vectors)} concepts has a vector (all zero or not finite"
            + (", or the same for all units)" if centred else ")")
        )
    order = usable[np.argsort(names[usable], kind="stable")]  # so that theirs changes nothing
    table = pd.DataFrame(
        {
            "concept": names[order], "category": vectors.concepts["category"].to_numpy()[order],
            "note": _notes(vectors.concepts)[order],
        }
    )  # fmt: skip
    return Candidates(rows[order], table, layer, method, components)


def _layer(model: ProbedModel, vectors: ConceptVectors, layer: str | None) -> str:
    """The layer of the vectors, where they fit the network there."""
    space = vectors.space
    space.require_model(model, layer)
    require_repeatable_scores(model)
    if space.inputs == "flattened":
        raise InputError(
            "vectors over flattened maps weigh each position by itself, and a class is made of "
            "vectors over units; learn them on pooled activations or on positions"
        )
    found = model.resolve([space.layer])[0]
    units = model.shapes([found])[found][0]
    if units != space.units:
        raise SpaceError(
            f"these vectors have {space.units} units, and layer {found} of {model.name} has {units}"
        )
    return found


def _notes(concepts: pd.DataFrame) -> NDArray[Any]:
    """(C,) what is noted of each concept, '' where nothing is."""
    if "note" not in concepts:
        return np.full(len(concepts), "", dtype=object)
    return np.asarray(concepts["note"].fillna("").astype(str), dtype=object)


def basis_rows(weights: NDArray[np.floating], centred: bool) -> Floats:
    """(C, K) concept vectors at unit length; a row of zeros, or one that is constant, stays zero.

    Args:
        weights: (C, K).
        centred: take from each vector its own mean over the units beforehand, as the code of Zhou
            et al. 2018 does and the paper does not say. On activations that are not negative a
            vector's mean is a reading of how much is active at all; without it, concepts differ in
            which units they read alone, and what all units share goes to the residual.
    """
    rows = unit_rows(weights)  # once before, so that what is constant up to rounding is seen
    if not centred:
        return rows
    rows = rows - rows.mean(axis=1, keepdims=True)
    rows[np.einsum("ck,ck->c", rows, rows) < SPAN] = 0.0
    return unit_rows(rows)


def nonnegative_basis(target: Floats, rows: Floats, method: str, components: int) -> Basis:
    """A vector as a sum of some rows, with coefficients of at least 0, and a residual.

    'greedy' takes one concept at a time: the one whose joining lowers the residual most, after the
    non-negative least squares over all that are chosen; one whose coefficient falls to zero
    thereby leaves. It ends after `components`, or when no concept lowers the residual. 'nnls' is
    the non-negative least squares over all concepts (Lawson & Hanson 1974): the smallest residual
    that there is, usually of more and smaller coefficients; where concepts depend on one another,
    the residual is unique and the coefficients need not be.

    Args:
        target: (K,) w.
        rows: (C, K) q at unit length.
        method: 'greedy' or 'nnls'.
        components: F at most, of 'greedy'.
    """
    length = float(np.linalg.norm(target))
    if length == 0:
        return Basis(np.array([], dtype=np.int64), np.array([]), target.copy(), float("nan"))
    direction = target / length  # gradients may be tiny, and tolerances are of unit vectors
    chosen, coefficients = (
        _greedy(direction, rows, components)
        if method == "greedy"
        else _solved(direction, rows, np.arange(len(rows)))
    )
    order = np.argsort(chosen)
    chosen, coefficients = chosen[order], coefficients[order]
    residual = direction - coefficients @ rows[chosen]
    explained = 1.0 - float(residual @ residual)
    return Basis(chosen, coefficients * length, residual * length, explained)


def _greedy(target: Floats, rows: Floats, components: int) -> tuple[Places, Floats]:
    """Places and coefficients of the concepts that are chosen one by one for a unit vector."""
    chosen, coefficients, error = np.array([], dtype=np.int64), np.array([]), 1.0
    while len(chosen) < components:
        best, least = None, GAIN
        bounds = _bounds(target, rows, chosen)
        for place in np.argsort(-bounds, kind="stable"):
            if bounds[place] <= least:
                break  # no other can gain more than its bound
            tried = _solved(target, rows, np.append(chosen, place))
            residual = target - tried[1] @ rows[tried[0]]
            gain = error - float(residual @ residual)
            if gain > least:
                best, least = tried, gain + GAIN  # one that only ties does not replace it
        if best is None:
            break
        chosen, coefficients = best
        residual = target - coefficients @ rows[chosen]
        error = float(residual @ residual)
    return chosen, coefficients


def _bounds(target: Floats, rows: Floats, chosen: Places) -> Floats:
    """(C,) how much each concept's joining can lower the squared residual at most.

    It is what least squares without any sign gains, where the concept's own coefficient is above 0;
    if it is not, non-negative least squares gain nothing.
    """
    basis = np.linalg.qr(rows[chosen].T)[0]  # (K, F)
    aside = rows - (rows @ basis) @ basis.T
    squared = np.einsum("ck,ck->c", aside, aside)
    reach = aside @ target
    bounds = np.where(squared > SPAN, reach**2 / np.maximum(squared, SPAN), 0.0)
    bounds[reach <= 0] = 0.0
    bounds[chosen] = 0.0
    return bounds


def _solved(target: Floats, rows: Floats, places: Places) -> tuple[Places, Floats]:
    """Those of some rows that non-negative least squares give a coefficient, and these.

    Raises:
        InputError: the active-set method went round in circles.
    """
    from scipy.optimize import nnls

    if not len(places):
        return places, np.array([])
    try:
        found, _ = nnls(rows[places].T, target, maxiter=PATIENCE * len(places))
    except RuntimeError as error:
        raise InputError(
            f"non-negative least squares over {len(places)} concepts did not come to an end; take "
            "fewer concepts, or method='greedy'"
        ) from error
    kept = found > SPAN
    return places[kept], np.asarray(found[kept], dtype=np.float64)
