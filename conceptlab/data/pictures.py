"""Pictures without labels: any folder of them, for whatever needs no concepts.

Exemplars, atlases and images by optimisation only look at pictures.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from conceptlab.data.base import (
    SOURCES,
    SPLITS,
    Labels,
    ProbeDataset,
    Problem,
    parse_spec,
    take_options,
)
from conceptlab.data.listing import readable_names
from conceptlab.data.read import (
    IMAGES,
    data_folder,
    displayed,
    folder_name,
    picture_bytes,
    read_image,
)
from conceptlab.errors import ConceptlabError, DataError
from conceptlab.numerics.parallel import ordered_map


@SOURCES.register("pictures")
class PictureDataset(ProbeDataset):
    """All pictures below a folder, by path; no concepts.

    Linked folders are read, each folder once. Where all pictures lie in folders called train, val
    and test, or some of them, these are the splits; else all are of one split, train.

    Args:
        spec: `pictures:PATH`.

    Raises:
        DataError: a missing folder, one without pictures, a name that is no UTF-8.
    """

    root: Path

    def __init__(self, spec: str) -> None:
        _, path, options = parse_spec(spec)
        take_options(spec, options, ())
        self.spec = spec
        self.root = data_folder(path)
        self.name = folder_name(self.root)
        files = sorted(_below(self.root), key=lambda file: file.as_posix())
        self._files = [file for file in files if file.suffix.lower() in IMAGES]
        self._skipped = [file for file in files if file.suffix.lower() not in IMAGES]
        if not self._files:
            raise DataError(f"{self.root} holds no pictures ({', '.join(IMAGES)})")
        readable_names(self._files)
        split = all(len(file.parts) > 1 and file.parts[0] in SPLITS for file in self._files)
        if split:
            self._files.sort(key=lambda file: (SPLITS.index(file.parts[0]), file.as_posix()))
        self.splits = np.array([file.parts[0] if split else "train" for file in self._files])
        names = (file.as_posix() for file in self._files)
        self.names = np.array([name if split else f"train/{name}" for name in names])
        self.planes = 1
        self.catalogue = pd.DataFrame(columns=["name", "category", "level"], dtype=object)
        self.catalogue.index = pd.RangeIndex(0)

    def image(self, i: int) -> Image.Image:
        """Picture i, RGB."""
        return read_image(self.root / self._files[i])

    def picture(self, i: int) -> Image.Image:
        """Picture i, RGB, or RGBA where its file says what is transparent."""
        return read_image(self.root / self._files[i], transparent=True)

    def labels(self, i: int) -> Labels:
        """The labels of picture i: none."""
        width, height = displayed(self.root / self._files[i])
        blank = np.full((1, height, width), -1, dtype=np.int32)
        return Labels(blank, None, np.empty(0, dtype=np.int64))

    def validate(self) -> list[Problem]:
        """Read everything, and say what is wrong or left out, file by file."""

        def read(i: int) -> list[Problem]:
            try:
                self.image(i)
            except ConceptlabError as error:
                return [Problem.of(self.root, self.root / self._files[i], error)]
            return []

        endings = f"is not read: pictures end in {', '.join(IMAGES)}"
        found = [Problem(str(file), endings, "remark") for file in self._skipped]
        for problems in self._bar(ordered_map(read, range(len(self))), "files"):
            found += problems
        return found

    def _sources(self, i: int) -> tuple[Path]:
        return (self.root / self._files[i],)

    def _image_bytes(self, i: int) -> bytes:
        return picture_bytes(self.root / self._files[i])

    def _label_bytes(self) -> Iterator[bytes]:
        yield from ()


def _below(root: Path) -> Iterator[Path]:
    """Files below a folder, relative to it; what begins with a dot is not looked at.

    Links to folders are followed, and each folder is read once, so that no loop is endless.
    """
    seen = {_place(root)}
    for folder, folders, files in os.walk(root, followlinks=True):
        here = Path(folder)
        kept = []
        for name in sorted(folders):
            place = _place(here / name)
            if not name.startswith(".") and place not in seen:
                seen.add(place)
                kept.append(name)
        folders[:] = kept
        for name in files:
            if not name.startswith("."):
                yield (here / name).relative_to(root)


def _place(folder: Path) -> tuple[int, int]:
    """What is the same for all names of a folder."""
    state = folder.stat()
    return state.st_dev, state.st_ino
