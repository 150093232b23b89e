"""Figure 9: each unit's IoU_set for a concept beside max(w, 0) in the concept's probe.

    python analyses/net2vec/figure9.py RUN [--out DIR] [--concepts NAME ...]

figure9.csv: the correlation over units of every layer and concept, its interval and p-values
(columns as `conceptlab.unit_agreement` gives them). figure9-layers.csv: the share of concepts with
p < 0.01, uncorrected as in the paper, and corrected. figure9-units.csv: of some concepts both
measures of every unit's part, |w_k| / ||w||_1 and the ratio of IoUs. figure9-MODEL-LAYER.png: these
concepts. figure9.png: the shares.
"""

from functools import partial
from typing import TYPE_CHECKING

import pandas as pd
from common import Run, chosen_concepts, main, name_of, of, pick_concepts

from conceptlab.analysis.units.overlap import agreement_by_layer, unit_agreement, unit_shares
from conceptlab.views.figures.panels import panels
from conceptlab.views.plots.overlap import plot_agreement

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def make(run: Run) -> None:
    units, scores = run.table("units"), run.scores("segment")
    places = scores[["model", "layer"]].drop_duplicates().itertuples(index=False, name=None)
    found = pd.concat(
        unit_agreement(run.vectors(at, "segment"), of(units, at)).assign(model=at[0], layer=at[1])
        for at in places
    )
    layers = agreement_by_layer(found)
    run.write("figure9", found)
    run.write("figure9-layers", layers)
    run.draw_planned("figure9", agreement_by_layer=layers)
    parts = []
    for at in run.layers():
        own = of(scores, at)
        names = chosen_concepts(run, list(own.nlargest(len(own), "probe_score")["concept"]))
        shares = unit_shares(run.vectors(at, "segment"), of(units, at), own)
        shares = shares[shares["concept"].isin(names)]
        parts.append(shares.assign(model=at[0], layer=at[1]))
        draws = [partial(draw, shares, name) for name in names]
        figure = panels(draws, min(3, len(draws)), (3.6, 2.7), one_legend=False)
        run.draw(f"figure9-{name_of(at)}", figure)
    run.write("figure9-units", pd.concat(parts))


def draw(shares: pd.DataFrame, concept: str, ax: "Axes") -> "Axes":
    return plot_agreement(shares, concept, ax=ax)


if __name__ == "__main__":
    main(__doc__, make, pick_concepts(6, "that the probe segments best"))
