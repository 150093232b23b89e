"""What both scripts share: the folder they write into, and what they ask of every layer."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

import conceptlab as cl
from conceptlab.csvtable import text_columns, write_table
from conceptlab.views.pictures.overlay import mosaic

DRAWS = 9999


@dataclass(frozen=True)
class Results:
    """A folder with tables/ and figures/.

    Args:
        root: the folder; made where there is none.
    """

    root: Path

    def __post_init__(self) -> None:
        for folder in ("tables", "figures"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)

    def write(self, tables: dict[str, list[pd.DataFrame]]) -> None:
        """One CSV file of each name, out of its parts."""
        for name, parts in tables.items():
            path = self.root / "tables" / f"{name}.csv"
            table = pd.concat(parts, ignore_index=True)
            write_table(path, table, text_columns(table))
            print(path, flush=True)

    def plot(self, name: str, ax: Any, *more: str) -> None:
        """A figure as PNG, and in other formats."""
        for kind in ("png", *more):
            ax.figure.savefig(self.root / "figures" / f"{name}.{kind}", dpi=200)

    def pictures(
        self, name: str, images: Sequence[Any], captions: Sequence[str], columns: int
    ) -> None:
        """Arrays (s, s, 3) as rows of pictures."""
        shown = [Image.fromarray(image) for image in images]
        mosaic(shown, list(captions), columns=columns).save(self.root / "figures" / f"{name}.png")


def unit_images(
    model: cl.ProbedModel,
    acts: cl.Activations,
    units: Sequence[int],
    settings: cl.Synthesis,
    seed: int,
) -> tuple[cl.Visualizations, pd.DataFrame]:
    """Images by optimisation for some units, and their table beside the best picture of all."""
    wanted = [cl.Unit(acts.layer, int(unit)) for unit in units]
    made = cl.visualize(model, wanted, settings, seed=seed)
    return made, cl.against_probe(made, acts).assign(unit=list(units))


def goes_with(a: NDArray[Any], b: NDArray[Any], seed: int) -> tuple[float, float]:
    """Spearman's correlation, and its p-value (two-sided) by permutation; NaN without variation."""
    ranks = [pd.Series(values).rank().to_numpy() for values in (a, b)]
    if min(np.ptp(own) for own in ranks) == 0:
        return float("nan"), float("nan")
    first, second = ((own - own.mean()) / own.std() for own in ranks)
    draw = np.random.default_rng(seed)
    found = float(first @ second) / len(first)
    random = draw.permuted(np.tile(second, (DRAWS, 1)), axis=1) @ first / len(first)
    return found, float((1 + (np.abs(random) >= abs(found) - 1e-12).sum()) / (1 + DRAWS))
