"""What comparisons take: vectors, matrices of similarities, arrays, activations; brought together.

Two embeddings compare item by item: the same concepts (or images) in the same order. Coordinates
need not agree, so networks with other numbers of units compare as well.
"""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from conceptlab.errors import InputError
from conceptlab.numerics.rounding import centred
from conceptlab.vectors import ConceptVectors, index_of, qualified_names, unit_rows

Floats = NDArray[np.float64]
Which = Literal["same", "shared"]
NAMED = 8  # names in a message
BLOCK = 256  # rows looked at together
NUMBERS = "biuf"  # numpy's kinds of them; Booleans are 0 and 1
SIDES = ("the first side", "the second side")


@dataclass(frozen=True)
class ConceptSimilarities:
    """How alike concepts are in a space that has no coordinates, such as WordNet.

    Args:
        similarity: (C, C) symmetric; a row of NaN for a concept that the space does not know.
        concepts: C rows in the same order; columns name, category, and what is known of each.
        source: what measured them, for people.

    Raises:
        InputError: a matrix that does not fit the concepts, or is not symmetric.
    """

    similarity: Floats
    concepts: pd.DataFrame
    source: str

    def __post_init__(self) -> None:
        count = len(self.concepts)
        if self.similarity.shape != (count, count):
            raise InputError(
                f"a similarity of shape {self.similarity.shape} does not fit {count} concepts"
            )
        for start in range(0, count, BLOCK):  # in pieces: the whole may be large
            rows, columns = self.similarity[start : start + BLOCK], self.similarity[:, start:]
            if not np.allclose(rows, columns[:, :BLOCK].T, equal_nan=True):
                raise InputError(f"the similarities of {self.source} are not symmetric")
        object.__setattr__(self, "concepts", self.concepts.reset_index(drop=True))

    def __len__(self) -> int:
        """C, the number of concepts."""
        return len(self.concepts)

    def _repr_html_(self) -> str:
        title = html.escape(f"similarities of {len(self)} concepts: {self.source}")
        return f"<p>{title}</p>{self.concepts.to_html(max_rows=20, escape=True)}"

    @property
    def names(self) -> list[str]:
        """(C,) names, written `category/name` where two categories share one."""
        return qualified_names(self.concepts)

    @property
    def usable(self) -> NDArray[np.bool_]:
        """(C,) whether the space knows a concept."""
        usable: NDArray[np.bool_] = np.isfinite(np.diagonal(self.similarity))
        return usable

    def select(self, names: Sequence[str]) -> "ConceptSimilarities":
        """Some of the concepts, by name."""
        rows = np.array([index_of(self.concepts, name) for name in names], dtype=int)
        concepts = self.concepts.iloc[rows]
        return ConceptSimilarities(self.similarity[np.ix_(rows, rows)], concepts, self.source)


@dataclass(frozen=True)
class Items:
    """One side of a comparison: n items, as rows of coordinates or as a matrix of similarities.

    Args:
        rows: (n, K), or None where the space has no coordinates.
        table: (n, n) similarities where there are no rows.
        concepts: n rows name, category; None for images and plain arrays.
        kind: 'concepts', 'images' or 'rows', for people.
        of: what tells the images apart, where they are images.
    """

    rows: NDArray[Any] | None
    table: Floats | None
    concepts: pd.DataFrame | None
    kind: str
    of: str = ""

    @property
    def count(self) -> int:
        """The number of items."""
        return len(self._array)

    @property
    def _array(self) -> NDArray[Any]:
        found = self.table if self.rows is None else self.rows
        assert found is not None
        return found

    @property
    def usable(self) -> NDArray[np.bool_]:
        """(n,) which items have a vector: finite and not all zero."""
        usable: NDArray[np.bool_]
        if self.rows is None:
            usable = np.isfinite(np.diagonal(self._array))
        else:
            largest = np.abs(self.rows).max(axis=1, initial=0.0)
            usable = np.asarray(np.isfinite(largest) & (largest > 0))
        return usable

    def at(self, places: NDArray[np.int64]) -> "Items":
        """Some of the items."""
        rows = None if self.rows is None else self.rows[places]
        table = None if self.table is None else self.table[np.ix_(places, places)]
        concepts = None if self.concepts is None else self.concepts.iloc[places]
        return Items(rows, table, concepts, self.kind, self.of)

    def unit(self) -> Floats:
        """(n, K) rows at unit length, or the similarities themselves where there are none."""
        return unit_rows(self.rows) if self.rows is not None else np.asarray(self.table)

    def similarity(self) -> Floats:
        """(n, n) cosines, or the similarities that were given."""
        if self.rows is None:
            return np.asarray(self.table)
        rows = self.unit()
        return rows @ rows.T

    @property
    def silent(self) -> NDArray[np.int64]:
        """Places of the rows that are all zero, whose cosine with any other is undefined."""
        if self.rows is None:
            return np.array([], dtype=np.int64)
        return np.flatnonzero(~self.rows.any(axis=1))

    def centred(self, name: str) -> Floats:
        """(n, K) columns less their means, at a common scale; 0 where they vary by rounding alone.

        Raises:
            InputError: the space has no coordinates.
        """
        self.coordinates(name)
        assert self.rows is not None
        return centred(self.rows)

    def coordinates(self, name: str) -> Floats:
        """(n, K) rows.

        Raises:
            InputError: the space has none.
        """
        if self.rows is None:
            raise InputError(
                f"{name} knows only similarities, no coordinates: compare it by rsa or by "
                "embedding_distance"
            )
        return np.asarray(self.rows, dtype=np.float64)


