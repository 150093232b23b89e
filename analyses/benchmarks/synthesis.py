"""What a step of optimisation costs, against a forward and a backward pass of the same batch.

    python analyses/benchmarks/synthesis.py [--rounds 15] [--busy]

SqueezeNet 1.0 at 224 px, features.12, 16 units, default settings; its weights from `shared/data`
where that is beside the checkout, else random. The bare pass stops at the same layer, has frozen
weights, a channels-last batch that is ready, and goes back to the input. The two take turns, one
step of the optimisation and one pass, with freed memory kept for both. With --busy, for a machine
that others use too, PyTorch has one thread and the processor's time counts. Prints one JSON line:
the ratio's median and range over the rounds.
"""

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import conceptlab as cl
from conceptlab.activations.allocator import keep_freed_memory
from conceptlab.models.watch import watch
from conceptlab.synthesis.ascent import Ascent, Seeded
from conceptlab.synthesis.network import passes
from conceptlab.synthesis.objectives import Unit
from conceptlab.synthesis.settings import Synthesis

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
LAYER, BATCH = "features.12", 16
WARM = 4  # steps before the clock counts: what is allocated, and units that start silent


class Turns:
    """Called after every step: times the step, then a bare pass over a copy of the network."""

    def __init__(self, model: cl.ProbedModel, clock: Callable[[], float]) -> None:
        self.steps: list[float] = []
        self.bare: list[float] = []
        self._module, self._clock = copy.deepcopy(model.module), clock
        self._kept: list[Tensor] = []
        generator = torch.Generator().manual_seed(0)
        side = model.preprocessing.geometry.size
        batch = torch.randn(BATCH, 3, side, side, generator=generator)
        self._batch = batch.contiguous(memory_format=torch.channels_last).requires_grad_()
        for parameter in self._module.parameters():
            parameter.requires_grad_(False)
        self._began = clock()

    def __call__(self) -> None:
        ended = self._clock()
        self.steps.append(ended - self._began)
        with watch(self._module, [LAYER], lambda _, grid: self._kept.append(grid.clone())) as run:
            begun = self._clock()
            run(self._batch)
            torch.autograd.grad(self._kept.pop().sum(), self._batch)
            self.bare.append(self._clock() - begun)
        self._began = self._clock()


def figure(model: cl.ProbedModel, rounds: int, clock: Callable[[], float]) -> dict[str, object]:
    settings = Synthesis(steps=WARM + rounds)
    generators = np.random.default_rng(0).spawn(BATCH)
    batch = [Seeded(Unit(LAYER, i), g, i) for i, g in enumerate(generators)]
    turns = Turns(model, clock)
    with passes(model, [LAYER], False, None) as run:
        Ascent(model, run, batch, settings, turns).make(None)
    ratios = [a / b for a, b in zip(turns.steps[WARM:], turns.bare[WARM:], strict=True)]
    return {
        "figure": "step of 16 objectives / forward and backward pass",
        "target": 1.15,
        "median": round(statistics.median(ratios), 4),
        "range": [round(min(ratios), 4), round(max(ratios), 4)],
        "step_s": round(statistics.median(turns.steps[WARM:]), 4),
        "pass_s": round(statistics.median(turns.bare[WARM:]), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--busy", action="store_true")
    options = parser.parse_args()
    clock = time.process_time if options.busy else time.perf_counter
    if options.busy:
        torch.set_num_threads(1)
    keep_freed_memory()
    weights = SHARED / "squeezenet1_0_imagenet.safetensors"
    model = cl.load_model(
        "torchvision:squeezenet1_0", weights=weights if weights.is_file() else None
    )
    print(json.dumps(figure(model, options.rounds, clock)))


if __name__ == "__main__":
    main()
