"""Figure 1: the images in which the best units are most active, with the units' masks.

    python analyses/net2vec/figure1.py RUN [--out DIR] [--model NAME] [--layer NAME]

figure1.csv: columns model, layer, unit, rank, image, and the concepts that the unit is best for.
figure1-MODEL-LAYER.png: a row per unit, the image with its highest activation first; all is grey
but where the unit exceeds its threshold (upsampled first). Pictures are those of the run folder.
"""

import pandas as pd
from common import Run, main, name_of, pick_layer
from PIL import Image

from conceptlab.analysis.units.overlap import concepts_per_unit
from conceptlab.views.pictures.overlay import open_picture, stack, strip


def make(run: Run) -> None:
    examples = run.examples("top").sort_values("rank", kind="stable")
    concepts = run.table("concepts")
    served = concepts_per_unit(concepts[concepts["task"] == "segment"]).drop(columns="task")
    at = ["model", "layer", "unit"]
    table = examples[[*at, "rank", "image"]].merge(served, on=at, how="left")
    run.write("figure1", table.sort_values([*at, "rank"], kind="stable"))
    for place, rows in examples.groupby(["model", "layer"], sort=False):
        run.picture(f"figure1-{name_of(place)}", units(rows))


def units(rows: pd.DataFrame) -> Image.Image:
    """A row per unit; captions are ranks, and what the unit segments best."""
    parts = []
    for unit, own in rows.groupby("unit", sort=False):
        captions = [str(rank) for rank in own["rank"]]
        captions[0] = f"unit {unit}: {own['concept'].iloc[0]}"
        parts.append(strip([open_picture(path) for path in own["file"]], captions))
    return stack(parts)


if __name__ == "__main__":
    main(__doc__, make, pick_layer)