def items_of(given: Any, name: str) -> Items:
    """One side of a comparison from what the caller has.

    Concept vectors are taken at unit length (Fong & Vedaldi 2018, section 5.3), so that how sure a
    probe is of a concept does not count; rows of arrays and activations as they are.

    Args:
        given: `ConceptVectors`, `ConceptSimilarities`, `Activations` (their pooled form, a row per
            image) or an array (n, K).
        name: for messages.

    Raises:
        InputError: anything else, or an array that is not of numbers in two dimensions.
    """
    if isinstance(given, ConceptVectors):
        with np.errstate(invalid="ignore"):  # infinite weights become NaN, and so no vector
            return Items(unit_rows(given.weights), None, given.concepts, "concepts")
    if isinstance(given, ConceptSimilarities):
        return Items(None, given.similarity, given.concepts, "concepts")
    if hasattr(given, "pooled") and hasattr(given, "data_fingerprint"):
        return Items(given.pooled, None, None, "images", str(given.data_fingerprint))
    return Items(_array(given, name), None, None, "rows")


def _array(given: ArrayLike, name: str) -> NDArray[Any]:
    try:
        array = np.asarray(given)
        numeric = array.dtype.kind in NUMBERS
    except ValueError:
        numeric = False
    if not numeric or array.ndim != 2 or 0 in array.shape:
        raise InputError(
            f"{name} is neither concept vectors nor an array (n, K) of numbers"
            + (f"; its shape is {array.shape}" if numeric else "")
        )
    return array.astype(np.float32) if array.dtype.kind == "b" else array


def without_cosines(*sides: Items) -> str:
    """Which items of some sides have no cosine, in words; '' where all have one."""
    for side, which in zip(sides, SIDES, strict=False):
        if len(side.silent):
            return (
                f"{which} is all zero in {side.kind} {_some([str(i) for i in side.silent])}, "
                "which has no cosine; leave these out"
            )
    return ""


def matched(given: Mapping[str, Any], concepts: Which = "same", least: int = 3) -> dict[str, Items]:
    """All sides of a comparison, with the same items in the same order.

    Concepts are matched by name and category (by name alone where a side has no categories), so
    their order does not matter; rows of arrays and images are matched by place.

    Args:
        given: name to what `items_of` takes.
        concepts: 'same' wants every concept on every side, with a vector; 'shared' keeps those that
            all sides have a vector of.
        least: items that the comparison needs.

    Raises:
        InputError: sides that do not have the same items, saying which differ; too few of them.
    """
    if concepts not in ("same", "shared"):
        raise InputError(f"concepts is 'same' or 'shared'; got {concepts!r}")
    sides = {name: items_of(value, name) for name, value in given.items()}
    if all(side.concepts is not None for side in sides.values()):
        sides = _by_concept(sides, concepts)
    else:
        _require_one_kind(sides)
        sides = _usable_rows(sides, concepts)
    count = next(iter(sides.values())).count
    if count < least:
        kind = next(iter(sides.values())).kind
        raise InputError(
            f"comparing {' and '.join(list(sides)[:4])} needs at least {least} {kind} in common; "
            f"there {'is' if count == 1 else 'are'} {count}"
        )
    return sides


