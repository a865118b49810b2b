"""Readers of image files, with a clear error for whatever is wrong with a file."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image, features

from bestie.datasets.pixel_formats import to_rgb
from bestie.datasets.upright import check_fits_one_way, orientation, turn_upright, turned_hint, upright_size
from bestie.errors import InputError
from bestie.records import ImageRecord, hash_file

#: Formats that are opened as images. Pillow knows more, and hands some of them to other programs (EPS).
IMAGE_FORMATS = (
    *("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "JPEG2000"),
    *(("AVIF",) if features.check("avif") else ()),
)
#: Suffixes of image files in folders, in lower case or capitals.
IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".jpx"),
    *((".avif",) if "AVIF" in IMAGE_FORMATS else ()),
)

#: Larger images are refused before they are decoded: a small file can unpack to gigabytes.
MAX_IMAGE_PX = 80_000_000


class CheckedImage(NamedTuple):
    """Height and width in px of an upright image, and the EXIF orientation with which it is stored."""

    height: int
    width: int
    orientation: int


def image_size(path: Path) -> tuple[int, int]:
    """Return (height, width) in px of the upright image from a file's header. Raises InputError like `open_image`."""
    with open_image(path) as image:
        return upright_size(image)


def check_image(path: Path) -> CheckedImage:
    """Read all pixels of an image, so that a damaged file is known. Raises InputError like `read_image`."""
    with open_image(path) as image:
        number = orientation(image)
        height, width = _upright_rgb(path, image).shape[:2]
    return CheckedImage(height, width, number)


def how_stored(path: Path) -> str:
    """Return, for messages about sizes, that an image is stored turned, or nothing. Raises like `open_image`."""
    with open_image(path) as image:
        return turned_hint(orientation(image))


def check_fits(path: Path, what: str, *, by_size: bool = True) -> None:
    """Raise InputError if it is not known which way `what` fits an image; see `check_fits_one_way`."""
    with open_image(path) as image:
        check_fits_one_way(path, orientation(image), upright_size(image), what, by_size=by_size)


def read_image(root: Path, record: ImageRecord) -> UInt8[np.ndarray, "h w 3"]:
    """Read an image as RGB, 0..255, upright: turned as its EXIF orientation says.

    Raises:
        InputError: the file is missing, cannot be decoded, has more than `MAX_IMAGE_PX` pixels or values of an unknown
            range (`to_rgb`), or is not the file that the record describes (another size or other bytes).
    """
    path = root / record.path
    with open_image(path) as image:
        if (size := upright_size(image)) != (record.height, record.width):
            raise InputError(
                f"{path} is {size[0]}x{size[1]} (height x width), but the index says "
                f"{record.height}x{record.width}. Restore the file or run prepare again."
            )
        pixels = _upright_rgb(path, image)
    if hash_file(path) != record.sha256:
        raise InputError(
            f"{path} is another file than the one indexed (its SHA-256 differs). Restore the file or run prepare again."
        )
    return pixels


def read_pixels(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    """Read an image file that no index lists, as RGB, 0..255, upright. Raises InputError like `read_image`."""
    with open_image(path) as image:
        return _upright_rgb(path, image)


def pixels_of(image: Image.Image) -> UInt8[np.ndarray, "h w 3"]:
    """Return the pixels of Pillow's image as RGB, 0..255, upright. Raises InputError like `read_image`."""
    return _upright_rgb(Path(getattr(image, "filename", "") or "the image"), image)


def open_image(path: Path) -> Image.Image:
    """Open an image without decoding its pixels.

    Raises:
        InputError: the file is missing, is not an image of `IMAGE_FORMATS`, or has more than `MAX_IMAGE_PX` pixels.
    """
    try:
        image = Image.open(path, formats=IMAGE_FORMATS)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist. Restore the file or correct the data set's root.") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(f"{path} is too large: {error}") from error
    except Exception as error:  # Pillow's parsers can raise anything for a hostile file
        raise InputError(f"{path} is no readable image ({_reason(error)}). Restore the file.") from error
    if image.width * image.height > MAX_IMAGE_PX:
        image.close()
        raise InputError(
            f"{path} has {image.height}x{image.width} pixels, more than {MAX_IMAGE_PX}. Scale the image down."
        )
    return image


def decode(path: Path, image: Image.Image) -> None:
    """Decode the pixels of an opened image. Raises InputError, naming `path`, if they are damaged or cut off."""
    try:
        image.load()
    except Exception as error:  # as in `open_image`, including MemoryError
        raise InputError(f"{path} cannot be decoded ({_reason(error)}). Restore the file.") from error


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _upright_rgb(path: Path, image: Image.Image) -> UInt8[np.ndarray, "h w 3"]:
    decode(path, image)
    return to_rgb(path, turn_upright(image))
