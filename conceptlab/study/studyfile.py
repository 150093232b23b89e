"""The study file: read, checked field by field, and written back with every default filled in."""

import json
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from conceptlab.errors import InputError
from conceptlab.files import require_regular
from conceptlab.given import checked
from conceptlab.registry import near_matches
from conceptlab.study.settings import (
    AtlasSettings,
    ClassifySettings,
    CompareSettings,
    DataSettings,
    DissectSettings,
    LookSettings,
    ModelSettings,
    PackSettings,
    ResampleSettings,
    SegmentSettings,
    Study,
    TcavSettings,
)

SHOWN = 80  # characters of a value in a message
LARGEST = 2**63  # what TOML's numbers stay below

TABLES: dict[str, type[Any]] = {
    "data": DataSettings,
    "dissect": DissectSettings,
    "segment": SegmentSettings,
    "classify": ClassifySettings,
    "compare": CompareSettings,
    "pack": PackSettings,
    "resample": ResampleSettings,
    "tcav": TcavSettings,
    "look": LookSettings,
    "atlas": AtlasSettings,
}


@checked
def read_study(path: str | Path) -> Study:
    """Read a study file; paths in it are relative to it, and its name is the file's if it has none.

    Raises:
        InputError: no such file, no TOML, an unknown field, a value of the wrong type.
    """
    path = Path(path)
    try:
        require_regular(path)
        raw = tomllib.loads(path.read_text(encoding="utf-8-sig"))  # some editors put a mark first
    except OSError as error:
        raise InputError(f"cannot read the study file {path} ({error.strerror})") from error
    except RecursionError as error:
        raise InputError(f"{path} is nested too deep to be a study file") from error
    except ValueError as error:  # also a text that is no UTF-8, and a number of 5,000 digits
        raise InputError(f"{path} is not TOML: {error}") from error
    try:
        study = _study({"name": path.stem, **raw})
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return _relative(study, path.resolve().parent)


def _study(raw: Mapping[str, Any]) -> Study:
    known = [f.name for f in fields(Study)]
    for key in raw:
        if key not in known:
            raise InputError(f"unknown field {key!r}; {near_matches(key, known)}")
    if "data" not in raw or not raw.get("models"):
        raise InputError("a study needs a table [data] and at least one [[models]]")
    if not isinstance(raw["models"], list):
        raise InputError("models are written as [[models]], one table each")
    made: dict[str, Any] = {
        name: _table(kind, raw[name], f"[{name}]") for name, kind in TABLES.items() if name in raw
    }
    made["models"] = tuple(_table(ModelSettings, m, "[[models]]") for m in raw["models"])
    scalars = {k: raw[k] for k in ("name", "seed") if k in raw}
    if not _is(scalars.get("seed", 0), "int") or not _is(scalars["name"], "str"):
        raise InputError("name is a text and seed a whole number")
    return Study(**made, **scalars)


def _table(kind: type[Any], raw: Any, where: str) -> Any:
    if not isinstance(raw, dict):
        raise InputError(f"{where} is a table")
    defined = {f.name: f for f in fields(kind)}
    for key, value in raw.items():
        if key not in defined:
            raise InputError(f"unknown field {key!r} in {where}; {near_matches(key, defined)}")
        _check(value, defined[key].type, f"{key} in {where}")
    missing = [k for k in ("spec", "layers") if k in defined and k not in raw]
    if missing:
        raise InputError(f"{where} needs {missing[0]!r}")
    try:
        return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in raw.items()})
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def _check(value: Any, annotation: Any, what: str) -> None:
    """Raise unless a TOML value is of the type that a field's annotation names."""
    kind = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    item = kind.removeprefix("tuple[").removesuffix(", ...]")
    values = value if kind.startswith("tuple") else [value]
    if not isinstance(values, list) or not all(_is(v, item) for v in values):
        words = {"str": "text", "int": "whole number", "float": "number", "bool": "true or false"}
        wanted = words[item] if item == kind else f"list of {words[item]}s"
        raise InputError(f"{what} is a {wanted}; got {_shortened(value)}")


def _is(value: Any, kind: str) -> bool:
    if kind == "bool" or isinstance(value, bool):
        return kind == "bool" and isinstance(value, bool)
    kinds: dict[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "float": (int, float)}
    if isinstance(value, int) and abs(value) >= LARGEST:
        return False
    return isinstance(value, kinds[kind])


def _shortened(value: Any) -> str:
    """A value for a message, a long one cut."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no number of more than 4,300 digits
        return "a number of thousands of digits"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _relative(study: Study, folder: Path) -> Study:
    """The study with its paths made absolute."""
    from conceptlab.data.base import join_spec, split_spec

    def place(text: str) -> str:
        return str(folder / os.path.expanduser(text))

    def spec(text: str) -> str:
        kind, colon, rest = text.partition(":")
        if kind == "file" and colon:
            return f"file:{place(rest)}"
        if kind not in ("folder", "broden", "pictures") or not colon:
            return text
        _, path, options = split_spec(text, folder)
        return join_spec(kind, place(path), options) if path else text

    models = tuple(
        replace(m, spec=spec(m.spec), weights=place(m.weights) if m.weights else "")
        for m in study.models
    )
    compare = study.compare
    if compare.words:
        compare = replace(compare, words=place(compare.words))
    data = replace(study.data, spec=spec(study.data.spec))
    classes = tuple(_class_place(entry, place) for entry in study.tcav.classes)
    tcav = replace(study.tcav, classes=classes)
    return replace(study, data=data, models=models, compare=compare, tcav=tcav)


def _class_place(entry: str, place: Callable[[str], str]) -> str:
    """CLASS=FOLDER with the folder's path made absolute, where there is one."""
    name, equals, source = entry.partition("=")
    return f"{name}={place(source)}" if equals and os.path.isdir(place(source)) else entry


def study_toml(study: Study) -> str:
    """The study as TOML, with every default filled in."""
    values = asdict(study)
    lines = [f"{key} = {_toml(values[key])}" for key in ("name", "seed")]
    for table in TABLES:
        lines += ["", f"[{table}]", *(f"{k} = {_toml(v)}" for k, v in values[table].items())]
    for model in values["models"]:
        lines += ["", "[[models]]", *(f"{k} = {_toml(v)}" for k, v in model.items())]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_toml(v) for v in value) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)
