"""A network with its preprocessing, ready to be probed."""

import fnmatch
import html
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from conceptlab.errors import InputError, LayerError, ModelError, first_line
from conceptlab.given import checked
from conceptlab.models.alone import alone
from conceptlab.models.evaluation import evaluating
from conceptlab.models.forward import PassFailed, what_runs
from conceptlab.models.grid import CLASS, Form, part_of
from conceptlab.models.identity import answers, fingerprint_of, sketches
from conceptlab.models.layout import executed, layouts
from conceptlab.models.listing import UNKNOWN, Fields, fields_of, listed
from conceptlab.models.picture import network_view
from conceptlab.models.places import Layout
from conceptlab.models.sources.source import FILES
from conceptlab.models.watch import form_in, watch
from conceptlab.numerics.geometry import Geometry
from conceptlab.numerics.pixels import MODES, in_colours
from conceptlab.numerics.resample import upsample
from conceptlab.numerics.sketch import Sketch
from conceptlab.registry import near_matches
from conceptlab.space import Space
from conceptlab.vectors import ConceptVectors


@dataclass(frozen=True)
class Preprocessing:
    """From a picture to a network's input: geometry, then (x / 255 - mean) / std per channel.

    The number of means says how many channels the network takes: 1 (grey), 3 (RGB) or 4 (RGBA), see
    `conceptlab.numerics.pixels.MODES`.
    """

    geometry: Geometry
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        """Check the settings."""
        finite = all(map(math.isfinite, (*self.mean, *self.std)))
        fits = self.channels in MODES and len(self.std) == self.channels
        if not finite or not fits or min(self.std) <= 0:
            raise InputError(
                "mean and std take three numbers, or one each for grey pictures and four for RGBA, "
                f"std above 0; got {self.mean} and {self.std}"
            )

    @property
    def channels(self) -> int:
        """How many channels the network's input has."""
        return len(self.mean)

    def spec(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {
            "geometry": self.geometry.spec(),
            "mean": list(self.mean),
            "std": list(self.std),
        }


class ProbedModel:
    """A network in evaluation mode, with its preprocessing and its classes' names.

    Args:
        module: takes (n, C, S, S), C channels as the preprocessing says, most often 3.
        preprocessing: of the pictures.
        name: short, for folders and tables.
        spec: the specification that it was made from.
        class_names: of its outputs, if known.
        code: what else its function depends on, such as the source of a `file:` model.
    """

    def __init__(
        self,
        module: nn.Module,
        preprocessing: Preprocessing,
        *,
        name: str,
        spec: str,
        class_names: Sequence[str] | None = None,
        code: bytes = b"",
    ) -> None:
        self.module = module.eval()
        self.preprocessing = preprocessing
        self.name = name
        self.spec = spec
        self.class_names = list(class_names) if class_names is not None else None
        self._code = code
        self._listed: tuple[str, pd.DataFrame] | None = None
        mean, std = (torch.tensor(v) for v in (preprocessing.mean, preprocessing.std))
        side = preprocessing.geometry.size
        self._scale = (1.0 / (255.0 * std)).repeat(side)  # of a row of pixels
        self._shift = (-mean / std).repeat(side)

    def __repr__(self) -> str:
        geometry = self.preprocessing.geometry
        other = "" if geometry.interpolation == "bilinear" else f", {geometry.interpolation}"
        return f"<ProbedModel {self.spec} at {geometry.size} px{other}>"

    def __getstate__(self) -> dict[str, Any]:
        """What travels when it is pickled: all of it, the weights included.

        Raises:
            ModelError: parts whose classes stand in the file of a `file:` model.
        """
        for part in self.module.modules():
            if type(part).__module__.startswith(FILES):
                raise ModelError(
                    f"{self.spec} cannot be pickled: its {type(part).__name__} is made in that "
                    "file, and a class travels by import only; call load_model where it is to go"
                )
        return self.__dict__

    def _repr_html_(self) -> str:
        table = self.layers().to_html(max_rows=30, escape=True)
        return f"<p>{html.escape(repr(self)[1:-1])}</p>{table}"

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of weights, architecture and preprocessing, not of any name; taken anew."""
        with alone(self.module):
            return fingerprint_of(self.module, self.preprocessing.spec(), self._code)

    def sketch(
        self, layers: Sequence[str], pictures: Mapping[str, Image.Image] | None = None
    ) -> dict[str, Sketch]:
        """What some layers give for four fixed pictures, and for a few more.

        It costs a pass of four pictures, and tells apart networks of one fingerprint that compute
        different things.

        Args:
            layers: names or globs.
            pictures: more of them, by name.

        Returns:
            Layer to its sketch.
        """
        return sketches(self, self.resolve(layers), pictures)

    def answers(self) -> list[float]:
        """A few numbers of all that it returns for four fixed pictures; a pass of them."""
        return answers(self)

    def space(self, layer: str, units: int) -> Space:
        """The space of vectors over a layer's activations, with what the layer does.

        Args:
            layer: its name.
            units: K.
        """
        sketch = self.sketch([layer])[layer]
        return Space(self.name, self.fingerprint, layer, units, "raw", sketch)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        tensors: Iterator[Tensor] = self.module.parameters()
        return next(tensors, torch.empty(0)).device

    @property
    def dtype(self) -> torch.dtype:
        """What it computes in: the type of its first floating-point parameter, or float32."""
        kinds = (p.dtype for p in self.module.parameters() if p.is_floating_point())
        return next(kinds, torch.float32)

    def to(self, device: str | torch.device) -> "ProbedModel":
        """Move the network.

        Raises:
            InputError: no such device here.
        """
        try:
            if torch.device(device).type == "meta":
                raise RuntimeError("tensors there hold no values")
            with alone(self.module):
                self.module.to(device)
        except (RuntimeError, AssertionError) as error:
            raise InputError(
                f"cannot run on device {str(device)!r} ({first_line(error)})"
            ) from error
        return self

    def decode(self, image: Image.Image) -> NDArray[np.uint8]:
        """(S, S, C) the part of a picture that the network sees; for use in any thread."""
        return network_view(image, self.preprocessing.geometry, self.preprocessing.channels)

    def normalise(self, batch: Tensor) -> Tensor:
        """(n, S, S, C) uint8 to (n, C, S, S) of the network's type and device, channels last."""
        rows = batch.to(self.device).flatten(2)  # long inner loops: channels would be three steps
        scale, shift = self._scale.to(self.device), self._shift.to(self.device)
        values = torch.addcmul(shift, rows.to(torch.float32), scale)
        return values.view(batch.shape).permute(0, 3, 1, 2).to(self.dtype)

    def prepare(self, images: Sequence[Image.Image]) -> Tensor:
        """Pictures as the network's input (n, C, S, S)."""
        return self.normalise(torch.from_numpy(np.stack([self.decode(i) for i in images])))

    def layers(self, match: Sequence[str] | None = None) -> pd.DataFrame:
        """The layers that a forward pass reaches, in order of execution.

        Args:
            match: only these, by names or globs, and only those that can be probed; then no others
                are measured.

        Returns:
            Columns layer, kind, shape (K, H, W), stride and receptive_field (pixels of the input;
            NaN where a value depends on the whole picture), parameters, bytes_per_image (of a
            float16 cache), calls (how often it runs in a pass; only layers that run once can be
            probed), refused (why it has no shape and cannot be probed; else empty). After a layer
            of tokens with a class token follows that alone, as LAYER[cls]: the first of the tokens
            before the map's.
        """
        if match is None:
            return self._layers.copy()
        names = self.resolve(match)
        found = self._layouts_of(names)
        return listed(self.module, {name: found[name] for name in names}, self._fields())

    def form(self, layer: str) -> Form:
        """How the output of a layer is laid out, as it was measured.

        Raises:
            LayerError: one that cannot be probed, with the reason.
        """
        return form_in(self._layouts_of([layer]), layer)

    def shapes(self, layers: Sequence[str]) -> dict[str, tuple[int, int, int]]:
        """The shapes (K, H, W) of some layers; no others are measured, as `layers` would.

        Args:
            layers: names, as `resolve` gives them.

        Raises:
            LayerError: one that cannot be probed, with the reason.
        """
        found = self._layouts_of(layers)
        for layer in layers:
            form_in(found, layer)
        known = {layer: found[layer].shape for layer in layers}
        return {layer: shape for layer, shape in known.items() if shape is not None}

    def executed(self) -> list[str]:
        """The layers that a forward pass reaches, in order of execution, without measuring any."""
        image = self._blank()
        with self._told(image):
            return executed(self.module, image)

    def field(self, layer: str) -> tuple[float, float]:
        """Receptive field and stride of a layer, as `layers` has them, in pixels of the input.

        Args:
            layer: name, as `resolve` gives it.
        """
        return self._fields().get(layer, UNKNOWN)

    @property
    def _layers(self) -> pd.DataFrame:
        """The table, made anew where the network's parts have changed since."""
        with alone(self.module):
            parts = repr(self.module)
            if self._listed is None or self._listed[0] != parts:
                table = listed(self.module, self._layouts_of(None), self._fields())
                self._listed = parts, table
            return self._listed[1]

    @checked
    def resolve(self, patterns: Sequence[str]) -> list[str]:
        """Layer names for names and globs, in order of execution, each once.

        Raises:
            LayerError: a name that matches nothing, or no layer that can be probed: one that runs
                more than once, is not reached, or gives no grid of units.
        """
        if not patterns or not all(patterns):
            raise LayerError("name at least one layer; an empty name is none")
        parts = [name for name, _ in self.module.named_modules() if name]
        named = {name for pattern in patterns for name in _matching(part_of(pattern), parts)}
        found_ = self._layouts_of(sorted(named))
        usable = [name for name, layout in found_.items() if layout.form is not None]
        chosen: set[str] = set()
        for pattern in patterns:
            found = _matching(pattern, usable)
            if not found:
                raise LayerError(self._unusable(pattern))
            chosen.update(found)
        return [n for n in found_ if n in chosen]

    def _unusable(self, pattern: str) -> str:
        """Why a name or glob gives nothing to probe; of several layers, the first speaks."""
        known = self._layouts_of(None)
        for layer in _matching(pattern, list(known)):
            try:
                form_in(known, layer)
            except LayerError as error:
                return f"{self.name}: {error}"
        if part_of(pattern) in known:
            return f"layer {part_of(pattern)} of {self.name} has no class token before its map"
        if part_of(pattern) in dict(self.module.named_modules()):
            return f"layer {part_of(pattern)} of {self.name} is not reached by a forward pass"
        return f"{self.name} has no layer {pattern!r}; {near_matches(pattern, known)}"

    def activations(
        self, images: Image.Image | Sequence[Image.Image], layers: Sequence[str]
    ) -> dict[str, NDArray[np.float32]]:
        """Outputs of some layers for a few pictures.

        Args:
            images: one or several.
            layers: names or globs.

        Returns:
            Layer to (n, K, H, W).
        """
        several = [images] if isinstance(images, Image.Image) else images
        kept: dict[str, NDArray[np.float32]] = {}

        def keep(layer: str, grid: Tensor) -> None:
            kept[layer] = grid.to("cpu", torch.float32, copy=True).contiguous().numpy()

        wanted = self.resolve(layers)
        with torch.inference_mode(), watch(self.module, wanted, keep) as run:
            run(self.prepare(several))
        return kept

    @checked
    def apply(
        self, vectors: ConceptVectors, image: Image.Image, size: tuple[int, int] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Vectors on a new picture.

        Args:
            vectors: over one of this network's layers.
            image: any picture.
            size: (height, width) that the maps give the whole picture; its own, as it is
                displayed, if not given.

        Returns:
            (C, h, w) logits at every pixel, NaN where a crop cuts the picture off from the network,
            and (C,) of the pooled activations.

        Raises:
            InputError: a size that is none.
            SpaceError: another network than the vectors'.
        """
        if size is not None and (len(size) != 2 or min(size) < 1):
            raise InputError(f"size is (height, width) in pixels; got {size!r}")
        vectors.space.require_model(self)
        image = in_colours(image, self.preprocessing.channels)
        values = self.activations(image, [vectors.space.layer])[vectors.space.layer][0]
        inputs = values.astype(np.float64)
        if vectors.thresholds is not None and vectors.space.inputs.startswith("binary"):
            inputs = (values > vectors.thresholds[:, None, None]).astype(np.float64)
        maps = np.tensordot(vectors.weights, inputs, axes=1) + vectors.bias[:, None, None]
        pooled = vectors.weights @ inputs.mean(axis=(1, 2)) + vectors.bias
        return self._placed(maps, image, size or (image.height, image.width)), pooled

    def _placed(
        self, maps: NDArray[np.float64], image: Image.Image, size: tuple[int, int]
    ) -> NDArray[np.float64]:
        """Maps (C, H, W) upsampled to the part of the picture that the network saw."""
        seen = self.preprocessing.geometry.seen(image.height, image.width)
        rows, columns = (
            slice(min(round(first * side), side - 1), max(round(last * side), 1))
            for (first, last), side in zip(seen, size, strict=True)
        )
        whole = np.full((len(maps), *size), np.nan)
        part = (rows.stop - rows.start, columns.stop - columns.start)
        whole[:, rows, columns] = upsample(maps, part)
        return whole

    def _layouts_of(self, layers: Sequence[str] | None) -> Mapping[str, Layout]:
        """Layouts at the network's size, those of some layers among them, or of all."""
        image = self._blank()
        with self._told(image):
            return layouts(self.module, image, layers)

    def _fields(self) -> Fields:
        image = self._blank()
        with self._told(image):
            return fields_of(self.module, image)

    def _blank(self) -> Tensor:
        channels, size = self.preprocessing.channels, self.preprocessing.geometry.size
        return torch.zeros(1, channels, size, size, device=self.device, dtype=self.dtype)

    @contextmanager
    def _told(self, image: Tensor) -> Iterator[None]:
        """Says what a network runs on that does not run on its pictures."""
        try:
            yield
        except PassFailed as error:
            raise ModelError(f"{self.spec}: {error}{self._what_runs(image)}") from error

    def _what_runs(self, image: Tensor) -> str:
        with evaluating(self.module):
            return what_runs(self.module, image)


def _matching(pattern: str, names: Sequence[str]) -> list[str]:
    """The names that a name or glob means; class tokens are meant where `[cls]` ends it."""
    if pattern in names:
        return [pattern]
    ending, stem = (CLASS, part_of(pattern)) if pattern.endswith(CLASS) else ("", pattern)
    return [
        name
        for name in names
        if name.endswith(CLASS) == bool(ending) and fnmatch.fnmatchcase(part_of(name), stem)
    ]
