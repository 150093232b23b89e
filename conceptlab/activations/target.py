"""What a layer's file in the cache has to be, and whether the one that is there is it."""

import importlib.metadata
import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from conceptlab.activations.blockfile import SCHEMA, BlockFile, writing
from conceptlab.activations.cache import create_file, set_aside
from conceptlab.activations.layer_file import KIND, sketch_attrs, sketch_in
from conceptlab.activations.store import cache_root, folder_name, safe_name
from conceptlab.errors import CacheError, ConceptlabError, InputError
from conceptlab.keys import canonical, differences
from conceptlab.numerics.sketch import Sketch
from conceptlab.seal import DamagedError

if TYPE_CHECKING:
    from PIL.Image import Image

    from conceptlab.data.base import ProbeDataset
    from conceptlab.models.probed import ProbedModel

log = logging.getLogger(__name__)

PICTURES = 4  # of the data set, in a sketch
DTYPES = ("float16", "float32")
LIBRARIES = ("conceptlab", "torch", "numpy", "h5py", "Pillow")


@dataclass(frozen=True)
class Target:
    """The file that one layer's activations go to.

    Args:
        path: where it lies, by fingerprints of the model and the data.
        spec: everything that its values depend on.
        shape: (N, K, H, W).
        names: (N,) 'split/NAME' as UTF-8.
        block: images per block of a new file.
        sketch: what the layer gives for the fixed pictures and for some of these.
        recorded: what else a new file notes of how it was made.
    """

    path: Path
    spec: dict[str, Any]
    shape: tuple[int, int, int, int]
    names: NDArray[np.bytes_]
    block: int
    sketch: Sketch
    recorded: dict[str, Any]

    @property
    def layer(self) -> str:
        """Its name in `named_modules()`."""
        return str(self.spec["layer"])

    def size(self, dtype: str | None = None) -> int:
        """Bytes of activations, pooled activations and the sketch together."""
        images, units, height, width = self.shape
        value = np.dtype(dtype or self.spec["dtype"]).itemsize
        return images * units * (height * width * value + 4) + self.sketch.values.nbytes

    def open(self, write: bool = False) -> BlockFile | None:
        """The file that is there, or None.

        Raises:
            DamagedError: it is not whole, or not what is wanted.
            CacheError: it may not be read, or written.
        """
        try:
            file = BlockFile(self.path, write)
        except FileNotFoundError:
            return None
        reason = self._mismatch(file)
        if reason:
            file.close()
            raise DamagedError(f"{self.path} {reason}")
        return file

    def ready(self) -> bool:
        """Whether the file is there, complete and undamaged, every checksum verified."""
        try:
            file = self.open()
        except DamagedError:
            return False
        if file is None:
            return False
        with file:
            whole = file.complete and not file.damage()
            if whole:
                file.trust()
            return whole

    def resume(self) -> BlockFile | None:
        """The file that is there, open for filling, or None; its lock has to be held.

        A file that cannot be used is set aside under another name, and damaged blocks lose their
        marks, each with a warning.
        """
        try:
            file = self.open(write=True)
        except DamagedError as error:
            log.warning("%s; set aside as %s and computed anew", error, set_aside(self.path).name)
            return None
        if file is not None:
            damage = file.damage()
            for block, reason in damage.items():
                first, last = file.ends(block)
                log.warning(
                    "%s: block %d (%s to %s) is damaged: %s; computing it again",
                    *(self.path, block, first, last, reason),
                )
            file.unmark(damage)
        return file

    def create(self, dtype: str | None = None) -> BlockFile:
        """A new file in place of whatever is there; its lock has to be held.

        Args:
            dtype: what to store, if not what was asked for.
        """
        stored = dtype or self.spec["dtype"]
        arrays: dict[str, tuple[Sequence[int], str]] = {
            "activations": (self.shape, stored),
            "pooled": (self.shape[:2], "float32"),
        }
        with writing(self.path):
            self.path.unlink(missing_ok=True)  # a full disk may not have room for both
        create_file(
            self.path,
            arrays,
            self.spec,
            block=self.block,
            constants={"image": self.names, "sketch": self.sketch.values},
            attrs={**self.recorded, "stored_dtype": stored, **sketch_attrs(self.sketch)},
        )
        return BlockFile(self.path, write=True)

    def _mismatch(self, file: BlockFile) -> str:
        fields = differences(file.spec, self.spec)
        if fields:
            return "is of another specification (" + "; ".join(fields) + ")"
        found = file.arrays["activations"].shape
        if found != self.shape:
            return f"holds {found}, and {self.shape} is wanted"
        if not np.array_equal(file.read("image"), self.names):
            return "lists other images"
        difference = self.sketch.difference(sketch_in(file))
        return f"is of another network ({difference})" if difference else ""

    def beside(self) -> "Target":
        """The same, or under another name where that of another network has it.

        Two networks that differ in what their fingerprint does not know share a folder.
        """
        number, place, told = 1, self.path, ""
        while difference := self._other(place):
            told = f"{place} (layer {self.layer}: {difference})"
            number += 1
            place = self.path.with_name(f"{self.path.stem}~{number}.h5")
        if told and not place.exists():
            log.warning(
                "%s is of a network of the same weights and description that does something else: "
                "a hook, an attribute or a file that it reads may have changed; the activations "
                "of this one go to %s", told, place.name,
            )  # fmt: skip
        return replace(self, path=place)

    def _other(self, place: Path) -> str:
        """How the network of the file at a place differs; '' where it does not, or none is."""
        try:
            with BlockFile(place) as file:
                same = not differences(file.spec, self.spec)
                return self.sketch.difference(sketch_in(file)) if same else ""
        except (FileNotFoundError, CacheError):
            return ""  # what is wrong with it is said when it is opened


