"""Held-out accuracy of the default classification probe, beside scikit-learn's and the best unit.

`scenes`, CamVid with colours, and COCO's 100 photographs (in three random halves of 60 and 40, as
so few say little each; built in a temporary folder from the panoptic masks). The baselines are what
a user would try first, per concept, on the same pooled activations: `LogisticRegressionCV` and
`RidgeClassifierCV` on standardised units with balanced classes. Accuracy is balanced, on images
that no fit saw; a concept counts that ten training images show and ten do not, and at least three
held-out images of either kind. Whether the probe is better than the best unit is said by a
randomisation test at 5 %. Prints a JSON line per layer and one per data set, with the difference to
the better baseline by mean, its standard error over concepts, and the target of at least -0.005.
"""

import argparse
import csv
import json
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from extraction import SHARED
from PIL import Image
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegressionCV, RidgeClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import conceptlab as cl
from conceptlab.activations.labels import label_store
from conceptlab.probes.classification import accuracies
from conceptlab.probes.paired import accuracy_differences

TARGET = -0.005
HALVES, TRAIN = 3, 60  # of COCO's 100
LEAST = 3  # held-out images of either kind
BASELINES = ("logistic", "ridge")
SQUEEZENET = ["features.7", "features.12"]


def coco_folder(out: Path, seed: int) -> str:
    """The photographs with their panoptic masks as a folder data set, 60 of them to learn from."""
    root = SHARED / "coco"
    said = json.loads((root / "annotations" / "panoptic_train2017.json").read_text())
    rows = [[0, "unlabelled", "ignore"]]
    place = {}
    for number, category in enumerate(said["categories"], 1):
        place[category["id"]] = number
        rows.append([number, category["name"], "thing" if category["isthing"] else "stuff"])
    files = {image["id"]: image["file_name"] for image in said["images"]}
    order = np.random.default_rng(seed).permutation(len(said["annotations"]))
    for rank, number in enumerate(order):
        one, split = said["annotations"][number], "train" if rank < TRAIN else "val"
        code = np.asarray(
            Image.open(root / "annotations" / "panoptic_train2017" / one["file_name"])
        ).astype(np.int64)
        segment = code[..., 0] + 256 * code[..., 1] + 65536 * code[..., 2]
        labels = np.zeros(segment.shape, dtype=np.uint8)
        for part in one["segments_info"]:
            labels[segment == part["id"]] = place[part["category_id"]]
        stem = Path(one["file_name"]).stem
        for kind in ("images", "labels"):
            (out / kind / split).mkdir(parents=True, exist_ok=True)
        Image.fromarray(labels).save(out / "labels" / split / f"{stem}.png")
        picture = (root / "train2017" / files[one["image_id"]]).read_bytes()
        (out / "images" / split / f"{stem}.jpg").write_bytes(picture)
    with (out / "classes.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["index", "name", "category"], *rows])
    return f"folder:{out}"


def sources(wanted: list[str], folder: Path) -> Iterator[tuple[str, str, str, list[str], str]]:
    """Data set, specification, model, layers, and the split to score on."""
    if "scenes" in wanted:
        layers = ["features.8", "features.14", "features.17"]
        yield "scenes", "scenes:n=1000", "builtin:scenenet", layers, "test"
    if "camvid" in wanted:
        spec = f"folder:{SHARED / 'camvid'},colors=true"
        yield "camvid", spec, "torchvision:squeezenet1_0", SQUEEZENET, "test"
    for seed in range(HALVES) if "coco" in wanted else ():
        spec = coco_folder(folder / f"coco{seed}", seed)
        yield "coco", spec, "torchvision:squeezenet1_0", SQUEEZENET, "val"


def baselines() -> dict[str, Any]:
    """What a user would try first, penalties chosen by cross-validation."""
    return {
        "logistic": LogisticRegressionCV(class_weight="balanced", max_iter=1000),
        "ridge": RidgeClassifierCV(alphas=np.logspace(-1, 4, 11), class_weight="balanced"),
    }


def compare(acts: cl.Activations, data: cl.ProbeDataset, split: str) -> pd.DataFrame:
    """A row per concept that counts: accuracy of each, and the test of probe against unit."""
    probe = cl.ClassificationProbe().fit(acts, data)
    table = probe.score(acts, data, split).rename(columns={"accuracy": "probe"})
    units = probe.best_units(acts, data)
    table["unit"] = accuracies(units, acts, data, split)["accuracy"]
    table["p"] = accuracy_differences(probe.vectors, units, acts, data, split)
    table["one_hot"] = (probe.vectors.weights != 0).sum(axis=1) <= 1
    store = label_store(acts, data)
    shown, known = store.shown_native, store.image_label_known()
    learn, judge = acts.splits == "train", acts.splits == split
    for name in BASELINES:
        table[name] = np.nan
    for c in np.flatnonzero(probe.vectors.usable):
        a, b = learn & known[:, c], judge & known[:, c]
        y = shown[b, c]
        if min(y.sum(), (~y).sum()) < LEAST:
            continue
        for name, model in baselines().items():
            fitted = make_pipeline(StandardScaler(), model).fit(acts.pooled[a], shown[a, c])
            right = fitted.predict(acts.pooled[b]) == y
            table.loc[c, name] = (right[y].mean() + right[~y].mean()) / 2
    return table.dropna(subset=["probe", *BASELINES])


def said(table: pd.DataFrame) -> dict[str, Any]:
    """Means, the difference to the better baseline, and how often the unit is beaten."""
    better = max(BASELINES, key=lambda name: float(table[name].mean()))
    gain = table["probe"] - table[better]
    told = np.sign(table["probe"] - table["unit"]).where(table["p"] <= 0.05, 0.0)
    shares = {"better": told > 0, "tied": told == 0, "worse": told < 0}
    return {
        "concepts": len(table),
        **{name: round(float(table[name].mean()), 4) for name in ("probe", *BASELINES, "unit")},
        "difference": round(float(gain.mean()), 4),
        "standard_error": round(float(gain.std() / np.sqrt(len(gain))), 4),
        "than_unit": {name: round(float(flags.mean()), 3) for name, flags in shares.items()},
        "one_hot": int(table["one_hot"].sum()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", default="cache")
    parser.add_argument("--data", default="scenes,camvid,coco")
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    warnings.simplefilter("ignore", FutureWarning)
    weights = str(SHARED / "squeezenet1_0_imagenet.safetensors")
    found: dict[str, list[pd.DataFrame]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, spec, network, layers, split in sources(options.data.split(","), Path(folder)):
            data = cl.load_data(spec)
            model = cl.load_model(network, weights=None if "builtin" in network else weights)
            for layer, acts in cl.extract(model, data, layers, options.cache).items():
                table = compare(acts, data, split)
                found.setdefault(name, []).append(table)
                line = {"data": name, "layer": layer} | said(table)
                print(json.dumps(line), flush=True)
    for name, tables in found.items():
        line = {"data": name, "layer": "all"} | said(pd.concat(tables)) | {"target": TARGET}
        print(json.dumps(line | {"met": line["difference"] >= TARGET}), flush=True)


if __name__ == "__main__":
    main()
