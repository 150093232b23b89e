"""What it costs to recognise a network and its pictures, against one forward pass of 32 pictures.

"Check" is everything that opening a complete cache does before its activations are served: weights
hashed anew, metadata of all files of the data set read anew, the four fixed pictures and four of
the data set's through the network up to the layer, and what they give compared with the file. It
leaves out the checksums of the activations themselves, which no network is needed for. "Vectors" is
the same for saved vectors that are applied (weights and fixed pictures). "Forward" is a bare pass
of 32 pictures in memory up to the same layer (inference mode, channels last). All alternate; ratios
are taken within a round. Prints one JSON line per network.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from conceptlab.activations.allocator import keep_freed_memory
from conceptlab.activations.extract import extract
from conceptlab.activations.target import targets
from conceptlab.data import load_data
from conceptlab.data.base import ProbeDataset
from conceptlab.models import ProbedModel, load_model
from conceptlab.models.watch import watch

NETWORKS = {
    "torchvision:squeezenet1_0": "features.12",
    "torchvision:resnet50": "layer4.2",
    "torchvision:vit_b_16": "encoder.layers.encoder_layer_11",
}
BATCH = 32


def write_pictures(folder: Path, count: int, side: int = 64) -> str:
    """Pictures of noise without labels."""
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:05}.jpg")
    return f"pictures:{folder}"


def seconds(call: Callable[[], object]) -> float:
    """How long a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def measure(
    spec: str, layer: str, data: ProbeDataset, cache: str, rounds: int
) -> dict[str, object]:
    """Ratios of one network."""
    model = load_model(spec)
    acts = extract(model, data, [layer], cache)[layer]
    space = acts.space()
    batch = model.prepare([data.image(i) for i in range(BATCH)])

    def check() -> None:
        (target,) = targets(model, data, [layer], cache=cache)
        file = target.open()
        if file is None or target.path != acts.path:
            raise SystemExit("the cache was not recognised")
        file.close()

    def vectors() -> None:
        space.require_model(model)

    found = [
        (seconds(check), seconds(vectors), seconds(lambda: model.fingerprint),
         seconds(lambda: data.fingerprint), seconds(lambda: forward(model, batch, layer)))
        for _ in range(rounds + 1)
    ][1:]  # fmt: skip
    names = ("check", "vectors", "weights", "files")
    ratios = {n: statistics.median(row[k] / row[-1] for row in found) for k, n in enumerate(names)}
    return {
        "network": spec, "layer": layer, "pictures": len(data),
        "forward_s": round(statistics.median(row[-1] for row in found), 4),
        **{f"{name}_to_forward": round(ratio, 3) for name, ratio in ratios.items()},
    }  # fmt: skip


def forward(model: ProbedModel, batch: torch.Tensor, layer: str) -> None:
    """A bare pass up to a layer."""
    with torch.inference_mode(), watch(model.module, [layer], lambda *_: None) as run:
        run(batch)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=200, help="of the data set")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--network", choices=list(NETWORKS), action="append")
    args = parser.parse_args()
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as folder:
        pictures = Path(folder, "pictures")
        pictures.mkdir()
        data = load_data(write_pictures(pictures, max(args.pictures, BATCH)))
        time.sleep(2.1)  # files that have just been written are not trusted to stay
        for spec in args.network or NETWORKS:
            found = measure(spec, NETWORKS[spec], data, str(Path(folder, "cache")), args.rounds)
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
