"""Pictures of what units and probes see: examples at each decile of IoU_ind, and top images.

Fong & Vedaldi 2018, figures 1 and 8; section 5.1: examples across the whole distribution, chosen
automatically, and not only where a method does best.
"""

import io
import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from conceptlab.activations.labels import LabelStore, label_store
from conceptlab.activations.lock import held
from conceptlab.analysis.units.exemplars import exemplars
from conceptlab.errors import CacheError, InputError
from conceptlab.files import write_text
from conceptlab.models.picture import network_view
from conceptlab.numerics.resample import upsample
from conceptlab.study.folder import Outputs, RunFolder, read_table, safe
from conceptlab.study.steps import Layer, top_units
from conceptlab.vectors import ConceptVectors
from conceptlab.views.pictures.overlay import overlay

if TYPE_CHECKING:
    from conceptlab.activations.active import ActiveSet

DECILES = 10
UNITS = 12
IMAGES = 5
SIDE = 112
GAP = 2  # white pixels between pictures side by side


@dataclass(frozen=True)
class _Maker:
    """Draws masks of vectors, units and labels onto the pictures of a layer's data set."""

    layer: Layer
    active: "ActiveSet"
    labels: LabelStore

    def picture(self, image: int) -> Image.Image:
        """The part of a picture that the network sees, small."""
        seen = network_view(self.layer.data.image(image), self.layer.activations.geometry)
        return Image.fromarray(seen).resize((SIDE, SIDE), Image.Resampling.BILINEAR)

    def vector_mask(self, vectors: ConceptVectors, row: int, image: int) -> NDArray[np.bool_]:
        """(SIDE, SIDE) where a vector's map exceeds one half after the sigmoid."""
        used = np.flatnonzero(vectors.weights[row])
        raw = vectors.space.inputs == "raw"
        values = self.layer.activations.read(image, image + 1)[0] if raw else None
        inputs = self.active.masks(image) if values is None else values.astype(np.float64)
        maps = np.tensordot(vectors.weights[row, used], inputs[used], axes=1)
        mask: NDArray[np.bool_] = upsample(maps + vectors.bias[row], (SIDE, SIDE)) > 0
        return mask

    def unit_mask(self, unit: int, image: int) -> NDArray[np.bool_]:
        """(SIDE, SIDE) where a unit exceeds its threshold, upsampled first for smoothness."""
        values = self.layer.activations.read(image, image + 1)[0, unit]
        mask: NDArray[np.bool_] = upsample(values, (SIDE, SIDE)) > self.active.thresholds[unit]
        return mask

    def label_mask(self, concept: int, image: int) -> NDArray[np.bool_]:
        """(SIDE, SIDE) where the labels show a concept."""
        mask = Image.fromarray(self.labels.mask(image, concept))
        return np.asarray(mask.resize((SIDE, SIDE), Image.Resampling.NEAREST))

    def strip(self, image: int, masks: list[NDArray[np.bool_]]) -> bytes:
        """A JPEG of the picture under each mask, side by side."""
        picture = self.picture(image)
        row = Image.new("RGB", (SIDE * len(masks), SIDE))
        for place, mask in enumerate(masks):
            row.paste(overlay(picture, mask), (place * SIDE, 0))
            if place:
                row.paste((255, 255, 255), (place * SIDE, 0, place * SIDE + GAP, SIDE))
        buffer = io.BytesIO()
        row.save(buffer, "JPEG", quality=82)
        return buffer.getvalue()


