"""Size of an atlas's page, and how long headless Chromium takes to open it.

    python analyses/benchmarks/atlas_page.py [--cells 1000] [--runs 5] [--photos FOLDER]

Three grids, the finest of at least so many cells, icons and four patches for each. Pictures are
pieces of the built-in scenes, or of the JPEGs below FOLDER (CamVid's, say), which compress worse.
Two pages: one as it comes, that opens with its coarsest grid, and one of the finest grid alone, so
that all its icons are in the first frame. Times are real: milliseconds of the page's own clock to
its load event and to the frame after the first with icons, and seconds of the browser's process to
that frame, beyond those of an empty page. One JSON line a figure.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

import conceptlab as cl
from conceptlab.activations.sample import Sample
from conceptlab.analysis.atlas.grid import Grid
from conceptlab.analysis.atlas.icons import Icons
from conceptlab.analysis.atlas.layout import Atlas
from conceptlab.space import Space
from conceptlab.views.atlas.page import view_of, write_atlas

BROWSER = shutil.which("chromium")
CLASSES, CONCEPTS, NEAREST = 1000, 60, 4
SIDE = 112  # pixels of an icon and of a patch before the page shrinks them
REPORT = """<script>
const look = setInterval(() => {
  const marked = performance.getEntriesByName("atlas-drawn")[0];
  const drawn = marked || !document.getElementById("atlas") && {startTime: 0};
  const load = performance.getEntriesByType("navigation")[0].loadEventEnd;
  if (!drawn || !load) return;
  clearInterval(look);
  console.log("OPENED " + JSON.stringify({drawn: drawn.startTime, load}) + " END");
}, 5);
</script></body>"""
EMPTY = '<!doctype html><html lang="en"><head><title>empty</title></head><body></body></html>'


class Pictures:
    """Random square pieces of real or rendered pictures."""

    def __init__(self, photos: Path | None, seed: int = 0) -> None:
        self._rng = np.random.default_rng(seed)
        if photos is None:
            data = cl.load_data("scenes:n=200")
            self._whole = [np.asarray(data.image(i)) for i in range(len(data))]
        else:
            paths = sorted(photos.rglob("*.jpg"))[:200]
            self._whole = [np.asarray(Image.open(path).convert("RGB")) for path in paths]

    def some(self, count: int) -> np.ndarray:
        return np.stack([self._piece() for _ in range(count)])

    def _piece(self) -> np.ndarray:
        whole = self._whole[self._rng.integers(len(self._whole))]
        side = int(self._rng.integers(56, min(whole.shape[:2]) + 1))
        y, x = (int(self._rng.integers(0, n - side + 1)) for n in whole.shape[:2])
        piece = Image.fromarray(whole[y : y + side, x : x + side])
        return np.asarray(piece.resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def made(cells: int, pictures: Pictures, seed: int = 0) -> tuple[Atlas, tuple[Icons, ...]]:
    """An atlas with a disc of occupied cells in each grid."""
    rng = np.random.default_rng(seed)
    finest = int(np.ceil(np.sqrt(cells / 0.74)))
    centres, widths = rng.uniform(size=(CLASSES + CONCEPTS, 2)), 0.05
    names = np.array([f"train/{i:06d}" for i in range(100_000)])
    grids, icons = [], []
    for resolution in (finest // 4, finest // 2, finest):
        rows, columns = np.divmod(np.arange(resolution**2), resolution)
        places = (np.stack([columns, rows], axis=1) + 0.5) / resolution
        near = np.hypot(*(places - 0.5).T) < 0.5
        if resolution == finest:
            assert near.sum() >= cells
        rows, columns, places = rows[near], columns[near], places[near]
        values = np.exp(-((places[:, None] - centres) ** 2).sum(axis=2) / widths)
        values = (values - 0.3 + rng.normal(0, 0.1, values.shape)).astype(np.float32)
        count = len(rows)
        grids.append(
            Grid(resolution, rows, columns, rng.integers(10, 200, count),
                 np.zeros((count, 1), np.float32), values[:, :CLASSES], values[:, CLASSES:],
                 rng.integers(0, len(names), (count, NEAREST)))
        )  # fmt: skip
        patches = pictures.some(count * NEAREST).reshape(count, NEAREST, SIDE, SIDE, 3)
        icons.append(Icons(pictures.some(count), patches))
    space = Space("network", "0" * 64, "layer", 1, "raw")
    count = len(names)
    sample = Sample(np.zeros((count, 1), np.float32), np.arange(count),
                    np.zeros((count, 2), np.int64), names, space)  # fmt: skip
    atlas = Atlas(sample, rng.uniform(size=(count, 2)), tuple(grids),
                  tuple(f"class number {i}" for i in range(CLASSES)),
                  tuple(f"concept {i}" for i in range(CONCEPTS)))  # fmt: skip
    return atlas, tuple(icons)


def opened(page: Path, folder: Path) -> dict[str, float]:
    """Milliseconds of the page's clock, and seconds of the process until it says so."""
    command = [
        str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
        f"--user-data-dir={folder / 'profile'}", "--window-size=1400,900",
        page.as_uri(),
    ]  # fmt: skip
    started = time.perf_counter()
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if "OPENED " in line:
                text = line.split("OPENED ")[1].split(" END")[0]
                found: dict[str, float] = json.loads(text)
                return {**found, "seconds": time.perf_counter() - started}
        raise RuntimeError("the browser ended before the page was drawn")
    finally:
        process.terminate()
        process.wait()
        process.stderr.close()


def figures(name: str, page: Path, folder: Path, runs: int) -> None:
    empty = folder / "empty.html"
    reporting = folder / "reporting.html"
    for path, text in ((empty, EMPTY), (reporting, page.read_text(encoding="utf-8"))):
        path.write_text(text.replace("</body>", REPORT), encoding="utf-8")
    opened(empty, folder)  # the profile is made once
    both = [(opened(reporting, folder), opened(empty, folder)) for _ in range(runs)]
    beyond = [mine["seconds"] - its["seconds"] for mine, its in both]
    for what, target, values in (
        ("MB", 25, [page.stat().st_size / 1e6]),
        ("seconds to the first frame, page's clock", 2, [m["drawn"] / 1000 for m, _ in both]),
        ("seconds to the load event, page's clock", 2, [m["load"] / 1000 for m, _ in both]),
        ("seconds to the first frame, process beyond an empty page's", 2, beyond),
    ):
        line = {"figure": f"{name}: {what}", "target": target,
                "median": round(statistics.median(values), 3),
                "runs": [round(v, 3) for v in values]}  # fmt: skip
        print(json.dumps(line), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--photos", type=Path)
    options = parser.parse_args()
    if BROWSER is None:
        raise SystemExit("chromium is not installed")
    atlas, icons = made(options.cells, Pictures(options.photos))
    started = time.perf_counter()
    whole = view_of("atlas", atlas, icons, model="network", layer="layer")
    took = time.perf_counter() - started
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name, view in (
            ("three grids", whole),
            ("finest grid alone", {**whole, "grids": whole["grids"][-1:]}),
        ):
            started = time.perf_counter()
            page = write_atlas(folder / "atlas.html", [view])
            wrote = time.perf_counter() - started
            counts = [len(grid["rows"]) for grid in view["grids"]]
            print(json.dumps({"page": name, "cells": counts, "seconds of view_of": round(took, 1),
                              "seconds of write_atlas": round(wrote, 1)}), flush=True)  # fmt: skip
            figures(f"{name}, {counts[-1]} cells", page, folder, options.runs)


if __name__ == "__main__":
    main()
