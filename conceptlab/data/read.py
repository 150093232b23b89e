"""Reading pictures, label maps and tables, with one clear sentence about what cannot be read."""

import csv
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from conceptlab.errors import DataError

# PIL warns of pictures of half the size that it refuses; they are read as all others
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

ASPECT = 0.02  # relative difference of aspects that rounding can explain
#: What PIL raises on files that it cannot read.
FAULTS = (
    OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, IndexError,
    Image.DecompressionBombError,
)  # fmt: skip


def read_image(path: Path) -> Image.Image:
    """An RGB picture, fully decoded.

    Raises:
        DataError: the file is missing, truncated, or no picture.
    """
    picture = _open(path)
    if picture.mode.startswith("I"):  # 16 bits per pixel; PIL would clip, not scale
        picture = Image.fromarray((np.asarray(picture).astype(np.int64) >> 8).astype(np.uint8))
    if picture.mode == "P" and "transparency" in picture.info:
        picture = picture.convert("RGBA")
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def read_index_map(path: Path) -> NDArray[np.int64]:
    """(h, w) the values of an 8- or 16-bit index map; of a palette picture, the palette's indices.

    Raises:
        DataError: the file is missing, damaged, or has more than one channel.
    """
    picture = _open(path)
    if picture.mode not in ("L", "P", "1", "I", "I;16", "I;16B"):
        raise DataError(
            f"{path} is a {picture.mode} picture; a label map has one channel of class indices"
        )
    return np.asarray(picture).astype(np.int64)


def read_number_map(path: Path) -> NDArray[np.int64]:
    """(h, w) the numbers R + 256 G of an RGB label map.

    Raises:
        DataError: the file is missing, damaged, or has another number of channels.
    """
    picture = _open(path)
    if picture.mode not in ("RGB", "RGBA", "P"):
        raise DataError(f"{path} is a {picture.mode} picture; a label map is RGB, label R + 256 G")
    pixels = np.asarray(picture.convert("RGB")).astype(np.int64)
    return pixels[..., 0] + 256 * pixels[..., 1]


def _open(path: Path) -> Image.Image:
    try:
        with Image.open(path) as picture:
            picture.load()
            return picture
    except FileNotFoundError:
        raise DataError(f"{path} is missing") from None
    except UnidentifiedImageError:
        raise DataError(f"{path} is damaged or no picture") from None
    except FAULTS as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path} is damaged or no picture ({reason})") from error


def read_header(path: Path) -> Image.Image:
    """A picture of which only the size is wanted."""
    try:
        with Image.open(path) as picture:
            return picture
    except FileNotFoundError:
        raise DataError(f"{path} is missing") from None
    except FAULTS as error:
        raise DataError(f"{path} is damaged or no picture") from error


def read_bytes(path: Path) -> bytes:
    """A file's bytes.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror})") from error


def data_folder(path: str) -> Path:
    """The folder that a specification names.

    Raises:
        DataError: it is not there.
    """
    folder = Path(path).expanduser()  # no shell expands ~ behind a colon
    if not path or not folder.is_dir():
        raise DataError(f"there is no folder {path or '(no path given)'} to read data from")
    return folder


def check_aspects(size: tuple[int, int], label: object, label_size: tuple[int, int]) -> None:
    """Refuse a picture and a label, (width, height) each, of different aspects.

    Raises:
        DataError: the aspects differ by more than rounding explains.
    """
    ratio = (size[0] / size[1]) / (label_size[0] / label_size[1])
    if abs(ratio - 1) > max(ASPECT, 1.5 / min(label_size)):
        raise DataError(
            f"{label} is {label_size[0]} x {label_size[1]} and its picture {size[0]} x {size[1]}: "
            "their aspects differ"
        )


def read_rows(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """The rows of a CSV file that are not empty, stripped; a missing cell is ''.

    Raises:
        DataError: the file is missing, no CSV in UTF-8, or lacks a column.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            reader.fieldnames = [name.strip() for name in reader.fieldnames or []]
            missing = [c for c in columns if c not in reader.fieldnames]
            if missing:
                raise DataError(
                    f"{path} needs the columns {','.join(columns)} in its first line; it lacks "
                    f"{','.join(missing)}"
                )
            rows = [{c: (row[c] or "").strip() for c in columns} for row in reader]
            return [row for row in rows if any(row.values())]  # spreadsheets write empty ones
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror})") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is no CSV in UTF-8 ({error})") from error
