"""Putting tables of a run together."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from conceptlab.vectors import ConceptVectors


def joined(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Tables below one another; an empty one where there are none."""
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def labelled(table: pd.DataFrame, labels: Mapping[str, Any]) -> pd.DataFrame:
    """A table with more columns before its own."""
    rest = [column for column in table.columns if column not in labels]
    return table.assign(**labels)[[*labels, *rest]]


def learned(vectors: ConceptVectors) -> tuple[ConceptVectors, dict[str, str]]:
    """The concepts that have a vector, and their names among them to those among all.

    A name that two categories share is written `category/name` in a run's tables, also where one
    of the two has no vector.
    """
    every = [name for name, used in zip(vectors.names, vectors.usable, strict=True) if used]
    some = vectors.select(every)
    return some, dict(zip(some.names, every, strict=True))
