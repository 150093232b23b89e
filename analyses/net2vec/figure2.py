"""Figure 2: mean score of each category along the layers, of probes and of best units.

    python analyses/net2vec/figure2.py RUN [--out DIR]

figure2.csv: columns model, layer, task, category, concepts, and mean and standard error of both.
figure2-MODEL.png: segmentation above, classification below; probes at the left, units at the right.
"""

from common import Run, by_category, main


def make(run: Run) -> None:
    concepts = run.table("concepts")
    run.write("figure2", by_category(concepts))
    run.draw_planned("figure2", concepts=concepts)


if __name__ == "__main__":
    main(__doc__, make)
