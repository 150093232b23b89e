"""The only place where a model runs over a data set: each image once, for all wanted layers.

Images are decoded ahead in threads, the pass stops at the deepest layer, and one thread writes.
What is complete in the cache is not computed again, and what an interrupted run finished is kept.
"""

import logging
import math
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from conceptlab.activations.blockfile import BlockFile
from conceptlab.activations.lock import held
from conceptlab.activations.precision import LARGEST, Peaks, hopeless, told
from conceptlab.activations.store import Activations
from conceptlab.activations.target import Target, require_space, targets
from conceptlab.errors import ActivationError, ModelError
from conceptlab.given import checked
from conceptlab.numerics.parallel import workers

if TYPE_CHECKING:
    import torch

    from conceptlab.data.base import ProbeDataset
    from conceptlab.models.probed import ProbedModel

log = logging.getLogger(__name__)

AHEAD = 2  # batches decoded before they are needed, and batches waiting to be written
TOGETHER = 8  # images that a thread decodes at a time
Rows = dict[str, NDArray[Any]]


@checked
def extract(
    model: "ProbedModel",
    data: "ProbeDataset",
    layers: str | Sequence[str],
    cache: str | Path | None = None,
    dtype: str = "float16",
    batch_size: int = 32,
    device: str | None = None,
    progress: bool = False,
) -> dict[str, Activations]:
    """Activations of some layers for every image: from the cache, or computed into it.

    Missing layers share one pass. A run that was interrupted, at whatever moment, goes on where it
    stopped, with the same result to the bit for the same batch size. Layers that float16 cannot
    hold, because values are too large or a unit's largest value is too small for all digits, are
    stored as float32, with a warning.

    Args:
        model: the network.
        data: the images.
        layers: names as in `named_modules()`, or globs of them; one, or several.
        cache: folder; else CONCEPTLAB_CACHE, else 'cache'.
        dtype: 'float16' or 'float32', to be stored.
        batch_size: images a pass; a file that was begun with another keeps its blocks.
        device: where to run; else where the model is.
        progress: show images per second and the time left.

    Returns:
        Layer name to its activations, in order of execution.

    Raises:
        LayerError: an unknown layer, one that is not reached or runs more than once.
        ActivationError: NaN or infinite activations.
        CacheError: the cache cannot be written or has no room; what is complete is kept.
    """
    wanted = targets(
        model, data, layers, cache=cache, dtype=dtype, batch_size=batch_size, device=device
    )
    missing = [target for target in wanted if not target.ready()]
    if missing:
        _compute(model, data, missing, batch_size, progress, device)
    return {target.layer: Activations(target.path) for target in wanted}


@dataclass
class Job:
    """A layer's file while it is filled.

    Args:
        target: what the file has to be.
        file: open for writing, its lock held.
        too_narrow: whether the stored type has been found unable to hold the layer.
    """

    target: Target
    file: BlockFile
    too_narrow: bool = False
    done: NDArray[np.bool_] = field(init=False)
    _peaks: Peaks = field(init=False)
    _left: int = field(init=False)

    def __post_init__(self) -> None:
        self.done = self.file.done()
        self._peaks = Peaks(self.target.shape[1])
        self._left = int((~self.done).sum())

    @property
    def half(self) -> bool:
        """Whether it is stored as float16."""
        return bool(self.file.arrays["activations"].dtype == np.float16)

    def give_up(self, reason: str) -> None:
        """Have the layer begun anew in float32 after this pass."""
        log.warning("layer %s %s: storing float32", self.target.layer, reason)
        self.too_narrow = True

    def store(self, chunk: "Chunk", rows: Rows) -> None:
        """Write a chunk; with its last one a block is done.

        The last block of all stays undone if float16 turns out not to hold the layer, so that no
        kill can leave such a file complete.
        """
        first, last = self.file.rows(chunk.block)
        if self.half:
            self._peaks.add(rows["activations"], rows["pooled"])
        ends = chunk.stop == last
        if ends and self._left == 1 and self.half and self._loses_units():
            return
        self._left -= ends
        if ends and chunk.start == first:
            self.file.write_block(chunk.block, rows)
            return
        self.file.fill(chunk.start, rows)
        if ends:
            self.file.commit(chunk.block)

    def _loses_units(self) -> bool:
        for block in np.flatnonzero(self.done):
            rows = self.file.rows(int(block))
            self._peaks.add(self.file.read("activations", *rows), self.file.read("pooled", *rows))
        lost = self._peaks.lost()
        if len(lost):
            self.give_up(told(lost, self._peaks))
        return bool(len(lost))

    def widen(self) -> "Job":
        """The same layer begun anew in float32."""
        return Job(self.target, self.target.create("float32"))


