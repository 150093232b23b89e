"""Which files of a folder belong together: pictures, their label maps, and what is left over."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from unicodedata import normalize

from conceptlab.data.base import SPLITS, Problem
from conceptlab.errors import DataError

IMAGES = (".jpg", ".jpeg", ".png")
VAL_SHARE = 5


@dataclass(frozen=True)
class Item:
    """One picture: its split, its files, and its scene, '' where it has no scene label."""

    split: str
    stem: str
    image: Path
    label: Path
    scene: str = ""

    @property
    def name(self) -> str:
        """'split/NAME'."""
        return f"{self.split}/{self.stem}"


def items_of(root: Path, scenes: Mapping[str, str]) -> list[Item]:
    """The pictures of all splits, by split and name.

    A label map or a scene belongs to the picture of its name, whether the letters of either are
    composed or not (NFC, NFD: 'é' is one character or two, and looks the same).

    Raises:
        DataError: two pictures or two label maps of one name, a name that is no UTF-8.
    """
    scene_of = {normalize("NFC", name): scene for name, scene in scenes.items()}
    items = []
    for split in SPLITS:
        pictures = _by_name(root / "images" / split, IMAGES, "pictures")
        labels = _by_name(root / "labels" / split, (".png",), "label maps")
        for name, file in pictures.items():
            label = labels.get(name, root / "labels" / split / f"{file.stem}.png")
            items.append(Item(split, file.stem, file, label, scene_of.get(f"{split}/{name}", "")))
    return items


def _by_name(folder: Path, endings: tuple[str, ...], what: str) -> dict[str, Path]:
    """The files of a folder with some endings, in order, by their names in composed letters.

    Raises:
        DataError: two of one name, a name that is no UTF-8.
    """
    files = [f for f in listed(folder) if f.suffix.lower() in endings]
    readable_names(files)
    names = [normalize("NFC", file.stem) for file in files]
    for name, count in Counter(names).items():
        if count > 1:
            raise DataError(f"{folder} has {count} {what} called {name}; keep one")
    return dict(zip(names, files, strict=True))


def listed(folder: Path) -> list[Path]:
    """What lies in a folder, by name, but for what begins with a dot; nothing if there is none.

    Raises:
        DataError: the folder cannot be read.
    """
    try:
        found = sorted(folder.iterdir()) if folder.is_dir() else []
    except OSError as error:
        raise DataError(f"cannot read {folder} ({error.strerror})") from error
    return [file for file in found if not file.name.startswith(".")]


def readable_names(files: Iterable[Path]) -> None:
    """Refuse names that are no UTF-8, which tables and caches cannot hold.

    Raises:
        DataError: with the first one.
    """
    wrong = [file for file in files if not _is_unicode(str(file))]
    if wrong:
        names = [os.fsencode(file).decode("utf-8", "backslashreplace") for file in wrong]
        raise DataError(f"{several(names)}: the name is no UTF-8; rename")


def several(names: Sequence[str], most: int = 3) -> str:
    """Some names, and how many more there are.

    >>> several(["a", "b", "c", "d", "e"]), several(["a"])
    ('a, b, c and 2 more', 'a')
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def unmatched(root: Path, items: list[Item], scenes: Mapping[str, str]) -> list[Problem]:
    """Files that lack their counterpart."""
    known = {normalize("NFC", item.name) for item in items}
    problems = [
        Problem(str(item.label.relative_to(root)), "is missing: its picture has no label map")
        for item in items
        if not item.label.is_file()
    ]
    for split in SPLITS:
        for file in listed(root / "labels" / split):
            name = normalize("NFC", f"{split}/{file.stem}")
            if file.suffix.lower() == ".png" and name not in known:
                text = "has no picture of that name"
                problems.append(Problem(str(file.relative_to(root)), text, "remark"))
    for name in scenes:
        if normalize("NFC", name) not in known:
            text = f"names {name!r}, which is no picture: write SPLIT/NAME, without an ending"
            problems.append(Problem("scenes.csv", text))
    return problems


def unread(root: Path) -> list[Problem]:
    """Remarks about what lies among the pictures and is none."""
    splits = f"is not read: the splits are {', '.join(SPLITS)}"
    endings = f"is not read: pictures end in {', '.join(IMAGES)}"
    found = [(file, splits) for file in listed(root / "images") if file.name not in SPLITS]
    for split in SPLITS:
        files = listed(root / "images" / split)
        found += [(file, endings) for file in files if file.suffix.lower() not in IMAGES]
    return [Problem(str(file.relative_to(root)), why, "remark") for file, why in sorted(found)]


def with_val(root: Path, items: list[Item], take_test: bool) -> list[Item]:
    """The items with a val split: their own, the test split where asked, or a fifth of train.

    Raises:
        DataError: there is no test split to take.
    """
    if any(item.split == "val" for item in items):
        return items
    if take_test:
        if not any(item.split == "test" for item in items):
            raise DataError(f"{root / 'images' / 'test'} has no pictures to take for val")
        changed = [_moved(i, "val") if i.split == "test" else i for i in items]
    else:
        changed = [_moved(i, "val") if i.split == "train" and _in_val(i.stem) else i for i in items]
        if not any(item.split == "train" for item in changed):
            return items  # so few that all would go
    return sorted(changed, key=lambda i: (SPLITS.index(i.split), i.stem))


def _moved(item: Item, split: str) -> Item:
    return Item(split, item.stem, item.image, item.label, item.scene)


def _in_val(stem: str) -> bool:
    """A fifth of all names, by a hash that no run or machine changes."""
    return int.from_bytes(hashlib.sha256(stem.encode()).digest()[:8], "big") % VAL_SHARE == 0
