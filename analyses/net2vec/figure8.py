"""Figure 8: an image at each decile of the probe's IoU_ind, with the best unit's mask and its own.

    python analyses/net2vec/figure8.py RUN [--out DIR] [--concepts NAME ...]

figure8.csv: columns model, layer, concept, category, unit, decile, image, iou_unit, iou_probe.
figure8-MODEL-LAYER.png: three rows per concept (labels, best unit, probe) and a column per decile
of the part above zero, lowest first. Pictures are those of the run folder.
"""

import pandas as pd
from common import Run, chosen_concepts, main, name_of, pick_concepts
from PIL import Image

from conceptlab.views.pictures.overlay import open_picture, stack, strip, upright

COLUMNS = [
    "model", "layer", "concept", "category", "unit", "decile", "image", "iou_unit", "iou_probe",
]  # fmt: skip


def make(run: Run) -> None:
    examples = run.examples("decile")
    run.write("figure8", examples[COLUMNS])
    for place, rows in examples.groupby(["model", "layer"], sort=False):
        counts = rows["concept"].value_counts(sort=False)
        ranked = counts.sort_values(ascending=False, kind="stable").index
        names = chosen_concepts(run, list(ranked))
        parts = [deciles(rows[rows["concept"] == name]) for name in names]
        run.picture(f"figure8-{name_of(place)}", stack(parts))


def deciles(rows: pd.DataFrame) -> Image.Image:
    """A concept's examples side by side, lowest decile first."""
    rows = rows.sort_values("decile")
    pairs = zip(rows["iou_unit"], rows["iou_probe"], strict=True)
    captions = [f"{unit:.2f} | {probe:.2f}" for unit, probe in pairs]
    captions[0] = f"{rows['concept'].iloc[0]}: {captions[0]}"
    return strip([upright(open_picture(path)) for path in rows["file"]], captions)


if __name__ == "__main__":
    main(__doc__, make, pick_concepts(6, "with pictures at most deciles"))
