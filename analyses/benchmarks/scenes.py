"""How often probes do at least as well as the best unit, on `scenes` with every trained network.

The share of concepts over all listed layers of a network, on val, and by layer. Prints one
JSON line per network and task.
"""

import argparse
import json

import numpy as np

import conceptlab as cl
from conceptlab.probes.base import TOO_FEW
from conceptlab.probes.classification import accuracies
from conceptlab.probes.pixels import pair_counts

LAYERS = {
    "scenenet": ["features.8", "features.14", "features.17"],
    "sceneres": ["stages.0", "stages.1", "stages.2"],
    "scenenet-rotation": ["features.8", "features.14", "features.17"],
}


def compare(acts: cl.Activations, data: cl.ProbeDataset) -> dict[str, list[bool]]:
    units = pair_counts(cl.dissect(acts, data).vectors, acts, data, "val").table()
    segment = cl.SegmentationProbe().fit(acts, data)
    table = segment.score(acts, data)
    counted = (segment.vectors.concepts["note"] != TOO_FEW) & (table["n"] > 0)
    classify = cl.ClassificationProbe().fit(acts, data)
    accuracy = classify.score(acts, data)["accuracy"]
    best = accuracies(classify.best_units(acts, data), acts, data)["accuracy"]
    return {
        "segment": (table["iou_set"] >= units["iou_set"])[counted].tolist(),
        "classify": (accuracy >= best)[accuracy.notna()].tolist(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="scenes:n=1000")
    parser.add_argument("--cache", default="cache")
    options = parser.parse_args()
    cl.keep_freed_memory()
    data = cl.load_data(options.data)
    for name, layers in LAYERS.items():
        model = cl.load_model(f"builtin:{name}")
        found = {
            layer: compare(acts, data)
            for layer, acts in cl.extract(model, data, layers, options.cache).items()
        }
        for task in ("segment", "classify"):
            every = [flag for parts in found.values() for flag in parts[task]]
            print(json.dumps({
                "figure": f"{name}, {task}: share of concepts with probe >= best unit",
                "share": round(float(np.mean(every)), 4), "target": 0.95,
                "met": bool(np.mean(every) >= 0.95),
                "by_layer": {k: round(float(np.mean(v[task])), 3) for k, v in found.items()},
            }))  # fmt: skip


if __name__ == "__main__":
    main()
