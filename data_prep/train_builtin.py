"""Train the networks that come with the package on `scenes`, and write their weights and card.

    python data_prep/train_builtin.py [--only NAME] [--images N] [--epochs N] [--out DIR]

Pictures to learn from are drawn with a seed of their own, so that the probe set (`scenes`, seed 0)
holds none of them; accuracies are measured on all of it. Weights are stored as float16, and it is
the network with the stored weights that is measured.
"""

import argparse
import json
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm.auto import tqdm

from conceptlab.data import ProbeDataset, load_data
from conceptlab.data.scenes import VERSION
from conceptlab.data.scenes.places import PLACES
from conceptlab.files import atomic_path, write_text
from conceptlab.models.picture import network_view
from conceptlab.models.sources.builtin import ARCHITECTURES, FOLDER, MEAN, SIZE, STD
from conceptlab.models.sources.weights import load_weights
from conceptlab.numerics.geometry import Geometry

log = logging.getLogger(__name__)

TRAIN_SEED = 1000
PROBE = "scenes:n=1000,seed=0"
BATCH = 64
WORTH = (
    ("scenenet", "features.5", 32, 32),
    ("scenenet", "features.8", 48, 16),
    ("scenenet", "features.11", 48, 16),
    ("scenenet", "features.14", 64, 8),
    ("scenenet", "features.17", 96, 8),
    ("sceneres", "stem", 24, 32),
    ("sceneres", "stages.0", 32, 32),
    ("sceneres", "stages.1", 48, 16),
    ("sceneres", "stages.2", 80, 8),
)
ROTATIONS = ("upright", "left", "upside down", "right")


@dataclass(frozen=True)
class Plan:
    """One network: its architecture, and what it learns ('scene', 'rotation', '' for nothing)."""

    architecture: str
    task: str
    seed: int


PLANS = {
    "scenenet": Plan("scenenet", "scene", 0),
    "sceneres": Plan("sceneres", "scene", 1),
    "scenenet-rotation": Plan("scenenet", "rotation", 2),
    "scenenet-untrained": Plan("scenenet", "", 3),
    "scenenet-second": Plan("scenenet", "scene", 4),
    "sceneres-second": Plan("sceneres", "scene", 5),
}


@dataclass(frozen=True)
class Pictures:
    """Pictures (n, 3, S, S) uint8, their scenes (n,), and (n, C) the concepts that they show."""

    pixels: Tensor
    scene: Tensor
    shows: Tensor


def render(data: ProbeDataset, rows: NDArray[np.int64]) -> Pictures:
    """Draw some pictures at the networks' size."""
    geometry = Geometry(SIZE)
    pixels, scenes, shows = [], [], []
    for i in tqdm(rows, "drawing", leave=False):
        present = data.image_concepts(int(i))
        flags = np.zeros(len(data.catalogue), dtype=np.float32)
        flags[present] = 1
        pixels.append(network_view(data.image(int(i)), geometry))
        scenes.append(int(present[0]))  # scenes come first in the catalogue
        shows.append(flags)
    batch = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous()
    return Pictures(batch, torch.tensor(scenes), torch.from_numpy(np.stack(shows)))


def normalised(pixels: Tensor) -> Tensor:
    """As `ProbedModel.normalise` does it."""
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN, STD))
    return ((pixels.float() / 255 - mean) / std).to(memory_format=torch.channels_last)


def rotated(pixels: Tensor, turns: Tensor) -> Tensor:
    """Each picture turned by a number of quarters."""
    return torch.stack([torch.rot90(p, int(k), (1, 2)) for p, k in zip(pixels, turns, strict=True)])


