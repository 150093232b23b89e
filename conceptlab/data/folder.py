"""A folder of pictures and index maps as a probe data set.

`images/{split}/NAME.(jpg|png)`, `labels/{split}/NAME.png`, `classes.csv` (index,name,category) and,
if there is one, `scenes.csv` (image,scene).
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from conceptlab.data.base import (
    MOST_CATEGORIES,
    SOURCES,
    Labels,
    ProbeDataset,
    Problem,
    parse_spec,
    take_options,
)
from conceptlab.data.colors import NAMES, color_table, name_pixels
from conceptlab.data.listing import Item, items_of, unmatched, unread, with_val
from conceptlab.data.read import (
    check_aspects,
    data_folder,
    displayed,
    folder_name,
    picture_bytes,
    read_bytes,
    read_image,
    read_index_map,
    read_rows,
    shortened,
    whole_number,
)
from conceptlab.errors import ConceptlabError, DataError, InputError
from conceptlab.numerics.parallel import ordered_map

IGNORE = "ignore"
LARGE = 1 << 24  # pixels of a picture that is read alone when all are checked
AT_ONCE = 1 << 20  # pixels


@SOURCES.register("folder")
class FolderDataset(ProbeDataset):
    """Pictures and index maps in a folder.

    Args:
        spec: `folder:PATH`, with options `colors=true` (the eleven colours of the pixels as
            concepts) and `val=test` (take the test split for val where there is no val).

    Raises:
        DataError: a missing folder or file, a table that cannot be read, no training images.
    """

    root: Path

    def __init__(self, spec: str) -> None:
        _, path, options = parse_spec(spec)
        take_options(spec, options, ("colors", "val"))
        self.spec = spec
        self.colors = options.get("colors", "false").lower() == "true"
        if options.get("colors", "false").lower() not in ("true", "false"):
            raise InputError(f"{spec!r}: colors is true or false")
        if options.get("val", "test") != "test":
            raise InputError(f"{spec!r}: val can only be 'test'")
        self.root = data_folder(path)
        self.name = folder_name(self.root)
        self._classes = _read_classes(self.root / "classes.csv")
        scenes = _read_scenes(self.root / "scenes.csv")
        found = items_of(self.root, scenes)
        self._items = with_val(self.root, found, "val" in options)
        if not any(item.split == "train" for item in self._items):
            raise DataError(f"{self.root / 'images' / 'train'} has no pictures to learn from")
        self.problems = unmatched(self.root, found, scenes) + unread(self.root)
        self.splits = np.array([item.split for item in self._items])
        self.names = np.array([item.name for item in self._items])
        self.planes = 2 if self.colors else 1
        self.catalogue = self._catalogue(scenes)
        self._table = self._index_table()

    def image(self, i: int) -> Image.Image:
        """Picture i, RGB."""
        return read_image(self._items[i].image)

    def picture(self, i: int) -> Image.Image:
        """Picture i, RGB, or RGBA where its file says what is transparent."""
        return read_image(self._items[i].image, transparent=True)

    def labels(self, i: int) -> Labels:
        """The labels of picture i: one plane of classes, and one of colours if asked for."""
        item = self._items[i]
        indices = read_index_map(item.label)
        height, width = indices.shape
        planes = np.empty((self.planes, height, width), dtype=np.int32)
        self._fill(item, indices, planes[0])
        ignored = planes[0] == -2
        np.maximum(planes[0], -1, out=planes[0])
        if self.colors:
            picture = read_image(item.image)
            check_aspects(picture.size, item.label, (width, height))
            if picture.size != (width, height):
                picture = picture.resize((width, height), Image.Resampling.NEAREST)
            first = len(self.catalogue) - len(NAMES)
            np.add(name_pixels(np.asarray(picture)), first, out=planes[1])
        else:
            check_aspects(displayed(item.image), item.label, (width, height))
        return Labels(
            planes,
            np.where(ignored, self._class_bits, np.uint64(0)) if ignored.any() else None,
            np.array([self._scenes[item.scene]] if item.scene else [], dtype=np.int64),
            0 if item.scene else self._scene_bit,
        )

    def validate(self) -> list[Problem]:
        """Read everything, and say what is wrong file by file."""
        problems = list(self.problems)
        known = {problem.file for problem in problems}
        used = np.zeros(len(self.catalogue), dtype=bool)
        alone = Lock()  # so that as many large ones as there are threads are not in memory at once

        def read(i: int) -> tuple[list[Problem], NDArray[np.int64]]:
            item = self._items[i]
            shown = np.empty(0, dtype=np.int64)
            try:
                width, height = displayed(item.image)
                with alone if width * height > LARGE else nullcontext():
                    self.image(i)
            except ConceptlabError as error:
                return [Problem.of(self.root, item.image, error)], shown
            if str(item.label.relative_to(self.root)) in known:
                return [], shown
            try:
                width, height = displayed(item.label)
                with alone if width * height > LARGE else nullcontext():
                    return [], self.image_concepts(i)
            except ConceptlabError as error:
                return [Problem.of(self.root, item.label, error)], shown

        for found, shown in self._bar(ordered_map(read, range(len(self))), "files"):
            problems += found
            used[shown] = True
        own = self.catalogue.iloc[: len(used) - (len(NAMES) if self.colors else 0)]
        for concept in np.flatnonzero(~used[: len(own)]):
            name, level = own["name"].iloc[concept], own["level"].iloc[concept]
            file, what = ("scenes.csv", "picture") if level == "image" else ("classes.csv", "pixel")
            problems.append(Problem(file, f"{name!r} never has a {what} in this data", "remark"))
        return problems

    def _sources(self, i: int) -> tuple[Path, Path]:
        return self._items[i].image, self._items[i].label

    def _image_bytes(self, i: int) -> bytes:
        return picture_bytes(self._items[i].image)

    def _label_bytes(self) -> Iterator[bytes]:
        yield self._classes.to_csv().encode()
        yield color_table().tobytes() if self.colors else b""
        for item in self._items:
            yield item.scene.encode()
            yield read_bytes(item.label)

    def _catalogue(self, scenes: dict[str, str]) -> pd.DataFrame:
        kept = self._classes[self._classes["category"] != IGNORE]
        rows: list[tuple[Any, Any, str]] = [
            (name, category, "pixel")
            for name, category in zip(kept["name"], kept["category"], strict=True)
        ]
        rows += [(scene, "scene", "image") for scene in sorted(set(scenes.values()))]
        rows += [(name, "color", "pixel") for name in NAMES] if self.colors else []
        table = pd.DataFrame(rows, columns=["name", "category", "level"])
        if table.empty:
            raise DataError(f"{self.root / 'classes.csv'} has no class to look for")
        twice = table[table.duplicated(["name", "category"])]
        if len(twice):
            raise DataError(
                f"{self.root / 'classes.csv'}: {twice['name'].iloc[0]!r} stands twice in category "
                f"{twice['category'].iloc[0]!r}"
            )
        if table["category"].nunique() > MOST_CATEGORIES:
            raise DataError(
                f"{self.root / 'classes.csv'} has more than {MOST_CATEGORIES} categories"
            )
        return table

    def _index_table(self) -> NDArray[np.int32]:
        """Index to concept id; -2 for 'ignore', -3 for an index that classes.csv lacks."""
        table = np.full(1 << 16, -3, dtype=np.int32)
        concept = 0
        groups = set()
        for index, category in zip(self._classes["index"], self._classes["category"], strict=True):
            table[index] = -2 if category == IGNORE else concept
            if category != IGNORE:
                concept += 1
                groups.add(self.categories.index(category))
        self._class_bits = np.uint64(sum(1 << g for g in groups))
        scenes = self.catalogue["name"][self.catalogue["level"] == "image"]
        self._scenes = {str(scene): int(concept) for concept, scene in scenes.items()}
        self._scene_bit = 1 << self.categories.index("scene") if self._scenes else 0
        return table

    def _fill(self, item: Item, indices: NDArray[Any], classes: NDArray[np.int32]) -> None:
        """Put the concept ids of a label map (h, w) into `classes`, -2 for 'ignore'.

        Raises:
            DataError: an index that classes.csv lacks.
        """
        if indices.dtype.itemsize > 2 and (indices.min() < 0 or indices.max() >= len(self._table)):
            raise DataError(f"{item.label}: class indices lie in 0..65535")
        rows = max(1, AT_ONCE // indices.shape[1])
        for first in range(0, len(indices), rows):  # an index takes eight bytes
            classes[first : first + rows] = self._table[indices[first : first + rows]]
        unknown = np.unique(indices[classes == -3])
        if len(unknown):
            raise DataError(
                f"{item.label} has index {unknown[0]}, which is not in classes.csv: add a row "
                f"'{unknown[0]},NAME,CATEGORY' (category {IGNORE} for unlabelled pixels)"
            )


def _read_classes(path: Path) -> pd.DataFrame:
    rows = read_rows(path, ("index", "name", "category"))
    for row in rows:
        if whole_number(row["index"], 65535) is None:
            raise DataError(f"{path}: {shortened(row['index'])} is no index in 0..65535")
        if not row["name"] or not row["category"]:
            raise DataError(f"{path}: index {row['index']} lacks a name or a category")
    table = pd.DataFrame(rows, columns=["index", "name", "category"])
    table["index"] = table["index"].astype(int)
    table["category"] = table["category"].where(table["category"].str.lower() != IGNORE, IGNORE)
    twice = table["index"][table["index"].duplicated()]
    if len(twice):
        raise DataError(f"{path}: index {twice.iloc[0]} stands in two rows")
    return table


def _read_scenes(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    rows = read_rows(path, ("image", "scene"))
    for image, count in Counter(row["image"] for row in rows).items():
        if count > 1:
            raise DataError(f"{path}: {image!r} stands in {count} rows; a picture has one scene")
    return {row["image"]: row["scene"] for row in rows if row["scene"]}
