"""Tables of a report beside its figures: which are shown, and what their captions say."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from conceptlab.views.cells import table_of

MOST_ROWS = 400
OVERLAP = (
    ("saturation", "How many units a concept needs",
     "The F of saturation: where mean performance comes 95 % of the way from a probe without units "
     "to the best F, with its 95 % interval over concepts (sections 3.2.2, 4.1)."),
    ("agreement_by_layer", "Single units beside the weights of the probe",
     "The share of segmentation concepts whose units' IoU_set and max(w, 0) are correlated, as in "
     "the paper and corrected for the number of concepts (section 5.2)."),
    ("packing", "Concepts packed into units",
     "For each unit the concepts whose maps predict it, the share of its variance that they "
     "explain, and how many the label maps of other images would give."),
    ("pinned", "What the data pins down",
     "For each concept how far its vector depends on the choice of training images, the least "
     "reliable first."),
)  # fmt: skip
EMBEDDING = (
    ("arithmetic", "Arithmetic",
     "Table 3: the concepts nearest to sums of unit vectors, the terms left out."),
    ("comparison", "Agreement of embeddings and activations",
     "Every measure between every two layers, with 95 % intervals over concepts or images and the "
     "p-value of a permutation test."),
    ("distances_by_category", "Distances D_ijc by category",
     "Mean of D_ijc over the concepts of each category, between every two embeddings."),
    ("zoom", "Networks and training runs",
     "D_ij between networks, and between training runs of one; the excess and its p-value."),
    ("zoom_by_concept", "Networks and training runs, concept by concept",
     "The same for single concepts, largest excess first."),
)  # fmt: skip


def sections(
    tables: dict[str, pd.DataFrame], which: Sequence[tuple[str, str, str]]
) -> list[dict[str, Any]]:
    """Those tables of a run that it has, with title and caption.

    Args:
        tables: by name, as `read_tables` gives them.
        which: name, title and caption of each.
    """
    found = []
    for name, title, caption in which:
        table = tables.get(name)
        if table is None:
            continue
        if len(table) > MOST_ROWS:
            caption += f" The first {MOST_ROWS} of {len(table)} rows; tables/{name}.csv has all."
        found.append({"title": title, "caption": caption, "table": table_of(table.head(MOST_ROWS))})
    return found
