"""Time and memory of TCAV, as ratios within one run.

    python analyses/benchmarks/tcav.py [--rounds 5] [--only passes captum flattened pooled ...]

SqueezeNet 1.0, features.12, over CamVid where `shared/data` is beside the checkout, else untrained
over drawn scenes. The two sides of a ratio take turns; both run once before, for what is compiled.
Pictures are decoded before the clock starts, for both sides. NumPy's BLAS has one thread on both:
scikit-learn is fastest so. With --busy, for a machine that others use too, PyTorch has one as well
and the processor's time counts: threads that wait for one another measure the others. One JSON line
a figure: median and range over the rounds, and what is on either side. Peers are scaled down where
a line says so.
"""

import argparse
import contextlib
import io
import json
import logging
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from noise import Noise
from threadpoolctl import threadpool_limits

import conceptlab as cl
from conceptlab.models.watch import watch
from conceptlab.numerics.classifiers import fit_in_samples
from conceptlab.probes.cav.bundle import Bundle
from conceptlab.probes.cav.sets import random_sets

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
LAYER = "features.12"
BATCH = 32
CONCEPTS, CLASSES, RANDOM, EACH = 20, 10, 50, 50
CAVS, PEERS = 500, 10  # random CAVs, and how many of them scikit-learn is timed on
PENALTY = 10.0
FEW, MANY = 500, 5000  # images, for memory


@dataclass(frozen=True)
class Ground:
    """What the figures are measured on: a network, pictures, their activations and themselves."""

    model: cl.ProbedModel
    data: cl.ProbeDataset
    acts: cl.Activations
    pictures: torch.Tensor
    clock: Callable[[], float]

    def images(self, classes: int) -> dict[int, torch.Tensor]:
        """Class to its pictures, no picture in two."""
        return {c: self.pictures[c * EACH : (c + 1) * EACH] for c in range(classes)}

    def turns(self, rounds: int, *works: Callable[[], object]) -> list[tuple[float, ...]]:
        """The seconds of each work in each round, forwards and backwards in turn."""
        for work in works:
            work()
        found = []
        for turn in range(rounds):
            spent = dict.fromkeys(range(len(works)), 0.0)
            for i in list(spent)[:: -1 if turn % 2 else 1]:
                started = self.clock()
                works[i]()
                spent[i] = self.clock() - started
            found.append(tuple(spent.values()))
        return found


def say(figure: str, values: Sequence[float], target: float | None = None, **more: Any) -> None:
    median = statistics.median(values)
    row: dict[str, Any] = {"figure": figure, "ratio": round(median, 4)}
    row["range"] = [round(min(values), 4), round(max(values), 4)]
    if target is not None:
        row |= {"target": target, "met": median <= target}
    print(json.dumps(row | {"rounds": len(values)} | more), flush=True)


def medians(found: list[tuple[float, ...]]) -> list[float]:
    return [round(statistics.median(column), 4) for column in zip(*found, strict=True)]


def ground(cache: str, busy: bool) -> Ground:
    """Real weights and pictures where they are, else untrained ones and drawings."""
    real = (SHARED / "camvid").is_dir()
    weights = SHARED / "squeezenet1_0_imagenet.safetensors"
    if real:
        model = cl.load_model("torchvision:squeezenet1_0", weights=str(weights))
    else:
        model = cl.load_model("torchvision:squeezenet1_0", untrained=True)
    data = cl.load_data(f"folder:{SHARED / 'camvid'},colors=true" if real else "scenes:n=700")
    acts = cl.extract(model, data, [LAYER], cache, batch_size=BATCH)[LAYER]
    rows = np.random.default_rng(0).permutation(len(data))
    pictures = model.prepare([data.image(int(i)) for i in rows])
    return Ground(model, data, acts, pictures, time.process_time if busy else time.perf_counter)


def lean(model: cl.ProbedModel, images: dict[int, torch.Tensor]) -> Callable[[], None]:
    """One forward pass of each picture, and one backward pass from its class to the layer."""
    module = model.module.eval().requires_grad_(False)
    layer = dict(module.named_modules())[LAYER]

    def run() -> None:
        leaves: list[torch.Tensor] = []

        def cut(_: Any, __: Any, output: torch.Tensor) -> torch.Tensor:
            leaves.append(output.detach().requires_grad_())
            return leaves[-1].clone()  # an in-place layer may follow

        handle = layer.register_forward_hook(cut)
        for column, pictures in images.items():
            for start in range(0, len(pictures), BATCH):
                score = module(pictures[start : start + BATCH])[:, column].sum()
                torch.autograd.grad(score, leaves.pop())
        handle.remove()

    return run


