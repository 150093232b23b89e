"""What an accelerator gives, and whether it gives the same: one script for the day there is one.

    python analyses/benchmarks/gpu.py --device cuda            # under five minutes
    python analyses/benchmarks/gpu.py --device cpu --small     # smoke test, no accelerator needed

Networks of torchvision with random weights over drawn scenes, so that nothing else is needed. In
this order: the tests marked `gpu`; extraction in float32 and under bfloat16 autocast, against a
bare loop (batches on the device already, inference mode, stop at the layer, nothing kept) and
against the loop that people write (decode, whole forward pass, copy to NumPy); agreement of
activations, derivatives and images by optimisation with the CPU within the stated tolerance; peak
memory on the device. A ratio is taken within a round, the median of all rounds is printed. Prints
one JSON line a figure; the exit code is 1 if a test fails or a tolerance is missed.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import conceptlab as cl
from conceptlab.activations.allocator import keep_freed_memory
from conceptlab.models.watch import watch
from conceptlab.passes.gradient import derivatives

ROOT = Path(__file__).resolve().parents[2]
#: Largest difference from the CPU in float32, as a share of the layer's standard deviation. The
#: first is for sums in another order and TensorFloat-32 in convolutions; bfloat16 has 8 bits.
TOLERANCE = {"float32": 0.02, "bfloat16": 0.25}
COSINE = 0.999  # of derivatives, which rounding at a ReLU's corner can turn single values of
PIXELS = 12  # of 255, for images by optimisation over few steps


@dataclass(frozen=True)
class Scale:
    """How much is run: network, layer, images, images a pass, rounds."""

    network: str
    layer: str
    images: int
    batch: int
    rounds: int


LARGE = Scale("torchvision:resnet50", "layer3", 512, 128, 3)
SMALL = Scale("builtin:scenenet", "features.17", 24, 8, 1)


class Report:
    """Prints figures as they come, and remembers what failed."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.failed = device, False

    def __call__(self, figure: str, value: object, met: bool = True, **more: object) -> None:
        row = {"figure": figure, "value": value, "device": str(self.device), "met": met}
        print(json.dumps(row | more), flush=True)
        self.failed |= not met


def run_marked_tests(report: Report) -> None:
    """The tests that need an accelerator; without one they skip, and say so."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "tests"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    lines = done.stdout.strip().splitlines()
    report("tests marked gpu", lines[-1] if lines else "no output", met=done.returncode == 0)


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """The context in which a network computes in a precision."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def synchronised(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(function: Callable[[], object], device: torch.device) -> float:
    synchronised(device)
    started = time.perf_counter()
    function()
    synchronised(device)
    return time.perf_counter() - started


@contextmanager
def peak_memory(report: Report, figure: str) -> Iterator[None]:
    """Report the most memory that the device held meanwhile; no figure on a CPU."""
    cuda = report.device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats(report.device)
    yield
    if cuda:
        report(figure, round(torch.cuda.max_memory_allocated(report.device) / 1e6), unit="MB")


def loops(
    model: cl.ProbedModel, data: cl.ProbeDataset, scale: Scale
) -> tuple[Callable[[], None], Callable[[], None]]:
    """The bare loop over batches that are there, and the loop that people write."""
    starts = range(0, len(data), scale.batch)
    rows = [range(start, min(start + scale.batch, len(data))) for start in starts]
    ready = [model.prepare([data.image(i) for i in own]) for own in rows]

    def bare() -> None:
        with torch.inference_mode(), watch(model.module, [scale.layer], lambda *_: None) as run:
            for batch in ready:
                run(batch)

    def usual() -> None:
        kept: list[np.ndarray] = []
        part = dict(model.module.named_modules())[scale.layer]

        def keep(_: object, __: object, output: Tensor) -> None:
            kept.append(output.detach().float().cpu().numpy())

        handle = part.register_forward_hook(keep)
        with torch.no_grad():
            for own in rows:
                model.module(model.prepare([data.image(i) for i in own]))
        handle.remove()

    return bare, usual


