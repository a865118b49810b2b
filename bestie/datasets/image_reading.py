"""Readers of image files, with a clear error for whatever is wrong with a file."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, features

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


def image_size(path: Path) -> tuple[int, int]:
    """Return (height, width) in px from an image file's header. Raises InputError like `open_image`."""
    with open_image(path) as image:
        return image.height, image.width


def read_image(root: Path, record: ImageRecord) -> UInt8[np.ndarray, "h w 3"]:
    """Read an image as RGB, 0..255, with its pixels as stored.

    EXIF orientation is not applied, as VOC and COCO expect.

    Raises:
        InputError: the file is missing, cannot be decoded, has more than `MAX_IMAGE_PX` pixels, or is not the file that
            the record describes (another size or other bytes).
    """
    path = root / record.path
    with open_image(path) as image:
        if (image.height, image.width) != (record.height, record.width):
            raise InputError(
                f"{path} is {image.height}x{image.width} (height x width), but the index says "
                f"{record.height}x{record.width}. Restore the file or run prepare again."
            )
        pixels = _decode_rgb(path, image)
    if hash_file(path) != record.sha256:
        raise InputError(
            f"{path} is another file than the one indexed (its SHA-256 differs). Restore the file or run prepare again."
        )
    return pixels


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


def _decode_rgb(path: Path, image: Image.Image) -> UInt8[np.ndarray, "h w 3"]:
    decode(path, image)
    if "transparency" in image.info:  # a palette with transparent entries is converted to RGB through RGBA
        image = image.convert("RGBA")
    return np.array(image.convert("RGB"))
