"""What a layer gives at some positions while parts of a picture are covered, part after part."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from conceptlab.models.probed import ProbedModel
from conceptlab.models.watch import watch


def occluded(
    model: ProbedModel,
    layer: str,
    pixels: NDArray[np.uint8],
    boxes: NDArray[np.int64],
    places: NDArray[np.int64],
    batch_size: int = 64,
) -> Iterator[NDArray[np.float32]]:
    """A layer's outputs at some positions, of a picture with one box after another covered.

    A box is covered with the colour that the network's preprocessing takes for the mean, which its
    input holds as 0.

    Args:
        model: the network, which runs no further than the layer.
        layer: its name.
        pixels: (S, S, 3) the picture as the network sees it.
        boxes: (g, 4) top, left, bottom and right in pixels; an empty one covers nothing.
        places: (q, 2) rows and columns of the layer's map.
        batch_size: boxes a pass.

    Yields:
        (n, q, K) of the next n boxes.
    """
    rows, columns = (torch.as_tensor(axis, device=model.device) for axis in places.T)
    kept: list[NDArray[np.float32]] = []

    def keep(_: str, grid: torch.Tensor) -> None:
        found = grid[:, :, rows, columns].permute(0, 2, 1)
        kept.append(found.to("cpu", torch.float32, copy=True).contiguous().numpy())

    with torch.inference_mode(), watch(model.module, [layer], keep) as run:
        whole = model.normalise(torch.from_numpy(pixels[None]))
        for start in range(0, len(boxes), batch_size):
            part = boxes[start : start + batch_size].tolist()
            batch = whole.expand(len(part), -1, -1, -1).clone(memory_format=torch.channels_last)
            for image, (top, left, bottom, right) in zip(batch, part, strict=True):
                image[:, top:bottom, left:right] = 0.0
            run(batch)
            yield kept.pop()
