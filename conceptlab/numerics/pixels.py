"""What the pixels of a picture mean: the one door from a PIL image to 8-bit colours.

Every picture that a network sees or a reader is shown comes through here, from a file or as an
object, so that both read the same.
"""

import warnings

import numpy as np
from PIL import Image, ImageCms

from conceptlab.errors import InputError

# what PIL has to say of odd metadata and palettes, picture by picture, changes no pixel
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

#: By a network's number of channels: grey is the luminance (0.299 R + 0.587 G + 0.114 B, ITU-R
#: BT.601, as torchvision's `Grayscale`); the fourth channel is the alpha of the picture.
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
WIDE = ("I;16", "I;16L", "I;16B", "I;16N")
SIXTEEN_BITS = ("PNG", "PPM")  # whose whole numbers, where PIL gives 32 bits, fill 16
ORIENTATION = 0x0112
#: What brings a picture of an EXIF orientation upright (CIPA DC-008, 4.6.4 A).
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = (5, 6, 7, 8)


def in_colours(image: Image.Image, channels: int = 3) -> Image.Image:
    """A picture in 8-bit colours, as it is displayed.

    Its EXIF orientation is applied. Of 16 bits the upper 8 count, as PIL takes them of 16-bit
    colours; transparency is left out, not painted over a background, except for four channels,
    where a picture without any is opaque (255). No colour profile is applied.

    Args:
        image: of any size and mode.
        channels: 1 (grey), 3 (RGB) or 4 (RGBA).

    Raises:
        InputError: no PIL image; real or 32-bit whole numbers, of which nobody knows which is
            white; a picture that cannot be decoded; another number of channels.
    """
    if not isinstance(image, Image.Image):
        raise InputError(f"a picture is a PIL image, as PIL.Image.open gives; got {image!r:.60}")
    if channels not in MODES:
        raise InputError(f"pictures have 1, 3 or 4 channels, grey, RGB or RGBA; got {channels}")
    try:
        image.load()
    except Exception as error:  # decoders of damaged files raise anything
        raise InputError(f"the picture cannot be decoded ({error})") from error
    return upright(_converted(image, MODES[channels]), orientation(image))


def upright(image: Image.Image, lies: int | None = None) -> Image.Image:
    """A picture turned as it is displayed.

    Args:
        image: of any mode.
        lies: how EXIF says that it lies; its own if not given.
    """
    turn = TURNS.get(orientation(image) if lies is None else lies)
    if turn is None:
        return image
    turned = image.transpose(turn)
    turned.info = {}  # else it would be turned once more
    return turned


def orientation(image: Image.Image) -> int:
    """How EXIF says that a picture lies, 1 (upright) to 8; damaged metadata says nothing."""
    try:
        found = image.getexif().get(ORIENTATION, 1)
        return int(found) if found in TURNS else 1
    except Exception:  # written by anybody
        return 1


def displayed_size(image: Image.Image) -> tuple[int, int]:
    """Width and height of a picture as it is displayed; most formats need not be decoded."""
    if image.format == "TIFF":  # which Pillow itself turns, when it is decoded
        image.load()
        return image.size
    width, height = image.size
    return (height, width) if orientation(image) in SIDEWAYS else (width, height)


def _converted(image: Image.Image, mode: str) -> Image.Image:
    """A picture of any mode in one of `MODES`, as it lies."""
    if image.mode in WIDE or (image.mode == "I" and image.format in SIXTEEN_BITS):
        image = Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        kind = "32-bit whole" if image.mode == "I" else "real"
        raise InputError(
            f"a picture of {kind} numbers (PIL mode {image.mode}) does not say which of them is "
            "white: bring it to 8 bits first, for example by Image.fromarray of uint8 values"
        )
    if image.mode == mode:
        return image
    if image.mode == "LAB":
        image = _from_lab(image)
    if image.mode in ("La", "RGBa"):  # multiplied by alpha
        image = image.convert({"La": "LA", "RGBa": "RGBA"}[image.mode])
    if image.has_transparency_data:
        image = image.convert("RGBA")
    try:
        colours = image if image.mode == "RGBA" and mode == "RGBA" else image.convert("RGB")
        return colours if colours.mode == mode else colours.convert(mode)
    except ValueError as error:
        raise InputError(f"a picture of mode {image.mode} cannot be read as {mode}") from error


def _from_lab(image: Image.Image) -> Image.Image:
    """CIE L*a*b* (D50) to sRGB."""
    profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    picture = ImageCms.profileToProfile(image, *profiles, outputMode="RGB")
    assert picture is not None
    return picture
