"""Specification to canonical JSON to hash, and the difference of two specifications."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any


def canonical(spec: Mapping[str, Any]) -> str:
    """The one JSON text of a specification: keys sorted, no spaces, no NaN.

    >>> canonical({"b": 1, "a": [1.5, None]})
    '{"a":[1.5,null],"b":1}'
    """
    text = json.dumps(
        spec, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode("utf-8", "backslashreplace").decode()  # of paths that are no UTF-8, as JSON


def digest(spec: Mapping[str, Any]) -> str:
    """The SHA-256 of a specification's canonical JSON, in hexadecimal."""
    return hashlib.sha256(canonical(spec).encode()).hexdigest()


def digest_chunks(chunks: Iterable[bytes]) -> str:
    """The SHA-256 of a stream of byte strings, in hexadecimal."""
    state = hashlib.sha256()
    for chunk in chunks:
        state.update(chunk)
    return state.hexdigest()


def differences(have: Mapping[str, Any], want: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The fields in which two specifications differ, each as 'path: have -> want'.

    >>> differences({"a": {"b": 1}, "c": 2}, {"a": {"b": 3}, "c": 2})
    ['a.b: 1 -> 3']
    """
    found: list[str] = []
    for key in sorted(have.keys() | want.keys()):
        path = f"{prefix}{key}"
        left, right = have.get(key, "absent"), want.get(key, "absent")
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            found += differences(left, right, path + ".")
        elif left != right:
            found.append(f"{path}: {left} -> {right}")
    return found
