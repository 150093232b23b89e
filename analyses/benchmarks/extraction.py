"""How long extraction takes, against a bare forward pass and against the loop that people write.

All runs alternate, and a ratio is taken within a round. "Forward" is
the fastest bare loop: inference mode, channels last, stop at the layer, images already in memory as
normalised batches, allocator kept warm, nothing saved. "Extraction" starts at the picture files and
ends with everything on the disk and opened again. The "usual loop" has the same batches in NCHW, a
hook that copies to NumPy, and runs the whole network, in a process of its own whose allocator is as
it comes. Prints one JSON line per figure.
"""

import argparse
import json
import multiprocessing
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from PIL import Image

import conceptlab as cl
from conceptlab.activations.allocator import keep_freed_memory
from conceptlab.activations.extract import extract
from conceptlab.data import Labels, load_data
from conceptlab.models import ProbedModel, load_model
from conceptlab.models.watch import watch

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
LAYER = "features.12"


class FirstImages(cl.ProbeDataset):
    """The first images of a data set."""

    def __init__(self, data: cl.ProbeDataset, count: int) -> None:
        self.data, self.name, self.spec = data, data.name, data.spec
        self.names, self.splits = data.names[:count], data.splits[:count]
        self.catalogue, self.planes = data.catalogue, data.planes

    def image(self, i: int) -> Image.Image:
        return self.data.image(i)

    def labels(self, i: int) -> Labels:
        return self.data.labels(i)

    def validate(self) -> list:
        return []

    def _sources(self, i: int) -> Sequence[Path] | None:
        return self.data._sources(i)

    def _image_bytes(self, i: int) -> bytes:
        return self.data._image_bytes(i)

    def _label_bytes(self) -> Iterator[bytes]:
        return self.data._label_bytes()


@contextmanager
def fresh_folder(parent: Path | None) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def seconds(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def report(figure: str, ratios: list[float], target: float, **more: object) -> None:
    median = statistics.median(ratios)
    row = {
        "figure": figure,
        "ratio": round(median, 3),
        "target": target,
        "met": median <= target,
        "runs": [round(ratio, 3) for ratio in ratios],
    }
    print(json.dumps(row | more))


def prepared(options: argparse.Namespace) -> tuple[ProbedModel, FirstImages, list[torch.Tensor]]:
    """The model, the images, and these as the model's input, batch by batch."""
    model = load_model(options.model, weights=options.weights)
    data = FirstImages(load_data(options.data), options.images)
    starts = range(0, len(data), options.batch_size)
    batches = []
    for start in starts:
        images = range(start, min(start + options.batch_size, len(data)))
        batches.append(model.prepare([data.image(i) for i in images]))
    return model, data, batches


def usual_loop(options: argparse.Namespace, line: Connection) -> None:
    """Time the loop that people write each time a message comes."""
    model, _, batches = prepared(options)
    plain = [batch.contiguous() for batch in batches]
    module = dict(model.module.named_modules())[options.layer]

    def loop() -> None:
        kept = []
        handle = module.register_forward_hook(lambda _, __, out: kept.append(out.cpu().numpy()))
        with torch.no_grad():
            for batch in plain:
                model.module(batch)
        handle.remove()

    loop()
    line.send("ready")
    while line.recv():
        line.send(seconds(loop))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=701)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--data", default=f"folder:{SHARED / 'camvid'}")
    parser.add_argument("--model", default="torchvision:squeezenet1_0")
    parser.add_argument("--weights", default=str(SHARED / "squeezenet1_0_imagenet.safetensors"))
    parser.add_argument("--layer", default=LAYER)
    parser.add_argument("--scratch", type=Path, help="folder for the caches, on the disk to test")
    options = parser.parse_args()

    context = multiprocessing.get_context("spawn")
    line, end = context.Pipe()
    worker = context.Process(target=usual_loop, args=(options, end), daemon=True)
    worker.start()
    line.recv()
    keep_freed_memory()
    model, data, batches = prepared(options)

    def forward() -> None:
        with torch.inference_mode(), watch(model.module, [options.layer], lambda *_: None) as run:
            for batch in batches:
                run(batch)

    def ours() -> float:
        with fresh_folder(options.scratch) as folder:
            return seconds(
                lambda: extract(model, data, [options.layer], folder, batch_size=options.batch_size)
            )

    forward()
    ours()
    bare, loops, runs = [], [], []
    for _ in range(options.runs):
        before = seconds(forward)
        runs.append(ours())
        bare.append((before + seconds(forward)) / 2)
        line.send(True)
        loops.append(line.recv())
    line.send(False)
    more = {"images": len(data), "seconds": round(statistics.median(runs), 3)}
    pairs = list(zip(runs, bare, loops, strict=True))
    report("extraction / forward", [run / base for run, base, _ in pairs], 1.10, **more)
    report("extraction / usual loop", [run / loop for run, _, loop in pairs], 0.4, **more)


if __name__ == "__main__":
    main()
