"""Label maps at the label size, brought there once and kept: what activations are compared with.

Labels follow the pictures' geometry (`conceptlab.numerics.geometry`), so the same store serves all
networks and layers with that geometry.
"""

import logging
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conceptlab.activations.blockfile import BlockFile, DamagedError
from conceptlab.activations.cache import create_file
from conceptlab.activations.lock import held
from conceptlab.activations.patches import require_pictures
from conceptlab.errors import InputError
from conceptlab.files import set_aside
from conceptlab.given import checked
from conceptlab.keys import canonical, digest
from conceptlab.numerics.parallel import ordered_map

if TYPE_CHECKING:
    from conceptlab.activations.store import Activations
    from conceptlab.data.base import Fingerprints, ProbeDataset
    from conceptlab.numerics.geometry import Geometry

log = logging.getLogger(__name__)

KIND = "labels"
SAMPLED = "centres"  # once, at the centre of each cell; stores of before were sampled twice
PRESENT = "seen"  # what a crop cuts off is not shown; stores of before counted it
BLOCK = 32
PATTERNS = 16  # different sets of unlabelled categories within one image, at most
LARGEST_LABELS = 4096  # on a side; a mask of every concept has to fit in memory


@dataclass(frozen=True)
class LabelBlock:
    """The labels of n images, as the kernels take them.

    Args:
        plane_offsets: (n + 1,) into planes.
        planes: (P, h, w) concept ids, -1 for none.
        pattern: (n, h, w) rows of labelled.
        labelled: (patterns, G) whether a category counts at a pixel of that pattern.
    """

    plane_offsets: NDArray[np.int64]
    planes: NDArray[np.int16]
    pattern: NDArray[np.uint8]
    labelled: NDArray[np.bool_]


