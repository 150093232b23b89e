"""What an extraction would write and take, before anything runs."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conceptlab.activations.blockfile import BlockFile
from conceptlab.activations.target import Target, free_bytes, readable, targets
from conceptlab.numerics.parallel import ordered_map
from conceptlab.seal import DamagedError

if TYPE_CHECKING:
    import torch

    from conceptlab.data.base import ProbeDataset
    from conceptlab.models.probed import ProbedModel


@dataclass(frozen=True)
class Estimate:
    """Bytes and time of an extraction.

    Args:
        table: a row for each layer; columns layer, shape (K, H, W), dtype, bytes, missing_images,
            missing_bytes, path.
        needed: bytes that the disk does not hold or reserve yet.
        free: bytes that are free on it.
        seconds: how long the missing images would take, from one measured batch.
    """

    table: pd.DataFrame
    needed: int
    free: int
    seconds: float

    @property
    def bytes(self) -> int:
        """Of all layers, complete."""
        return int(self.table["bytes"].sum())

    @property
    def missing(self) -> int:
        """Bytes that are still to be computed."""
        return int(self.table["missing_bytes"].sum())

    @property
    def fits(self) -> bool:
        """Whether the disk has room for it."""
        return self.needed <= self.free

    def __str__(self) -> str:
        """One sentence."""
        return (
            f"{readable(self.bytes)} in all, {readable(self.missing)} still to compute in about "
            f"{self.seconds:.0f} s; {readable(self.needed)} of {readable(self.free)} free needed"
        )

    def _repr_html_(self) -> str:
        return f"<p>{self}</p>{self.table.to_html()}"


def estimate(
    model: "ProbedModel",
    data: "ProbeDataset",
    layers: Sequence[str],
    cache: str | Path | None = None,
    dtype: str = "float16",
    batch_size: int = 32,
) -> Estimate:
    """What `extract` with the same arguments would write, and how long it would take.

    One batch goes through the network twice, the second time against the clock.

    Raises:
        InputError: as `extract`.
    """
    wanted = targets(model, data, layers, cache=cache, dtype=dtype, batch_size=batch_size)
    left = {target.layer: _missing(target) for target in wanted}
    rows = [
        {
            "layer": target.layer,
            "shape": target.shape[1:],
            "dtype": dtype,
            "bytes": target.size(),
            "missing_images": int(left[target.layer].sum()),
            "missing_bytes": target.size() * int(left[target.layer].sum()) // len(data),
            "path": str(target.path),
        }
        for target in wanted
    ]
    images = int(np.any(list(left.values()), axis=0).sum())
    names = [layer for layer, missing in left.items() if missing.any()]
    return Estimate(
        table=pd.DataFrame(rows),
        needed=sum(target.size() for target in wanted if _usable(target) is None),
        free=free_bytes(wanted[0].path.parent),
        seconds=images * _seconds(model, data, names, batch_size) if images else 0.0,
    )


def _usable(target: Target) -> BlockFile | None:
    try:
        return target.open()
    except DamagedError:
        return None


def _missing(target: Target) -> NDArray[np.bool_]:
    """(N,) images that the file does not hold; damage inside blocks is not looked for."""
    images = target.shape[0]
    file = _usable(target)
    if file is None:
        return np.ones(images, dtype=bool)
    with file:
        return np.repeat(~file.done(), file.block)[:images]


def _seconds(
    model: "ProbedModel", data: "ProbeDataset", layers: Sequence[str], batch_size: int
) -> float:
    """Seconds an image, decoding included, without the start."""
    import torch

    from conceptlab.models.watch import watch

    images = range(min(batch_size, len(data)))
    started = 0.0

    def keep(_: str, grid: "torch.Tensor") -> None:
        grid.to(torch.float16).contiguous().cpu()

    for _ in range(2):
        started = time.perf_counter()
        pixels = np.stack(list(ordered_map(lambda i: model.decode(data.picture(i)), images)))
        with torch.inference_mode(), watch(model.module, list(layers), keep) as run:
            run(model.normalise(torch.from_numpy(pixels)))
    return (time.perf_counter() - started) / len(images)