def passes(on: Ground, rounds: int) -> None:
    """All concepts, classes and counterparts against the passes alone."""
    images = on.images(CLASSES)
    shown = np.sort(cl.CavProbe().fit(on.acts, on.data).vectors.concepts["n_train"])[::-1]
    fewest = int(shown[min(CONCEPTS, len(shown)) - 1])
    sizes: dict[str, int] = {}

    def ours() -> None:
        probe = cl.CavProbe(random=RANDOM, examples=EACH, min_examples=fewest)
        cavs = probe.fit(on.acts, on.data).cavs
        table = cl.tcav(on.model, images, cavs, layer=LAYER, batch_size=BATCH)
        sizes.update(concepts=len(table) // CLASSES, cavs=len(cavs.bundle))

    def training() -> None:
        cl.CavProbe(random=RANDOM, examples=EACH, min_examples=fewest).fit(on.acts, on.data)

    found = on.turns(rounds, ours, lean(on.model, images), training)
    say(f"TCAV of {CONCEPTS} concepts x {CLASSES} classes x {RANDOM} counterparts x {EACH} images, "
        "with training / one forward and one backward pass per image and class",
        [a / b for a, b, _ in found], 1.2, seconds=medians(found)[:2], **sizes,
        training=round(statistics.median(c / b for _, b, c in found), 4),
        ours="CavProbe.fit from cached activations (all random pairs and re-draws, accuracy on "
        "held-out images) and tcav (passes, tests, intervals)",
        peer="same batches, frozen weights, gradient of the class's score at the layer",
    )  # fmt: skip


def captum_work(on: Ground, concepts: int, counterparts: int, folder: str) -> Callable[[], None]:
    """TCAV of captum with its own defaults: SGD classifiers, gradients of the scores."""
    from captum.concept import TCAV, Concept

    batches = list(on.pictures.split(EACH))

    def concept(number: int) -> Any:
        return Concept(number, f"c{number}", [batches[number % len(batches)]])

    named = [concept(i) for i in range(concepts)]
    random = [concept(concepts + i) for i in range(counterparts)]
    sets = [[c, r] for c in named for r in random]

    def run() -> None:
        with tempfile.TemporaryDirectory(dir=folder) as own, quiet():
            tcav = TCAV(on.model.module, [LAYER], save_path=own)
            for column, pictures in on.images(2).items():
                tcav.interpret(pictures, sets, target=column)

    return run


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def captum(on: Ground, rounds: int) -> None:
    """3 concepts x 10 counterparts over flattened maps, against captum."""
    parts = list(on.pictures.split(EACH))
    named = {f"c{i}": parts[i] for i in range(3)}
    random = torch.cat(parts[3:13])

    def ours() -> None:
        cavs = cl.picture_cavs(
            on.model, named, random, layer=LAYER, form="flattened", counterparts=10, examples=EACH,
            batch_size=BATCH,
        )  # fmt: skip
        cl.tcav(on.model, on.images(2), cavs, batch_size=BATCH)

    def activations() -> None:
        with torch.inference_mode(), watch(on.model.module, [LAYER], lambda *_: None) as run:
            for part in (*named.values(), *random.split(BATCH)):
                run(part)

    with tempfile.TemporaryDirectory() as folder:
        one, three = (captum_work(on, 3, count, folder) for count in (1, 3))
        found = on.turns(rounds, ours, one, three, activations)
    whole = [b + (c - b) / 2 * 9 for _, b, c, _ in found]
    faster = [w / a for w, (a, *_) in zip(whole, found, strict=True)]
    say("captum's TCAV / ours: 3 concepts x 10 counterparts, 2 classes, 50 images, flattened maps",
        faster, at_least=30, met=statistics.median(faster) >= 30,
        seconds=[medians(found)[0], round(statistics.median(whole), 1)],
        forward=round(statistics.median(d / a for a, _, _, d in found), 3),
        note="captum timed with 1 and with 3 counterparts, and extended on the line through both "
        "to 10; ours in full, with the activations of all 650 pictures, 45 random pairs and 150 "
        "re-drawn ones; forward: the share of ours that bare activations take")  # fmt: skip


def random_cavs(on: Ground, form: str, target: float, rounds: int) -> None:
    """500 CAVs of random sets against scikit-learn, one at a time."""
    from sklearn.linear_model import LogisticRegression

    rows = np.arange(len(on.acts))
    if form == "pooled":
        raw = on.acts.read_pooled(rows).astype(np.float32)
    else:
        raw = on.acts.read(0, len(rows)).reshape(len(rows), -1).astype(np.float32)
    x = raw - raw.mean(axis=0)
    x /= np.sqrt(np.square(x).sum(axis=1).mean())
    index = random_sets(rows, CAVS, 2 * EACH, seed=0)
    labels = np.repeat([1.0, -1.0], EACH)

    def ours() -> Bundle:
        a, _, length = fit_in_samples(x @ x.T, index, labels, "logistic", PENALTY)
        return Bundle.combining(x, index, a / length[:, None])

    def same() -> list[Any]:
        peer = LogisticRegression(C=1 / PENALTY, max_iter=1000)
        return [peer.fit(x[own], labels).coef_[0].copy() for own in index[:PEERS]]

    def usual() -> None:
        for own in index[:PEERS]:
            with quiet():
                LogisticRegression().fit(raw[own], labels)

    mine = ours().combination[:PEERS] @ x
    cosines = [w @ t / np.linalg.norm(t) for w, t in zip(mine, same(), strict=True)]
    found = on.turns(rounds, ours, same, usual)
    more = {
        "seconds": medians(found)[0],
        "note": f"scikit-learn timed on {PEERS} of {CAVS}; ours with the Gram matrix of all "
        f"{len(rows)} images",
    }
    what = f"{CAVS} random CAVs, logistic, {x.shape[1]} features, {EACH} + {EACH} images / "
    say(what + "LogisticRegression() one at a time, as it comes, on activations as they are",
        [a / (c * CAVS / PEERS) for a, _, c in found], target, **more)  # fmt: skip
    say(what + "LogisticRegression one at a time with our penalty on our centred, scaled samples",
        [a / (b * CAVS / PEERS) for a, b, _ in found], target, **more,
        least_cosine=round(float(min(cosines)), 6))  # fmt: skip


def alone(count: int) -> None:
    """Peak resident megabytes of this process, after TCAV over so many images of a class."""
    model = cl.load_model("builtin:scenenet")
    data = Noise(MANY, (64, 64))
    parts = np.arange(CONCEPTS * 10).reshape(CONCEPTS, 10)
    concepts = {f"c{i}": cl.DatasetPictures(data, part) for i, part in enumerate(parts)}
    random = cl.DatasetPictures(data, np.arange(200, 400))
    cavs = cl.picture_cavs(model, concepts, random, layer="features.17")
    cl.tcav(model, {0: cl.DatasetPictures(data, np.arange(count))}, cavs)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"megabytes": most / (1024 if sys.platform != "darwin" else 1024**2)}))


