"""Figure 7: the distribution of IoU_ind over images, of best units and of probes.

    python analyses/net2vec/figure7.py RUN [--out DIR] [--concepts NAME ...]

figure7.csv: of every layer and concept the share of zeros, mean, standard deviation and deciles of
the rest, and whether the probe is ahead (a sign test over images). figure7-MODEL.png: histograms
for some concepts. figure7-zeros-MODEL-LAYER.png: the share of images on which each is zero.
"""

import pandas as pd
from common import Run, chosen_concepts, main, name_of, of, pick_concepts

from conceptlab.analysis.units.overlap import iou_distribution
from conceptlab.views.plots.overlap import plot_zero_shares


def make(run: Run) -> None:
    per_image = run.table("per_image")
    distribution = iou_distribution(per_image)
    run.write("figure7", distribution)
    kept = []
    for place in run.layers():
        own = of(distribution, place)
        ranked = own.sort_values("images", ascending=False, kind="stable")["concept"]
        images = of(per_image, place)
        kept.append(images[images["concept"].isin(chosen_concepts(run, list(ranked)))])
        run.draw(f"figure7-zeros-{name_of(place)}", plot_zero_shares(own).figure)
    run.draw_planned("figure7", per_image=pd.concat(kept))


if __name__ == "__main__":
    main(__doc__, make, pick_concepts(6, "that most images show"))
