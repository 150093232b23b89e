"""Table 2: the nearest concepts in segmentation and classification space, side by side.

    python analyses/net2vec/table2.py RUN [--out DIR] [--concepts NAME ...]

table2.csv: columns model, layer, concept, rank, and the neighbours with their cosines in both
spaces. table2-MODEL-LAYER.png: those of one layer.
"""

import pandas as pd
from common import Run, chosen_concepts, main, name_of, of, pick_concepts
from pictures import table_figure

from conceptlab.analysis.vectors.neighbours import nearest_table
from conceptlab.vectors import ConceptVectors


def make(run: Run) -> None:
    parts = []
    for place in run.layers():
        segment, classify = (run.vectors(place, task) for task in ("segment", "classify"))
        names = chosen_concepts(run, ranked(of(run.scores("segment"), place), segment, classify))
        table = nearest_table(segment, classify, names)
        for concept in table.columns.unique("concept"):
            part = table[concept].reset_index()
            parts.append(part.assign(model=place[0], layer=place[1], concept=concept))
        cells = table.set_axis(["\n".join(c) for c in table.columns], axis=1).reset_index()
        title = f"Nearest concepts by cosine: {place[0]}, {place[1]}"
        run.draw(f"table2-{name_of(place)}", table_figure(cells, title))
    columns = ["model", "layer", "concept", "rank", "segmentation", "classification"]
    run.write("table2", pd.concat(parts)[columns])


def ranked(scores: pd.DataFrame, segment: ConceptVectors, classify: ConceptVectors) -> list[str]:
    """Concepts with a vector in both spaces before others, higher scores of the probe first."""
    score = scores.set_index("concept")["probe_score"]
    known = [{n for n, u in zip(v.names, v.usable, strict=True) if u} for v in (segment, classify)]
    every = [name for name in segment.names if name in known[0] | known[1]]
    both = known[0] & known[1]
    return sorted(every, key=lambda name: (name not in both, -score.get(name, 0.0)))


if __name__ == "__main__":
    main(
        __doc__, make, pick_concepts(5, "that the probe segments best, of those with both vectors")
    )
