"""How often probes are better than the best unit, and worse, on `scenes` with trained networks.

The shares of concepts over all listed layers of a network, on val, by a randomisation test at 5 %;
all other concepts are tied. Prints one JSON line per network and task.
"""

import argparse
import json

import numpy as np
import pandas as pd

import conceptlab as cl
from conceptlab.probes.classification import accuracies
from conceptlab.probes.paired import accuracy_differences, mask_differences
from conceptlab.probes.segmentation.problem import pair_counts

LAYERS = {
    "scenenet": ["features.8", "features.14", "features.17"],
    "sceneres": ["stages.0", "stages.1", "stages.2"],
    "scenenet-rotation": ["features.8", "features.14", "features.17"],
}


def compare(acts: cl.Activations, data: cl.ProbeDataset) -> dict[str, np.ndarray]:
    """1 for each concept whose probe is better, -1 where it is worse, 0 where no test tells."""
    units = pair_counts(cl.dissect(acts, data).vectors, acts, data, "val")
    segment = cl.SegmentationProbe().fit(acts, data)
    masks = segment.counts(acts, data)
    gain = masks.table()["iou_set"] - units.table()["iou_set"]
    sure = mask_differences(masks, units)
    classify = cl.ClassificationProbe().fit(acts, data)
    accuracy = classify.score(acts, data)["accuracy"]
    single = classify.best_units(acts, data)
    more = accuracy - accuracies(single, acts, data)["accuracy"]
    known = accuracy_differences(classify.vectors, single, acts, data, "val")
    return {"segment": told(gain, sure), "classify": told(more, known)}


def told(gain: pd.Series, p_value: np.ndarray) -> np.ndarray:
    sign = np.sign(gain).where(p_value <= 0.05, 0.0)
    return sign[gain.notna()].to_numpy()


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
            every = np.concatenate([parts[task] for parts in found.values()])
            print(json.dumps({
                "figure": f"{name}, {task}: shares of concepts with probe against best unit",
                "better": round(float((every > 0).mean()), 4),
                "tied": round(float((every == 0).mean()), 4),
                "worse": round(float((every < 0).mean()), 4),
                "better_by_layer": {
                    k: round(float((v[task] > 0).mean()), 3) for k, v in found.items()
                },
            }))  # fmt: skip


if __name__ == "__main__":
    main()
