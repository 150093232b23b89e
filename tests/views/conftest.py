"""A run folder as a study writes it, small and made by hand."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from conceptlab.analysis.effects.families import concept_families, family_correlations
from conceptlab.analysis.units.overlap import iou_distribution
from conceptlab.analysis.units.saturation import saturation

HOSTILE = "<script>alert(1)</script>"
CONCEPTS = {
    "object/mountain": "object", "color/mountain": "color", HOSTILE: "object", "$x_1$": "part",
    "nan": "part", "red": "color", "wheel": "part", "tree": "object", "rare": "object",
}  # fmt: skip
LAYERS = (("net", "conv.1"), ("net", "conv.2"), ("other", "block"))
UNITS = 8
SIZES = (1, 2, 4)
FEW = "too few examples"


def _concepts(rng):
    rows = []
    for model, layer in LAYERS:
        for task in ("segment", "classify"):
            for place, (concept, category) in enumerate(CONCEPTS.items()):
                probe = round(float(rng.uniform(0.3, 0.9)), 3)
                unit = round(probe * 0.5, 3)
                known = {
                    "n_train": 40 + place, "n_val": 20, "best_unit": place % 3,
                    "best_unit_score": unit, "probe_score": probe, "train_score": probe,
                    "unit_low": unit - 0.02, "unit_high": unit + 0.02, "probe_low": probe - 0.1,
                    "probe_high": probe + 0.1, "chance_score": 0.01, "shuffled_score": 0.05,
                    "untrained_score": 0.1, "untrained_unit_score": 0.02, "note": "",
                }  # fmt: skip
                if task == "segment":
                    known |= {"iou_ind": probe, "unit_iou_ind": unit, "position_score": 0.2}
                    known |= {"colour_score": 0.15, "plain_score": 0.25}
                if concept == "rare":
                    known = {"n_train": 3, "n_val": 1, "best_unit": -1, "note": FEW}
                rows.append(
                    {"model": model, "layer": layer, "task": task, "concept": concept,
                     "category": category, **known}
                )  # fmt: skip
    return pd.DataFrame(rows)


def _summary(concepts):
    rows = []
    for (model, layer, task), own in concepts.groupby(["model", "layer", "task"], sort=False):
        known = own.dropna(subset=["probe_score"])
        rows.append(
            {"model": model, "layer": layer, "task": task, "n_concepts": len(known),
             "share_better": 0.6, "share_tied": 0.3, "share_worse": 0.1,
              "mean_unit": known["best_unit_score"].mean(),
             "mean_probe": known["probe_score"].mean(), "too_few": len(own) - len(known)}
        )  # fmt: skip
    return pd.DataFrame(rows)


def _per_image(rng):
    rows = [
        {"model": model, "layer": layer, "image": f"val/{image:03d}", "concept": concept,
         "category": category, "iou_probe": float(rng.choice([0.0, 0.3, 0.6])),
         "iou_unit": float(rng.choice([0.0, 0.1]))}
        for model, layer in LAYERS
        for concept, category in CONCEPTS.items()
        if concept != "rare"
        for image in range(12)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def _by_layer(make):
    """Rows of `make(task)` for every layer and task."""
    return pd.DataFrame(
        [
            {"model": model, "layer": layer, "task": task, **row}
            for model, layer in LAYERS
            for task in ("segment", "classify")
            for row in make()
        ]
    )


def _nearest():
    names = [c for c in CONCEPTS if c != "rare"]
    return [
        {"concept": c, "rank": rank, "neighbour": other, "cosine": 0.9 / rank}
        for c in names
        for rank, other in enumerate([n for n in names if n != c][:5], start=1)
    ]


def _distances():
    rows = [
        {"task": task, "concepts": 8, "distance": 10.0 * abs(i - j), "model_i": mine[0],
         "layer_i": mine[1], "model_j": other[0], "layer_j": other[1]}
        for task in ("segment", "classify")
        for i, mine in enumerate(LAYERS)
        for j, other in enumerate(LAYERS)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def _overlap(rng):
    """What `study.overlaps` writes, with numbers of no meaning."""
    names = [(c, k) for c, k in CONCEPTS.items() if c != "rare"]

    def each(rows):
        made = [{"model": m, "layer": n, **row} for m, n in LAYERS for row in rows()]
        return pd.DataFrame(made)

    return {
        "agreement_by_layer": each(
            lambda: [{"concepts": 8, "mean_r": 0.4, "share": 0.7, "share_holm": 0.5,
                      "share_bh": 0.6, "alpha": 0.01}]
        ),
        "unit_shares": each(
            lambda: [
                {"concept": c, "category": k, "unit": u, "weight": 0.5, "share_weight": 0.2,
                 "iou": 0.1, "share_iou": 0.4}
                for c, k in names for u in range(3)
            ]
        ),
        "packing": each(
            lambda: [
                {"unit": u, "packed": u, "names": ", ".join([HOSTILE, "red"][:u]), "r2": 0.3,
                 "r2_val": 0.2, "chance": 0.0}
                for u in range(3)
            ]
        ),
        "pinned": each(
            lambda: [
                {"task": t, "concept": c, "category": k, "n_train": 20,
                 "reliability": float(r := rng.random()), "cosine": 0.8, "low": 0.5,
                 "told_apart": 1.0, "pinned": r > 0.5}
                for t in ("segment", "classify") for c, k in names
            ]
        ),
    }  # fmt: skip


def _pairs():
    """What `study.comparison` writes: measures, and a zoom between two networks."""
    measures = [
        {"task": task, "model_i": LAYERS[i][0], "layer_i": LAYERS[i][1], "model_j": LAYERS[j][0],
         "layer_j": LAYERS[j][1], "measure": measure, "value": 0.2 * (i + j), "low": 0.1,
         "high": 0.9, "p_value": 0.01 * (1 + 9 * (i == 0)), "items": 8, "over": "concepts",
         "draws": 200}
        for task in ("segment", "classify", "activations")
        for measure in ("rsa-spearman", "cka-debiased")
        for i in range(len(LAYERS)) for j in range(i + 1, len(LAYERS))
    ]  # fmt: skip
    zoom = {"i": "net block", "j": "other block", "runs_i": 2, "runs_j": 2, "between": 3.0,
            "within": 1.0, "excess": 2.0, "p_value": 0.01, "p_adjusted": 0.02,
            "test": "concepts"}  # fmt: skip
    tasks = [{"task": task, **zoom} for task in ("segment", "classify")]
    plane = [
        {"model": "net", "layer": "block", "task": "segment", "method": "tsne",
         "trustworthiness": 0.9, "concept": c, "category": k, "x": float(i), "y": float(i % 3),
         "cluster": i % 2, "stability": 0.8}
        for i, (c, k) in enumerate(CONCEPTS.items())
    ]  # fmt: skip
    return {
        "projection": pd.DataFrame(plane),
        "comparison": pd.DataFrame(measures),
        "zoom": pd.DataFrame(tasks).assign(concepts=8),
        "zoom_by_category": pd.DataFrame(tasks).assign(category="object", concepts=5),
        "zoom_by_concept": pd.DataFrame(
            [{**row, "concept": c, "category": k} for row in tasks for c, k in CONCEPTS.items()]
        ),
    }


def _effects(rng):
    """What `study.effects` writes: the families, and their tables, of two layers and classes."""
    named = [(c, k) for c, k in CONCEPTS.items() if c != "rare"]
    every = [
        {"model": m, "layer": n, "class": name, "concept": c, "category": k,
         "note": "no better than chance" if c == "wheel" else ""}
        for m, n in LAYERS[1:] for name in ("<b>first</b>", "second") for c, k in named
    ]  # fmt: skip
    base = pd.DataFrame(every)
    size = len(base)
    effect, chance = rng.normal(0, 4, size), rng.choice([0.01, 0.4], size)
    tcav = base.assign(
        kind="cav", score=rng.random(size), magnitude=0.5, sensitivity=0.1, effect=effect,
        p_value=chance / 2, p_adjusted=chance, low=0.2, high=0.8, n=9, accuracy=0.8, stability=0.7,
    )  # fmt: skip
    parts = base.assign(coefficient=0.3, contribution=rng.random(size), share=0.1, low=0.0,
                        high=1.0, n=9)  # fmt: skip
    rests = parts.drop_duplicates(["model", "class"]).assign(concept="residual", category="")
    change = -np.sign(effect) * 0.8
    erasure = base.assign(
        logit_change=change, random_change=0.0, effect=change, p_value=chance, p_adjusted=chance,
        accuracy_before=1.0, accuracy_after=0.5, n=9,
    )  # fmt: skip
    probe = base.drop_duplicates(["model", "concept"]).drop(columns=["class", "note"])
    classes = base.drop_duplicates(["model", "class"])[["model", "layer", "class"]]
    tables = {
        "tcav": tcav,
        "decomposition": pd.concat([parts, rests]),
        "erasure": pd.concat([erasure.assign(ablation=a) for a in ("direction", "units")]),
        "erased_probe": probe.assign(accuracy_before=0.9, accuracy_after=0.5, accuracy_refit=0.8),
        "cavs": probe.rename(columns={"concept": "name"}).assign(
            examples=20, accuracy=0.8, chance=False, stability=0.7, note=""
        ),
        "decomposed_classes": classes.assign(
            n=9, logit=4.0, explained=0.3, completeness_error=0.1, accuracy=1.0
        ),
        "decomposed_pictures": classes.assign(picture="row.png"),
    }
    scores = base.drop_duplicates(["model", "layer", "concept"]).assign(
        task="segment", probe_score=lambda t: np.linspace(0.1, 0.6, len(t))
    )
    families = concept_families(scores, tcav, tables["decomposition"], tables["erasure"])
    return tables | {"families": families, "family_correlations": family_correlations(families)}


def _detectors():
    return pd.DataFrame(
        [
            {"model": model, "layer": layer, "category": category, "detectors": 7,
             "unique_detectors": 4, "rule": rule, "threshold": 0.04}
            for model, layer in LAYERS
            for rule in ("every-category", "best-label")
            for category in ("object", "part", "color")
        ]
    )  # fmt: skip


def _looks():
    """What the steps of a study show of layers, with numbers of no meaning."""
    at = [{"model": m, "layer": n} for m, n in LAYERS]
    units = [{**a, "unit": u} for a in at for u in range(4)]
    cells = [
        {**a, "focus": focus, "resolution": side, "row": place, "column": 0, "x": 0.1, "y": 0.2,
         "n": 5, "images": 4, "class": HOSTILE, "attribution": 0.3, "concept": "nan", "score": 2.0}
        for a in at[:1] for focus in ("", HOSTILE) for side in (2, 4) for place in range(side)
    ]  # fmt: skip
    shown = [
        {**a, "kind": kind, "title": f"{kind} of {HOSTILE}", "caption": "What it shows.",
         "picture": "row.png"}
        for a in [*at, {"model": "net", "layer": "all"}] for kind in ("exemplars-top", "optimised")
    ]  # fmt: skip
    tables = {
        "exemplars": [
            {**u, "target": f"unit {u['unit']}", "rank": 1, "image": "val/000", "value": 1.0,
             "share": 1.0, "y": 0, "x": 0, "way": "top"}
            for u in units
        ],
        "fields": [
            {**u, "target": f"unit {u['unit']}", "field_px": 9.0, "theoretical_px": 15.0,
             "images": 3}
            for u in units
        ],
        "images": [
            {**u, "objective": f"unit {u['unit']}", "start": 0.1, "value": 2.0,
             "best": 0.7 * (u["unit"] + 0.5), "note": "", "kind": "optimised", "picture": "row.png"}
            for u in units
        ],
        "polysemanticity": [
            {**u, "exemplars": 20, "clusters": u["unit"] % 3, "similarity": 0.5, "largest": 0.7,
             "p_value": 0.01, "packed": 2, "names": HOSTILE}
            for u in units
        ],
        "polysemanticity_members": [
            {**u, "rank": rank, "image": "val/000", "row": 0, "y": 0, "x": 0, "value": 1.0,
             "cluster": rank % 2, "picture": "row.png", "share": 0.5}
            for u in units for rank in (1, 2)
        ],
        "polysemanticity_pictures": [{**u, "picture": "row.png"} for u in units],
        "pictures": shown,
        "cells": cells,
        "atlas_classes": [
            {**at[0], "class_a": HOSTILE, "class_b": "b", "resolution": 2, "row": 0, "column": 0,
             "n": 5, "a": 0.1, "b": 0.2, "difference": -0.1}
        ],
        "atlas_comparison": [
            {"model_i": "net", "layer_i": "conv.1", "model_j": "net", "layer_j": "conv.2",
             "resolution": 2, "images": 9, "adjusted": 0.4, "p_value": 0.005}
        ],
    }  # fmt: skip
    return {name: pd.DataFrame(rows) for name, rows in tables.items()}


def _examples(folder):
    rows = []
    for model, layer in LAYERS[1:]:
        where = Path("examples") / model / layer
        (folder / where).mkdir(parents=True)
        for concept, category in list(CONCEPTS.items())[:3]:
            for decile in (1, 5, 10):
                rows.append(
                    {"kind": "decile", "concept": concept, "category": category, "unit": 2,
                     "decile": decile, "rank": 0, "iou_unit": 0.1, "iou_probe": 0.3}
                )  # fmt: skip
        for rank in (1, 2):
            rows.append(
                {"kind": "top", "concept": HOSTILE, "category": "object", "unit": 2, "decile": 0,
                 "rank": rank, "iou_unit": 0.4, "iou_probe": None}
            )  # fmt: skip
        for place, row in enumerate(r for r in rows if "model" not in r):
            sides = 3 if row["kind"] == "decile" else 1
            picture = where / f"{row['kind']}-{place:02d}.jpg"
            Image.new("RGB", (16 * sides, 16), (10 * place, 80, 120)).save(folder / picture)
            row |= {"model": model, "layer": layer, "image": f"val/{place:03d}",
                    "picture": picture.as_posix()}  # fmt: skip
    (folder / "examples" / "index.json").write_text(json.dumps(rows), encoding="utf-8")


def _manifest():
    models = [
        {"name": m, "spec": f"builtin:{m}", "fingerprint": "f" * 64,
         "layers": [n for o, n in LAYERS if o == m]}
        for m in ("net", "other")
    ]  # fmt: skip
    step = {"key": "k", "seconds": 1.5, "peak_memory_mb": 900.0, "finished": "2026-01-01T00:00:00"}
    return {
        "versions": {"conceptlab": "0.1.0"}, "seed": 0, "models": models,
        "data": {"spec": "scenes:n=80", "fingerprint": "d" * 64, "images": 80, "concepts": 9,
                 "splits": {"train": 60, "val": 20}},
        "steps": {"net conv.1 dissect": step},
    }  # fmt: skip


def write_run(folder):
    """Write the folder; numbers are drawn once and for all."""
    rng = np.random.default_rng(0)
    concepts = _concepts(rng)
    units = pd.DataFrame(
        [
            {"model": m, "layer": n, "unit": u, "concept": c, "category": k, "iou_train": 0.1,
             "iou_val": 0.1, "threshold": 1.0}
            for m, n in LAYERS for u in range(UNITS) for c, k in CONCEPTS.items()
        ]
    )  # fmt: skip
    subsets = _by_layer(
        lambda: [
            {"concept": c, "category": k, "units": f, "score": 0.1 * f}
            for c, k in CONCEPTS.items() if c != "rare" for f in SIZES
        ]
    )  # fmt: skip
    sums = [{"rank": r, "concept": HOSTILE, "cosine": 0.5, "plus": "tree", "minus": "red"}
            for r in (1, 2)]  # fmt: skip
    parts = _distances().drop(columns="concepts").assign(category="object")
    per_image = _per_image(rng)
    tables = {
        "concepts": concepts, "summary": _summary(concepts), "per_image": per_image,
        "units": units, "subsets": subsets, "nearest": _by_layer(_nearest),
        "arithmetic": _by_layer(lambda: sums), "detectors": _detectors(),
        "distances": _distances(), "distances_by_category": parts,
        "saturation": saturation(subsets),
        "distributions": iou_distribution(per_image), **_overlap(rng), **_pairs(),
        **_effects(rng), **_looks(),
    }  # fmt: skip
    (folder / "tables").mkdir(parents=True)
    for name, table in tables.items():
        table.to_csv(folder / "tables" / f"{name}.csv", index=False, float_format="%.6g")
    _examples(folder)
    Image.new("RGB", (40, 12), "red").save(folder / "row.png")
    (folder / "manifest.json").write_text(json.dumps(_manifest()), encoding="utf-8")
    (folder / "study.toml").write_text('name = "by <b>hand</b>"\n', encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The run folder; tests read it and write nothing."""
    return write_run(tmp_path_factory.mktemp("views") / "run")


@pytest.fixture
def run(finished, tmp_path):
    """A copy of the run folder that a test may damage."""
    return Path(shutil.copytree(finished, tmp_path / "run"))