class LabelStore:
    """Label maps of all images of a data set at one size.

    Args:
        path: of the store's file, complete.
        concepts: (C,) rows name, category, level.
        categories: (G,) names; bit g of the unlabelled sets.

    Attributes:
        size: (h, w).
        groups: (C,) the category of each concept, 0..G-1.
        shown_native: (N, C) whether an image shows the concept anywhere in the part that the
            network sees, at its native resolution; or holds it as a whole.
    """

    def __init__(self, path: Path, concepts: pd.DataFrame, categories: list[str]) -> None:
        self._file = BlockFile(path)
        self.concepts = concepts
        self.categories = categories
        shape = self._file.arrays["pattern"].shape
        self.size = (int(shape[1]), int(shape[2]))
        self.groups = np.array([categories.index(c) for c in concepts["category"]], dtype=np.int64)
        self.shown_native = self._file.read("present").astype(bool)
        self._whole = self._file.read("whole").astype(bool)
        self._pixels = self._file.read("pixels").astype(np.int64)
        self._unlabelled = self._file.read("image_unlabelled")
        self._tables = self._file.read("tables")
        self._counts = self._file.read("count").astype(np.int64)
        self._per_image = np.asarray(concepts["level"] == "image")

    def areas(self, image_level: bool = False) -> NDArray[np.int64]:
        """(N, C) labelled pixels of each concept; all of them for one that holds for the image."""
        if not image_level:
            return self._pixels
        return np.where(self._whole, self.size[0] * self.size[1], self._pixels)

    def shown(self, image_level: bool = False) -> NDArray[np.bool_]:
        """(N, C) whether an image has a pixel of the concept at this size (x in X_c)."""
        return self.areas(image_level) > 0

    def category_labelled(self, image_level: bool = False) -> NDArray[np.bool_]:
        """(N, C) whether a pixel of the image is labelled in the concept's category at all."""
        bits = np.bitwise_and.reduce(self._tables, axis=1)
        per_pixel = (bits[:, None] >> self.groups.astype(np.uint64)) & np.uint64(1) == 0
        per_pixel &= ~self._per_image
        if not image_level:
            return np.asarray(per_pixel)
        return np.asarray(per_pixel | (self.image_label_known() & self._per_image))

    def image_label_known(self) -> NDArray[np.bool_]:
        """(N, C) whether it is known if the image as a whole shows the concept."""
        bits = np.bitwise_and.reduce(self._tables, axis=1)
        bits = np.where(self._per_image, self._unlabelled[:, None], bits[:, None])
        return np.asarray((bits >> self.groups.astype(np.uint64)) & np.uint64(1) == 0)

    def read(self, images: NDArray[np.int64], image_level: bool = False) -> LabelBlock:
        """The labels of some images, in their order.

        Args:
            images: (n,) rows.
            image_level: also concepts that hold for a whole image, as planes full of them.
        """
        counts, tables = self._counts[images], self._tables[images]
        planes, pattern = (self._file.take(name, images) for name in ("planes", "pattern"))
        if (counts < planes.shape[1]).any():
            planes = planes[np.arange(planes.shape[1]) < counts[:, None]]
        planes = planes.reshape(counts.sum(), *self.size) - np.int16(1)
        if image_level:
            planes, counts = self._with_whole_planes(planes, counts, images)
            tables = np.array(
                [self._with_image_level(*row) for row in zip(tables, images, strict=True)]
            )
        codes, place = np.unique(tables, return_inverse=True)
        place = place.reshape(len(images), PATTERNS).astype(np.uint8)
        used = tables != tables[:, :1]  # the rest repeats the first code
        used[:, 0] = True
        for i in np.flatnonzero((used & (place != np.arange(PATTERNS))).any(axis=1)):
            pattern[i] = place[i][pattern[i]]
        shifts = np.arange(len(self.categories), dtype=np.uint64)
        return LabelBlock(
            np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            planes,
            pattern,
            (codes[:, None] >> shifts) & np.uint64(1) == 0,
        )

    def mask(self, image: int, concept: int) -> NDArray[np.bool_]:
        """(h, w) where an image shows a concept, at the label size."""
        block = self.read(np.array([image]), image_level=bool(self._per_image[concept]))
        found: NDArray[np.bool_] = (block.planes == concept).any(axis=0)
        return found

    def _with_whole_planes(
        self, planes: NDArray[np.int16], counts: NDArray[np.int64], images: NDArray[np.int64]
    ) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
        """Planes with, after each image's own, one full of each concept that holds for it."""
        parts, more = [], self._whole[images].sum(axis=1)
        for own, image in zip(np.split(planes, np.cumsum(counts)[:-1]), images, strict=True):
            holds = np.flatnonzero(self._whole[image]).astype(np.int16)
            parts += [own, np.broadcast_to(holds[:, None, None], (len(holds), *self.size))]
        return np.concatenate(parts), counts + more

    def _with_image_level(self, table: NDArray[np.uint64], image: int) -> NDArray[np.uint64]:
        per_image = np.uint64(0)
        for group in set(self.groups[self._per_image].tolist()):
            per_image |= np.uint64(1 << group)
        kept: NDArray[np.uint64] = (table & ~per_image) | (self._unlabelled[image] & per_image)
        return kept


@checked
def label_store(
    activations: "Activations", data: "ProbeDataset", label_size: int | None = None
) -> LabelStore:
    """The labels that belong to some activations, from the cache or brought to size now.

    Args:
        activations: whose pictures and geometry the labels follow.
        data: the probe data set.
        label_size: side in pixels; half the network's input size if not given.

    Raises:
        InputError: the activations were made from another data set, or no such label size.
    """
    prints = require_pictures(activations, data)
    side = activations.input_size // 2 if label_size is None else label_size
    if not 1 <= side <= LARGEST_LABELS:
        raise InputError(f"a label size is 1 to {LARGEST_LABELS} pixels; got {side}")
    geometry = activations.geometry
    return prepare_labels(data, geometry, (side, side), activations.cache_root, prints)