def examples_step(
    layer: Layer, unit: ConceptVectors, probe: ConceptVectors, best: pd.DataFrame,
    unit_iou: pd.DataFrame, probe_iou: pd.DataFrame,
) -> Outputs:  # fmt: skip
    """Pictures at the deciles of the probe's IoU_ind, and the top images of the best units.

    Args:
        layer: activations, labels and settings.
        unit: the best units as one-hot vectors.
        probe: segmentation vectors.
        best: the best units (columns concept, category, unit, score).
        unit_iou: columns image, concept, iou of the best unit.
        probe_iou: the same of the probe.

    Returns:
        Pictures (label | best unit | probe side by side; of units the mask alone) and the table
        'examples' that says what each shows.
    """
    acts = layer.activations
    active = acts.active(layer.study.dissect.tau)
    maker = _Maker(layer, active, label_store(acts, layer.data, layer.label_size))
    rows: list[dict[str, Any]] = []
    pictures: dict[str, bytes] = {}
    place = {str(name): i for i, name in enumerate(acts.names)}
    both = probe_iou.merge(
        unit_iou[["image", "concept", "iou"]], on=["image", "concept"], how="left",
        suffixes=("_probe", "_unit"),
    )  # fmt: skip
    for concept, name in enumerate(probe.names):
        for decile, row in decile_rows(both[both["concept"] == name]):
            image = place[row["image"]]
            file = f"decile-{concept:04d}-{decile:02d}.jpg"
            masks = [
                maker.label_mask(concept, image),
                maker.vector_mask(unit, concept, image),
                maker.vector_mask(probe, concept, image),
            ]
            pictures[file] = maker.strip(image, masks)
            rows.append(
                {"kind": "decile", "concept": name, "category": row["category"],
                 "unit": int(best["unit"].iloc[concept]), "decile": decile, "rank": 0,
                 "image": row["image"], "iou_unit": row["iou_unit"],
                 "iou_probe": row["iou_probe"], "picture": file}
            )  # fmt: skip
    units = top_units(best, UNITS)
    for shown in exemplars(acts, units, count=IMAGES).table.itertuples() if units else ():
        label = best[best["unit"] == shown.unit].sort_values("score", ascending=False).iloc[0]
        file = f"top-{shown.unit:05d}-{shown.rank - 1}.jpg"
        pictures[file] = maker.strip(shown.row, [maker.unit_mask(shown.unit, shown.row)])
        rows.append(
            {"kind": "top", "concept": label["concept"], "category": label["category"],
             "unit": shown.unit, "decile": 0, "rank": shown.rank, "image": shown.image,
             "iou_unit": float(label["score"]), "iou_probe": float("nan"), "picture": file}
        )  # fmt: skip
    return Outputs({"examples": pd.DataFrame(rows)}, {}, pictures)


def decile_rows(table: pd.DataFrame) -> list[tuple[int, Any]]:
    """The images at deciles 1..10 of the non-zero part of the probe's IoU_ind (section 5.1).

    Args:
        table: columns image, category, iou_probe, iou_unit of one concept.
    """
    ranked = table[table["iou_probe"] > 0].sort_values(["iou_probe", "image"], kind="stable")
    if ranked.empty:
        return []
    places = np.ceil(np.arange(1, DECILES + 1) / DECILES * len(ranked)).astype(int) - 1
    found, seen = [], set()
    for decile, at in enumerate(places, start=1):
        if at not in seen:
            seen.add(at)
            found.append((decile, ranked.iloc[int(at)].to_dict()))
    return found


def publish_examples(run: RunFolder) -> None:
    """Put `examples/` together from a run's steps: the pictures, and the index that names them.

    The folder is written beside its place and put there by a rename, so that it is there complete
    or not at all; one that no step made goes away.

    Args:
        run: the run folder.

    Raises:
        CacheError: it cannot be written.
        InputError: a step lacks a picture.
    """
    place = run.path / "examples"
    with held(place):
        for left in run.path.glob(".examples.*.tmp"):
            shutil.rmtree(left, ignore_errors=True)  # of a process that was killed
        made = Path(tempfile.mkdtemp(prefix=".examples.", suffix=".tmp", dir=run.path))
        try:
            rows = _copy(run, made)
            made.chmod(0o755)
            if place.exists():
                place.rename(made.with_name(f"{made.name}.old.tmp"))
            if rows:
                made.rename(place)
        except OSError as error:
            raise CacheError(
                f"cannot write {place} ({error.strerror}); free some space, then run the same "
                "command again: what is complete is kept"
            ) from error
        finally:
            for left in (made, made.with_name(f"{made.name}.old.tmp")):
                shutil.rmtree(left, ignore_errors=True)


def _copy(run: RunFolder, folder: Path) -> int:
    """Copy the pictures of all steps, and write the index; how many pictures there are."""
    rows: list[dict[str, Any]] = []
    for model, layer, step in run.steps("examples"):
        where = Path(safe(model)) / safe(layer)
        (folder / where).mkdir(parents=True)
        table = read_table(step / "examples.csv")
        for name in table["picture"]:
            if not (step / name).is_file():
                raise InputError(f"{step / name} is gone; delete {step} and run the study again")
            shutil.copyfile(step / name, folder / where / name)
        table["picture"] = [f"examples/{where.as_posix()}/{name}" for name in table["picture"]]
        table.insert(0, "layer", layer)
        table.insert(0, "model", model)
        rows += json.loads(table.to_json(orient="records"))
    write_text(folder / "index.json", json.dumps(rows, indent=1, ensure_ascii=False))
    return len(rows)
