"""Table 1: for how many concepts the probe is at least as good as the best single unit.

python analyses/net2vec/table1.py RUN [--out DIR]
"""

from common import Run, main


def work(run: Run, _: object) -> None:
    run.write("table1", run.table("summary"))
    run.draw_table("table1", run.table("summary"))


main(__doc__, work)
