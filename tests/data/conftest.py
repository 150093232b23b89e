"""A little folder of pictures that tests may spoil."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SPLITS = {"train": 4, "val": 2, "test": 2}
CLASSES = "index,name,category\n0,sky,object\n1,house,object\n2,wood,material\n255,void,ignore\n"


def write_tree(root: Path, splits=SPLITS, size=(12, 8), scale=2) -> Path:
    """Pictures of `size` and labels `scale` times smaller: bands of sky, house, wood and void."""
    root.mkdir()
    rng = np.random.default_rng(3)
    width, height = size
    for split, count in splits.items():
        for kind in ("images", "labels"):
            (root / kind / split).mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / "images" / split / f"p{i}.png")
            label = np.zeros((height // scale, width // scale), np.uint8)
            label[1], label[2], label[3] = 1, 2, 255
            Image.fromarray(label).save(root / "labels" / split / f"p{i}.png")
    (root / "classes.csv").write_text(CLASSES)
    return root


@pytest.fixture
def tree(tmp_path):
    """A folder data set of 4, 2 and 2 pictures."""
    return write_tree(tmp_path / "tree")