def time_extraction(report: Report, scale: Scale, data: cl.ProbeDataset, precision: str) -> None:
    """Extraction against both loops, in one precision."""
    model = cl.load_model(scale.network, device=str(report.device))
    bare, usual = loops(model, data, scale)

    def ours() -> float:
        with tempfile.TemporaryDirectory() as folder:
            return seconds(
                lambda: cl.extract(
                    model, data, [scale.layer], cache=folder, batch_size=scale.batch
                ),
                report.device,
            )

    with autocast(report.device, precision), peak_memory(report, f"peak memory, {precision}"):
        bare(), ours()
        rounds = [
            (ours(), seconds(bare, report.device), seconds(usual, report.device))
            for _ in range(scale.rounds)
        ]
    own = statistics.median(r[0] for r in rounds)
    more = {"images_per_second": round(len(data) / own, 1), "seconds": round(own, 3)}
    for place, name in ((1, "bare loop"), (2, "usual loop")):
        ratios = [r[0] / r[place] for r in rounds]
        report(
            f"extraction / {name}, {precision}", round(statistics.median(ratios), 3),
            runs=[round(r, 3) for r in ratios], **more,
        )  # fmt: skip


def compare_activations(report: Report, scale: Scale, data: cl.ProbeDataset) -> None:
    """Activations there and on the CPU."""
    pictures = [data.image(i) for i in range(min(16, len(data)))]
    here = cl.load_model(scale.network)
    wanted = here.activations(pictures, [scale.layer])[scale.layer]
    there = here.to(report.device)
    for precision, tolerance in TOLERANCE.items():
        with autocast(report.device, precision):
            found = there.activations(pictures, [scale.layer])[scale.layer]
        error = float(np.abs(found - wanted).max() / wanted.std())
        report(
            f"activations, largest difference from the CPU, {precision}", round(error, 6),
            met=error <= tolerance, tolerance=tolerance, unit="standard deviations",
        )  # fmt: skip


def compare_derivatives(report: Report, scale: Scale, data: cl.ProbeDataset) -> None:
    """Derivatives of class 0 at the layer, there and on the CPU."""
    pictures = [data.image(i) for i in range(min(8, len(data)))]
    columns = np.zeros((len(pictures), 1), dtype=np.int64)

    def gradients(device: str) -> np.ndarray:
        model = cl.load_model(scale.network, device=device)
        found = derivatives(model, model.prepare(pictures), [scale.layer], columns)
        return found.layers[scale.layer].gradients[0].reshape(len(pictures), -1)

    here, there = gradients("cpu"), gradients(str(report.device))
    norms = np.linalg.norm(here, axis=1) * np.linalg.norm(there, axis=1)
    cosine = float(((here * there).sum(axis=1) / norms).min())
    report(
        "derivatives, smallest cosine with the CPU's", round(cosine, 7), met=cosine >= COSINE,
        tolerance=COSINE,
    )  # fmt: skip


def compare_images(report: Report, scale: Scale) -> None:
    """A few steps of optimisation, there and on the CPU, and what a step takes there."""
    steps = 4 if scale is SMALL else 16
    settings = cl.Synthesis(steps=steps)
    objectives = [cl.Unit(scale.layer, unit) for unit in range(4)]
    here = cl.visualize(cl.load_model(scale.network), objectives[:1], cl.Synthesis(steps=2))
    model = cl.load_model(scale.network, device=str(report.device))
    there = cl.visualize(model, objectives[:1], cl.Synthesis(steps=2))
    difference = int(np.abs(here.images.astype(int) - there.images).max())
    report(
        "images by optimisation, largest difference from the CPU", difference,
        met=difference <= PIXELS, tolerance=PIXELS, unit="of 255",
    )  # fmt: skip
    with peak_memory(report, "peak memory, images by optimisation"):
        took = seconds(lambda: cl.visualize(model, objectives, settings), report.device)
    report("a step of four images by optimisation", round(took / steps, 4), unit="seconds")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true", help="few images through a small network")
    parser.add_argument("--skip-tests", action="store_true", help="leave out the tests marked gpu")
    options = parser.parse_args()
    report = Report(torch.device(options.device))
    if report.device.type == "cuda" and not torch.cuda.is_available():
        parser.error("there is no CUDA device here; --device cpu --small tries the script without")
    scale = SMALL if options.small else LARGE
    keep_freed_memory()
    if not options.skip_tests:
        run_marked_tests(report)
    data = cl.load_data(f"scenes:n={scale.images}")
    for precision in TOLERANCE:
        time_extraction(report, scale, data, precision)
    compare_activations(report, scale, data)
    compare_derivatives(report, scale, data)
    compare_images(report, scale)
    return int(report.failed)


if __name__ == "__main__":
    sys.exit(main())