@dataclass(frozen=True)
class Chunk:
    """Images start..stop of one block, which go through the network together."""

    block: int
    start: int
    stop: int


def _compute(
    model: "ProbedModel",
    data: "ProbeDataset",
    missing: Sequence[Target],
    batch_size: int,
    progress: bool,
    device: str | None,
) -> None:
    with ExitStack() as stack:
        for target in sorted(missing, key=lambda t: t.path):
            stack.enter_context(held(target.path))
        stack.enter_context(_on(model, device))  # a thread that waits for a file holds no network
        jobs = _open(missing)
        while jobs:
            sizes = sorted({job.file.block for job in jobs})
            for size in sizes:
                group = [job for job in jobs if job.file.block == size]
                _pass(model, data, group, batch_size, progress)
            for job in jobs:
                if not job.too_narrow:
                    job.file.trust()
                job.file.close()
            jobs = [job.widen() for job in jobs if job.too_narrow]


def _open(missing: Sequence[Target]) -> list[Job]:
    """Files to fill; those that another process has completed meanwhile are left out."""
    found = {target.layer: target.resume() for target in missing}
    new = [target for target in missing if found[target.layer] is None]
    if new:
        require_space(new, new[0].path.parent)
    jobs = [Job(target, found[target.layer] or target.create()) for target in missing]
    return [job for job in jobs if not job.done.all()]


def _pass(
    model: "ProbedModel",
    data: "ProbeDataset",
    jobs: Sequence[Job],
    batch_size: int,
    progress: bool,
) -> None:
    """Run every image that a layer misses through the network, once."""
    from tqdm.auto import tqdm

    chunks = list(_chunks(jobs, batch_size))
    total = sum(chunk.stop - chunk.start for chunk in chunks)
    with (
        tqdm(total=total, unit="image", disable=not progress) as bar,
        closing(_decoded(model, data, chunks)) as batches,
        _Writer() as writer,
    ):
        for chunk, pixels in batches:
            wanted = {
                job.target.layer: job
                for job in jobs
                if not job.done[chunk.block] and not job.too_narrow
            }
            if not wanted:
                continue
            names = data.names[chunk.start :]
            found = _forward(model, pixels, wanted, names, first=chunk.start == 0)
            for layer, rows in found.items():
                writer.put(wanted[layer].store, chunk, rows)
            bar.update(chunk.stop - chunk.start)


def _chunks(jobs: Sequence[Job], batch_size: int) -> Iterator[Chunk]:
    """What is missing in any of the files, at most batch_size images at a time."""
    file = jobs[0].file
    for block in np.flatnonzero(~np.all([job.done for job in jobs], axis=0)):
        first, last = file.rows(int(block))
        for start in range(first, last, batch_size):
            yield Chunk(int(block), start, min(start + batch_size, last))


def _decoded(
    model: "ProbedModel", data: "ProbeDataset", chunks: Iterable[Chunk]
) -> Generator[tuple[Chunk, NDArray[np.uint8]], None, None]:
    """The chunks' pictures (n, S, S, C), read and decoded in threads ahead of their use."""
    size, channels = model.preprocessing.geometry.size, model.preprocessing.channels

    def load(pictures: NDArray[np.uint8], first: int) -> None:
        for place in range(len(pictures)):
            pictures[place] = model.decode(data.picture(first + place))

    waiting: deque[tuple[Chunk, NDArray[np.uint8], list[Future[None]]]] = deque()
    pool = ThreadPoolExecutor(workers(), "decode")

    def oldest() -> tuple[Chunk, NDArray[np.uint8]]:
        chunk, pictures, parts = waiting.popleft()
        for part in parts:
            part.result()
        return chunk, pictures

    try:
        for chunk in chunks:
            count = chunk.stop - chunk.start
            pictures = np.empty((count, size, size, channels), np.uint8)
            starts = range(0, count, TOGETHER)
            parts = [pool.submit(load, pictures[i : i + TOGETHER], chunk.start + i) for i in starts]
            waiting.append((chunk, pictures, parts))
            if len(waiting) > AHEAD:
                yield oldest()
        while waiting:
            yield oldest()
    finally:
        pool.shutdown(cancel_futures=True)


