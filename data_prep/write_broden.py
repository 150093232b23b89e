"""Write a probe data set in the layout of the Broden 1.0 release.

The release itself is large and may not be passed on; a small tree of the same layout shows that
the reader (`broden:PATH`) reads what it should: `python data_prep/write_broden.py scenes:n=40 DIR`.
"""

import argparse
import csv
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from conceptlab.data import ProbeDataset, load_data
from conceptlab.errors import ConceptlabError, DataError, InputError

WHOLE = ("scene", "texture")


def write_broden(data: ProbeDataset, out: Path) -> None:
    """Write pictures, label maps and tables; `out` appears when it is complete.

    Labels of one name share a number, in whatever categories they are. A map that is the same
    everywhere is written as a number, 0 where it is known that nothing holds. Broden cannot say
    that single pixels are unlabelled: they become 'no label'.

    Args:
        data: with scenes and textures for whole pictures, all else for pixels.
        out: a folder that does not exist yet.

    Raises:
        InputError: the folder exists.
        DataError: concepts of another level than Broden's categories have.
    """
    if out.exists():
        raise InputError(f"{out} exists already; name a folder that does not")
    for concept in data.catalogue.itertuples():
        if (concept.category in WHOLE) != (concept.level == "image"):
            raise DataError(
                f"{concept.category}/{concept.name} is of level {concept.level}; in Broden scenes "
                "and textures hold for pictures, everything else for pixels"
            )
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    numbers = _numbers(data)
    rows = [_write_picture(data, i, part / "images", numbers) for i in range(len(data))]
    fields = ["image", "split", "ih", "iw", "sh", "sw", *data.categories]
    _write_table(part / "index.csv", fields, rows)
    _write_tables(data, part, numbers, rows)
    part.rename(out)


def _numbers(data: ProbeDataset) -> NDArray[np.int64]:
    """(C,) the label number of every concept, from 1; concepts of one name share it."""
    names = list(dict.fromkeys(data.catalogue["name"]))
    return np.array([names.index(name) + 1 for name in data.catalogue["name"]])


def _write_picture(
    data: ProbeDataset, i: int, images: Path, numbers: NDArray[np.int64]
) -> list[object]:
    """Write a picture and its label maps; its row of the index."""
    picture, labels, name = data.image(i), data.labels(i), str(data.names[i])
    (images / name).parent.mkdir(parents=True, exist_ok=True)
    picture.save(images / f"{name}.png")
    height, width = labels.planes.shape[1:]
    row = [f"{name}.png", data.splits[i], picture.height, picture.width, height, width]
    category_of = data.catalogue["category"].to_numpy()
    for bit, category in enumerate(data.categories):
        own = category_of == category
        if category in WHOLE:
            holds = [str(numbers[c]) for c in labels.image_concepts if own[c]]
            unlabelled = labels.image_unlabelled >> bit & 1
            row.append("" if unlabelled else ";".join(holds) or "0")
            continue
        if labels.unlabelled is not None and (labels.unlabelled >> np.uint64(bit) & 1).all():
            row.append("")
            continue
        table = np.append(np.where(own, numbers, 0), 0)  # -1, no concept, is last
        maps = [plane for plane in table[labels.planes] if plane.any()]
        cells = []
        for place, plane in enumerate(maps or [np.zeros((height, width), dtype=np.int64)]):
            if plane.any() and (plane == plane[0, 0]).all():
                cells.append(str(plane[0, 0]))
                continue
            cells.append(f"{name}_{category}{f'_{place}' if place else ''}.png")
            coded = np.stack([plane % 256, plane // 256, np.zeros_like(plane)], axis=-1)
            Image.fromarray(coded.astype(np.uint8)).save(images / cells[-1])
        row.append(";".join(cells))
    return row


def _write_tables(
    data: ProbeDataset, out: Path, numbers: NDArray[np.int64], rows: list[list[object]]
) -> None:
    """category.csv, label.csv and a c_ file per category.

    Frequency is the number of pictures that show a label, coverage the sum of their shares.
    """
    table = data.concepts.assign(number=numbers)
    table["frequency"] = table[["n_train", "n_val", "n_test"]].sum(axis=1)
    table["coverage"] = (table["frequency"] * table["mean_area"]).round(6)
    categories = []
    for place, category in enumerate(data.categories):
        own = table[table["category"] == category]
        codes = own[["number", "name", "frequency", "coverage"]].values.tolist()
        fields = ["code", "number", "name", "frequency", "coverage"]
        _write_table(
            out / f"c_{category}.csv", fields, ([k, *c] for k, c in enumerate(codes, start=1))
        )
        labelled = sum(bool(row[6 + place]) for row in rows)
        first, last = own["number"].min(), own["number"].max()
        categories.append([category, first, last, len(own), labelled])
    _write_table(out / "category.csv", ["name", "first", "last", "count", "frequency"], categories)
    fields = ["number", "name", "category", "frequency", "coverage", "syns"]
    labels = []
    for number, own in table.groupby("number"):
        pairs = zip(own["category"], own["frequency"], strict=True)
        within = ";".join(f"{category}({count})" for category, count in pairs)
        total = [own["frequency"].sum(), own["coverage"].sum().round(6)]
        labels.append([number, own["name"].iloc[0], within, *total, ""])
    _write_table(out / "label.csv", fields, labels)


def _write_table(path: Path, fields: list[str], rows: Iterable[Iterable[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(fields)
        writer.writerows(rows)


def main() -> None:
    """Write the tree that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="what to write: scenes:n=40, folder:PATH, ...")
    parser.add_argument("out", type=Path, help="a folder that does not exist yet")
    given = parser.parse_args()
    try:
        write_broden(load_data(given.data), given.out)
    except ConceptlabError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
