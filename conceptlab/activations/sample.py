"""Random positions of a layer's maps, read from the cache in a stream."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from conceptlab.errors import InputError
from conceptlab.given import checked, require_seed
from conceptlab.numerics.parallel import ordered_map
from conceptlab.space import Space

if TYPE_CHECKING:
    from conceptlab.activations.store import Activations

BLOCK = 1 << 23  # bytes that a thread reads at once


@dataclass(frozen=True)
class Sample:
    """Activation vectors at some positions of a layer.

    Args:
        values: (n, K) float32.
        images: (n,) rows of the activations.
        places: (n, 2) row and column in the layer's map.
        names: (n,) 'split/NAME' of each image.
        space: of the vectors, with inputs 'raw'.
    """

    values: NDArray[np.float32]
    images: NDArray[np.int64]
    places: NDArray[np.int64]
    names: NDArray[np.str_]
    space: Space

    def __len__(self) -> int:
        """n, the number of vectors."""
        return len(self.values)

    def __repr__(self) -> str:
        return f"<Sample of {self.space.model} {self.space.layer}: {len(self)} vectors>"

    def take(self, rows: NDArray[np.int64]) -> "Sample":
        """Some of the vectors.

        Args:
            rows: (m,) which.
        """
        return Sample(
            self.values[rows], self.images[rows], self.places[rows], self.names[rows], self.space
        )


@checked
def sample(
    activations: "Activations",
    per_image: int = 1,
    most: int | None = None,
    split: str | None = None,
    seed: int = 0,
    progress: bool = False,
) -> Sample:
    """Activation vectors at random positions of each image.

    The positions of an image depend on the seed and its row alone. The first ones are drawn as
    shares of the map's height and width, so that with one seed another layer or network is sampled
    at the same part of each picture.

    Args:
        activations: of the layer; read in small blocks, so that little but the result is in memory.
        per_image: positions of each image, all different.
        most: vectors in all; where there would be more, images are left out at random.
        split: of the images; all if not given.
        seed: of positions and images.
        progress: show images read and the time left.

    Returns:
        Rows in the order of images, then of positions (row by row).

    Raises:
        InputError: a split without images, or more positions than the map has.
    """
    height, width = activations.shape[2:]
    if not (isinstance(per_image, int | np.integer) and 1 <= per_image <= height * width):
        raise InputError(
            f"layer {activations.layer} has {height * width} positions in an image; cannot take "
            f"{per_image!r}"
        )
    require_seed(seed)
    images = _images(activations, per_image, most, split, seed)
    cells = _positions(len(activations), per_image, (height, width), seed)[images]
    values = np.empty((len(images) * per_image, activations.shape[1]), dtype=np.float32)

    def read(piece: slice) -> NDArray[np.float32]:
        rows = images[piece]
        block = activations.read(int(rows[0]), int(rows[-1]) + 1)
        vectors = block.reshape(*block.shape[:2], -1)[
            np.arange(len(rows))[:, None], :, cells[piece]
        ]
        found: NDArray[np.float32] = vectors.reshape(-1, block.shape[1]).astype(np.float32)
        return found

    with tqdm(total=len(images), unit="image", disable=not progress) as bar:
        done = 0
        for part in ordered_map(read, runs(images, _images_a_block(activations))):
            values[done : done + len(part)] = part
            done += len(part)
            bar.update(len(part) // per_image)
    rows = images.repeat(per_image)
    places = np.stack(np.divmod(cells.reshape(-1), width), axis=1)
    return Sample(values, rows, places, activations.names[rows], activations.space())


def _images(
    activations: "Activations", per_image: int, most: int | None, split: str | None, seed: int
) -> NDArray[np.int64]:
    """Which images, in order."""
    images = activations.rows(split)
    if most is None or len(images) * per_image <= most:
        return images
    if most < per_image:
        raise InputError(f"most is at least per_image ({per_image}); got {most}")
    generator = np.random.default_rng([seed, 1])
    return np.sort(generator.choice(images, most // per_image, replace=False))


def _positions(count: int, each: int, size: tuple[int, int], seed: int) -> NDArray[np.int64]:
    """(count, each) cells of a map, different and ascending within each image."""
    generator = np.random.default_rng([seed, 0])

    def drawn(shares: NDArray[np.float64]) -> NDArray[np.int64]:
        row, column = (shares * size).astype(np.int64).T
        found: NDArray[np.int64] = (row * size[1] + column).T
        return found

    cells = np.sort(drawn(generator.random((count, each, 2))), axis=1)
    while len(found := np.argwhere(cells[:, 1:] == cells[:, :-1])):  # a place taken: draw again
        cells[found[:, 0], found[:, 1] + 1] = drawn(generator.random((len(found), 2)))
        again = np.unique(found[:, 0])
        cells[again] = np.sort(cells[again], axis=1)
    return cells


def _images_a_block(activations: "Activations") -> int:
    """How many images a thread reads at once."""
    each = int(np.prod(activations.shape[1:])) * activations.dtype.itemsize
    return max(1, BLOCK // each)


def runs(images: NDArray[np.int64], most: int) -> Iterator[slice]:
    """Places of images that follow one another without a gap, to be read at once.

    Args:
        images: (n,) ascending, each once.
        most: how many at once.
    """
    bounds = np.flatnonzero(np.diff(images) != 1) + 1
    for start, stop in zip([0, *bounds], [*bounds, len(images)], strict=True):
        for first in range(start, stop, most):
            yield slice(first, min(first + most, stop))