def _forward(
    model: "ProbedModel",
    pixels: NDArray[np.uint8],
    wanted: Mapping[str, Job],
    names: NDArray[np.str_],
    first: bool,
) -> dict[str, Rows]:
    """Rows of each wanted layer; one that float16 cannot hold is marked and left out.

    Args:
        model: the network.
        pixels: (n, S, S, 3).
        wanted: layer to its job.
        names: of the images.
        first: whether the first of them is the first of all.
    """
    import torch

    from conceptlab.models.forward import PassFailed
    from conceptlab.models.watch import watch

    found: dict[str, Rows] = {}

    def keep(layer: str, grid: "torch.Tensor") -> None:
        job = wanted[layer]
        rows = _convert(job, grid, names, first)
        if rows is not None:
            found[layer] = rows

    with torch.inference_mode(), watch(model.module, list(wanted), keep) as run:
        try:
            run(model.normalise(torch.from_numpy(pixels)))
        except PassFailed as error:
            raise ModelError(f"{error}, for the images from {names[0]} on") from error
    return found


def _convert(job: Job, grid: "torch.Tensor", names: NDArray[np.str_], first: bool) -> Rows | None:
    """What is stored of a layer's output (n, K, H, W), copied; None if float16 cannot hold it."""
    import torch

    layer, (_, *wanted) = job.target.layer, job.target.shape
    if list(grid.shape[1:]) != wanted:
        raise ActivationError(
            f"layer {layer} gives {tuple(grid.shape[1:])} for {names[0]}, and {tuple(wanted)} "
            "for others: only layers of one shape can be cached"
        )
    grid = grid.float()
    pooled = grid.mean((2, 3))
    peak = float(grid.abs().amax())
    if not (math.isfinite(peak) and bool(pooled.isfinite().all())):
        bad = ~(grid.isfinite().flatten(1).all(1) & pooled.isfinite().all(1))
        image = names[int(bad.int().argmax())]
        raise ActivationError(
            f"layer {layer} has NaN or infinite activations for {image}: "
            "check the weights and the preprocessing"
        )
    if job.half and peak > LARGEST:
        job.give_up(f"reaches {peak:.4g} for the images from {names[0]} on, beyond float16")
        return None
    if job.half and first and hopeless(grid[0]):
        job.give_up(f"lies mostly where float16 loses digits (at most {peak:.2g})")
        return None
    kind = torch.float16 if job.half else torch.float32
    copied = grid.to(kind, copy=True).contiguous()  # converting first moves half the bytes
    return {"activations": copied.cpu().numpy(), "pooled": pooled.cpu().numpy()}


class _Writer:
    """One thread that does what it is given in order; after a failure, nothing more."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "write")
        self._waiting: deque[Future[None]] = deque()
        self._failed = False

    def put(self, function: Callable[..., None], *args: Any) -> None:
        """Queue a call; raises what an earlier one raised."""
        self._waiting.append(self._pool.submit(self._do, function, *args))
        while len(self._waiting) > AHEAD:
            self._waiting.popleft().result()

    def _do(self, function: Callable[..., None], *args: Any) -> None:
        if self._failed:  # a block whose first part is missing must not be marked
            return
        try:
            function(*args)
        except BaseException:
            self._failed = True
            raise

    def __enter__(self) -> Self:
        """The running writer."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Finish what is queued; raise what failed, unless something else is being raised."""
        self._pool.shutdown()
        while self._waiting and kind is None:
            self._waiting.popleft().result()


@contextmanager
def _on(model: "ProbedModel", device: str | None) -> Iterator[None]:
    """Run on another device than the model's, and put it back; other threads wait meanwhile."""
    from conceptlab.models.alone import alone

    if device is None:
        yield
        return
    with alone(model.module):
        home = model.device
        model.to(device)
        try:
            yield
        finally:
            model.to(home)
