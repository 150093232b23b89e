"""`broden:PATH`: the layout of the Broden 1.0 release (Bau et al. 2017, section 2.1).

`index.csv` has a row for every picture: image,split,ih,iw,sh,sw and a column per category, whose
cell holds label maps (pixel value R + 256 G is a number of `label.csv`, 0 none) and numbers that
hold for the whole picture, separated by semicolons. An empty cell: the category is unlabelled;
a 0 where nothing of it holds.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from os.path import splitext
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from conceptlab.data.base import (
    MOST_CATEGORIES,
    SOURCES,
    SPLITS,
    Labels,
    ProbeDataset,
    Problem,
    parse_spec,
    take_options,
)
from conceptlab.data.read import (
    MOST_PIXELS,
    check_aspects,
    data_folder,
    folder_name,
    picture_bytes,
    read_bytes,
    read_image,
    read_number_map,
    read_rows,
    shortened,
    whole_number,
)
from conceptlab.errors import ConceptlabError, DataError
from conceptlab.numerics.parallel import ordered_map

WHOLE = ("scene", "texture")  # categories whose labels hold for a picture, not for pixels
NUMBERS = 1 << 16
NONE = -1
MOST_PLANES = 255  # label maps of a picture


@dataclass(frozen=True)
class Row:
    """A picture of the index: its file and size, the size of its labels, and its cells.

    `maps` are (category, file), `whole` are (category, number); a category with neither is
    unlabelled.
    """

    split: str
    image: str
    size: tuple[int, int]
    label_size: tuple[int, int]
    maps: tuple[tuple[str, str], ...]
    whole: tuple[tuple[str, int], ...]

    @property
    def name(self) -> str:
        """'split/NAME', the file without its suffix."""
        return f"{self.split}/{splitext(self.image)[0]}"


@SOURCES.register("broden")
class BrodenDataset(ProbeDataset):
    """A folder in the layout of Broden 1.0.

    A label that several categories list is a concept in each of them.

    Args:
        spec: `broden:PATH`.

    Raises:
        DataError: a missing table, or one that cannot be understood; no training images.
    """

    root: Path

    def __init__(self, spec: str) -> None:
        _, path, options = parse_spec(spec)
        take_options(spec, options, ())
        self.spec = spec
        self.root = data_folder(path)
        self.name = folder_name(self.root)
        names = _read_names(self.root / "label.csv")
        groups = _read_groups(self.root / "category.csv")
        self.catalogue, self._numbers = _catalogue(self.root, groups, names)
        self._known = np.zeros(NUMBERS, dtype=bool)
        self._known[[0, *names]] = True
        self._rows = _read_index(self.root / "index.csv", self.categories)
        self.splits = np.array([row.split for row in self._rows])
        self.names = np.array([row.name for row in self._rows])
        self.planes = max(1, *(self._count(row) for row in self._rows))

    def image(self, i: int) -> Image.Image:
        """Picture i, RGB."""
        row = self._rows[i]
        return self._checked(row, read_image(self._path(row.image)))

    def picture(self, i: int) -> Image.Image:
        """Picture i, RGB, or RGBA where its file says what is transparent."""
        row = self._rows[i]
        return self._checked(row, read_image(self._path(row.image), transparent=True))

    def labels(self, i: int) -> Labels:
        """The labels of picture i.

        A plane for every label map, and for every number that holds for the whole picture in a
        category of pixels.
        """
        row = self._rows[i]
        planes = [np.full(row.label_size, NONE, dtype=np.int32)]
        holds: set[int] = set()
        for category, file in row.maps:
            concepts = self._map(row, category, file)
            if category in WHOLE:
                holds |= set(concepts[concepts >= 0].tolist())
            else:
                planes.append(concepts)
        for category, number in row.whole:
            concept = self._concept(row, category, number)
            if category in WHOLE:
                holds |= {concept} - {NONE}
            else:
                planes.append(np.full(row.label_size, concept, dtype=np.int32))
        labelled = {category for category, _ in (*row.maps, *row.whole)}
        unlabelled = self._bits([c for c in self.categories if c not in (*labelled, *WHOLE)])
        return Labels(
            np.stack(planes[1:] or planes),
            np.full(row.label_size, unlabelled, dtype=np.uint64) if unlabelled else None,
            np.array(sorted(holds), dtype=np.int64),
            self._bits([c for c in self.categories if c in WHOLE and c not in labelled]),
        )

    def validate(self) -> list[Problem]:
        """Read everything, and say what is wrong file by file."""
        problems = []
        used = np.zeros(len(self.catalogue), dtype=bool)
        for found, shown in self._bar(ordered_map(self._examine, range(len(self))), "files"):
            problems += found
            used[shown] = True
        for concept in np.flatnonzero(~used):
            name, category = self.catalogue[["name", "category"]].iloc[concept]
            message = f"{name!r} is in none of these pictures"
            problems.append(Problem(f"c_{category}.csv", message, "remark"))
        return problems

    def _sources(self, i: int) -> list[Path]:
        row = self._rows[i]
        return [self._path(file) for file in (row.image, *(file for _, file in row.maps))]

    def _image_bytes(self, i: int) -> bytes:
        return picture_bytes(self._path(self._rows[i].image))

    def _label_bytes(self) -> Iterator[bytes]:
        for row in self._rows:
            yield repr((row.label_size, [c for c, _ in row.maps], row.whole)).encode()
            for _, file in row.maps:
                yield read_bytes(self._path(file))

    def _path(self, file: str) -> Path:
        return self.root / "images" / file

    def _checked(self, row: Row, picture: Image.Image) -> Image.Image:
        check_aspects(picture.size, f"the label of {row.image}", row.label_size[::-1])
        return picture

    def _bits(self, categories: list[str]) -> int:
        return sum(1 << self.categories.index(c) for c in categories)

    def _count(self, row: Row) -> int:
        return sum(category not in WHOLE for category, _ in (*row.maps, *row.whole))

    def _concept(self, row: Row, category: str, number: int) -> int:
        if not self._known[number]:
            raise DataError(
                f"{self.root / 'index.csv'}: {row.image} has number {number}, which is not in "
                "label.csv"
            )
        return int(self._numbers[category][number])

    def _map(self, row: Row, category: str, file: str) -> NDArray[np.int32]:
        """(h, w) concept ids of a label map.

        Raises:
            DataError: a missing or damaged file, another size, a number that label.csv lacks.
        """
        path = self._path(file)
        numbers = read_number_map(path)
        if numbers.shape != row.label_size:
            raise DataError(
                f"{path} is {numbers.shape[1]} x {numbers.shape[0]}; index.csv says "
                f"{row.label_size[1]} x {row.label_size[0]} (sw x sh)"
            )
        unknown = np.unique(numbers[~self._known[numbers]])
        if len(unknown):
            raise DataError(f"{path} has number {unknown[0]}, which is not in label.csv: add a row")
        return self._numbers[category][numbers]

    def _examine(self, i: int) -> tuple[list[Problem], list[int]]:
        """What is wrong with the files of picture i, and the concepts that it shows."""
        row, problems, shown = self._rows[i], [], []
        path = self._path(row.image)
        try:
            width, height = read_image(path).size
            if (height, width) != row.size:
                raise DataError(
                    f"{path} is {width} x {height}; index.csv says {row.size[1]} x {row.size[0]} "
                    "(iw x ih)"
                )
        except ConceptlabError as error:
            problems.append(Problem.of(self.root, path, error))
        for category, file in row.maps:
            try:
                shown += np.unique(self._map(row, category, file)).tolist()
                foreign = self._foreign(category, read_number_map(self._path(file)))
            except ConceptlabError as error:
                problems.append(Problem.of(self.root, self._path(file), error))
                continue
            problems += [Problem(f"images/{file}", text, "remark") for text in foreign]
        for category, number in row.whole:
            try:
                shown.append(self._concept(row, category, number))
                foreign = self._foreign(category, np.array([number]))
            except ConceptlabError as error:
                problems.append(Problem.of(self.root, self.root / "index.csv", error))
                continue
            problems += [Problem("index.csv", f"{row.image}: {t}", "remark") for t in foreign]
        return problems, [concept for concept in shown if concept >= 0]

    def _foreign(self, category: str, numbers: NDArray[np.int64]) -> list[str]:
        """Sentences about numbers that a category's own table lacks."""
        concepts = self._numbers[category][numbers]
        return [
            f"number {number} is not in c_{category}.csv, and is left out"
            for number in np.unique(numbers[(concepts < 0) & (numbers > 0)])
        ]


