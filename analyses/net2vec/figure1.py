"""Figure 1: the images in which the best units are most active are diverse.

python analyses/net2vec/figure1.py RUN [--out DIR]
"""

from common import Run, main


def work(run: Run, _: object) -> None:
    run.draw_mosaics("figure1")
    rows = run.examples[run.examples["kind"] == "top"]
    columns = ["model", "layer", "unit", "concept", "category", "rank", "image", "iou_unit"]
    run.write("figure1", rows[columns])


main(__doc__, work)
