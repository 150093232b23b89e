"""The steps of a study that make images by optimisation."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from conceptlab.analysis.units.optimised import against_probe
from conceptlab.study.folder import Outputs, RunFolder
from conceptlab.study.same import Holds
from conceptlab.study.shown import Shown, image_files

if TYPE_CHECKING:
    from conceptlab.activations.store import Activations
    from conceptlab.synthesis.objectives import Objective
    from conceptlab.synthesis.settings import Synthesis
    from conceptlab.synthesis.visualize import Visualizations

TITLES = {
    "optimised": "Images by optimisation",
    "inverted": "Inversions",
    "caricatured": "Caricatures",
}
CAPTIONS = {
    "optimised": "Made by gradient ascent from noise, to raise what stands below each.",
    "inverted": "Made from noise until the layer takes them for the picture before them.",
    "caricatured": "The picture before each, changed until what the layer sees is exaggerated.",
}


def objectives_key(
    objectives: "Sequence[Objective]", settings: "Synthesis", **more: Any
) -> dict[str, Any]:
    """What images depend on, beside the network."""
    return {"objectives": [o.digest().hex() for o in objectives], "how": asdict(settings)} | more


def make_images(
    run: RunFolder, place: tuple[str, str], kind: str, key: Mapping[str, Any],
    make: "Callable[[], Visualizations]", activations: "Activations | None" = None,
    beside: Sequence[Image.Image] = (), holds: Holds | None = None,
) -> Path:  # fmt: skip
    """Images of a layer, beside what a data set reaches where its activations are known.

    Args:
        run: the run folder.
        place: names of the network and of the layer.
        kind: 'optimised', 'inverted' or 'caricatured'.
        key: everything that they depend on.
        make: makes them.
        activations: of the layer; or none.
        beside: pictures that the images stand for, one for each; or none.
        holds: what they are of, for the run folder.
    """
    return run.step(
        (*place, f"images-{kind}"), {"step": "images", **key},
        lambda: images_step(kind, make(), activations, beside), holds,
    )  # fmt: skip


def images_step(
    kind: str,
    found: "Visualizations",
    activations: "Activations | None" = None,
    beside: Sequence[Image.Image] = (),
) -> Outputs:
    """A table of images, each as a file of its own, and all in one picture.

    Args:
        kind: see `make_images`.
        found: the images.
        activations: of the layer; or none.
        beside: a picture for each, which stands before it; or none.
    """
    from conceptlab.views.pictures.overlay import mosaic

    images = [Image.fromarray(pixels) for pixels in found.images]
    pictures = image_files(images)
    table = found.table if activations is None else against_probe(found, activations)
    captions = [one.text for one in found.objectives]
    if beside:
        images = [one for pair in zip(beside, images, strict=True) for one in pair]
        captions = [text for own in captions for text in ("picture", own)]
    shown = Shown.none()
    shown.add(kind, TITLES[kind], CAPTIONS[kind], mosaic(images, captions))
    tables = {"images": table.assign(kind=kind, picture=list(pictures)), "shown": shown.table}
    return Outputs(tables, {}, pictures | shown.pictures)
