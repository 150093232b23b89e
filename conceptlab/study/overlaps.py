"""The tables of a run that say how units and concepts overlap."""

import pandas as pd

from conceptlab.analysis.units.overlap import (
    agreement_by_layer,
    concepts_per_unit,
    iou_distribution,
    unit_agreement,
    unit_shares,
)
from conceptlab.analysis.units.saturation import concept_saturation, saturation
from conceptlab.errors import InputError
from conceptlab.study.folder import RunFolder
from conceptlab.study.frames import joined, labelled
from conceptlab.study.settings import MEASURE
from conceptlab.vectors import ConceptVectors

SHARES = 10  # units of each concept whose shares are listed
Loaded = dict[tuple[str, str, str], ConceptVectors]


def write_overlaps(run: RunFolder, concepts: pd.DataFrame, loaded: Loaded, seed: int) -> None:
    """Write the tables of overlap that a run's steps allow.

    Args:
        run: the run folder.
        concepts: its table of concepts.
        loaded: its vectors, by model, layer and task.
        seed: of permutations.
    """
    units, subsets = run.gather("dissect", "units"), subset_table(run)
    agreement, shares = _units_beside_probes(units, concepts, loaded, seed)
    run.table("agreement", agreement)
    run.table("agreement_by_layer", agreement_by_layer(agreement) if len(agreement) else agreement)
    run.table("unit_shares", shares)
    counted = concepts_per_unit(concepts, units if len(units) else None) if len(concepts) else units
    run.table("concepts_per_unit", counted)
    known = len(subsets) and subsets["score"].notna().any()
    run.table("saturation", saturation(subsets) if known else pd.DataFrame())
    run.table("concept_saturation", concept_saturation(subsets) if known else pd.DataFrame())
    run.table("packing", run.gather("pack", "units"))
    run.table("packed", run.gather("pack", "table"))
    run.table("pinned", run.gather("resample", "pinned"))


def distributions(per_image: pd.DataFrame) -> pd.DataFrame:
    """Of IoU_ind over the images of each concept; none where nothing was scored."""
    return iou_distribution(per_image) if len(per_image) else per_image


def subset_table(run: RunFolder) -> pd.DataFrame:
    """The scores of the best F units for each concept, and which measure they are of."""
    table = run.gather("subsets", "subsets")
    if len(table):
        table.insert(list(table.columns).index("task") + 1, "measure", table["task"].map(MEASURE))
    return table


def _units_beside_probes(
    units: pd.DataFrame, concepts: pd.DataFrame, loaded: Loaded, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Agreement of units and weights, and the largest shares, of every layer that has both."""
    agreement, shares = [], []
    groups = units.groupby(["model", "layer"], sort=False) if len(units) else []
    for (model, layer), own in groups:
        vectors = loaded.get((model, layer, "segment"))
        if vectors is None:
            continue
        at = {"model": model, "layer": layer}
        scored = concepts[
            (concepts["model"] == model) & (concepts["layer"] == layer)
            & (concepts["task"] == "segment")
        ]  # fmt: skip
        bare = own.drop(columns=["model", "layer"])
        try:
            agreement.append(labelled(unit_agreement(vectors, bare, seed=seed), at))
        except InputError:
            continue  # no concept has been learned
        every = unit_shares(vectors, bare, scored)
        largest = every.groupby("concept", sort=False)["share_weight"].rank(
            ascending=False, method="first"
        )
        shares.append(labelled(every[largest <= SHARES], at))
    return joined(agreement), joined(shares)
