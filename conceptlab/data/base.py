"""Probe data sets: pictures, the concepts that they show, and where."""

import hashlib
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from tqdm.auto import tqdm

from conceptlab.data.fresh import Remembered, State, state_of
from conceptlab.errors import ConceptlabError, InputError
from conceptlab.numerics.geometry import Geometry
from conceptlab.numerics.parallel import ordered_map
from conceptlab.registry import Registry

SPLITS = ("train", "val", "test")
MOST_CATEGORIES = 64
COUNTED = 1 << 20  # pixels at a time
DELAY = 2.0  # seconds before a bar shows
T = TypeVar("T")


@dataclass(frozen=True)
class Labels:
    """The labels of one picture.

    Args:
        planes: (P, h, w) concept ids, -1 where none; several planes where labels overlap.
        unlabelled: (h, w) bit g set where category g is unlabelled; None where all are labelled.
        image_concepts: ids of the concepts that hold for the whole picture.
        image_unlabelled: bit g set where it is not known which concepts of category g hold for the
            whole picture.
    """

    planes: NDArray[np.int32]
    unlabelled: NDArray[np.uint64] | None
    image_concepts: NDArray[np.int64]
    image_unlabelled: int = 0

    def sample(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> "Labels":
        """The labels at some rows and columns of pixels."""
        return replace(
            self,
            planes=self.planes[:, rows[:, None], columns],
            unlabelled=None if self.unlabelled is None else self.unlabelled[rows[:, None], columns],
        )


@dataclass(frozen=True)
class Problem:
    """What is wrong with a data set's file: an 'error', or a 'remark' that stops nothing."""

    file: str
    message: str
    severity: str = "error"

    @classmethod
    def of(cls, root: Path, file: Path, error: ConceptlabError) -> "Problem":
        """What an error says of a file of a folder, without the file's place in front."""
        text = str(error).removeprefix(f"{file}").removeprefix(":").strip()
        return cls(str(file.relative_to(root)), text)


def grouped(problems: Sequence[Problem], most: int = 3) -> list[Problem]:
    """Problems to be read: one systematic mistake once, with some files and how many more.

    Alike are those of one severity and folder whose messages differ in numbers at most.

    >>> [p.file for p in grouped([Problem(f"a/{i}.png", f"has {i} rows") for i in range(9)])]
    ['a/0.png, a/1.png, a/2.png and 6 more']
    """
    groups: dict[tuple[str, str, str], list[Problem]] = {}
    for own in problems:
        kind = own.severity, os.path.dirname(own.file), re.sub(r"\d+", "0", own.message)
        groups.setdefault(kind, []).append(own)
    shown: list[Problem] = []
    for alike in groups.values():
        if len(alike) <= most + 1:
            shown += alike
            continue
        same = len({own.message for own in alike}) == 1
        message = alike[0].message + ("" if same else " (the others likewise)")
        files = ", ".join(own.file for own in alike[:most]) + f" and {len(alike) - most} more"
        shown.append(Problem(files, message, alike[0].severity))
    return shown


class ProbeDataset(ABC):
    """Pictures with labels, in one fixed order: train, val, test, by file name within each.

    Reading is lazy, and safe in worker processes and threads.

    Attributes:
        spec: the specification that it was made from.
        name: short, for folders.
        catalogue: (C,) rows name, category, level ('pixel' or 'image'); the index is the
            concept id.
        splits: (N,) 'train', 'val' or 'test'.
        names: (N,) 'split/NAME'.
        planes: the most planes that the labels of a picture have.
        root: the folder that it is read from; None where there is none.
        progress: whether long scans show a bar.
    """

    spec: str
    name: str
    catalogue: pd.DataFrame
    splits: NDArray[np.str_]
    names: NDArray[np.str_]
    planes: int
    root: Path | None = None
    progress: bool = False

    @abstractmethod
    def image(self, i: int) -> Image.Image:
        """Picture i, RGB.

        Raises:
            DataError: the file is missing or damaged.
        """

    def picture(self, i: int) -> Image.Image:
        """Picture i as a network is to see it: RGB, or RGBA where its file says transparency."""
        return self.image(i)

    @abstractmethod
    def labels(self, i: int) -> Labels:
        """The labels of picture i at their native resolution.

        Raises:
            DataError: a file is missing, damaged, or does not fit the picture.
        """

    @abstractmethod
    def validate(self) -> list[Problem]:
        """Everything that is wrong, file by file, and remarks."""

    def _sources(self, i: int) -> Sequence[Path] | None:
        """The files that picture i and its labels are read from; () where both are made.

        None where that is not known: then everything is read anew whenever it is asked for.
        """
        del i
        return None

    @abstractmethod
    def _image_bytes(self, i: int) -> bytes:
        """What the pixels of picture i depend on."""

    @abstractmethod
    def _label_bytes(self) -> Iterator[bytes]:
        """What all labels depend on, beside the pictures."""

    def __len__(self) -> int:
        """N, the number of pictures."""
        return len(self.names)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.spec}: {len(self)} images>"

    @property
    def categories(self) -> list[str]:
        """The categories, in order of first appearance; bit g of `Labels.unlabelled`."""
        return list(dict.fromkeys(self.catalogue["category"].astype(str)))

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of everything that activations depend on: order, names, pictures.

        Taken anew; files that have not changed since are not read again.
        """
        return self.fingerprints().pictures

    @property
    def label_fingerprint(self) -> str:
        """The SHA-256 of everything that labels depend on: pictures, labels, concepts.

        Taken anew; files that have not changed since are not read again.
        """
        return self.fingerprints().labels

    def fingerprints(self) -> "Fingerprints":
        """Both of this moment, with one look at the files."""
        return Fingerprints(self)

    @cached_property
    def _digests(self) -> Remembered[bytes]:
        return Remembered()

    @cached_property
    def _counts(self) -> Remembered[pd.DataFrame]:
        return Remembered()

    @property
    def concepts(self) -> pd.DataFrame:
        """The catalogue with what the labels hold, counted at their native resolution.

        Counted once, and again when a file has changed.

        Returns:
            Columns name, category, level, n_train, n_val, n_test (pictures that show the concept),
            mean_area (share of a picture's pixels, over those pictures).
        """
        return self._counts.derive("concepts", self.fingerprints().whole, self._count_all)

    def _count_all(self) -> pd.DataFrame:
        count = len(self.catalogue)
        shown = {split: np.zeros(count, dtype=np.int64) for split in SPLITS}
        area = np.zeros(count)
        scan = ordered_map(lambda i: (i, self._areas(i)), range(len(self)))
        for i, own in self._bar(scan, "labels"):
            shown[str(self.splits[i])] += own > 0
            area += own
        table = self.catalogue.copy()
        for split in SPLITS:
            table[f"n_{split}"] = shown[split]
        total = sum(shown.values())
        table["mean_area"] = np.divide(area, total, out=np.zeros(count), where=total > 0)
        return table

    def image_concepts(self, i: int) -> NDArray[np.int64]:
        """Ids of all concepts that picture i shows, anywhere or as a whole."""
        return np.flatnonzero(self._areas(i))

    def masks(
        self, i: int, size: int | tuple[int, int] | None = None, geometry: Geometry | None = None
    ) -> dict[int, NDArray[np.bool_]]:
        """The masks of the pixel-level concepts that picture i shows.

        Args:
            i: which picture.
            size: side, or (h, w); the geometry's, or else the labels' own, if not given.
            geometry: which part of the picture; the whole if not given.

        Returns:
            {concept id: (h, w)}, only concepts that have a pixel.
        """
        labels = self.labels(i)
        if size is None and geometry is not None:
            size = geometry.size
        if size is not None:
            wanted = (size, size) if isinstance(size, int) else size
            shape = labels.planes.shape[1:]
            geometry = geometry or Geometry(max(*wanted))
            labels = labels.sample(*geometry.label_rows_cols(shape[0], shape[1], wanted))
        present = np.unique(labels.planes)
        return {int(c): (labels.planes == c).any(axis=0) for c in present if c >= 0}

    def _bar(self, scan: Iterable[T], title: str) -> Iterable[T]:
        """The results of a scan of all pictures, with a bar if it takes over two seconds."""
        hidden = not self.progress
        bar: Iterable[T] = tqdm(
            scan, title, len(self), leave=False, delay=DELAY, unit="image", disable=hidden
        )
        return bar

    def _areas(self, i: int) -> NDArray[np.float64]:
        """(C,) the share of picture i that each concept covers."""
        labels = self.labels(i)
        count = len(self.catalogue)
        flat = labels.planes.reshape(len(labels.planes), -1)
        pixels = [_counted(plane, count) for plane in flat]
        area = np.sum(pixels, axis=0) / flat.shape[1] if pixels else np.zeros(count)
        for concept in np.flatnonzero(np.count_nonzero(pixels, axis=0) > 1 if pixels else []):
            area[concept] = (flat == concept).any(axis=0).mean()  # where planes overlap, once
        area[labels.image_concepts] = 1.0
        return area


class Fingerprints:
    """SHA-256 of what a data set holds at one moment, each taken when it is asked for."""

    def __init__(self, data: ProbeDataset) -> None:
        self._data = data
        self._states = [state_of(data._sources(i)) for i in range(len(data))]

    @property
    def whole(self) -> State | None:
        """Of all files together."""
        known = [state for state in self._states if state is not None]
        return tuple(chain.from_iterable(known)) if len(known) == len(self._states) else None

    @cached_property
    def pictures(self) -> str:
        """See `ProbeDataset.fingerprint`."""
        data, digests = self._data, self._data._digests
        known = {i: digests.known(("picture", i), state) for i, state in enumerate(self._states)}
        missing = [i for i, digest in known.items() if digest is None]

        def read(i: int) -> bytes:
            return digests.derive(
                ("picture", i),
                self._states[i],
                lambda: hashlib.sha256(data._image_bytes(i)).digest(),
            )

        scan = ordered_map(read, missing)
        known |= zip(missing, data._bar(scan, "pictures") if missing else (), strict=True)
        found = hashlib.sha256()
        for name, content in zip(data.names, known.values(), strict=True):
            found.update(str(name).encode() + b"\0" + (content or b""))
        return found.hexdigest()

    @cached_property
    def labels(self) -> str:
        """See `ProbeDataset.label_fingerprint`."""
        found = hashlib.sha256(self.pictures.encode())
        found.update(self._data.catalogue.to_csv().encode())

        def read() -> bytes:
            return b"".join(hashlib.sha256(part).digest() for part in self._data._label_bytes())

        found.update(self._data._digests.derive("labels", self.whole, read))
        return found.hexdigest()


def _counted(plane: NDArray[np.int32], count: int) -> NDArray[np.int64]:
    """(C,) pixels of each concept, counted in blocks, since large maps need many times theirs."""
    found = np.zeros(count, dtype=np.int64)
    for start in range(0, len(plane), COUNTED):
        part = plane[start : start + COUNTED]
        found += np.bincount(part[part >= 0], minlength=count)
    return found


SOURCES: Registry[Any] = Registry("data source")


def parse_spec(spec: str) -> tuple[str, str, dict[str, str]]:
    """A specification's source, path and options.

    A path that holds a comma or '=' is written in double quotes; without them, the longest
    beginning that is a folder is the path.

    >>> parse_spec("folder:/a/b,colors=true")
    ('folder', '/a/b', {'colors': 'true'})
    >>> parse_spec('folder:"/a,b=c",colors=true')
    ('folder', '/a,b=c', {'colors': 'true'})
    >>> parse_spec("scenes:n=10,seed=3")
    ('scenes', '', {'n': '10', 'seed': '3'})

    Raises:
        InputError: an option without '=' or given twice, a quotation mark that is not closed.
    """
    source, path, rest = split_spec(spec)
    options: dict[str, str] = {}
    for part in rest.split(",") if rest else []:
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise InputError(f"{spec!r}: after the path come options as key=value; got {part!r}")
        if key in options:
            raise InputError(f"{spec!r}: {key} is given twice")
        options[key] = value
    return source, path, options


def split_spec(spec: str, base: Path | None = None) -> tuple[str, str, str]:
    """A specification's source, path without quotation marks, and options as they are written.

    Args:
        spec: see `parse_spec`.
        base: what paths are relative to; the working folder if not given.

    Raises:
        InputError: a quotation mark that is not closed.
    """
    source, _, rest = spec.partition(":")
    if rest.startswith('"'):
        path, closed, options = rest[1:].partition('"')
        if not closed or options[:1] not in ("", ","):
            raise InputError(f"{spec!r}: a path in quotation marks ends with one, then ,key=value")
        return source, path, options[1:]
    commas = [place for place, letter in enumerate(rest) if letter == ","]
    for end in (len(rest), *reversed(commas)):
        if os.path.isdir(Path(base or ".", os.path.expanduser(rest[:end]))) and rest[:end].strip():
            return source, rest[:end], rest[end + 1 :]
    first, _, options = rest.partition(",")
    key, equals, _ = first.partition("=")
    if equals and key.strip().isidentifier():
        return source, "", rest
    return source, first, options


def join_spec(source: str, path: str, options: str) -> str:
    """What `split_spec` takes apart.

    >>> join_spec("folder", "/a,b", "colors=true")
    'folder:"/a,b",colors=true'
    """
    odd = any(letter in path for letter in ",=") and '"' not in path
    return f"{source}:" + (f'"{path}"' if odd else path) + (f",{options}" if options else "")


def take_options(spec: str, given: dict[str, str], known: Sequence[str]) -> None:
    """Raise unless all options of a specification are known.

    Raises:
        InputError: with the known ones.
    """
    for key in given:
        if key not in known:
            raise InputError(
                f"{spec!r}: unknown option {key!r}; known: {', '.join(known) or 'none'}"
            )
