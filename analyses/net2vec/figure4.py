"""Figure 4: one unit that is the best for several concepts.

    python analyses/net2vec/figure4.py RUN [--out DIR]

Of the layers that have example pictures, the unit that is the best one for most concepts, with the
examples of its concepts at the upper deciles: labels, unit and probe below one another.
"""

from common import Run, main

import conceptlab as cl
from conceptlab.errors import InputError
from conceptlab.views.overlay import open_picture, stack, strip, upright

SHOWN, DECILES = 4, 5


def work(run: Run, _: object) -> None:
    concepts = run.table("concepts")
    counted = cl.concepts_per_unit(concepts[concepts["task"] == "segment"])
    examples = run.examples[run.examples["kind"] == "decile"]
    places = examples[["model", "layer"]].drop_duplicates()
    counted = counted.merge(places, on=["model", "layer"])
    if not len(counted):
        raise InputError(f"{run.path} has no example pictures: run a whole study")
    unit = counted.sort_values("concepts", ascending=False, kind="stable").iloc[0]
    own = concepts[
        (concepts["model"] == unit["model"]) & (concepts["layer"] == unit["layer"])
        & (concepts["task"] == "segment") & (concepts["best_unit"] == unit["unit"])
    ].sort_values("best_unit_score", ascending=False, kind="stable")  # fmt: skip
    columns = ["model", "layer", "best_unit", "concept", "category", "best_unit_score",
               "probe_score"]  # fmt: skip
    run.write("figure4", own[columns])
    parts = []
    for name in own["concept"]:
        rows = examples[
            (examples["model"] == unit["model"]) & (examples["layer"] == unit["layer"])
            & (examples["concept"] == name)
        ].sort_values("decile", ascending=False, kind="stable").head(DECILES)  # fmt: skip
        if len(rows) and len(parts) < SHOWN:
            captions = [f"unit {unit['unit']}: {name}", *[""] * (len(rows) - 1)]
            parts.append(strip([upright(open_picture(p)) for p in rows["file"]], captions))
    if parts:
        path = run.out / "figure4.png"
        stack(parts).save(path)
        print(path)


main(__doc__, work)
