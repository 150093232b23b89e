"""Pictures of noise as a data set, for benchmarks that must not touch the disk."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from PIL import Image

import conceptlab as cl
from conceptlab.data import Labels


class Noise(cl.ProbeDataset):
    """Pictures of noise without labels, made when they are asked for.

    Args:
        count: of pictures, all for training.
        size: (height, width).
    """

    def __init__(self, count: int, size: tuple[int, int]) -> None:
        self.spec = self.name = f"noise-{count}"
        self.splits = np.full(count, "train")
        self.names = np.array([f"train/{i:06d}" for i in range(count)])
        self.catalogue = pd.DataFrame({"name": [], "category": [], "level": []})
        self.planes, self.size = 0, size

    def image(self, i: int) -> Image.Image:
        rng = np.random.default_rng(i)
        return Image.fromarray(rng.integers(0, 256, (*self.size, 3), dtype=np.uint8))

    def labels(self, i: int) -> Labels:
        planes = np.zeros((0, *self.size), dtype=np.int32)
        return Labels(planes, None, np.array([], dtype=np.int64))

    def validate(self) -> list:
        return []

    def _sources(self, i: int) -> tuple:
        return ()

    def _image_bytes(self, i: int) -> bytes:
        return f"{i} {self.size}".encode()

    def _label_bytes(self) -> Iterator[bytes]:
        return iter(())
