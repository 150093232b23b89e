"""How long dissection and the probes take against a bare forward pass, and how well they do.

CamVid with colours, SqueezeNet features.12, labels 112 x 112. "Forward" as in extraction.py. Every
round times the forward pass before and after each job, and a ratio is taken within the round. The
first call of each job, which compiles, is not counted; label maps have been brought to size before.
Prints one JSON line per figure.
"""

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from extraction import LAYER, SHARED, report, seconds
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import conceptlab as cl
from conceptlab.activations.cache import derived_path
from conceptlab.activations.labels import label_store
from conceptlab.models.watch import watch
from conceptlab.probes.classification import accuracies
from conceptlab.probes.segmentation.problem import pair_counts
from conceptlab.probes.subsets import largest, unit_ranking
from conceptlab.study.settings import CLASSIFY_SIZES


def forward_of(model: cl.ProbedModel, data: cl.ProbeDataset) -> Callable[[], None]:
    rows = range(0, len(data), 32)
    batches = [
        model.prepare([data.image(i) for i in range(r, min(r + 32, len(data)))]) for r in rows
    ]

    def forward() -> None:
        with torch.inference_mode(), watch(model.module, [LAYER], lambda *_: None) as run:
            for batch in batches:
                run(batch)

    return forward


def scikit_learn(
    acts: cl.Activations, data: cl.ProbeDataset, probe: cl.ClassificationProbe
) -> None:
    """The same fits, one at a time: every concept on all units and on every subset."""
    store = label_store(acts, data)
    rows = acts.rows("train")
    x = acts.pooled[rows]
    ranking = unit_ranking(probe.vectors, acts)
    for c in np.flatnonzero(probe.vectors.usable):
        y = store.shown_native[rows, c]
        for size in (*CLASSIFY_SIZES, x.shape[1]):
            own = x[:, ranking[c, :size]]
            model = LogisticRegression(class_weight="balanced", max_iter=300)
            make_pipeline(StandardScaler(), model).fit(own, y)


def nearly_one_hot(vectors: cl.ConceptVectors) -> float:
    """The share of vectors spread over fewer than 1.5 units: (sum |w|)^2 / sum w^2."""
    size = np.abs(vectors.weights[vectors.usable])
    spread = size.sum(axis=1) ** 2 / (size**2).sum(axis=1)
    return round(float((spread < 1.5).mean()), 4)


def share(better: np.ndarray, counted: np.ndarray) -> float:
    return round(float(better[counted].mean()), 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    cl.keep_freed_memory()
    data = cl.load_data(f"folder:{SHARED / 'camvid'},colors=true")
    model = cl.load_model(
        "torchvision:squeezenet1_0", weights=str(SHARED / "squeezenet1_0_imagenet.safetensors")
    )
    forward = forward_of(model, data)
    forward()
    with tempfile.TemporaryDirectory() as folder:
        acts = cl.extract(model, data, [LAYER], folder)[LAYER]
        print(json.dumps({"figure": "label maps to size / forward", "ratio": round(
            seconds(lambda: label_store(acts, data)) / seconds(forward), 3)}))  # fmt: skip
        measure(acts, data, forward, options.runs)


def measure(
    acts: cl.Activations, data: cl.ProbeDataset, forward: Callable[[], None], runs: int
) -> None:
    made: dict[str, object] = {}

    def keep(name: str, make: Callable[[], object]) -> Callable[[], None]:
        def job() -> None:
            made[name] = make()

        return job

    def dissect() -> object:
        derived_path(Path(acts.path)).unlink(missing_ok=True)  # thresholds are part of the job
        return cl.dissect(acts, data)

    def classify() -> object:
        probe = cl.ClassificationProbe().fit(acts, data)
        ranking = unit_ranking(probe.vectors, acts)
        for size in CLASSIFY_SIZES:
            probe.refit(acts, data, largest(ranking, size))
        return probe

    jobs: list[tuple[str, float, Callable[[], None]]] = [
        ("thresholds and IoU of all units", 0.10, keep("units", dissect)),
        ("segmentation, the paper's 30 epochs", 1.5,
         keep("paper", lambda: cl.SegmentationProbe("net2vec").fit(acts, data))),
        ("segmentation, default", 1.5,
         keep("segment", lambda: cl.SegmentationProbe().fit(acts, data))),
        ("segmentation, units not thresholded", 2.0,
         keep("raw", lambda: cl.SegmentationProbe(inputs="raw").fit(acts, data))),
        ("classification and all subsets", 0.2, keep("classify", classify)),
    ]  # fmt: skip
    for name, target, job in jobs:
        job()
        ratios = []
        for _ in range(runs):
            before, spent = seconds(forward), seconds(job)
            ratios.append(2 * spent / (before + seconds(forward)))
        report(f"{name} / forward", ratios, target)
    ours = [seconds(jobs[-1][2]) for _ in range(runs)]
    theirs = [seconds(lambda: scikit_learn(acts, data, made["classify"])) for _ in range(runs)]
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    report("classification and all subsets / LogisticRegression per concept", ratios, 1.0)
    quality(acts, data, made)


def quality(acts: cl.Activations, data: cl.ProbeDataset, made: dict[str, object]) -> None:
    units = pair_counts(made["units"].vectors, acts, data, "val").table()
    for name in ("segment", "raw", "paper"):
        table = made[name].score(acts, data, "val")
        counted = (table["n"] > 0).to_numpy() & table["iou_set"].notna().to_numpy()
        better = (table["iou_set"] >= units["iou_set"]).to_numpy()
        print(json.dumps({
            "figure": f"{name}: share of concepts with probe >= best unit, val",
            "share": share(better, counted), "concepts": int(counted.sum()),
            "mean_probe": round(float(table["iou_set"][counted].mean()), 4),
            "mean_unit": round(float(units["iou_set"][counted].mean()), 4),
            "nearly_one_hot": nearly_one_hot(made[name].vectors),
        }))  # fmt: skip
    probe = made["classify"]
    table = probe.score(acts, data, "test")
    best = accuracies(probe.best_units(acts, data), acts, data, "test")
    images = (acts.splits == "test").sum()
    counted = (
        (table["n"] >= 10) & (images - table["n"] >= 10) & table["accuracy"].notna()
    ).to_numpy()
    print(json.dumps({
        "figure": "classify: share of concepts with probe >= best unit, test",
        "share": share((table["accuracy"] >= best["accuracy"]).to_numpy(), counted),
        "concepts": int(counted.sum()),
        "mean_probe": round(float(table["accuracy"][counted].mean()), 4),
        "mean_unit": round(float(best["accuracy"][counted].mean()), 4),
        "nearly_one_hot": nearly_one_hot(probe.vectors),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
