"""What a file of concept vectors looks like: a sealed HDF5 file of arrays, a table and texts.

Floats of the table keep every bit, infinities and NaN among them; texts stay texts.
"""

import io
import json
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from conceptlab.errors import ConceptlabError, InputError
from conceptlab.hdf5 import FAULTS, FormatError, attribute, parsed, reading
from conceptlab.seal import DamagedError, UnsealedError, check_seal

if TYPE_CHECKING:
    import h5py

log = logging.getLogger(__name__)

SCHEMA = 2
WITHOUT_SEAL = 1  # the schema of files that had no seal yet


@contextmanager
def vectors_file(path: Path) -> Iterator["h5py.File"]:
    """A file of concept vectors, open for reading, its seal verified.

    Raises:
        InputError: no such file, a damaged one, or one of something else.
    """
    try:
        sealed = _has_seal(path)
        with reading(path) as file:
            schema = attribute(file, "schema")
            if schema not in (SCHEMA, WITHOUT_SEAL):
                raise FormatError(f"schema {schema}, and this version reads {SCHEMA}")
            if not sealed and schema != WITHOUT_SEAL:
                raise FormatError("its seal is missing or damaged")
            if not sealed:
                log.warning(
                    "%s has no seal, as earlier versions wrote it: damage would not be seen", path
                )
            yield file
    except DamagedError as error:
        raise InputError(f"{error}: it is not a file of concept vectors any more") from error
    except ConceptlabError:
        raise
    except (OSError, FormatError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path} is not a file of concept vectors ({reason})") from error


def _has_seal(path: Path) -> bool:
    try:
        check_seal(path)
    except UnsealedError:
        return False
    return True


def table_text(table: pd.DataFrame) -> str:
    """A table as JSON: a list of columns, each with its name, type and values.

    Args:
        table: column names are texts; values are numbers, texts, truth values or missing.

    Raises:
        InputError: another value.
    """
    return json.dumps(
        [_column(str(name), table[name]) for name in table.columns],
        ensure_ascii=False, allow_nan=False,
    )  # fmt: skip


def table_from(content: str, what: str) -> pd.DataFrame:
    """The table of a JSON text that `table_text` made.

    Raises:
        FormatError: it is none.
    """
    columns = parsed(content, what)
    try:
        found = {str(c["name"]): _series(str(c["type"]), c["values"]) for c in columns}
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise FormatError(f"its {what} is no table") from error
    if len(found) != len(columns) or len({len(values) for values in found.values()}) > 1:
        raise FormatError(f"its {what} is no table")
    return pd.DataFrame(found)


def old_table(content: str, what: str) -> pd.DataFrame:
    """The table of a text as files without a seal hold it.

    Raises:
        FormatError: it is none.
    """
    parsed(content, what)
    try:
        return pd.read_json(io.StringIO(content), orient="table")
    except FAULTS as error:
        raise FormatError(f"its {what} is no table") from error


def _column(name: str, column: "pd.Series[Any]") -> dict[str, Any]:
    kind = column.dtype
    if isinstance(kind, np.dtype) and kind.kind in "iub":
        return {"name": name, "type": kind.name, "values": column.tolist()}
    if isinstance(kind, np.dtype) and kind.kind == "f":
        values = [v if math.isfinite(v) else str(v) for v in column.tolist()]
        return {"name": name, "type": kind.name, "values": values}
    values = [_value(value, name) for value in column.astype(object)]
    return {"name": name, "type": "str" if str(kind) == "str" else "object", "values": values}


def _value(value: Any, name: str) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    if value is None or isinstance(value, str | bool | int):
        return value
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return None
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    raise InputError(f"column {name!r} holds a {type(value).__name__}, which a file cannot keep")


def _series(kind: str, values: Any) -> "pd.Series[Any]":
    if not isinstance(values, list):
        raise TypeError("no list of values")
    if kind in ("str", "object"):
        return pd.Series(values, dtype=kind)
    dtype = np.dtype(kind)
    if dtype.kind == "f":
        return pd.Series(np.array([float(v) for v in values], dtype=dtype))
    wanted = bool if dtype.kind == "b" else int
    if dtype.kind not in "iub" or not all(type(v) is wanted for v in values):
        raise TypeError("values of another type")
    return pd.Series(np.array(values, dtype=dtype))
