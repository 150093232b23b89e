"""Reading pictures, label maps and tables, with one clear sentence about what cannot be read."""

import csv
import io
import os
import stat
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from conceptlab.errors import DataError, InputError
from conceptlab.files import is_folder, user_path
from conceptlab.numerics.pixels import displayed_size, in_colours, orientation, upright

# PIL warns of pictures of half the size that it refuses; they are read as all others
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

#: Endings of pictures, and the formats that are opened, whatever the ending. Others of Pillow's
#: run programs (PostScript), or are read by nobody's camera.
IMAGES = (
    ".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".jp2", ".avif", ".ppm",
    ".pgm",
)  # fmt: skip
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "JPEG2000", "AVIF", "PPM")
MOST_PIXELS = 100_000_000  # of a picture or a label map: 10,000 x 10,000
MOST_BYTES = 1 << 29  # of a file
ASPECT = 0.02  # relative difference of aspects that rounding can explain
IHDR = struct.Struct(">8s8xIIBB")  # signature, width, height, bits a value, colour type
GREY = 0


def read_image(path: Path, transparent: bool = False) -> Image.Image:
    """A picture as it is displayed, RGB, fully decoded; see `conceptlab.numerics.pixels`.

    Args:
        path: of the file.
        transparent: RGBA where the file says what is transparent.

    Raises:
        DataError: the file is missing, no regular file, truncated, too large, or no picture.
    """
    picture = _open(path)
    try:
        return in_colours(picture, 4 if transparent and picture.has_transparency_data else 3)
    except InputError as error:
        raise DataError(f"{path}: {error}") from error


def read_index_map(path: Path) -> NDArray[Any]:
    """(h, w) the values of an index map, as its PNG file stores them, in integers of 1 to 4 bytes.

    Of a grey picture of 1 to 16 bits the values, of a palette picture the palette's indices; it
    lies as it is displayed.

    Raises:
        DataError: the file is missing, damaged, no PNG, or has more than one channel.
    """
    picture = _open(path, ("PNG",))
    if picture.mode not in ("L", "P", "1", "I", "I;16", "I;16B"):
        raise DataError(
            f"{path} is a {picture.mode} picture; a label map has one channel of class indices"
        )
    values = np.asarray(upright(picture))
    with path.open("rb") as file:
        _, _, _, bits, kind = IHDR.unpack(file.read(IHDR.size))
    if kind == GREY and 1 < bits < 8:  # PIL spreads such values over 0..255
        values = values // (255 // ((1 << bits) - 1))
    return values.astype(np.uint8) if values.dtype == bool else values


def read_number_map(path: Path) -> NDArray[np.int64]:
    """(h, w) the numbers R + 256 G of an RGB label map.

    Raises:
        DataError: the file is missing, damaged, no PNG, or has another number of channels.
    """
    picture = _open(path, ("PNG",))
    if picture.mode not in ("RGB", "RGBA", "P"):
        raise DataError(f"{path} is a {picture.mode} picture; a label map is RGB, label R + 256 G")
    pixels = np.asarray(in_colours(picture))
    return pixels[..., 0] + 256 * pixels[..., 1].astype(np.int64)


def displayed(path: Path) -> tuple[int, int]:
    """Width and height of a picture as it is displayed; it is not decoded.

    Raises:
        DataError: as `read_image`, as far as the beginning of the file tells.
    """
    with _opened(path, FORMATS) as picture:
        try:
            return displayed_size(picture)
        except Exception as error:  # decoders of damaged files raise anything
            raise _damaged(path, error) from error


def _open(path: Path, formats: tuple[str, ...] = FORMATS) -> Image.Image:
    """A picture, fully decoded."""
    picture = _opened(path, formats)
    try:
        with picture:
            picture.load()
    except Exception as error:  # decoders of damaged files raise anything
        raise _damaged(path, error) from error
    return picture


def _opened(path: Path, formats: tuple[str, ...]) -> Image.Image:
    """A picture of which the header is read."""
    if not os.path.lexists(path):  # which raises nothing, whatever the name
        raise DataError(f"{path} is missing")
    require_file(path)
    try:
        picture = Image.open(path, formats=formats)
    except Image.DecompressionBombError as error:
        raise _too_large(path) from error
    except UnidentifiedImageError:
        known = ", ".join(formats)
        raise DataError(f"{path} is damaged or no picture of a known format ({known})") from None
    except Exception as error:
        raise _damaged(path, error) from error
    if picture.width * picture.height > MOST_PIXELS:
        picture.close()
        raise _too_large(path, picture.size)
    return picture


def _damaged(path: Path, error: Exception) -> DataError:
    reason = getattr(error, "strerror", None) or error
    return DataError(f"{path} is damaged or no picture ({reason})")


def _too_large(path: Path, size: tuple[int, int] | None = None) -> DataError:
    own = f" ({size[0]} x {size[1]})" if size else ""
    return DataError(
        f"{path} has more pixels{own} than the {MOST_PIXELS / 1e6:.0f} million that are read: "
        "scale it down, or cut it into pieces"
    )


def require_file(path: Path) -> None:
    """Refuse what is no regular file of a size that can be read: a pipe waits, a device never ends.

    Raises:
        DataError: missing, no regular file, too large.
    """
    try:
        state = path.stat()
    except (OSError, ValueError) as error:  # missing, a link to itself, a name no file can have
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"cannot read {path} ({reason})") from error
    if not stat.S_ISREG(state.st_mode):
        raise DataError(f"{path} is no regular file")
    if state.st_size > MOST_BYTES:
        raise DataError(
            f"{path} has {state.st_size / 1e6:.0f} MB; files of at most "
            f"{MOST_BYTES / 1e6:.0f} MB are read"
        )


def read_bytes(path: Path) -> bytes:
    """A file's bytes.

    Raises:
        DataError: it cannot be read.
    """
    require_file(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror})") from error


def picture_bytes(path: Path) -> bytes:
    """What the pixels of a picture depend on: its file, and that a turned one is read upright.

    Raises:
        DataError: the file cannot be read.
    """
    content = read_bytes(path)
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
            return content if orientation(picture) == 1 else content + b"upright"
    except Exception:  # what is no picture is said when it is read
        return content


def data_folder(path: str) -> Path:
    """The folder that a specification names.

    Raises:
        DataError: it is not there.
    """
    folder = user_path(path)  # no shell expands ~ behind a colon
    if not path or not is_folder(folder):
        raise DataError(f"there is no folder {path or '(no path given)'} to read data from")
    return folder


def folder_name(folder: Path) -> str:
    """What a data set in a folder is called, in characters that any file can hold."""
    return os.fsencode(folder.resolve().name).decode("utf-8", "backslashreplace")


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
    require_file(path)
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


def shortened(text: str, most: int = 40) -> str:
    """A cell as a message quotes it.

    >>> shortened("house"), shortened("9" * 5000, 6)
    ("'house'", "'999999...' (5000 characters)")
    """
    return repr(text) if len(text) <= most else f"{text[:most] + '...'!r} ({len(text)} characters)"


def whole_number(text: str, most: int) -> int | None:
    """The whole number in 0..most that a cell holds, else None.

    >>> whole_number("007", 9), whole_number("10", 9), whole_number("9" * 5000, 9)
    (7, None, None)
    """
    digits = text.lstrip("0") or text[:1]
    if not text.isdecimal() or len(digits) > len(str(most)):
        return None
    return int(digits) if int(digits) <= most else None