def prepare_labels(
    data: "ProbeDataset",
    geometry: "Geometry",
    size: tuple[int, int],
    cache_root: Path,
    prints: "Fingerprints | None" = None,
) -> LabelStore:
    """Bring all label maps of a data set to one size, once; a killed run is continued.

    Args:
        data: the data set.
        geometry: of the pictures, as a network sees them.
        size: (h, w) of the labels.
        cache_root: where stores are kept.
        prints: of the data set; taken now if not given.
    """
    fingerprint = (prints or data.fingerprints()).labels
    spec = {
        "kind": "labels",
        "data": fingerprint,
        "geometry": geometry.spec(),
        "size": list(size),
        "sampled": SAMPLED,
    }
    if geometry.fit == "crop":
        spec["present"] = PRESENT
    folder = cache_root / "labels" / f"{data.name}-{fingerprint[:8]}"
    path = folder / f"{size[0]}x{size[1]}-{digest(spec)[:8]}.h5"
    count, concepts = len(data), len(data.catalogue)
    arrays: dict[str, tuple[tuple[int, ...], Any]] = {
        "planes": ((count, data.planes, *size), np.int16),
        "count": ((count,), np.uint8),
        "pattern": ((count, *size), np.uint8),
        "tables": ((count, PATTERNS), np.uint64),
        "pixels": ((count, concepts), np.uint32),
        "present": ((count, concepts), np.uint8),
        "whole": ((count, concepts), np.uint8),
        "image_unlabelled": ((count,), np.uint64),
    }
    if _ready(path, spec):
        return LabelStore(path, data.catalogue, data.categories)
    with held(path), _open(path, arrays, spec, np.char.encode(data.names, "utf-8")) as file:
        for block in np.flatnonzero(~file.done()):
            images = range(*file.rows(int(block)))
            one = list(ordered_map(lambda i: _one(data, geometry, size, i), images))
            rows = {name: np.stack([row[name] for row in one]) for name in arrays}
            file.write_block(int(block), rows)
        file.trust()
    return LabelStore(path, data.catalogue, data.categories)


def _ready(path: Path, spec: dict[str, Any]) -> bool:
    """Whether a store is there, complete and undamaged; needs no right to write."""
    try:
        state = path.stat()
        return _whole_spec(path, state.st_mtime_ns, state.st_size) == canonical(spec)
    except (FileNotFoundError, DamagedError):
        return False


@lru_cache(maxsize=64)
def _whole_spec(path: Path, changed: int, size: int) -> str:
    """The specification of a complete, undamaged store, else empty; read once a state."""
    del changed, size
    with BlockFile(path) as file:
        if not file.complete or file.damage():
            return ""
        file.trust()
        return canonical(file.spec)


def _open(
    path: Path,
    arrays: dict[str, tuple[tuple[int, ...], Any]],
    spec: dict[str, Any],
    names: NDArray[np.bytes_],
) -> BlockFile:
    """The store that is there, its damaged blocks unmarked, or a new one; its lock is held."""
    try:
        file = BlockFile(path, write=True)
        if file.spec != spec:
            raise DamagedError(f"{path} is of another specification")
        file.unmark(file.damage())
        return file
    except FileNotFoundError:
        pass
    except DamagedError as error:
        log.warning("%s; set aside as %s and made anew", error, set_aside(path).name)
    create_file(path, arrays, spec, block=BLOCK, constants={"image": names}, attrs={"kind": KIND})
    return BlockFile(path, write=True)


def _one(
    data: "ProbeDataset", geometry: "Geometry", size: tuple[int, int], image: int
) -> dict[str, NDArray[Any]]:
    labels = data.labels(image)
    height, width = labels.planes.shape[1:]
    rows, columns = geometry.pixels_seen(height, width)
    native = labels.planes[:, rows, columns]
    native = native[native >= 0]
    concepts = len(data.catalogue)
    present = np.bincount(native, minlength=concepts) > 0
    whole = np.zeros(concepts, dtype=bool)
    whole[labels.image_concepts] = True
    small = labels.sample(*geometry.label_rows_cols(height, width, size))
    planes = np.zeros((data.planes, *size), dtype=np.int16)
    planes[: len(small.planes)] = small.planes + 1
    unlabelled = np.zeros(size, dtype=np.uint64) if small.unlabelled is None else small.unlabelled
    codes, pattern = np.unique(unlabelled, return_inverse=True)
    if len(codes) > PATTERNS:
        raise InputError(
            f"{data.names[image]}: more than {PATTERNS} different sets of unlabelled categories"
        )
    table = np.full(PATTERNS, codes[0], dtype=np.uint64)
    table[: len(codes)] = codes
    # a concept can stand in several planes of an image; a pixel counts once
    pixels = np.zeros(concepts, dtype=np.uint32)
    for concept in np.unique(small.planes[small.planes >= 0]):
        pixels[concept] = (small.planes == concept).any(axis=0).sum()
    return {
        "planes": planes,
        "count": np.array(len(small.planes), dtype=np.uint8),
        "pattern": pattern.reshape(size).astype(np.uint8),
        "tables": table,
        "pixels": pixels,
        "present": present | whole,
        "whole": whole,
        "image_unlabelled": np.array(labels.image_unlabelled, dtype=np.uint64),
    }
