"""Reading a run folder's tables for drawing."""

from pathlib import Path

import pandas as pd

TEXTS = (
    "model", "layer", "concept", "category", "task", "note", "image", "neighbour", "rule", "plus",
    "minus", "model_i", "model_j", "layer_i", "layer_j",
)  # fmt: skip


def read_tables(run: Path) -> dict[str, pd.DataFrame]:
    """All of `tables/*.csv` by name; texts stay texts, also one that reads 'nan'."""
    found = {}
    for path in sorted((run / "tables").glob("*.csv")):
        header = pd.read_csv(path, nrows=0).columns
        texts = [c for c in TEXTS if c in header]
        found[path.stem] = pd.read_csv(
            path,
            dtype=dict.fromkeys(texts, str),
            keep_default_na=False,
            na_values={c: ["", "nan"] for c in header if c not in texts},
        )
    return found
