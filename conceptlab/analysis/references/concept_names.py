"""Names of concepts, as data sets write them, and what a reference makes of them."""

import logging
import re
from collections.abc import Sequence
from typing import Any

import pandas as pd

from conceptlab.errors import InputError
from conceptlab.vectors import qualified_names

log = logging.getLogger(__name__)

_MARK = re.compile(r"-[cstm]$")  # Broden's mark of a category: 'red-c', 'street-s'
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z]{2})")


def names_of(concepts: Any) -> pd.DataFrame:
    """Columns name and category of vectors, of a table, or of names alone.

    Raises:
        InputError: none of these, or no names.
    """
    table = getattr(concepts, "concepts", concepts)
    if isinstance(table, pd.DataFrame):
        if "name" not in table:
            raise InputError("a table of concepts has columns name and category")
        category = table["category"] if "category" in table else pd.Series("", table.index)
        category = category.astype(object).where(category.notna(), "")
        table = pd.DataFrame({"name": table["name"].astype(str), "category": category.astype(str)})
    elif isinstance(table, Sequence) and not isinstance(table, str):
        table = pd.DataFrame({"name": [str(name) for name in table], "category": ""})
    else:
        raise InputError("concepts are vectors, a table with columns name and category, or names")
    if not len(table):
        raise InputError("there are no concepts to look up")
    return table.reset_index(drop=True)


def words_of(name: str) -> list[str]:
    """The words of a name, without Broden's mark of a category.

    >>> words_of("SUVPickupTruck"), words_of("street light-c"), words_of("person-head")
    (['SUV', 'Pickup', 'Truck'], ['street', 'light'], ['person', 'head'])
    """
    plain = _CAMEL.sub(" ", _MARK.sub("", name.strip()))
    return [word for word in re.split(r"[\s_/-]+", plain) if word]


def unresolved(table: pd.DataFrame, missing: "pd.Series[bool]", source: str) -> None:
    """Say in the log which concepts a reference does not know.

    Args:
        table: columns name, category.
        missing: which rows.
        source: what does not know them.
    """
    if missing.any():
        names = [n for n, gone in zip(qualified_names(table), missing, strict=True) if gone]
        log.warning("%s does not know %s", source, ", ".join(names))
