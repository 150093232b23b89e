"""Putting tables of a run together."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd


def joined(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Tables below one another; an empty one where there are none."""
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def labelled(table: pd.DataFrame, labels: Mapping[str, Any]) -> pd.DataFrame:
    """A table with more columns before its own."""
    rest = [column for column in table.columns if column not in labels]
    return table.assign(**labels)[[*labels, *rest]]
