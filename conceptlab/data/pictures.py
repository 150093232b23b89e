"""Pictures without labels: any folder of them, for whatever needs no concepts.

Exemplars, atlases and images by optimisation only look at pictures.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from conceptlab.data.base import SOURCES, Labels, ProbeDataset, Problem, parse_spec, take_options
from conceptlab.data.folder import IMAGES
from conceptlab.data.read import data_folder, read_bytes, read_header, read_image
from conceptlab.errors import DataError


@SOURCES.register("pictures")
class PictureDataset(ProbeDataset):
    """All pictures below a folder, by path; no concepts, and all of one split, train.

    Args:
        spec: `pictures:PATH`.

    Raises:
        DataError: a missing folder, or one without pictures.
    """

    root: Path

    def __init__(self, spec: str) -> None:
        _, path, options = parse_spec(spec)
        take_options(spec, options, ())
        self.spec = spec
        self.root = data_folder(path)
        self.name = self.root.resolve().name
        self._files = sorted(_below(self.root), key=lambda file: file.as_posix())
        if not self._files:
            raise DataError(f"{self.root} holds no pictures ({', '.join(IMAGES)})")
        self.splits = np.full(len(self._files), "train")
        self.names = np.array([f"train/{file.as_posix()}" for file in self._files])
        self.planes = 1
        self.catalogue = pd.DataFrame(columns=["name", "category", "level"], dtype=object)
        self.catalogue.index = pd.RangeIndex(0)

    def image(self, i: int) -> Image.Image:
        """Picture i, RGB."""
        return read_image(self.root / self._files[i])

    def labels(self, i: int) -> Labels:
        """The labels of picture i: none."""
        width, height = read_header(self.root / self._files[i]).size
        blank = np.full((1, height, width), -1, dtype=np.int32)
        return Labels(blank, None, np.empty(0, dtype=np.int64))

    def validate(self) -> list[Problem]:
        """Read everything, and say what is wrong file by file."""
        found = []
        for i, file in enumerate(self._files):
            try:
                self.image(i)
            except DataError as error:
                found.append(Problem.of(self.root, self.root / file, error))
        return found

    def _sources(self, i: int) -> tuple[Path]:
        return (self.root / self._files[i],)

    def _image_bytes(self, i: int) -> bytes:
        return read_bytes(self.root / self._files[i])

    def _label_bytes(self) -> Iterator[bytes]:
        yield from ()


def _below(root: Path) -> Iterator[Path]:
    """Pictures below a folder, relative to it; what begins with a dot is not looked at."""
    for file in root.rglob("*"):
        own = file.relative_to(root)
        hidden = any(part.startswith(".") for part in own.parts)
        if file.suffix.lower() in IMAGES and not hidden and file.is_file():
            yield own
