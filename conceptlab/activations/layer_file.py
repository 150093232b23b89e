"""The file of one layer's activations: opening, checking and reading it."""

import html
import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conceptlab.activations.blockfile import BlockFile, DamagedError
from conceptlab.errors import CacheError, InputError
from conceptlab.given import checked
from conceptlab.hdf5 import parsed
from conceptlab.numerics.geometry import Geometry
from conceptlab.numerics.sketch import FIXED, Sketch

KIND = "activations"


class LayerFile:
    """A layer's outputs for every image of a data set, as one file holds them: see `Activations`.

    Args:
        path: of the file.

    Raises:
        CacheError: the file is missing, damaged, or not complete.
    """

    @checked
    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self._file = BlockFile(self.path)
        except FileNotFoundError as error:
            raise CacheError(f"no activations at {path}; extract them first") from error
        if self._file.attrs.get("kind") != KIND:
            raise CacheError(f"{path} holds no activations")
        done = int(self._file.done().sum())
        if done < self._file.blocks:
            raise CacheError(
                f"{path} is not complete ({done} of {self._file.blocks} blocks); "
                "run the extraction again to finish it"
            )
        try:
            extent = self._file.arrays["activations"]
            images, units, height, width = extent.shape
            pooled, names = self._file.arrays["pooled"], self._file.arrays["image"]
            whole = pooled.shape == (images, units) and names.shape == (images,)
            whole &= (extent.dtype.kind, pooled.dtype.kind, names.dtype.kind) == ("f", "f", "S")
            self.layer = str(self._file.spec["layer"])
            model, data = self._file.spec["model"], self._file.spec["data"]
            prints = str(model["fingerprint"]), str(data["fingerprint"])
            self._identity = (str(self._file.attrs["model"]), *prints)
            self.geometry = Geometry(**model["preprocessing"]["geometry"])
        except (KeyError, TypeError, ValueError) as error:
            raise CacheError(f"{path} is no file of a layer's activations ({error})") from error
        if not whole:
            raise CacheError(f"{path} is no file of a layer's activations")
        self.shape = (images, units, height, width)
        self.dtype = extent.dtype
        self.provenance: Mapping[str, Any] = {**self._file.spec, "recorded": self._file.attrs}

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as a path; the other process opens the file itself."""
        return type(self), (self.path,)

    def __len__(self) -> int:
        """N, the number of images."""
        return self.shape[0]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.model_name} {self.layer} {self.shape} {self.dtype}>"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(repr(self)[1:-1])}<br>{html.escape(str(self.path))}</p>"

    @cached_property
    def array(self) -> NDArray[Any]:
        """(N, K, H, W) read-only memory map."""
        return self._file.map("activations")

    @cached_property
    def pooled(self) -> NDArray[np.float32]:
        """(N, K) spatial means, taken before rounding to the stored type; read-only map."""
        return self._file.map("pooled")

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """(stop - start, K, H, W) in a buffer of its own, so that mapped pages do not pile up."""
        return self._file.read("activations", start, stop)

    def read_pooled(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """(n, K) pooled activations of some images, in their order, in a buffer of its own."""
        if len(rows) and (np.diff(rows) == 1).all():
            return self._file.read("pooled", int(rows[0]), int(rows[-1]) + 1)
        return np.asarray(self.pooled[rows])

    @cached_property
    def names(self) -> NDArray[np.str_]:
        """(N,) 'split/NAME'.

        Raises:
            CacheError: names that are no UTF-8.
        """
        try:
            return np.char.decode(self._file.read("image"), "utf-8")
        except UnicodeDecodeError as error:
            raise CacheError(f"{self.path} names its images in no UTF-8 ({error})") from error

    @cached_property
    def splits(self) -> NDArray[np.str_]:
        """(N,) 'train', 'val' or 'test'."""
        return np.array([name.partition("/")[0] for name in self.names])

    @property
    def has_map(self) -> bool:
        """Whether a picture has several positions, and not a single vector (class token, 1 x 1)."""
        return self.shape[2] * self.shape[3] > 1

    @property
    def model_name(self) -> str:
        """The model's name, for people."""
        return self._identity[0]

    @property
    def data_fingerprint(self) -> str:
        """What identifies the images."""
        return self._identity[2]

    @property
    def input_size(self) -> int:
        """Pixels on a side of the network's input."""
        return self.geometry.size

    @property
    def cache_root(self) -> Path:
        """The cache folder that the file lies in."""
        return self.path.parents[2]

    @cached_property
    def sketch(self) -> Sketch | None:
        """What the layer gave for the fixed pictures; None where that was not kept."""
        if "sketch" not in self._file.arrays:
            return None
        whole = sketch_in(self._file)
        return whole.head(len(FIXED))

    def rows(self, split: str | None = None) -> NDArray[np.int64]:
        """The images of a split, in order; all of them where none is named.

        Raises:
            InputError: a split without images.
        """
        if split is None:
            return np.arange(len(self))
        rows = np.flatnonzero(self.splits == split)
        if not len(rows):
            known = ", ".join(dict.fromkeys(map(str, self.splits)))
            raise InputError(f"the data set has no {split!r} images; its splits: {known}")
        return rows


def sketch_attrs(sketch: Sketch) -> dict[str, str]:
    """What a file notes of a sketch beside its values."""
    return {"sketch_dtype": sketch.dtype, "sketch_inputs": json.dumps(sketch.inputs)}


def sketch_in(file: BlockFile) -> Sketch:
    """The sketch that a file holds.

    Raises:
        DamagedError: it holds none.
    """
    try:
        inputs = tuple(parsed(file.attrs["sketch_inputs"], "sketch_inputs"))
        return Sketch(file.read("sketch"), str(file.attrs["sketch_dtype"]), inputs)
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedError(f"{file.path} does not say what its layer does") from error
