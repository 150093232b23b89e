"""CamVid's frames with three kinds of labels, and two ImageNet networks that look at them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image

import conceptlab as cl

NETWORKS: dict[str, tuple[str, str, dict[str, Any], tuple[str, ...]]] = {
    "squeezenet": (
        "torchvision:squeezenet1_0", "squeezenet1_0_imagenet", {}, ("features.8", "features.12"),
    ),
    "mobilenet": (
        "torchvision:mobilenet_v2", "mobilenet_v2_imagenet",
        {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}, ("features.13", "features.18"),
    ),
}  # fmt: skip
RANDOM_SETS = 16  # sets of frames that are no concept
Pictures = dict[str, "cl.DatasetPictures"]  # by class


class Relabelled(cl.ProbeDataset):
    """The pictures of a data set with other labels, which hold for whole pictures.

    Args:
        data: whose pictures and splits they are; activations of these serve both.
        shown: (N, C) whether a picture shows a concept.
        catalogue: (C,) columns name, category.
    """

    def __init__(
        self, data: "cl.ProbeDataset", shown: NDArray[np.bool_], catalogue: pd.DataFrame
    ) -> None:
        self.spec, self.name, self.planes = data.spec, data.name, 1
        self.splits, self.names, self.root = data.splits, data.names, data.root
        self.catalogue = catalogue.assign(level="image")
        self._data, self._shown = data, shown
        nothing = np.full((1, 32, 32), -1, dtype=np.int32)
        self._blank = replace(data.labels(0), planes=nothing, unlabelled=None)

    def image(self, i: int) -> Image.Image:
        return self._data.image(i)

    def labels(self, i: int) -> Any:
        return replace(self._blank, image_concepts=np.flatnonzero(self._shown[i]))

    def validate(self) -> list[Any]:
        return self._data.validate()

    def _image_bytes(self, i: int) -> bytes:
        return self._data._image_bytes(i)

    def _label_bytes(self) -> Iterator[bytes]:
        yield self._shown.tobytes()


@dataclass(frozen=True)
class Frames:
    """CamVid with three kinds of labels.

    Args:
        pixels: as it is.
        much: frames that show more of a concept than the median frame of train.
        random: sets of half the frames, drawn at random.
        seed: of all that is drawn.
    """

    pixels: "cl.ProbeDataset"
    much: "cl.ProbeDataset"
    random: "cl.ProbeDataset"
    seed: int

    @classmethod
    def of(cls, data: "cl.ProbeDataset", seed: int) -> "Frames":
        """Those of a data set; areas are counted once, in one pass."""
        area = np.zeros((len(data), len(data.catalogue)))
        for i in range(len(data)):
            for concept, mask in data.masks(i).items():
                area[i, concept] = mask.mean()
        much = area > np.median(area[data.splits == "train"], axis=0)
        draw = np.random.default_rng([seed, 1])
        chance = draw.random((len(data), RANDOM_SETS)) < 0.5
        names = [f"random {i}" for i in range(RANDOM_SETS)]
        sets = pd.DataFrame({"name": names, "category": "random"})
        known = data.catalogue[["name", "category"]]
        return cls(data, Relabelled(data, much, known), Relabelled(data, chance, sets), seed)

    @property
    def held_out(self) -> NDArray[np.int64]:
        """Frames that no vector is learned from."""
        return np.flatnonzero(self.pixels.splits != "train")


@dataclass(frozen=True)
class Network:
    """A network, where it is asked, and what it says of the held-out frames.

    Args:
        name: short.
        model: ready.
        layers: of it.
        logits: (n, 1000).
    """

    name: str
    model: "cl.ProbedModel"
    layers: tuple[str, ...]
    logits: NDArray[np.float64]

    @classmethod
    def of(cls, name: str, folder: Path, frames: Frames, layers: Sequence[str] | None) -> "Network":
        """One of those above, with its weights; the last of the layers is the one of the photos."""
        spec, weights, settings, known = NETWORKS[name]
        model = cl.load_model(spec, weights=folder / f"{weights}.safetensors", **settings)
        kept = tuple(layer for layer in known if layers is None or layer in layers) or known[-1:]
        said = logits_of(model, cl.DatasetPictures(frames.pixels, frames.held_out))
        return cls(name, model, kept, said)

    def predictions(self) -> pd.DataFrame:
        """A row for each class: network, class, first, among_five, n."""
        order = np.argsort(-self.logits, axis=1)
        count = self.logits.shape[1]
        return pd.DataFrame(
            {
                "network": self.name,
                "class": self.model.class_names,
                "first": np.bincount(order[:, 0], minlength=count),
                "among_five": np.bincount(order[:, :5].ravel(), minlength=count),
                "n": len(order),
            }
        )

    def pictures(self, classes: Sequence[str], frames: Frames, count: int) -> Pictures:
        """The frames in which the network believes most in each class."""
        peak = self.logits.max(axis=1, keepdims=True)
        sure = self.logits - peak - np.log(np.exp(self.logits - peak).sum(axis=1, keepdims=True))
        names = list(self.model.class_names or ())
        best = {name: np.argsort(-sure[:, names.index(name)])[:count] for name in classes}
        return {
            name: cl.DatasetPictures(frames.pixels, np.sort(frames.held_out[rows]))
            for name, rows in best.items()
        }


def logits_of(model: "cl.ProbedModel", pictures: Sequence[Image.Image]) -> NDArray[np.float64]:
    """(n, 1000) what a network says of some pictures."""
    parts = []
    for start in range(0, len(pictures), 32):
        some = range(start, min(start + 32, len(pictures)))
        with torch.inference_mode():
            parts.append(model.module(model.prepare([pictures[i] for i in some])).double().numpy())
    return np.concatenate(parts)