def train(plan: Plan, pictures: Pictures, epochs: int) -> nn.Module:
    """Learn a plan's task.

    Scenes are learned together with the concepts that a picture shows, on a head that is not kept,
    so that the units have more to tell apart than ten places.
    """
    torch.manual_seed(plan.seed)
    generator = torch.Generator().manual_seed(plan.seed)
    classes = ROTATIONS if plan.task == "rotation" else tuple(PLACES)
    network = ARCHITECTURES[plan.architecture](len(classes)).to(memory_format=torch.channels_last)
    if not plan.task:
        return network
    side_head = nn.Linear(network.head.in_features, pictures.shows.shape[1])
    kept: list[Tensor] = []
    hook = network.head.register_forward_pre_hook(lambda _, inputs: kept.append(inputs[0]))
    parameters = [*network.parameters(), *side_head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=3e-3, weight_decay=1e-2)
    count = len(pictures.pixels)
    steps = epochs * (count // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=steps)
    network.train()
    with tqdm(total=steps, desc=f"{plan.architecture} {plan.task}") as bar:
        for _ in range(epochs):
            order = torch.randperm(count, generator=generator)
            for rows in order[: count // BATCH * BATCH].split(BATCH):
                pixels, target = pictures.pixels[rows], pictures.scene[rows]
                if plan.task == "rotation":
                    target = torch.randint(4, (len(rows),), generator=generator)
                    pixels = rotated(pixels, target)
                elif torch.rand((), generator=generator) < 0.5:
                    pixels = pixels.flip(3)
                kept.clear()
                loss = nn.functional.cross_entropy(network(normalised(pixels)), target)
                if plan.task == "scene":
                    side = nn.functional.binary_cross_entropy_with_logits(
                        side_head(kept[0]), pictures.shows[rows]
                    )
                    loss = loss + 2 * side
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                bar.update()
    hook.remove()
    return network


@torch.inference_mode()
def accuracy(network: nn.Module, plan: Plan, pictures: Pictures) -> float:
    """Share of pictures that are named right."""
    network.eval()
    target = pictures.scene
    pixels = pictures.pixels
    if plan.task == "rotation":
        target = torch.arange(len(pixels)) % 4
        pixels = rotated(pixels, target)
    right = network(normalised(pixels)).argmax(dim=1) == target
    return float(right.float().mean())


def store(network: nn.Module, path: Path) -> None:
    """Write the weights as float16, and give the network what a reader will get."""
    state = {
        key: value.half().contiguous()
        for key, value in network.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    with atomic_path(path) as temporary:
        save_file(state, temporary)
    load_weights(network, path)


def write_card(entries: dict[str, dict[str, object]], folder: Path) -> None:
    """The model card, for machines and for people."""
    write_text(folder / "models.json", json.dumps(entries, indent=1) + "\n")
    lines = [
        "# Built-in networks",
        "",
        "Made by `python data_prep/train_builtin.py` (seeded) on pictures of `scenes` (drawings of",
        f"version {VERSION}, seed {TRAIN_SEED}). Input 64 x 64, RGB in 0..1, mean 0.5, std 0.5.",
        f"Accuracy is on the 1,000 pictures of `{PROBE}`, none of which was learned; chance is",
        "0.10 for scenes and 0.25 for rotations. The scene networks also learned, on a head that",
        "was dropped, which concepts a picture shows. Weights are float16.",
        "",
        "| name | architecture | learned | pictures | epochs | seed | accuracy | parameters |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, e in entries.items():
        lines.append(
            f"| {name} | {e['architecture']} | {e['task'] or 'nothing'} | {e['images']} | "
            f"{e['epochs']} | {e['seed']} | {e['accuracy']:.3f} | {e['parameters']} |"
        )
    lines += [
        "",
        "Layers worth probing, all after their ReLU:",
        "",
        "| architecture | layer | units | map |",
        "|---|---|---|---|",
        *(f"| {a} | {n} | {k} | {m} x {m} |" for a, n, k, m in WORTH),
        "",
        "They are for tests, demonstrations and controls; they know nothing of photographs.",
        "",
    ]
    write_text(folder / "README.md", "\n".join(lines))


def main() -> None:
    """Train, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=sorted(PLANS), help="one network; the others stay")
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--out", type=Path, default=FOLDER, help="where weights and card go")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    source = load_data(f"scenes:n={arguments.images},seed={TRAIN_SEED}")
    probe = load_data(PROBE)
    learn = render(source, np.arange(len(source)))
    judge = render(probe, np.arange(len(probe)))
    card = arguments.out / "models.json"
    entries = json.loads(card.read_text(encoding="utf-8")) if card.is_file() else {}
    for name, plan in PLANS.items():
        if arguments.only not in (None, name):
            continue
        network = train(plan, learn, arguments.epochs)
        store(network, arguments.out / f"{name}.safetensors")
        reached = accuracy(network, plan, judge)
        entries[name] = {
            "architecture": plan.architecture,
            "task": plan.task,
            "class_names": list(ROTATIONS if plan.task == "rotation" else PLACES),
            "learned_on": source.spec if plan.task else "",
            "measured_on": probe.spec,
            "drawings": VERSION,
            "images": arguments.images if plan.task else 0,
            "epochs": arguments.epochs if plan.task else 0,
            "seed": plan.seed,
            "accuracy": round(reached, 4),
            "parameters": sum(p.numel() for p in network.parameters()),
        }
        log.info("%s: accuracy %.3f", name, reached)
    write_card({name: entries[name] for name in PLANS if name in entries}, arguments.out)


if __name__ == "__main__":
    main()