def _number(path: Path, what: str, text: str) -> int:
    number = whole_number(text, NUMBERS - 1)
    if number is None:
        given = shortened(text)
        raise DataError(f"{path}: {what} {given} is no whole number in 0..{NUMBERS - 1}")
    return number


def _read_groups(path: Path) -> list[str]:
    groups = [row["name"] for row in read_rows(path, ("name",))]
    for group, count in Counter(groups).items():
        if count > 1:
            raise DataError(f"{path}: category {group!r} stands in {count} rows")
    if len(groups) > MOST_CATEGORIES:
        raise DataError(f"{path} has more than {MOST_CATEGORIES} categories")
    return groups


def _read_names(path: Path) -> dict[int, str]:
    names: dict[int, str] = {}
    for row in read_rows(path, ("number", "name")):
        number = _number(path, "number", row["number"])
        if number in names:
            raise DataError(f"{path}: number {number} stands in two rows")
        if not row["name"]:
            raise DataError(f"{path}: number {number} lacks a name")
        names[number] = row["name"]
    return names


def _catalogue(
    root: Path, groups: list[str], names: dict[int, str]
) -> tuple[pd.DataFrame, dict[str, NDArray[np.int32]]]:
    """The concepts, and for each category the concept of every number, `NONE` where none."""
    rows: list[tuple[str, str, str]] = []
    tables = {}
    for group in groups:
        path = root / f"c_{group}.csv"
        table = np.full(NUMBERS, NONE, dtype=np.int32)
        taken: set[str] = set()
        for row in read_rows(path, ("code", "number")):
            number = _number(path, "number", row["number"])
            if number == 0:
                continue  # 'no label', which some tables list
            if number not in names:
                raise DataError(f"{path}: number {number} is not in label.csv")
            if table[number] != NONE:
                raise DataError(f"{path}: number {number} stands in two rows")
            table[number] = len(rows)
            name = names[number]
            if name in taken:
                name = f"{name} ({number})"
            taken.add(name)
            rows.append((name, group, "image" if group in WHOLE else "pixel"))
        tables[group] = table
    return pd.DataFrame(rows, columns=["name", "category", "level"]), tables


