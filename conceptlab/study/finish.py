"""What stands at the end of a run: tables, comparisons, manifest, figures and the report."""

import importlib.metadata
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from conceptlab.activations.store import Activations
from conceptlab.study.comparison import ALL, make_comparison, write_zoom
from conceptlab.study.folder import RunFolder
from conceptlab.study.settings import Study
from conceptlab.study.space import write_space
from conceptlab.study.tables import concept_table, load_vectors, write_tables

if TYPE_CHECKING:
    from conceptlab.data.base import ProbeDataset

LIBRARIES = ("conceptlab", "torch", "torchvision", "numpy", "pandas", "h5py", "numba", "Pillow")


def finish(
    run: RunFolder, study: Study, data: "ProbeDataset", models: Sequence[dict[str, Any]]
) -> Path:
    """Put tables, comparisons, manifest, figures and the report of a run folder together."""
    for model in models:
        run.asked |= model.pop("asked")
        run.unmade |= model.pop("unmade")
    run.models = [str(model["name"]) for model in models]
    run.keep_asked()
    others = run.forget_figures()
    write_tables(run, study)
    loaded = load_vectors(run)
    layers = {
        (str(model["name"]), layer): Activations(path)
        for model in models
        for layer, path in model.pop("files").items()
    }
    concepts = concept_table(run)
    with run.part(ALL, ALL, "compare"):
        make_comparison(run, study, loaded, layers)
    with run.part(ALL, ALL, "zoom"):
        write_zoom(run, study, loaded, concepts)
    with run.part(ALL, ALL, "projection"):
        write_space(run, concepts, loaded, study.seed)
    run.forget_tables()
    run.write_json("manifest.json", manifest(run, study, data, models))
    report = draw(run)
    run.note_figures(others)
    return report


def draw(run: RunFolder) -> Path:
    """Draw the figures and the report of what is in a run folder; what fails is named there."""
    from conceptlab.views.report.report import write_report

    draw_figures(run)
    known = len(run.unmade)
    report = write_report(run.path, partial(run.part, ALL, ALL))
    if len(run.unmade) > known:  # a section: the page is to say so
        run.write_unmade()
        report = write_report(run.path, partial(run.part, ALL, ALL))
    return report


def draw_figures(run: RunFolder) -> None:
    """Draw the figures that a run folder's tables allow; one that fails leaves the others."""
    from conceptlab.views.figures.planned import write_figures

    write_figures(run.path, partial(run.part, ALL, ALL))
    run.write_unmade()


def manifest(
    run: RunFolder, study: Study, data: "ProbeDataset", models: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Versions, fingerprints, seeds, and the seconds and peak memory of every step."""
    prints = data.fingerprints()
    return {
        "versions": {name: importlib.metadata.version(name) for name in LIBRARIES},
        "seed": study.seed,
        "data": {
            "spec": study.data.spec,
            "name": data.name,
            "fingerprint": prints.pictures,
            "label_fingerprint": prints.labels,
            "images": len(data),
            "splits": {str(k): int(v) for k, v in pd.Series(data.splits).value_counts().items()},
            "concepts": len(data.catalogue),
        },
        "models": list(models),
        "steps": {
            f"{r['model']} {r['layer']} {r['step']}": {
                k: r[k] for k in ("key", "seconds", "peak_memory_mb", "finished")
            }
            for r in run.records()
        },
    }
