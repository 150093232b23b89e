"""Figure 7: the whole distribution of IoU_ind, best unit and probe, with the share of zeros.

python analyses/net2vec/figure7.py RUN [--out DIR]
"""

from common import Run, main

import conceptlab as cl


def work(run: Run, _: object) -> None:
    run.write("figure7", cl.iou_distribution(run.table("per_image")))
    run.draw_planned("figure7")


main(__doc__, work)
