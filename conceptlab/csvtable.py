"""CSV files of ours: one writer and one reader, so that every cell reads back as it was written.

A column is one of texts or one of numbers, by its name alone (`TEXTS`): a concept called '007',
'nan', 'NA', 'true' or '1e5' stays that text. Numbers are written with as many digits as tell them
from their neighbours, and missing ones as empty cells.
"""

import csv
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pandas as pd

from conceptlab.files import atomic_path, require_regular

#: The columns that hold texts; all others hold numbers, or true and false.
TEXTS = frozenset(
    (
        "ablation", "caption", "category", "class", "class_a", "class_b", "concept", "first",
        "focus", "i", "image", "j", "kind", "label", "layer", "layer_i", "layer_j", "measure",
        "method", "minus", "model", "model_i", "model_j", "name", "names", "neighbour", "note",
        "objective", "over", "picture", "plus", "reason", "rule", "scene", "second", "split",
        "step", "synset", "target", "task", "test", "title", "top_classes", "top_concepts",
        "verdict", "way",
    )
)  # fmt: skip
# A spreadsheet takes a cell for a formula if it begins so, also in its full-width forms; where the
# cells of a file are parted by semicolons or tabs, each part of a text can be such a cell.
_BEGINS = r"(?= *[=+\-@\uff0b\uff0d\uff1d\uff20]|[\t\r\n])"
_PLAIN = re.compile(rf"(^|[;\t\r\n])('*){_BEGINS}")
_ESCAPED = re.compile(rf"(^|[;\t\r\n])'('*){_BEGINS}")
# pandas before 3.1 reads some floats off by their last bit unless told; later it warns if told
_OLD = tuple(int(part) for part in pd.__version__.split(".")[:2]) < (3, 1)
_EXACT: dict[str, Any] = {"float_precision": "round_trip"} if _OLD else {}


def write_table(path: Path, table: pd.DataFrame, more: Collection[str] = ()) -> None:
    """Write a CSV, whole or not at all.

    A text that a spreadsheet would run as a formula gets an apostrophe before it, which
    `read_table` takes away.

    Args:
        path: of the file.
        table: its columns in `TEXTS` hold texts, and no others do.
        more: other columns of it that hold texts; they read back with `texts=True`.

    Raises:
        TypeError: another column holds texts, which would not read back.
    """
    words = TEXTS.union(more)
    cells = {name: _written(table[name], name in words) for name in table.columns}
    # a lone carriage return ends a row for readers, and the csv module does not quote it
    returns = any("\r" in text for name in words.intersection(cells) for text in set(cells[name]))
    quoting = csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL
    with atomic_path(path) as temporary:
        pd.DataFrame(cells, columns=table.columns).to_csv(temporary, index=False, quoting=quoting)


def read_table(path: str | Path, texts: bool = False) -> pd.DataFrame:
    """Read a CSV that `write_table` has written, or a table of somebody else's.

    Args:
        path: of the file.
        texts: take all columns for texts; else those in `TEXTS`.

    Raises:
        OSError: no such file, or one that is not regular.
        ValueError: no table.
    """
    require_regular(Path(path))
    header = [str(c) for c in pd.read_csv(path, nrows=0).columns]
    words = [c for c in header if texts or c in TEXTS]
    table = pd.read_csv(
        path,
        dtype=dict.fromkeys(words, str),
        na_values={c: ["", "nan"] for c in header if c not in words},
        keep_default_na=False,
        skip_blank_lines=len(header) > 1,
        **_EXACT,
    )
    for name in words:
        table[name] = _each(table[name], _unescaped)
    return table


def text_columns(table: pd.DataFrame) -> list[str]:
    """The columns that hold texts, for tables that are written for people and not read back."""
    return [str(c) for c in table if any(isinstance(value, str) for value in table[c])]


def escaped(text: str) -> str:
    """A text that no spreadsheet takes for a formula.

    >>> escaped("=1+1"), escaped("-5"), escaped("sky")
    ("'=1+1", "'-5", 'sky')
    """
    return _PLAIN.sub(r"\1'\2", text)


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(r"\1\2", text)


def _written(column: "pd.Series[Any]", text: bool) -> "pd.Series[Any]":
    """A column as it stands in the file."""
    if text:
        return _each(column.astype(object).where(column.notna(), "").map(str), escaped)
    if column.dtype.kind == "O" and any(isinstance(value, str) for value in column):
        raise TypeError(f"column {column.name!r} holds texts: name it in conceptlab.csvtable.TEXTS")
    # of a float32 the shortest text is another float64
    return column.astype("float64") if column.dtype.kind == "f" else column


def _each(column: "pd.Series[Any]", change: Callable[[str], str]) -> "pd.Series[Any]":
    """A function of every text, called once for each different one."""
    codes, known = pd.factorize(column)
    changed = pd.Series([change(text) for text in known], dtype=object)
    return pd.Series(changed.to_numpy()[codes], index=column.index, name=column.name, dtype=object)
