"""What a network is made of (its fingerprint), and what it does (sketches of its layers)."""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from conceptlab.models.alone import alone
from conceptlab.models.evaluation import evaluating
from conceptlab.models.forward import forward
from conceptlab.models.watch import watch
from conceptlab.numerics.sketch import CELLS, FIXED, Sketch

if TYPE_CHECKING:
    from conceptlab.models.probed import ProbedModel

ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
SHAPES = 90  # in the picture of shapes


def fingerprint_of(module: nn.Module, preprocessing: Mapping[str, Any], code: bytes) -> str:
    """The SHA-256 of weights, architecture and preprocessing, not of any name.

    Args:
        module: the network; its weights are read anew.
        preprocessing: its specification.
        code: what else its function depends on.
    """
    state = hashlib.sha256(code)
    text = ADDRESS.sub("", repr(module))
    state.update(f"{type(module).__name__}\n{text}\n".encode())
    state.update(repr(sorted(preprocessing.items())).encode())
    for key, value in sorted(module.state_dict().items()):
        if key.endswith("num_batches_tracked"):
            continue  # a counter of training, which changes no output
        if not isinstance(value, Tensor):  # what a part gives by `get_extra_state`
            state.update(f"{key} {ADDRESS.sub('', repr(value))}\n".encode())
            continue
        tensor = value.detach().cpu().contiguous()
        state.update(f"{key} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        state.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return state.hexdigest()


def sketches(
    model: "ProbedModel", layers: Sequence[str], pictures: Mapping[str, Image.Image] | None = None
) -> dict[str, Sketch]:
    """What some layers give for the fixed pictures, and for a few more; two passes of a batch.

    The fixed pictures make one batch, always the same, so that a network which depends on its batch
    can be told by them too.

    Args:
        model: the network.
        layers: as `ProbedModel.resolve` gives them.
        pictures: more of them, by name.

    Returns:
        Layer to its sketch; the fixed pictures come first.
    """
    fixed = fixed_inputs(model)
    return run_sketches(model, layers, [fixed, dict(pictures or {})])


def fixed_inputs(model: "ProbedModel") -> dict[str, Image.Image]:
    """The fixed pictures of a network, of a size that is not resampled."""
    geometry = model.preprocessing.geometry
    return fixed_pictures(geometry.resize or geometry.size)


def run_sketches(
    model: "ProbedModel", layers: Sequence[str], batches: Sequence[Mapping[str, Image.Image]]
) -> dict[str, Sketch]:
    """What some layers give for pictures, in the batches that they come in, if not empty.

    Args:
        model: the network.
        layers: as `ProbedModel.resolve` gives them.
        batches: pictures by name.

    Returns:
        Layer to its sketch, the pictures in the order of the batches.
    """
    parts: dict[str, list[NDArray[np.float32]]] = {layer: [] for layer in layers}
    types: dict[str, str] = {}

    def keep(layer: str, grid: Tensor) -> None:
        types[layer] = str(grid.dtype).removeprefix("torch.")
        parts[layer].append(_cells(grid))

    names = tuple(name for batch in batches for name in batch)
    with torch.inference_mode(), _full_precision(model), watch(model.module, layers, keep) as run:
        for batch in filter(None, batches):
            run(model.prepare(list(batch.values())))
    return {layer: Sketch(np.concatenate(parts[layer]), types[layer], names) for layer in layers}


def answers(model: "ProbedModel") -> list[float]:
    """A few numbers of all that a network returns for the fixed pictures.

    Its mean, its root mean square and a random sum of it, for each picture.
    """
    geometry = model.preprocessing.geometry
    fixed = list(fixed_pictures(geometry.resize or geometry.size).values())
    with torch.inference_mode(), _full_precision(model), evaluating(model.module):
        returned = forward(model.module, model.prepare(fixed))
    parts = [part.float().cpu() for part in floating_parts(returned) if len(part) == len(fixed)]
    if not parts:
        return []
    rows = torch.cat([part.reshape(len(fixed), -1) for part in parts], dim=1).double()
    rows = rows.nan_to_num(0.0, 0.0, 0.0)  # numbers that JSON has
    signs = np.unpackbits(_bytes("signs", rows.shape[1] // 8 + 1))[: rows.shape[1]]
    along = (torch.from_numpy(signs.astype(np.float64)) * 2 - 1) / max(rows.shape[1], 1) ** 0.5
    found = torch.stack([rows.mean(1), rows.square().mean(1).sqrt(), rows @ along], dim=1)
    return [float(f"{value:.9g}") for value in found.flatten().tolist()]


def floating_parts(returned: object) -> list[Tensor]:
    """The floating-point tensors with rows in what a network returns."""
    if isinstance(returned, Tensor):
        return [returned] if returned.is_floating_point() and returned.ndim else []
    if isinstance(returned, Mapping):
        returned = list(returned.values())
    if isinstance(returned, tuple | list):
        return [tensor for part in returned for tensor in floating_parts(part)]
    return []


def _cells(grid: Tensor) -> NDArray[np.float32]:
    """(n, 2, K, h, w) mean and root mean square of the cells of a grid (n, K, H, W)."""
    values = grid.detach().float()
    size = (min(CELLS, values.shape[2]), min(CELLS, values.shape[3]))
    # squares of large values leave float32, so they are taken at a scale of their own
    top = values.abs().amax().clamp_min(torch.finfo(torch.float32).tiny).nan_to_num(1.0, 1.0)
    squares = adaptive_avg_pool2d((values / top).square(), size)
    both = torch.stack([adaptive_avg_pool2d(values, size), squares.sqrt() * top], dim=1)
    return both.to("cpu", torch.float32, copy=True).contiguous().numpy()


@contextmanager
def _full_precision(model: "ProbedModel") -> Iterator[None]:
    """Products in float32 proper where a GPU would round their factors to 10 bits."""
    if model.device.type != "cuda":
        yield
        return
    with alone(model.module, settings=True):
        matmul, cudnn = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        try:
            yield
        finally:
            torch.backends.cuda.matmul.allow_tf32 = matmul
            torch.backends.cudnn.allow_tf32 = cudnn


@lru_cache(maxsize=4)
def fixed_pictures(side: int) -> dict[str, Image.Image]:
    """The same four pictures for ever: noise of all levels, shapes, almost white, almost black.

    Almost, since a picture of one value has no spread, by which some networks divide.

    Args:
        side: pixels.
    """
    noise = _bytes("noise", side * side * 3).reshape(side, side, 3)
    pictures = (noise, _shapes(side), noise % 8 + 248, noise % 8)
    return {name: Image.fromarray(p) for name, p in zip(FIXED, pictures, strict=True)}


def _shapes(side: int) -> NDArray[np.uint8]:
    """(side, side, 3) coloured rectangles, some with stripes, over a slope from dark to light.

    Their sides follow a power law, as those of things in photographs do.
    """
    slope = np.linspace(0, 255, side).astype(np.uint8)
    pixels = np.stack(np.broadcast_arrays(slope[:, None], slope[None], slope[::-1, None]), axis=-1)
    pixels = pixels.copy()
    numbers = _bytes("shapes", SHAPES * 10).reshape(SHAPES, 10).astype(int)
    for top, left, tall, wide, r, g, b, period, *stripe in numbers:
        rows = slice(top * side // 256, top * side // 256 + 1 + side * tall**3 // 2**25)
        columns = slice(left * side // 256, left * side // 256 + 1 + side * wide**3 // 2**25)
        pixels[rows, columns] = (r, g, b)
        if period % 3 == 0:
            pixels[rows, columns][:: 2 + period % 5, ::-1] = (*stripe, 255 - r)
    return pixels


def _bytes(name: str, count: int) -> NDArray[np.uint8]:
    """Noise that no library's version changes."""
    return np.frombuffer(hashlib.shake_256(name.encode()).digest(count), np.uint8)
