"""Tables of a report beside its figures: which are shown, and what their captions say."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from conceptlab.views.report.cells import table_of

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
EFFECTS = (
    ("tcav", "TCAV",
     "For each class and concept: score, magnitude, effect against random sets in standard "
     "deviations, p-value and the same after Holm's correction, 95 % interval of the score, and "
     "the accuracy of the CAV on held-out images. Vectors of the probes are tested against the "
     "same random vectors."),
    ("family_correlations", "Rank correlations of the families",
     "Spearman's correlation over concepts between what is encoded (segmentation and "
     "classification), used (TCAV), contributing (basis decomposition) and lost by erasure."),
    ("decomposed_classes", "Classes and how much of them concepts explain",
     "The share of a class's vector that the concepts of its basis make up, and the mean size of "
     "what a linear reading of the network misses; where that is as large as the logit, the "
     "contributions say little."),
    ("decomposition", "Basis decomposition",
     "Contributions to the mean logit of each class's pictures; they add up to it."),
    ("erasure", "Erasure",
     "What happens to each class when a concept's direction is taken out of the layer, or its top "
     "units are set to their mean, against controls of equal size."),
    ("erased_probe", "The probe after erasure",
     "Accuracy on held-out images of the concept's own vector before and after its direction is "
     "taken out, and of classifiers that are learned anew on what is left."),
)  # fmt: skip
LOOK = (
    ("images", "Images by optimisation",
     "What each image was made for, the value it began with and the one that it reaches, and the "
     "highest value of any picture of the data set."),
    ("fields", "Empirical receptive fields",
     "The side, in pixels of the input, of the part of the picture that a unit looks at, found by "
     "covering parts of the images in which it is most active; beside it the field that its "
     "architecture allows."),
    ("atlas_comparison", "Atlases of two layers or networks",
     "How alike two atlases part the same images into cells: mutual information adjusted for "
     "chance, 0 by chance and 1 where they part them alike, and the share of random pairings of "
     "the images that give as much."),
    ("atlas_classes", "Two classes in one atlas",
     "Mean attribution of each cell to either class, and their difference."),
    ("cells", "Cells of the atlases",
     "How many vectors and images each cell holds, the class that it speaks for most (mean of "
     "activation times gradient of the logit), and the concept that it shows most, in standard "
     "deviations over all vectors."),
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