def targets(
    model: "ProbedModel",
    data: "ProbeDataset",
    layers: Sequence[str],
    *,
    cache: str | Path | None = None,
    dtype: str = "float16",
    batch_size: int = 32,
    device: str | None = None,
) -> list[Target]:
    """The files of some layers, in order of execution.

    Raises:
        InputError: an unknown dtype, or no images a batch.
        LayerError: an unknown layer.
        ActivationError: a layer that gives other values in every pass.
    """
    from conceptlab.models.steadiness import batch_dependent

    if dtype not in DTYPES:
        raise InputError(f"dtype is one of {', '.join(DTYPES)}; got {dtype!r}")
    if batch_size < 1:
        raise InputError(f"batch_size is at least 1; got {batch_size}")
    names = model.resolve([layers] if isinstance(layers, str) else layers)
    shapes = model.shapes(names)
    common = _spec(model, data, dtype)  # fingerprints are taken once
    fingerprint = common["model"]["fingerprint"]
    folder = cache_root(cache) / folder_name(model.name, fingerprint)
    folder = folder / folder_name(data.name, common["data"]["fingerprint"])
    images = np.char.encode(data.names, "utf-8")
    sketches = model.sketch(names, _some(data))
    mixed = batch_dependent(model, names, sketches, fingerprint)
    if mixed:
        log.warning(
            "%s gives a picture other values in another batch (batch statistics, or quantization "
            "by the batch's range), at %s: what is cached holds for batches of %d in the order of "
            "the data set, and --batch-size is part of its key",
            *(model.name, ", ".join(mixed), batch_size),
        )
    recorded = _recorded(model, data, batch_size, device)
    suffix = "" if dtype == "float16" else f".{dtype}"
    found = []
    for layer in names:
        batch = {"batch": batch_size} if layer in mixed else {}
        ending = f"{suffix}.batch{batch_size}" if batch else suffix
        target = Target(
            path=folder / f"{safe_name(layer)}{ending}.h5",
            spec={**common, "layer": layer, **batch},
            shape=(len(images), *shapes[layer]),
            names=images,
            block=batch_size,
            sketch=sketches[layer],
            recorded=recorded,
        )
        found.append(target.beside())
    return found


def _some(data: "ProbeDataset") -> "dict[str, Image]":
    """A few of a data set's pictures, evenly spread: what drawn ones leave silent, they may not."""
    places = np.unique(np.linspace(0, len(data) - 1, PICTURES).round().astype(int))
    try:
        return {str(data.names[i]): data.image(int(i)) for i in places}
    except ConceptlabError:
        return {}  # the pass comes to the damaged one, and says so


def require_space(wanted: Sequence[Target], folder: Path) -> None:
    """Raise unless the disk has room for new files.

    Raises:
        CacheError: it has not; the sentence says both sizes.
    """
    needed, free = sum(target.size() for target in wanted), free_bytes(folder)
    if needed > free:
        raise CacheError(
            f"the cache needs {readable(needed)} more and {folder} has {readable(free)} free: "
            "free some space, ask for fewer layers, or choose another folder with --cache"
        )


def free_bytes(folder: Path) -> int:
    """Bytes that may still be written under a folder, whether it exists yet or not."""
    place = folder.absolute()
    while not place.is_dir() and place != place.parent:
        place = place.parent
    return shutil.disk_usage(place).free


def readable(size: float) -> str:
    """Bytes for people.

    >>> readable(121_000_000), readable(12_700_000_000), readable(0)
    ('121 MB', '12.7 GB', '0 B')
    """
    power = min(4, max(0, len(str(int(size))) - 1) // 3)
    return f"{size / 1000**power:.3g} {('B', 'KB', 'MB', 'GB', 'TB')[power]}"


def _spec(model: "ProbedModel", data: "ProbeDataset", dtype: str) -> dict[str, Any]:
    """What the values of every layer depend on, and no name that somebody chose."""
    return {
        "schema": SCHEMA,
        "model": {
            "fingerprint": model.fingerprint,
            "preprocessing": model.preprocessing.spec(),
        },
        "data": {"fingerprint": data.fingerprint},
        "dtype": dtype,
    }


def _recorded(
    model: "ProbedModel", data: "ProbeDataset", batch_size: int, device: str | None
) -> dict[str, Any]:
    versions = {name: importlib.metadata.version(name) for name in LIBRARIES}
    return {
        "kind": KIND,
        "model": model.name,
        "model_spec": model.spec,
        "data": data.name,
        "data_spec": data.spec,
        "batch_size": batch_size,
        "device": str(device or model.device),
        "versions": canonical(versions),
    }