def _require_one_kind(sides: Mapping[str, Items]) -> None:
    counts = {name: side.count for name, side in sides.items()}
    if len(set(counts.values())) > 1:
        said = ", ".join(f"{name} has {n} {sides[name].kind}" for name, n in counts.items())
        raise InputError(f"rows compare one by one, and their numbers differ: {said}")
    fingerprints = {side.of for side in sides.values() if side.of}
    if len(fingerprints) > 1:
        raise InputError(
            "these activations were made from different pictures: extract both layers from one "
            "data set"
        )


def _usable_rows(sides: dict[str, Items], concepts: Which) -> dict[str, Items]:
    """Sides whose rows are finite; a row of zeros is a value of an array, and no missing one."""
    known = np.ones(next(iter(sides.values())).count, dtype=bool)
    for name, side in sides.items():
        finite = np.isfinite(side._array).all(axis=1)
        if concepts == "same" and not finite.all():
            places = ", ".join(map(str, np.flatnonzero(~finite)[:NAMED]))
            raise InputError(
                f"{name} holds NaN or infinite numbers in rows {places}; leave these rows out, or "
                "say concepts='shared'"
            )
        known &= finite
    return sides if known.all() else {k: s.at(np.flatnonzero(known)) for k, s in sides.items()}


def _by_concept(sides: dict[str, Items], concepts: Which) -> dict[str, Items]:
    tables = {n: s.concepts for n, s in sides.items() if s.concepts is not None}
    plain = any((table["category"].astype(str) == "").all() for table in tables.values())
    keys = {name: _keys(table, plain, name) for name, table in tables.items()}
    usable = {name: dict(zip(keys[name], side.usable, strict=True)) for name, side in sides.items()}
    first = next(iter(keys.values()))
    shared = [key for key in first if all(known.get(key, False) for known in usable.values())]
    if concepts == "same":
        _require_vectors(usable)
        faults = [text for name in sides if (text := _fault(name, usable))]
        if faults:
            raise InputError(
                f"these embeddings differ in their concepts: {'; '.join(faults)}; say "
                f"concepts='shared' to compare the {len(shared)} that all have a vector of"
            )
    places = {name: {key: i for i, key in enumerate(own)} for name, own in keys.items()}
    return {
        name: side.at(np.array([places[name][key] for key in shared], dtype=np.int64))
        for name, side in sides.items()
    }


def _require_vectors(usable: Mapping[str, Mapping[str, bool]]) -> None:
    """Refuse concepts that all sides know and none has a vector of."""
    silent = [{key for key, known in own.items() if not known} for own in usable.values()]
    if silent[0] and all(own == silent[0] for own in silent):
        none = [key for key in next(iter(usable.values())) if key in silent[0]]
        raise InputError(
            f"none of these embeddings has a vector of {_some(none)} (too few examples to fit "
            "one); say concepts='shared' to compare the others"
        )


def _keys(table: pd.DataFrame, plain: bool, name: str) -> list[str]:
    """What identifies each concept.

    Raises:
        InputError: a name that stands twice.
    """
    keys = table["name"].astype(str)
    if not plain:
        keys = table["category"].astype(str) + "/" + keys
    twice = keys[keys.duplicated()]
    if len(twice):
        raise InputError(
            f"{name} has the concept {twice.iloc[0]!r} twice"
            + ("; give every side its categories" if plain else "")
        )
    return list(keys)


def _fault(name: str, usable: Mapping[str, Mapping[str, bool]]) -> str:
    """What one side lacks, in words; empty if nothing."""
    every = dict.fromkeys(key for known in usable.values() for key in known)
    missing = [key for key in every if key not in usable[name]]
    empty = [key for key, known in usable[name].items() if not known]
    said = []
    if missing:
        said.append(f"{name} lacks {_some(missing)}")
    if empty:
        said.append(f"{name} has no vector of {_some(empty)}")
    return " and ".join(said)


def _some(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