def _read_index(path: Path, categories: list[str]) -> list[Row]:
    """The pictures, by split and name.

    Raises:
        DataError: a row that cannot be understood, a picture twice, no training images.
    """
    fields = ("image", "split", "ih", "iw", "sh", "sw")
    rows = [_row(path, cells, categories) for cells in read_rows(path, (*fields, *categories))]
    twice = [name for name, count in Counter(row.name for row in rows).items() if count > 1]
    if twice:
        raise DataError(f"{path} has two pictures called {twice[0]}; keep one")
    if not any(row.split == "train" for row in rows):
        raise DataError(f"{path} has no picture of split train to learn from")
    return sorted(rows, key=lambda row: (SPLITS.index(row.split), row.name))


def _row(path: Path, cells: dict[str, str], categories: list[str]) -> Row:
    maps, whole = [], []
    if cells["split"] not in SPLITS:
        raise DataError(
            f"{path}: {cells['image']} is of split {cells['split']!r}; splits are "
            f"{', '.join(SPLITS)}"
        )
    for category in categories:
        for part in filter(None, (p.strip() for p in cells[category].split(";"))):
            if part.isdecimal():
                whole.append((category, _number(path, f"{category} of {cells['image']}", part)))
            else:
                maps.append((category, _inside(path, part)))
    sides = {k: _number(path, f"{k} of {cells['image']}", cells[k]) for k in ("ih", "iw")}
    # a picture without label maps may leave the labels' size open
    for k, same in (("sh", "ih"), ("sw", "iw")):
        sides[k] = _number(path, f"{k} of {cells['image']}", cells[k] or cells[same])
    if not all(sides.values()):
        raise DataError(f"{path}: {cells['image']} has a side of 0 pixels")
    label_size = sides["sw"], sides["sh"]
    planes = max(1, sum(category not in WHOLE for category, _ in (*maps, *whole)))
    if planes > MOST_PLANES or label_size[0] * label_size[1] > MOST_PIXELS // planes:
        raise DataError(
            f"{path}: {cells['image']} has {planes} label maps of {label_size[0]} x "
            f"{label_size[1]} pixels (sw x sh); at most {MOST_PLANES} with together "
            f"{MOST_PIXELS / 1e6:.0f} million are read"
        )
    check_aspects((sides["iw"], sides["ih"]), f"{path}: {cells['image']}'s label", label_size)
    return Row(
        cells["split"],
        _inside(path, cells["image"]),
        (sides["ih"], sides["iw"]),
        (sides["sh"], sides["sw"]),
        tuple(maps),
        tuple(whole),
    )


def _inside(path: Path, file: str) -> str:
    """A file's name, if it lies in the folder of pictures."""
    first, *_ = parts = file.replace("\\", "/").split("/")
    if not first or ":" in first or ".." in parts:  # an absolute one, a Windows drive, a way out
        raise DataError(f"{path}: {file!r} is no file inside images/")
    return file
