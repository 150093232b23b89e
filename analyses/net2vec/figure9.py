"""Figure 9: IoU_set of single units beside max(w, 0) in the probe.

    python analyses/net2vec/figure9.py RUN [--concept NAME ...] [--out DIR]

For each network in its layer whose probes score best; without --concept the six concepts with the
best probes. The shares of significant concepts are over all concepts of each layer.
"""

import argparse

import pandas as pd
from common import Run, main
from matplotlib.figure import Figure

import conceptlab as cl
from conceptlab.views.plots_overlap import plot_agreement, plot_agreement_by_layer

SHOWN, ACROSS = 6, 3


def work(run: Run, arguments: argparse.Namespace) -> None:
    units, concepts = run.table("units"), run.table("concepts")
    parts = []
    best = run.best("segment")
    for name, vectors in run.vectors("segment").items():
        at = units[units["model"] + " " + units["layer"] == name]
        if len(at) and vectors.usable.any():
            place = {"model": at["model"].iloc[0], "layer": at["layer"].iloc[0]}
            parts.append(cl.unit_agreement(vectors, at).assign(**place))
            if best.get(place["model"]) == place["layer"]:
                shares(run, vectors, at, concepts, arguments.concept)
    agreement = pd.concat(parts, ignore_index=True)
    run.write("figure9", agreement)
    layers = cl.agreement_by_layer(agreement)
    run.write("figure9-layers", layers)
    run.draw("figure9-layers", plot_agreement_by_layer(layers).figure)


def shares(
    run: Run, vectors: cl.ConceptVectors, units: pd.DataFrame, concepts: pd.DataFrame,
    chosen: list[str] | None,
) -> None:  # fmt: skip
    """Both measures of every unit's part, and a panel for each concept that is shown."""
    model, layer = units["model"].iloc[0], units["layer"].iloc[0]
    scores = concepts[
        (concepts["model"] == model) & (concepts["layer"] == layer)
        & (concepts["task"] == "segment")
    ].sort_values("probe_score", ascending=False, kind="stable")  # fmt: skip
    table = cl.unit_shares(vectors, units, scores)
    for name in chosen or []:
        vectors.index(name)  # an unknown one is refused with the nearest
    names = chosen or [n for n in scores["concept"] if n in set(table["concept"])][:SHOWN]
    run.write(f"figure9-{model}", table[table["concept"].isin(names)])
    rows = -(-len(names) // ACROSS)
    figure = Figure(figsize=(3.6 * min(ACROSS, len(names)), 2.8 * rows), layout="constrained")
    grid = figure.subplots(rows, min(ACROSS, len(names)), squeeze=False)
    for ax, name in zip(grid.flat, names, strict=False):
        plot_agreement(table, name, ax=ax)
    for ax in grid.flat[len(names) :]:
        ax.set_axis_off()
    run.draw(f"figure9-{model}", figure)


main(__doc__, work, [("--concept", {"action": "append", "help": "may be repeated"})])
