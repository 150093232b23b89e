"""How the peak memory of extraction depends on the number of images.

Each number of images runs in a process of its own, with pictures that are made when they are asked
for. Prints one JSON line: the ratio of the peak resident memory, largest number to smallest.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile

from noise import Noise

from conceptlab.activations.allocator import keep_freed_memory
from conceptlab.activations.extract import extract
from conceptlab.models import load_model


def peak(options: argparse.Namespace, count: int) -> float:
    """Peak resident megabytes of a process that extracts `count` images."""
    command = [sys.executable, __file__, "--model", options.model, "--layer", options.layer]
    command += ["--batch-size", str(options.batch_size), "--alone", str(count)]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(run.stdout)


def alone(options: argparse.Namespace) -> None:
    keep_freed_memory()
    model = load_model(options.model, untrained=True)
    with tempfile.TemporaryDirectory() as folder:
        size = options.batch_size
        extract(model, Noise(options.alone, (180, 240)), [options.layer], folder, batch_size=size)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, nargs=2, default=(500, 4000))
    parser.add_argument("--model", default="torchvision:squeezenet1_0")
    parser.add_argument("--layer", default="features.12")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--alone", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        alone(options)
        return
    few, many = (peak(options, count) for count in options.images)
    row = {
        "figure": "peak memory of extraction",
        "images": list(options.images),
        "megabytes": [round(few, 1), round(many, 1)],
        "ratio": round(many / few, 3),
        "target": 1.1,
        "met": many / few <= 1.1,
    }
    print(json.dumps(row))


if __name__ == "__main__":
    main()