def memory(rounds: int) -> None:
    """The peak of a process over many images of a class, against few."""
    found = []
    for _ in range(rounds):
        peaks = []
        for count in (FEW, MANY):
            command = [sys.executable, __file__, "--alone", str(count)]
            run = subprocess.run(command, check=True, capture_output=True, text=True)
            peaks.append(json.loads(run.stdout)["megabytes"])
        found.append(tuple(peaks))
    say(f"peak memory of TCAV, {MANY} images of a class / {FEW}", [b / a for a, b in found], 1.1,
        megabytes=medians(found), note=f"builtin:scenenet, {CONCEPTS} concepts")  # fmt: skip


def others(on: Ground, rounds: int) -> None:
    """Erasure and decomposition, per image, against a forward pass."""
    images = on.images(2)
    cavs = cl.CavProbe().fit(on.acts, on.data).cavs

    def forward() -> None:
        with torch.inference_mode():
            for pictures in images.values():
                for part in pictures.split(BATCH):
                    on.model.module(part)

    found = on.turns(
        rounds, forward,
        lambda: cl.decompose(on.model, images, cavs, batch_size=BATCH),
        lambda: cl.erase(
            on.model, images, cavs, batch_size=BATCH, reference=torch.cat(list(images.values()))
        ),
    )  # fmt: skip
    count = int(cavs.vectors.usable.sum())
    note = f"{count} concepts, 2 classes, {EACH} images each"
    say("decompose / a forward pass per image", [b / a for a, b, _ in found], note=note)
    say("erase / a forward pass per image", [c / a for a, _, c in found],
        note=note + ", 20 controls on 20 images of a class")  # fmt: skip


FIGURES: dict[str, Callable[[Ground, int], None]] = {
    "passes": passes,
    "captum": captum,
    "flattened": lambda on, rounds: random_cavs(on, "flattened", 0.01, rounds),
    "pooled": lambda on, rounds: random_cavs(on, "pooled", 0.25, rounds),
    "others": others,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=[*FIGURES, "memory"], metavar="FIGURE")
    parser.add_argument("--busy", action="store_true", help="processor's time on one thread")
    parser.add_argument("--cache", help="of activations; one of this run's own if not given")
    parser.add_argument("--alone", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        alone(options.alone)
        return
    logging.disable(logging.WARNING)  # CAVs of concepts that nearly every picture shows
    chosen = options.only or [*FIGURES, "memory"]
    if "memory" in chosen:
        memory(1)
    cl.keep_freed_memory()
    if options.busy:
        torch.set_num_threads(1)
    if set(chosen) & set(FIGURES):
        with tempfile.TemporaryDirectory() as folder, threadpool_limits(1, "blas"):
            on = ground(options.cache or folder, options.busy)
            for name in (name for name in FIGURES if name in chosen):
                FIGURES[name](on, options.rounds)


if __name__ == "__main__":
    main()
