"""Seeded changes to sound inputs: of bytes, of texts, and of what an HDF5 file holds."""

import json
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from conceptlab.seal import MAGIC, PAGE, guard_page

Rng = np.random.Generator
ODD = (
    "", "0", "-1", "1e999", "nan", "inf", "9" * 5000, "99999999999", "0x10", "1_0", "true", "null",
    "\x00", "\ufeff", "\u202e", "caf\u00e9", "\U0001f600", "=1+1", "../../etc/passwd", "/dev/zero",
    '"', "'", '"""', ",", ";", "\n", "\r\n", "\t", "[" * 3000, "{" * 3000, "(" * 300, "%s%n",
    "a" * 70_000, "[[", "]]", "=", "#", "64999", "1.5", "-0", "\\", "\\u0000",
)  # fmt: skip


def changed_bytes(content: bytes, rng: Rng, other: bytes = b"") -> bytes:
    """Bytes with some flipped, overwritten, cut, doubled, put in, or joined to another file's."""
    for _ in range(rng.integers(1, 4)):
        content = _changed(content, rng, other)
    return content


def _changed(content: bytes, rng: Rng, other: bytes) -> bytes:
    a, b = sorted(int(n) for n in rng.integers(0, max(1, len(content)), 2))
    b = min(b, a + int(rng.choice([1, 8, 64, 4096])))
    first, middle, last = content[:a], content[a:b], content[b:]
    ways: list[Callable[[], bytes]] = [
        lambda: _flipped(content, rng),
        lambda: first + bytes([rng.choice([0, 255, 127])]) * (b - a) + last,
        lambda: first + rng.bytes(b - a) + last,
        lambda: first,
        lambda: first + middle * int(rng.integers(1, 50)) + last,
        lambda: first + last,
        lambda: first + other[int(rng.integers(0, len(other) + 1)) :],
    ]
    return ways[int(rng.integers(len(ways)))]()


def _flipped(content: bytes, rng: Rng) -> bytes:
    data = bytearray(content)
    for place in rng.integers(0, len(data), rng.integers(1, 9)) if data else ():
        data[place] ^= 1 << rng.integers(8)
    return bytes(data)


def changed_text(text: str, rng: Rng) -> bytes:
    """A text with words and lines changed, doubled, put in; sometimes as bytes of no UTF-8."""
    for _ in range(rng.integers(1, 4)):
        text = _edited(text, rng)
    raw = text.encode("utf-8", "surrogatepass")
    if rng.random() < 0.2:
        return changed_bytes(raw, rng)
    return b"\xef\xbb\xbf" + raw if rng.random() < 0.05 else raw


def _edited(text: str, rng: Rng) -> str:
    places = [i for i, c in enumerate(text) if c in string.punctuation + "\n "] or [0]
    a, b = sorted(int(n) for n in rng.choice(places, 2))
    stop = next((p for p in places if p > a), len(text))
    odd = str(rng.choice(np.array(ODD, dtype=object)))
    ways = [
        text[:a] + odd + text[b:],
        text[:a] + odd + text[a:],
        text[: a + 1] + odd + text[stop:],
        text[:a] + text[a:b] * int(rng.integers(2, 20)) + text[b:],
        text[:a],
        _lines(text, rng),
    ]
    return ways[int(rng.integers(len(ways)))]


def _lines(text: str, rng: Rng) -> str:
    """A line left out, or there many times."""
    lines = text.split("\n")
    place = int(rng.integers(len(lines)))
    lines[place : place + 1] = [lines[place]] * int(rng.choice([0, 2, 50]))
    return "\n".join(lines)


def seal_again(path: Path) -> None:
    """A seal over what there is now, with the arrays where the old one has them."""
    page = path.read_bytes()[:PAGE]
    ranges = json.loads(page[len(MAGIC) :].rstrip(b"\n").partition(b"\n")[2])["arrays"]
    size = path.stat().st_size
    guard_page(path, [(a, b) for a, b in ranges if b <= size])


def replace(file: h5py.File, rng: Rng) -> None:
    """Put something else in the place of an array or an attribute."""
    names: list[str] = []
    file.visit(names.append)
    if rng.random() < 0.5 and len(file.attrs):
        name = str(rng.choice(sorted(file.attrs)))
        old = file.attrs[name]
        text = changed_text(str(old), rng).decode("utf-8", "replace").replace("\x00", "")
        values: list[Any] = [text, text, text, 3, -1.5, [1, 2], np.bytes_(b"\xff"), 2**63 - 1, "{}"]
        file.attrs[name] = values[int(rng.integers(len(values)))]
        return
    name = str(rng.choice(names))
    shape = getattr(file[name], "shape", None) if isinstance(file.get(name), h5py.Dataset) else ()
    del file[name]
    made: list[Callable[[], Any]] = [
        lambda: file.create_dataset(name, (30_000, 40_000), "f8"),
        lambda: file.create_dataset(name, shape, "f4"),
        lambda: file.create_dataset(name, shape or (3,), "f8", chunks=True),
        lambda: file.create_dataset(name, data=np.zeros((4, 4)), compression="gzip"),
        lambda: file.create_dataset(name, data=np.ones(shape or (), "i8")),
        lambda: file.create_dataset(name, data=np.ones((2, *(shape or (1,))))),
        lambda: file.create_dataset(name, (2, 3), "u1", external=[("/dev/zero", 0, 6)]),
        lambda: file.create_dataset(name, data=changed_text("[[1]]", rng).hex()),
        lambda: file.create_dataset(name, data=["a", "b"]),
        lambda: file.create_dataset(name, shape=None, dtype="f8"),
        lambda: file.create_dataset(name, data=np.array(b"\xff\xfe")),
        lambda: file.__setitem__(name, h5py.SoftLink(f"/{name}")),
        lambda: file.__setitem__(name, h5py.ExternalLink("/etc/passwd", "/")),
        lambda: file.create_group(name),
        lambda: file.__setitem__(name, np.dtype("f8")),
        lambda: None,
    ]
    made[int(rng.integers(len(made)))]()
