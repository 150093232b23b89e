"""Train a network per level of correlation and seed, and measure how it relies on captions.

    python analyses/tcav/train.py RUN [--epochs N] [--seeds N] [--threads N]

RUN is what `captions.py` wrote to. The networks are RUN/weights/rho-RHO-seed-SEED.safetensors, for
`file:analyses/tcav/network.py:caption_net`.

RUN/tables/reliance.csv: columns rho, seed, class, n (test pictures), accuracy_own (with captions as
the network learned with, which agree with the class to the extent rho), accuracy_right,
accuracy_removed, accuracy_wrong (the same pictures with their own class's caption, none, and
another's), reliance (accuracy_right - accuracy_removed), logit_drop (mean fall of the class's logit
when its caption is taken off its pictures).

Rows of class 'all' have plain accuracies. Those of one class have balanced ones, of telling it from
the others: a network that has lost its captions may call everything by one class's name, which
leaves that class's own pictures right.
"""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from network import CLASSES
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

import conceptlab as cl
from conceptlab.csvtable import read_table, text_columns, write_table

SPEC = f"file:{Path(__file__).with_name('network.py')}:caption_net"
BATCH = 64
TESTS = ("right", "removed", "wrong")


def pictures(model: cl.ProbedModel, folder: Path, split: str) -> tuple[Tensor, Tensor]:
    """The network's input (n, 3, S, S) and classes (n,) of a split of a data set."""
    data = cl.load_data(f"folder:{folder}")
    rows = np.flatnonzero(data.splits == split)
    table = read_table(folder / "captions.csv").set_index("image")
    places = table.loc[data.names[rows], "class"]
    batch = model.prepare([data.image(int(row)) for row in rows])
    return batch, torch.tensor([CLASSES.index(place) for place in places])


def train(model: cl.ProbedModel, x: Tensor, y: Tensor, epochs: int, seed: int) -> None:
    """Teach a network the classes (n,) of inputs (n, 3, S, S)."""
    network, count, size = model.module, len(y), min(BATCH, len(y))
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=1e-2)
    steps = epochs * (count // size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=steps)
    network.train()
    for _ in range(epochs):
        order = torch.randperm(count, generator=generator)
        for rows in order[: count // size * size].split(size):
            loss = torch.nn.functional.cross_entropy(network(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    network.eval()


@torch.inference_mode()
def logits(model: cl.ProbedModel, x: Tensor) -> NDArray[np.float32]:
    """(n, classes) of inputs (n, 3, S, S)."""
    return torch.cat([model.module(batch) for batch in x.split(256)]).numpy()


def reliance(said: dict[str, NDArray[np.float32]], y: NDArray[np.int64]) -> pd.DataFrame:
    """What a network loses with the captions; a row for all classes, and one for each.

    Args:
        said: 'own' and `TESTS` to logits (n, classes) of the same pictures.
        y: (n,) their classes.
    """
    named = {name: found.argmax(axis=1) for name, found in said.items()}
    drop = (said["right"] - said["removed"])[np.arange(len(y)), y]
    rows = []
    for place, name in enumerate(("all", *CLASSES), start=-1):
        own = (y == place) | (place < 0)
        row: dict[str, Any] = {"class": name, "n": int(own.sum())}
        for test, classes in named.items():
            right = classes == y if place < 0 else (classes == place) == (y == place)
            parts = [right] if place < 0 else [right[own], right[~own]]
            row[f"accuracy_{test}"] = float(np.mean([part.mean() for part in parts]))
        row["reliance"] = row["accuracy_right"] - row["accuracy_removed"]
        row["logit_drop"] = float(drop[own].mean())
        rows.append(row)
    return pd.DataFrame(rows)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Within it, torch computes with so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def study(run: Path, epochs: int, seeds: int) -> pd.DataFrame:
    """Train and measure all networks of a run folder."""
    data, parts = run / "data", []
    plain = cl.load_model(SPEC, untrained=True)
    tests = {name: pictures(plain, data / name, "test") for name in TESTS}
    (run / "weights").mkdir(exist_ok=True)
    for folder in sorted(data.glob("rho-*")):
        x, y = pictures(plain, folder, "train")
        sets = {"own": pictures(plain, folder, "test"), **tests}
        for seed in range(seeds):
            model = cl.load_model(SPEC, untrained=True, seed=seed)
            train(model, x, y, epochs, seed)
            path = run / "weights" / f"{folder.name}-seed-{seed}.safetensors"
            save_file(model.module.state_dict(), path)
            said = {name: logits(model, batch) for name, (batch, _) in sets.items()}
            found = reliance(said, sets["own"][1].numpy())
            found.insert(0, "rho", float(folder.name.removeprefix("rho-")))
            found.insert(1, "seed", seed)
            parts.append(found)
            print(f"{path}: reliance {found['reliance'].iloc[0]:.3f}")
    return pd.concat(parts, ignore_index=True)


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="what captions.py wrote to")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3, help="networks per level")
    parser.add_argument(
        "--threads", type=int, default=1, help="one is nearly as fast, and far where cores are busy"
    )
    given = parser.parse_args(words)
    try:
        with threads(given.threads):
            table = study(given.run, given.epochs, given.seeds)
    except (cl.ConceptlabError, OSError) as error:
        sys.exit(f"{parser.prog}: {' '.join(str(error).split())}")
    path = given.run / "tables" / "reliance.csv"
    path.parent.mkdir(exist_ok=True)
    write_table(path, table, text_columns(table))
    print(path)


if __name__ == "__main__":
    main()
