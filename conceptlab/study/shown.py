"""Pictures that steps leave, and how a run folder puts them together."""

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
from PIL import Image

from conceptlab.errors import InputError
from conceptlab.files import atomic_path
from conceptlab.study.folder import RunFolder, read_table
from conceptlab.study.frames import joined, labelled

if TYPE_CHECKING:
    from collections.abc import Iterable

    from matplotlib.axes import Axes

COLUMNS = ["kind", "title", "caption", "picture"]
STEPS = ("filters", "exemplars", "images*", "kinds")  # in the order of the report


@dataclass
class Shown:
    """Pictures that a step leaves, and its table 'shown' that says what they show.

    Args:
        rows: of the table.
        pictures: file name to bytes.
    """

    rows: list[dict[str, str]]
    pictures: dict[str, bytes]

    @classmethod
    def none(cls) -> "Shown":
        """Nothing yet."""
        return cls([], {})

    def add(self, kind: str, title: str, caption: str, picture: "Image.Image | Axes") -> None:
        """Keep a picture.

        Args:
            kind: a word for its file, different for each picture of a layer.
            title: a few words.
            caption: what it shows, a sentence.
            picture: drawn.
        """
        name = f"{kind}.png"
        self.pictures[name] = png(picture)
        self.rows.append({"kind": kind, "title": title, "caption": caption, "picture": name})

    @property
    def table(self) -> pd.DataFrame:
        """Columns kind, title, caption, picture."""
        return pd.DataFrame(self.rows, columns=COLUMNS)


def png(picture: "Image.Image | Axes") -> bytes:
    """A PNG of a picture, or of the figure that axes are in."""
    from conceptlab.views.figures.panels import DPI

    if not isinstance(picture, Image.Image):
        return drawn(picture, "png", DPI)
    file = io.BytesIO()
    picture.save(file, "PNG", dpi=(96, 96))
    return file.getvalue()


def drawn(ax: "Axes", kind: str, dpi: int) -> bytes:
    """The figure of axes as a file, the same bytes whenever it is drawn.

    Args:
        ax: in the figure.
        kind: 'png' or 'pdf'.
        dpi: dots per inch.
    """
    file = io.BytesIO()
    figure: Any = ax.get_figure(root=True)
    dated = {"CreationDate": None} if kind == "pdf" else {}
    figure.savefig(file, dpi=dpi, format=kind, metadata=dated)
    return file.getvalue()


def image_files(images: "Iterable[Image.Image]") -> dict[str, bytes]:
    """Images as PNG files of their own, in order."""
    return {f"image-{place:04d}.png": png(image) for place, image in enumerate(images)}


def gathered(run: RunFolder, step: str, table: str) -> pd.DataFrame:
    """One table of all steps of a name, with model, layer, and pictures by their path in the run.

    Args:
        run: the run folder.
        step: name of the steps, or a glob.
        table: with a column picture, the file's name in its step's folder.
    """
    parts = []
    for model, layer, folder in run.steps(step):
        path = folder / f"{table}.csv"
        if path.is_file():
            own = read_table(path)
            own["picture"] = [str((folder / name).relative_to(run.path)) for name in own["picture"]]
            parts.append(labelled(own, {"model": model, "layer": layer}))
    return joined(parts)


def write_shown(run: RunFolder) -> None:
    """Copy the pictures of all steps into `figures/`, and write `tables/pictures.csv` of them.

    Raises:
        InputError: a step lacks a picture.
    """
    from conceptlab.views.style import slug

    rows: list[dict[str, Any]] = []
    for step in STEPS:
        for model, layer, folder in run.steps(step):
            path = folder / "shown.csv"
            for row in read_table(path).to_dict("records") if path.is_file() else []:
                name = f"{row['kind']}-{slug(f'{model}-{layer}')}.png"
                if not (folder / row["picture"]).is_file():
                    raise InputError(
                        f"{folder / row['picture']} is gone; delete {folder} and run the same "
                        "command again"
                    )
                with atomic_path(run.path / "figures" / name) as place:
                    place.write_bytes((folder / row["picture"]).read_bytes())
                own = {"model": model, "layer": layer, **row, "picture": f"figures/{name}"}
                rows.append(own)
    run.table("pictures", pd.DataFrame(rows))
