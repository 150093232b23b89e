"""Pictures from anywhere as batches of a network's input, decoded in threads ahead of their use."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from conceptlab.data.read import IMAGES, read_image
from conceptlab.errors import InputError
from conceptlab.given import checked
from conceptlab.numerics.parallel import ordered_map

if TYPE_CHECKING:
    from torch import Tensor

    from conceptlab.data.base import ProbeDataset
    from conceptlab.models.probed import ProbedModel

#: Pictures, files of pictures, or a tensor (n, C, S, S) already preprocessed. Anything with a
#: length that gives picture i for [i] will do, so that many need not be in memory.
Pictures = Sequence[Image.Image | str | Path]


class DatasetPictures(Sequence[Image.Image]):
    """Some pictures of a data set, read when they are asked for.

    Args:
        data: the data set.
        rows: (n,) which.
    """

    def __init__(self, data: "ProbeDataset", rows: NDArray[np.int64]) -> None:
        self.data, self.rows = data, rows

    def __len__(self) -> int:
        """How many."""
        return len(self.rows)

    def __getitem__(self, place: Any) -> Any:
        """Picture at a place, or those of a slice."""
        if isinstance(place, slice):
            return DatasetPictures(self.data, self.rows[place])
        return self.data.picture(int(self.rows[place]))


@checked
def folder_pictures(folder: str | Path) -> list[Path]:
    """The pictures of a folder, by name.

    Raises:
        InputError: no such folder, or none in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}")
    found = sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGES)
    if not found:
        raise InputError(f"{folder} holds no pictures ({', '.join(IMAGES)})")
    return found


def batches(
    model: "ProbedModel", pictures: "Pictures | Tensor", size: int = 32
) -> Iterator["Tensor"]:
    """Batches (n, C, S, S) on the network's device, a few decoded ahead.

    Args:
        model: whose preprocessing is applied, except to a tensor.
        pictures: see `Pictures`.
        size: pictures a batch.

    Raises:
        InputError: a tensor of another shape, or something that is no picture.
        DataError: a file that is missing or damaged.
    """
    import torch

    if size < 1:
        raise InputError(f"a batch holds at least one picture; got {size}")
    if isinstance(pictures, torch.Tensor):
        channels = model.preprocessing.channels
        if pictures.ndim != 4 or pictures.shape[1] != channels or not pictures.is_floating_point():
            raise InputError(
                f"a tensor of pictures is (n, {channels}, S, S), of floats and preprocessed; got "
                f"{tuple(pictures.shape)} of {pictures.dtype}"
            )
        for start in range(0, len(pictures), size):
            yield pictures[start : start + size].to(model.device)
        return

    def decoded(start: int) -> NDArray[np.uint8]:
        part = range(start, min(start + size, len(pictures)))
        return np.stack([model.decode(opened(pictures[i])) for i in part])

    for pixels in ordered_map(decoded, range(0, len(pictures), size)):
        yield model.normalise(torch.from_numpy(pixels))


def opened(picture: Image.Image | str | Path) -> Image.Image:
    """A picture, read from its file where it is a path.

    Raises:
        InputError: neither a picture nor a path.
        DataError: a file that is missing or damaged.
    """
    if isinstance(picture, Image.Image):
        return picture
    if not isinstance(picture, str | Path):
        raise InputError(f"pictures are PIL images or paths; got a {type(picture).__name__}")
    return read_image(Path(picture))


def layer_outputs(
    model: "ProbedModel", pictures: "Pictures | Tensor", layer: str, size: int = 32
) -> Iterator[NDArray[np.float32]]:
    """A layer's outputs (n, K, H, W) for some pictures, batch by batch.

    Args:
        model: the network.
        pictures: see `Pictures`.
        layer: name, as `ProbedModel.resolve` gives it.
        size: pictures a batch.
    """
    import torch

    from conceptlab.models.watch import watch

    kept: list[NDArray[np.float32]] = []

    def keep(_: str, grid: torch.Tensor) -> None:
        kept.append(grid.to("cpu", torch.float32, copy=True).contiguous().numpy())

    with watch(model.module, [layer], keep) as run:
        for batch in batches(model, pictures, size):
            with torch.inference_mode():
                run(batch)
            yield kept.pop()
