"""Figure 8: an example at each decile of IoU_ind: labels, best unit and probe.

python analyses/net2vec/figure8.py RUN [--out DIR]
"""

from common import Run, main


def work(run: Run, _: object) -> None:
    run.draw_mosaics("figure8")
    rows = run.examples[run.examples["kind"] == "decile"]
    columns = ["model", "layer", "concept", "category", "decile", "image", "unit", "iou_unit",
               "iou_probe"]  # fmt: skip
    run.write("figure8", rows[columns])


main(__doc__, work)
