"""What the questions of an embedding space take: named concepts at unit length.

Fong & Vedaldi 2018, section 5.3: "concept weights are normalized to be unit length".
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conceptlab.analysis.comparison.items import items_of
from conceptlab.errors import InputError
from conceptlab.vectors import ConceptVectors, index_of, qualified_names, unit_rows

Floats = NDArray[np.float64]
log = logging.getLogger(__name__)
NAMED = 8  # names in a message


@dataclass(frozen=True)
class Directions:
    """Concepts that have a vector, as unit vectors.

    Args:
        rows: (n, K) at unit length.
        names: (n,) names, written `category/name` where two categories share one.
        categories: (n,) their categories.
        known: all concepts that were given, columns name, category.
        places: (n,) the row of each in `known`.
        lengths: (n,) of the vectors as they were given, over the longest.
    """

    rows: Floats
    names: list[str]
    categories: list[str]
    known: pd.DataFrame
    places: NDArray[np.int64]
    lengths: Floats

    def __len__(self) -> int:
        """The number n of concepts that have a vector."""
        return len(self.rows)

    def index(self, name: str) -> int:
        """The row of a concept, by its name or `category/name`.

        Raises:
            InputError: no such concept, a name that two categories share, or one without a vector.
        """
        row = index_of(self.known, name)
        hits = np.flatnonzero(self.places == row)
        if not len(hits):
            raise InputError(f"concept {name!r} has no vector (too few examples to fit one)")
        return int(hits[0])

    @property
    def order(self) -> NDArray[np.int64]:
        """(n,) rows by name: what depends on the order of its input is made in this one."""
        return np.argsort(np.array(self.names, dtype=str), kind="stable")

    def table(self) -> pd.DataFrame:
        """Columns concept, category."""
        return pd.DataFrame({"concept": self.names, "category": self.categories})


def directions_of(vectors: Any, least: int, purpose: str) -> Directions:
    """The concepts of an embedding that have a vector.

    Concepts without one (all weights zero, or not finite) are left out, and a warning in the log
    names them.

    Args:
        vectors: `ConceptVectors`, or an array (n, K) whose rows are then called '0', '1', ...
        least: concepts that are needed.
        purpose: what needs them, for messages.

    Raises:
        InputError: too few concepts, one that stands twice, or rows of an array without a
            direction.
    """
    items = items_of(vectors, "the embedding")
    weights, usable = items.coordinates("the embedding"), items.usable
    plain = items.concepts is None
    known = (
        pd.DataFrame({"name": [str(i) for i in range(len(weights))], "category": ""})
        if items.concepts is None
        else items.concepts[["name", "category"]].astype(str)
    )
    twice = known[known.duplicated()]
    if len(twice):
        raise InputError(
            f"the concept {twice['category'].iloc[0]}/{twice['name'].iloc[0]} stands twice; "
            "names have to differ within a category"
        )
    names = qualified_names(known)
    missing = [name for name, ok in zip(names, usable, strict=True) if not ok]
    if missing and plain:
        raise InputError(
            f"rows {_some(missing)} of the array have no direction (all zero, NaN or infinite); "
            "leave them out"
        )
    if missing:
        log.warning("%s: no vector of %s, left out", purpose, _some(missing))
    places = np.flatnonzero(usable)
    if len(places) < least:
        raise InputError(
            f"{purpose} needs at least {least} concepts that have a vector; got {len(places)}"
        )
    whole = vectors.weights if isinstance(vectors, ConceptVectors) else weights  # at any length
    given = np.asarray(whole[places], dtype=np.float64)
    lengths = np.linalg.norm(given / np.abs(given).max(), axis=1)
    return Directions(
        unit_rows(given), [names[p] for p in places], known["category"].iloc[places].tolist(),
        known, places, lengths / lengths.max(),
    )  # fmt: skip


def _some(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
